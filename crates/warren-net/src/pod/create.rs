//! Connecting a pod: everything, or nothing.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;

use super::requests::{self, Link};
use super::{Created, PodError, PodInterface, host_sysctl};
use crate::namespace::Namespace;
use crate::netlink::requests::{show_link, show_link_number};
use crate::netlink::{self, Outcome, Socket};

/// The longest interface name the kernel takes, in bytes: IFNAMSIZ without the final zero.
const NAME_LENGTH: usize = 15;

/// Connects the pod in `namespace` to the calling thread's namespace, the node's.
///
/// The order is Calico's: the pod's address comes after its routes and the node's route to the pod
/// last, so that nothing ever sees a pod that can be reached and cannot answer.
///
/// Three sends: the pair, and with it the question for its indexes; all within the pod; the host
/// end's parameters and the node's route. The indexes are asked for rather than chosen, because a
/// chosen one may be taken, and the route in the same send would then lead to somebody else's
/// interface.
///
/// `lo` in the pod's namespace is set up as well, for runtimes that leave that to the plugins. It
/// stays up when the rest is taken back: nobody relies on its being down.
///
/// # Errors
/// As [`PodError`] lists them. Nothing is left of what was made; should the kernel refuse even
/// that, the error says so. Only if the netlink socket itself fails between the creation of the
/// pair and its acknowledgement, [`super::delete`] has to follow, as runtimes do after a failure.
pub fn create(namespace: &Namespace, pod: &PodInterface) -> Result<Created, PodError> {
    validate(pod)?;
    if namespace.is_current()? {
        return Err(PodError::OwnNamespace { path: namespace.path().display().to_string() });
    }
    let mut node = Socket::open()?;
    let mut inside = Socket::open_in(namespace)?;

    let host = add_pair(&mut node, namespace, pod)?;
    match host.and_then(|host| complete(&mut node, &mut inside, pod, &host)) {
        Ok(created) => Ok(created),
        Err(first) => Err(match node.request(requests::delete_link(&pod.host_name)) {
            Ok(_) => first,
            // The pod's namespace ended meanwhile, and the pair with it.
            Err(error) if error.errno() == Some(Errno::ENODEV) => first,
            Err(clean_up) => PodError::LeftBehind {
                first: Box::new(first),
                name: pod.host_name.clone(),
                clean_up,
            },
        }),
    }
}

/// Makes the pair and learns its indexes. The outer result is the making: on an error of it there
/// is nothing to take back.
fn add_pair(
    node: &mut Socket,
    namespace: &Namespace,
    pod: &PodInterface,
) -> Result<Result<Link, PodError>, PodError> {
    let asked = vec![requests::add_pair(pod, namespace), show_link(&pod.host_name)];
    let mut outcomes = node.batch(asked)?.into_iter();
    let (made, shown) = (next(&mut outcomes), next(&mut outcomes));
    match made {
        Ok(_) => {}
        // Of the two names, the kernel does not say which one is taken.
        Err(error) if error.errno() == Some(Errno::EEXIST) => {
            return Err(match shown {
                Ok(_) => PodError::AlreadyExists { name: pod.host_name.clone() },
                Err(_) => PodError::PodInterfaceExists { name: pod.pod_name.clone() },
            });
        }
        Err(error) => return Err(error.into()),
    }
    Ok(shown.map_err(PodError::from).and_then(|answer| read_link(answer, &pod.host_name)))
}

