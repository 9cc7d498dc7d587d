//! What the runtime says on standard input: the network configuration.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use warren_ipam::MacAddress;
use warren_ipam::owner::is_identifier;
use warren_types::run_dir::RunDir;

use crate::error::{Code, Failure};
use crate::log::Log;
use crate::result::Answer;
use crate::version::Version;

/// The network configuration, as far as this plugin looks at it. Runtimes add keys of their own, so
/// other keys are none of our business.
#[derive(Debug, Default)]
pub struct NetConf {
    /// The network's name.
    pub name: String,
    /// The node's run directory.
    pub run_dir: RunDir,
    /// The MTU of the pods' interfaces in bytes, where it is not to be what the agent found.
    pub mtu: Option<u32>,
    /// What is logged, and where.
    pub log: Log,
    /// `dns`, handed through.
    pub dns: Option<Value>,
    /// The hardware address that the runtime wants the pod to have.
    pub mac: Option<MacAddress>,
    /// The addresses that the runtime wants the pod to have.
    pub ips: Vec<IpAddr>,
    /// What `ADD` has answered so far: by the plugins before this one, or at the end of the chain.
    pub prev_result: Option<Answer>,
    /// For `GC`: what is to stay.
    pub valid_attachments: Option<Vec<ValidAttachment>>,
}

/// An attachment that a `GC` leaves alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ValidAttachment {
    #[serde(rename = "containerID")]
    pub container_id: String,
    pub ifname: String,
}

/// What the runtime adds for one container, in either of two places: `runtimeConfig`, by the
/// capabilities `mac` and `ips`, or `args.cni`, by the older convention.
#[derive(Default, Deserialize)]
struct ForContainer {
    #[serde(default)]
    mac: Option<String>,
    #[serde(default)]
    ips: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct Args {
    #[serde(default)]
    cni: Option<ForContainer>,
}

impl ForContainer {
    /// The hardware address; `place` is where the configuration has it.
    fn mac(&self, place: &str) -> Result<Option<MacAddress>, Failure> {
        let Some(text) = self.mac.as_ref().filter(|mac| !mac.is_empty()) else { return Ok(None) };
        let key = format!("{place}.mac");
        match text.parse::<MacAddress>() {
            Ok(mac) if mac.is_unicast() => Ok(Some(mac)),
            Ok(mac) => Err(invalid(&key, &format!("{mac} is no unicast address"))),
            Err(error) => Err(invalid(&key, &error)),
        }
    }

    fn ips(&self, place: &str) -> Result<Vec<IpAddr>, Failure> {
        let texts = self.ips.iter().flatten().map(String::as_str);
        addresses(texts).map_err(|error| invalid(&format!("{place}.ips"), &error))
    }
}

/// Addresses, each with a prefix length or without, which is the pod's /32 or /128 either way.
pub fn addresses<'t>(texts: impl Iterator<Item = &'t str>) -> Result<Vec<IpAddr>, String> {
    texts
        .map(|text| {
            let parsed = text.parse::<IpNetwork>();
            parsed.map(|network| network.ip()).map_err(|error| format!("{text:?}: {error}"))
        })
        .collect()
}

/// The configuration before anything but its version was looked at.
#[derive(Debug)]
pub struct Document {
    keys: Map<String, Value>,
}

