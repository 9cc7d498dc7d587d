//! What `ADD` answers, in the words of the version that was asked for.
//!
//! | | 0.3.1, 0.4.0 | 1.0.0 | 1.1.0 |
//! | --- | --- | --- | --- |
//! | `version` of each of `ips` | yes | no | no |
//! | `mtu` of each of `interfaces` | no | no | yes |
//!
//! The same type reads `prevResult`. What other plugins wrote there, and this one does not know, is
//! handed on as it is.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use warren_ipam::{MacAddress, Record};
use warren_net::pod::{GATEWAY, GATEWAY6, HOST_MAC};

use crate::version::Version;

/// The result of an `ADD`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    #[serde(default)]
    cni_version: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub interfaces: Vec<Interface>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub ips: Vec<Ip>,
    #[serde(default, deserialize_with = "null_is_empty")]
    routes: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dns: Option<Value>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// An interface that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The path of the namespace that it is in; none for the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// An address that an interface got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ip {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    pub address: IpNetwork,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    /// Which of the interfaces has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Go programs write an empty list as null.
fn null_is_empty<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Interface {
    /// Whether it is in the host's namespace.
    pub fn is_on_host(&self) -> bool {
        self.sandbox.as_deref().unwrap_or_default().is_empty()
    }
}

impl Answer {
    /// What to answer for a pod that was connected as `records` say: what is in `previous`, if this
    /// plugin is not the first of its chain, and then its own part.
    pub fn new(
        version: Version,
        records: &[Record],
        dns: Option<Value>,
        previous: Option<Self>,
    ) -> Self {
        let mut answer = previous.unwrap_or_default();
        version.as_str().clone_into(&mut answer.cni_version);
        answer.dns = dns.or(answer.dns);
        let Some(record) = records.first() else { return answer };
        let interface = |name: &str, mac: MacAddress, sandbox: Option<&str>| Interface {
            name: name.to_owned(),
            mac: Some(mac.to_string()),
            mtu: (version >= Version::V1_1_0).then_some(record.mtu),
            sandbox: sandbox.map(str::to_owned),
            other: Map::new(),
        };
        answer.interfaces.push(interface(&record.host_interface, MacAddress(HOST_MAC), None));
        answer.interfaces.push(interface(&record.ifname, record.mac, Some(&record.netns)));
        for Record { address, .. } in records {
            let (family, gateway, everything) = match address {
                IpAddr::V4(_) => ("4", IpAddr::from(GATEWAY), "0.0.0.0/0"),
                IpAddr::V6(_) => ("6", IpAddr::from(GATEWAY6), "::/0"),
            };
            answer.ips.push(Ip {
                version: (version < Version::V1_0_0).then(|| family.to_owned()),
                address: IpNetwork::from(*address),
                gateway: Some(gateway),
                interface: Some(answer.interfaces.len() - 1),
                other: Map::new(),
            });
            answer.routes.push(serde_json::json!({"dst": everything, "gw": gateway}));
        }
        answer
    }