/// Everything after the pair itself.
fn complete(
    node: &mut Socket,
    inside: &mut Socket,
    pod: &PodInterface,
    host: &Link,
) -> Result<Created, PodError> {
    // Before the pod end is up: its first packet may be a router advertisement.
    host_sysctl::set(&pod.host_name)?;

    let pod_index = host.peer.ok_or_else(|| unreadable(&pod.host_name, "the peer's index"))?;
    let name = pod.pod_name.as_str();
    let mut asked = vec![
        requests::set_up(name, pod_index),
        requests::add_gateway_route(name, pod_index),
        requests::add_default_route(name, pod_index),
    ];
    asked.extend(pod.addresses.iter().map(|&to| requests::add_address(to, name, pod_index)));
    asked.push(requests::set_loopback_up());
    asked.push(show_link_number(pod_index));
    let mut last = Vec::new();
    for outcome in inside.batch(asked)? {
        last = outcome?;
    }
    let created = Created {
        host_mac: read_mac(host, &pod.host_name)?,
        pod_mac: read_mac(&read_link(last, name)?, name)?,
        host_index: host.index,
        pod_index,
    };

    let mut asked = vec![requests::set_host_conf(&pod.host_name, host.index)];
    let add = |&to| requests::add_host_route(to, &pod.host_name, host.index);
    asked.extend(pod.addresses.iter().map(add));
    // The host end was up before its peer. The kernel notices the peer by and by, and drops what is
    // sent to the pod until then: the first ARP reply, which costs the pod a second. It notices at
    // once when asked about the link (Linux 6.8). That the host end answers ARP requests only from
    // this send on loses nothing, therefore.
    asked.push(show_link_number(host.index));
    let mut outcomes = node.batch(asked)?.into_iter();
    next(&mut outcomes)?;
    for &address in &pod.addresses {
        next(&mut outcomes).map_err(|error| route_error(node, pod, address, error))?;
    }
    Ok(created)
}

/// Says which route is in the way, if that is what the error is about.
fn route_error(
    node: &mut Socket,
    pod: &PodInterface,
    address: IpAddr,
    error: netlink::Error,
) -> PodError {
    if error.errno() != Some(Errno::EEXIST) {
        return error.into();
    }
    match requests::route_to(node, address) {
        Ok(Some(taken_by)) => {
            PodError::RouteTaken { address, interface: pod.host_name.clone(), taken_by }
        }
        // It went meanwhile, or cannot be looked up: then the kernel's own error is what we know.
        Ok(None) | Err(_) => error.into(),
    }
}

fn next(outcomes: &mut impl Iterator<Item = Outcome>) -> Outcome {
    outcomes.next().unwrap_or(Ok(Vec::new()))
}

fn read_link(answer: Vec<RouteNetlinkMessage>, name: &str) -> Result<Link, PodError> {
    Link::in_answer(answer).ok_or_else(|| unreadable(name, "the link itself"))
}

fn read_mac(link: &Link, name: &str) -> Result<[u8; 6], PodError> {
    link.mac.as_slice().try_into().map_err(|_| unreadable(name, "a MAC address of 6 bytes"))
}

fn unreadable(name: &str, what: &str) -> PodError {
    netlink::Error::Answer {
        operation: format!("show link {name}"),
        reason: format!("it lacks {what}"),
    }
    .into()
}

fn validate(pod: &PodInterface) -> Result<(), PodError> {
    for name in [&pod.host_name, &pod.pod_name] {
        let wrong = if name.is_empty() {
            "is empty"
        } else if name.len() > NAME_LENGTH {
            "is longer than 15 bytes"
        } else if name == "." || name == ".." {
            "names a directory"
        } else if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) {
            "contains a slash, a colon or white space"
        } else if name.contains('%') {
            // The kernel would take it for a template, and choose a number to put in.
            "contains a per cent sign"
        } else if name.contains(|c: char| c.is_control()) {
            "contains a control character"
        } else {
            continue;
        };
        return Err(PodError::Invalid(format!("interface name {name:?} {wrong}")));
    }
    if pod.addresses.is_empty() {
        return Err(PodError::Invalid(format!("no address is given for {}", pod.pod_name)));
    }
    match pod.addresses.iter().find(|address| address.is_ipv6()) {
        Some(address) => Err(PodError::Invalid(format!(
            "{address} cannot be given to {}: IPv6 is not available in this version",
            pod.pod_name
        ))),
        None => Ok(()),
    }
}