impl Document {
    /// Reads JSON.
    pub fn parse(text: &[u8]) -> Result<Self, Failure> {
        let undecodable = |reason: &dyn fmt::Display| {
            Failure::new(Code::Decode, format!("cannot decode the network configuration: {reason}"))
        };
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(undecodable(&"standard input is empty"));
        }
        match serde_json::from_slice(text) {
            Ok(Value::Object(keys)) => Ok(Self { keys }),
            Ok(_) => Err(undecodable(&"it is not a JSON object")),
            Err(error) => Err(undecodable(&error)),
        }
    }

    /// The version of the specification that the configuration is written in.
    pub fn version(&mut self) -> Result<Version, Failure> {
        let supported = || format!("this plugin supports {}", Version::supported().join(", "));
        let Some(wanted) = self.take::<String>("cniVersion")? else {
            return Err(Failure::new(
                Code::IncompatibleVersion,
                "the network configuration has no cniVersion, which means version 0.1.0",
            )
            .details(supported()));
        };
        Version::parse(&wanted).ok_or_else(|| {
            let message = format!("CNI version {wanted:?} is not supported");
            Failure::new(Code::IncompatibleVersion, message).details(supported())
        })
    }

    /// The rest of it.
    pub fn into_netconf(mut self) -> Result<NetConf, Failure> {
        let name: String =
            self.take("name")?.ok_or_else(|| invalid("name", &"it is missing or empty"))?;
        if !is_identifier(&name) {
            let rule = "letters, digits, '_', '.' and '-' only, a letter or digit first";
            return Err(invalid("name", &format!("{name:?}: {rule}")));
        }
        let run_dir = self.absolute("runDir")?.map(RunDir::new).unwrap_or_default();
        let mtu: Option<u32> = self.take("mtu")?;
        if let Some(mtu) = mtu.filter(|mtu| !(68..=65535).contains(mtu)) {
            return Err(invalid("mtu", &format!("{mtu} is not from 68 to 65535")));
        }
        let by_runtime: ForContainer = self.take("runtimeConfig")?.unwrap_or_default();
        let by_args: ForContainer =
            self.take::<Args>("args")?.unwrap_or_default().cni.unwrap_or_default();
        let mac = by_runtime.mac("runtimeConfig")?.or(by_args.mac("args.cni")?);
        let mut ips = by_runtime.ips("runtimeConfig")?;
        if ips.is_empty() {
            ips = by_args.ips("args.cni")?;
        }
        // The specification's text and its library disagreed on the name; runtimes send both.
        let valid_attachments = match self.attachments("cni.dev/valid-attachments")? {
            None => self.attachments("cni.dev/attachments")?,
            found => found,
        };
        Ok(NetConf {
            name,
            run_dir,
            mtu,
            log: Log {
                level: self.take("logLevel")?.unwrap_or_default(),
                file: self.absolute("logFile")?,
            },
            dns: self.take("dns")?,
            mac,
            ips,
            prev_result: self.take("prevResult")?,
            valid_attachments,
        })
    }

    /// The value of a key; one that is null or an empty string is as good as none.
    fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Failure> {
        match self.keys.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(value) => {
                serde_json::from_value(value).map(Some).map_err(|error| invalid(key, &error))
            }
        }
    }

    fn absolute(&mut self, key: &str) -> Result<Option<PathBuf>, Failure> {
        match self.take::<PathBuf>(key)? {
            Some(path) if !path.is_absolute() => {
                Err(invalid(key, &format!("{path:?} is not an absolute path")))
            }
            path => Ok(path),
        }
    }

    /// A list whose absence means something else than its emptiness: runtimes write an empty one
    /// as null too.
    fn attachments(&mut self, key: &str) -> Result<Option<Vec<ValidAttachment>>, Failure> {
        if !self.keys.contains_key(key) {
            return Ok(None);
        }
        Ok(Some(self.take(key)?.unwrap_or_default()))
    }
}

