//! What the runtime says in environment variables.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;

use warren_ipam::{MacAddress, Owner, OwnerError, Pod};
use warren_types::report::Command;

use crate::error::{Code, Failure};
use crate::netconf::addresses;
use crate::version::Version;

/// The first version of the specification that has the command.
pub fn since(command: Command) -> Version {
    match command {
        Command::Add | Command::Del | Command::Version => Version::V0_3_1,
        Command::Check => Version::V0_4_0,
        Command::Gc | Command::Status => Version::V1_1_0,
    }
}

/// What is to be done: reads `CNI_COMMAND`.
pub fn command(variable: &impl Fn(&str) -> Option<OsString>) -> Result<Command, Failure> {
    let text = text(variable, "CNI_COMMAND")?.ok_or_else(|| missing(&["CNI_COMMAND"]))?;
    Command::ALL.into_iter().find(|command| command.as_str() == text).ok_or_else(|| {
        let known = Command::ALL.map(Command::as_str).join(", ");
        invalid("CNI_COMMAND", format!("{text:?} is none of {known}"))
    })
}

/// Which interface of which container it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub owner: Owner,
    /// The path of the container's network namespace; a `DEL` may come without.
    pub netns: Option<String>,
    /// The names that Kubernetes has for the pod, if it is one.
    pub pod: Option<Pod>,
    /// The addresses that the container is to have.
    pub ips: Vec<IpAddr>,
    /// The hardware address that it is to have.
    pub mac: Option<MacAddress>,
}

impl Attachment {
    /// Reads the variables that `ADD`, `CHECK` and `DEL` come with.
    pub fn parse(
        command: Command,
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        let read = |name| text(variable, name);
        let (container_id, ifname) = (read("CNI_CONTAINERID")?, read("CNI_IFNAME")?);
        let netns = read("CNI_NETNS")?;
        let needs_netns = command != Command::Del;
        let absent: Vec<_> = [
            ("CNI_CONTAINERID", container_id.is_none()),
            ("CNI_IFNAME", ifname.is_none()),
            ("CNI_NETNS", netns.is_none() && needs_netns),
        ]
        .into_iter()
        .filter_map(|(name, absent)| absent.then_some(name))
        .collect();
        let (Some(container_id), Some(ifname), []) = (container_id, ifname, absent.as_slice())
        else {
            return Err(missing(&absent));
        };
        let owner = Owner::new(&container_id, &ifname).map_err(|error| match error {
            OwnerError::ContainerId(_) | OwnerError::ContainerIdLength(_) => {
                invalid("CNI_CONTAINERID", error)
            }
            OwnerError::Ifname(_) => invalid("CNI_IFNAME", error),
        })?;
        let pairs = match (read("CNI_ARGS")?.as_deref().map(Pairs::parse), command) {
            (None, _) => Pairs::default(),
            (Some(Ok(pairs)), _) => pairs,
            // A DEL cleans up as far as it can.
            (Some(Err(_)), Command::Del) => Pairs::default(),
            (Some(Err(error)), _) => return Err(error),
        };
        let Pairs { pod, ips, mac } = pairs;
        Ok(Self { owner, netns, pod, ips, mac })
    }

    /// The name of the veth pair's end on the host.
    pub fn host_interface(&self) -> String {
        match &self.pod {
            Some(pod) => warren_types::ifname::for_pod(&pod.namespace, &pod.name),
            None => warren_types::ifname::for_container(self.owner.container_id()),
        }
    }

    /// The name for a further interface of a container that has the first one already.
    pub fn further_host_interface(&self) -> String {
        let key = format!("{}.{}", self.owner.container_id(), self.owner.ifname());
        warren_types::ifname::for_container(&key)
    }
}

/// What concerns us of the pairs of `CNI_ARGS`; other keys are other people's.
#[derive(Default)]
struct Pairs {
    pod: Option<Pod>,
    ips: Vec<IpAddr>,
    mac: Option<MacAddress>,
}

impl Pairs {
    fn parse(args: &str) -> Result<Self, Failure> {
        let wrong = |reason: &dyn fmt::Display| invalid("CNI_ARGS", reason);
        let (mut namespace, mut name) = (None, None);
        let mut found = Self::default();
        for pair in args.split(';').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| wrong(&format_args!("{pair:?} is not KEY=VALUE")))?;
            match key {
                "K8S_POD_NAMESPACE" => namespace = Some(value.to_owned()),
                "K8S_POD_NAME" => name = Some(value.to_owned()),
                "IP" if !value.is_empty() => {
                    found.ips = addresses(value.split(',')).map_err(|error| wrong(&error))?;
                }
                "MAC" if !value.is_empty() => {
                    let mac: MacAddress = value.parse().map_err(|error| wrong(&error))?;
                    if !mac.is_unicast() {
                        return Err(wrong(&format_args!("{mac} is no unicast address")));
                    }
                    found.mac = Some(mac);
                }
                _ => {}
            }
        }
        let not_empty = |value: &String| !value.is_empty();
        let pod = namespace.filter(not_empty).zip(name.filter(not_empty));
        found.pod = pod.map(|(namespace, name)| Pod { namespace, name });
        Ok(found)
    }
}