    /// Whether it has a route to everything, by one of its interfaces or another way.
    pub fn has_default_route(&self) -> bool {
        let is_default = |route: &Value| {
            let to = route.get("dst").and_then(Value::as_str);
            to.is_some_and(|to| to == "0.0.0.0/0" || to == "::/0")
        };
        self.routes.iter().any(is_default)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use warren_ipam::record::FORMAT_VERSION;

    use super::*;

    fn record() -> Record {
        Record {
            format_version: FORMAT_VERSION,
            address: "172.16.52.129".parse().unwrap(),
            network: "k8s".into(),
            container_id: "a1".into(),
            ifname: "eth0".into(),
            netns: "/run/netns/a1".into(),
            pod: None,
            host_interface: "calic440f455693".into(),
            mac: "0a:58:ac:10:34:81".parse().unwrap(),
            mtu: 1480,
            metric: 0,
            created: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn answer(version: Version, dns: Option<Value>, previous: Option<Value>) -> Value {
        let previous = previous.map(|value| serde_json::from_value(value).unwrap());
        serde_json::to_value(Answer::new(version, &[record()], dns, previous)).unwrap()
    }

    #[test]
    fn the_answer_to_each_version_is_what_that_version_has() {
        let host = json!({"name": "calic440f455693", "mac": "ee:ee:ee:ee:ee:ee"});
        let pod = json!({"name": "eth0", "mac": "0a:58:ac:10:34:81", "sandbox": "/run/netns/a1"});
        let ip = json!({"address": "172.16.52.129/32", "gateway": "169.254.1.1", "interface": 1});
        let routes = json!([{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}]);
        let plus = |value: &Value, key: &str, more: Value| {
            let mut value = value.clone();
            value[key] = more;
            value
        };
        for version in ["0.3.1", "0.4.0"] {
            assert_eq!(
                answer(Version::parse(version).unwrap(), None, None),
                json!({"cniVersion": version, "interfaces": [host, pod],
                       "ips": [plus(&ip, "version", "4".into())], "routes": routes})
            );
        }
        assert_eq!(
            answer(Version::V1_0_0, None, None),
            json!({"cniVersion": "1.0.0", "interfaces": [host, pod], "ips": [ip], "routes": routes})
        );
        assert_eq!(
            answer(Version::V1_1_0, Some(json!({"search": ["x"]})), None),
            json!({"cniVersion": "1.1.0",
                   "interfaces": [plus(&host, "mtu", 1480.into()), plus(&pod, "mtu", 1480.into())],
                   "ips": [ip], "routes": routes, "dns": {"search": ["x"]}})
        );
    }

    #[test]
    fn an_attachment_with_two_addresses_has_one_pair_of_interfaces() {
        let second = Record { address: "fd00:52::84".parse().unwrap(), ..record() };
        let answer = Answer::new(Version::V0_4_0, &[record(), second], None, None);
        assert!(answer.has_default_route());
        let answer = serde_json::to_value(answer).unwrap();
        assert_eq!(answer["interfaces"].as_array().unwrap().len(), 2);
        let next_hop = "fe80::ecee:eeff:feee:eeee";
        assert_eq!(
            answer["ips"][1],
            json!({"version": "6", "address": "fd00:52::84/128", "gateway": next_hop, "interface": 1})
        );
        assert_eq!(answer["routes"][1], json!({"dst": "::/0", "gw": next_hop}));
    }

    #[test]
    fn what_earlier_plugins_answered_is_kept_and_indices_still_fit() {
        let previous = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "net0", "sandbox": "/run/netns/a1", "pciID": "0000:00:1f.6"}],
            "ips": [{"address": "fd00::2/64", "interface": 0, "x": 1}],
            "routes": null,
            "dns": {"nameservers": ["10.0.0.1"]},
            "x": {"y": 1}
        });
        let merged = answer(Version::V1_0_0, None, Some(previous.clone()));
        assert_eq!(merged["interfaces"][0], previous["interfaces"][0]);
        assert_eq!(merged["ips"][0], previous["ips"][0]);
        assert_eq!(merged["ips"][1]["interface"], 2);
        assert_eq!(merged["interfaces"][2]["name"], "eth0");
        assert_eq!(merged["routes"].as_array().unwrap().len(), 1);
        assert_eq!((&merged["dns"], &merged["x"]), (&previous["dns"], &previous["x"]));
        let own = json!({"domain": "cluster.local"});
        let merged = answer(Version::V1_0_0, Some(own.clone()), Some(previous));
        assert_eq!(merged["dns"], own);
    }

    #[test]
    fn an_interface_without_a_sandbox_is_the_hosts() {
        let answer: Answer = serde_json::from_value(json!({"interfaces": [
            {"name": "a"}, {"name": "b", "sandbox": ""}, {"name": "c", "sandbox": "/run/netns/a"}
        ]}))
        .unwrap();
        let on_host: Vec<_> = answer.interfaces.iter().map(Interface::is_on_host).collect();
        assert_eq!(on_host, [true, true, false]);
    }
}