fn invalid(key: &str, reason: &dyn fmt::Display) -> Failure {
    Failure::new(
        Code::InvalidNetConf,
        format!("the network configuration's key {key} is invalid: {reason}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Level;

    fn parse(text: &str) -> Result<(Version, NetConf), Failure> {
        let mut document = Document::parse(text.as_bytes())?;
        let version = document.version()?;
        Ok((version, document.into_netconf()?))
    }

    fn failure(text: &str) -> (u32, String) {
        let failure = parse(text).unwrap_err();
        (failure.code as u32, failure.msg)
    }

    #[test]
    fn what_is_not_said_has_its_default_and_foreign_keys_are_passed_over() {
        let (version, conf) =
            parse(r#"{"cniVersion":"1.0.0","name":"k8s","type":"warren","ipam":{},"mtu":null}"#)
                .unwrap();
        assert_eq!(version, Version::V1_0_0);
        assert_eq!(conf.run_dir, RunDir::default());
        assert_eq!((conf.mtu, conf.log), (None, Log::default()));
        assert!(conf.prev_result.is_none() && conf.valid_attachments.is_none());
    }

    #[test]
    fn every_key_is_read() {
        let (_, conf) = parse(
            r#"{"cniVersion":"1.1.0","name":"k8s","runDir":"/tmp/n1","mtu":1400,"logLevel":"debug",
                "logFile":"/tmp/log","dns":{"nameservers":["10.0.0.1"]},
                "runtimeConfig":{"mac":"02:00:00:00:00:01","portMappings":[],"ips":["10.0.0.5/24","fd00::5"]},
                "args":{"cni":{"ips":["10.0.0.9"],"labels":[]}},
                "cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]}"#,
        )
        .unwrap();
        assert_eq!(conf.run_dir, RunDir::new("/tmp/n1"));
        assert_eq!((conf.mtu, conf.log.level), (Some(1400), Level::Debug));
        assert_eq!(conf.mac.unwrap().to_string(), "02:00:00:00:00:01");
        assert_eq!(conf.ips, ["10.0.0.5", "fd00::5"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        assert_eq!(conf.valid_attachments.unwrap()[0].container_id, "a");
        assert!(conf.dns.is_some());
    }

    #[test]
    fn what_the_older_convention_asks_for_is_read_too() {
        let (_, conf) = parse(
            r#"{"cniVersion":"1.0.0","name":"k8s","runtimeConfig":{"ips":null},
                "args":{"cni":{"ips":["10.0.0.9"],"mac":"02:00:00:00:00:02"}}}"#,
        )
        .unwrap();
        assert_eq!(conf.ips, ["10.0.0.9".parse::<IpAddr>().unwrap()]);
        assert_eq!(conf.mac.unwrap().to_string(), "02:00:00:00:00:02");
    }

    #[test]
    fn no_list_of_attachments_is_not_an_empty_list() {
        let list = |rest: &str| {
            let text = format!(r#"{{"cniVersion":"1.1.0","name":"k8s"{rest}}}"#);
            parse(&text).unwrap().1.valid_attachments.map(|list| list.len())
        };
        assert_eq!(list(""), None);
        assert_eq!(list(r#","cni.dev/valid-attachments":null"#), Some(0));
        assert_eq!(list(r#","cni.dev/attachments":[{"containerID":"a","ifname":"b"}]"#), Some(1));
    }

    #[test]
    fn what_is_no_json_is_answered_with_the_place() {
        let (code, message) = failure("{\"cniVersion\":\n  nonsense}");
        assert_eq!(code, 6);
        assert!(message.contains("line 2 column"), "{message}");
        assert!(failure(r#"{"cniVersion":"1.0"#).1.contains("EOF while parsing"));
        assert_eq!(
            failure(" \n"),
            (6, "cannot decode the network configuration: standard input is empty".into())
        );
        assert!(failure("[]").1.ends_with("it is not a JSON object"));
    }

    #[test]
    fn a_version_that_is_not_spoken_is_answered_with_those_that_are() {
        for version in ["0.1.0", "0.3.0", "1.2.0", "2.0.0", "latest"] {
            let failure = parse(&format!(r#"{{"cniVersion":"{version}"}}"#)).unwrap_err();
            assert_eq!(failure.code, Code::IncompatibleVersion);
            assert!(failure.msg.contains(version), "{failure:?}");
            assert!(failure.details.unwrap().contains("0.3.1, 0.4.0, 1.0.0, 1.1.0"));
        }
        assert_eq!(failure(r#"{"name":"k8s"}"#).0, 1);
    }

    #[test]
    fn an_invalid_key_is_named_with_the_reason() {
        for (rest, key, reason) in [
            (r#""x":1"#, "name", "missing"),
            (r#""name":"""#, "name", "missing"),
            (r#""name":"a/b""#, "name", "a/b"),
            (r#""name":"a","mtu":"1500""#, "mtu", "expected u32"),
            (r#""name":"a","mtu":67"#, "mtu", "67 is not from 68 to 65535"),
            (r#""name":"a","mtu":65536"#, "mtu", "65536"),
            (r#""name":"a","runDir":"run""#, "runDir", "not an absolute path"),
            (r#""name":"a","logLevel":"loud""#, "logLevel", "loud"),
            (r#""name":"a","prevResult":[]"#, "prevResult", "invalid"),
            (r#""name":"a","runtimeConfig":{"mac":"1"}"#, "runtimeConfig.mac", "hardware address"),
            (r#""name":"a","runtimeConfig":{"ips":["x"]}"#, "runtimeConfig.ips", r#""x""#),
            (r#""name":"a","args":{"cni":{"ips":["1.2.3"]}}"#, "args.cni.ips", "1.2.3"),
            (r#""name":"a","args":1"#, "args", "invalid type"),
            (
                r#""name":"a","runtimeConfig":{"mac":"01:00:00:00:00:00"}"#,
                "runtimeConfig.mac",
                "unicast",
            ),
        ] {
            let (code, message) = failure(&format!(r#"{{"cniVersion":"1.0.0",{rest}}}"#));
            assert_eq!(code, 7, "{message}");
            assert!(message.contains(&format!("key {key} is invalid")), "{message}");
            assert!(message.contains(reason), "{message}");
        }
        assert_eq!(failure(r#"{"cniVersion":1}"#).0, 7);
    }
}