/// A variable's value; an empty one is as good as none.
fn text(
    variable: &impl Fn(&str) -> Option<OsString>,
    name: &str,
) -> Result<Option<String>, Failure> {
    let value = variable(name).filter(|value| !value.is_empty());
    value
        .map(|value| {
            value.into_string().map_err(|value| invalid(name, format!("{value:?} is not UTF-8")))
        })
        .transpose()
}

fn missing(names: &[&str]) -> Failure {
    let what = if names.len() == 1 { "variable is" } else { "variables are" };
    Failure::new(Code::Environment, format!("environment {what} missing: {}", names.join(", ")))
}

fn invalid(name: &str, reason: impl fmt::Display) -> Failure {
    Failure::new(Code::Environment, format!("environment variable {name} is invalid: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + use<> {
        let pairs: Vec<(String, OsString)> =
            pairs.iter().map(|(k, v)| (k.to_string(), v.into())).collect();
        move |name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    fn attachment(command: Command, pairs: &[(&str, &str)]) -> Result<Attachment, String> {
        Attachment::parse(command, &variables(pairs)).map_err(|failure| {
            assert_eq!(failure.code, Code::Environment);
            failure.msg
        })
    }

    const GOOD: [(&str, &str); 3] =
        [("CNI_CONTAINERID", "a1"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "/run/netns/a")];

    fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
        let others = GOOD.into_iter().filter(|(key, _)| *key != name);
        others.chain([(name, value)]).collect()
    }

    #[test]
    fn every_missing_variable_is_named_at_once() {
        assert_eq!(
            attachment(Command::Add, &[]).unwrap_err(),
            "environment variables are missing: CNI_CONTAINERID, CNI_IFNAME, CNI_NETNS"
        );
        assert_eq!(
            attachment(Command::Check, &GOOD[..2]).unwrap_err(),
            "environment variable is missing: CNI_NETNS"
        );
        assert_eq!(attachment(Command::Del, &GOOD[..2]).unwrap().netns, None);
        assert_eq!(attachment(Command::Del, &with("CNI_NETNS", "")).unwrap().netns, None);
    }

    #[test]
    fn an_invalid_variable_is_named_with_its_value() {
        for (name, value) in
            [("CNI_CONTAINERID", "../x"), ("CNI_IFNAME", "sixteen-letters-"), ("CNI_ARGS", "a=b;c")]
        {
            let message = attachment(Command::Add, &with(name, value)).unwrap_err();
            let named = format!("environment variable {name} is invalid: ");
            let shown = value.rsplit(';').next().unwrap();
            assert!(message.starts_with(&named) && message.contains(shown), "{message}");
        }
        let not_utf8 = |name: &str| (name == "CNI_NETNS").then(|| OsString::from_vec(vec![0xff]));
        assert!(Attachment::parse(Command::Add, &not_utf8).unwrap_err().msg.contains("CNI_NETNS"));
    }

    #[test]
    fn the_pod_is_found_among_keys_in_any_order() {
        let named = |args| attachment(Command::Add, &with("CNI_ARGS", args)).unwrap();
        let args = "IgnoreUnknown=1;K8S_POD_NAME=nginx;X=a=b;K8S_POD_NAMESPACE=default;";
        let pod = named(args);
        assert_eq!(pod.pod, Some(Pod { namespace: "default".into(), name: "nginx".into() }));
        assert_eq!(pod.host_interface(), "calic440f455693");
        // Without both names there is no pod, and the container's ID names the interface.
        for args in ["", "K8S_POD_NAME=nginx", "K8S_POD_NAMESPACE=;K8S_POD_NAME=nginx"] {
            let container = named(args);
            assert_eq!(container.pod, None, "{args}");
            assert_eq!(container.host_interface(), warren_types::ifname::for_container("a1"));
        }
    }

    #[test]
    fn addresses_are_asked_for_by_their_keys() {
        let args = "MAC=02:00:00:00:00:01;IgnoreUnknown=1;IP=10.0.0.5/24,fd00::5;X=1";
        let asked = attachment(Command::Add, &with("CNI_ARGS", args)).unwrap();
        assert_eq!(
            asked.ips.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.5", "fd00::5"]
        );
        assert_eq!(asked.mac.unwrap().to_string(), "02:00:00:00:00:01");
        for args in ["IP=10.0.0", "IP=10.0.0.1,", "MAC=x", "MAC=01:00:00:00:00:01"] {
            attachment(Command::Add, &with("CNI_ARGS", args)).unwrap_err();
        }
        attachment(Command::Add, &with("CNI_ARGS", "IP=;MAC=")).unwrap();
    }

    #[test]
    fn a_del_takes_what_it_can_understand_of_the_arguments() {
        assert_eq!(attachment(Command::Del, &with("CNI_ARGS", "nonsense")).unwrap().pod, None);
    }

    #[test]
    fn the_command_is_one_of_six() {
        let parse = |value| command(&variables(&[("CNI_COMMAND", value)]));
        for command in Command::ALL {
            assert_eq!(parse(command.as_str()).unwrap(), command);
        }
        assert!(parse("add").unwrap_err().msg.contains("CNI_COMMAND is invalid: \"add\" is none"));
        assert!(parse("").unwrap_err().msg.contains("missing: CNI_COMMAND"));
    }
}
