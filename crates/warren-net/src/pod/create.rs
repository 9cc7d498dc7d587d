//! Connecting a pod: everything, or nothing.

use nix::errno::Errno;

use super::requests::{self, Link};
use super::{Created, HOST_MAC, PodError, PodInterface, host_sysctl, ipv6};
use crate::namespace::Namespace;
use crate::netlink::requests::show_link;
use crate::netlink::{self, Outcome, Socket};

/// The longest interface name the kernel takes, in bytes: IFNAMSIZ without the final zero.
const NAME_LENGTH: usize = 15;

/// Connects the pod in `namespace` to the calling thread's namespace, the node's.
///
/// Two sends: within the pod's namespace the pair, the pod's routes and addresses; on the node the
/// host end's parameters and the routes to the pod. What follows the pair in the same send has to
/// name the pod end by its index, which is chosen, therefore, and not asked for: a number made from
/// the host end's name, far above those that the kernel gives. The host end's index, whose
/// neighbours are not ours, is asked for.
///
/// The node's routes come last, so that nothing ever sees a pod that can be reached and cannot
/// answer.
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
    let home = Namespace::current()?;
    if namespace.is(&home)? {
        return Err(PodError::OwnNamespace { path: namespace.path().display().to_string() });
    }
    let mut node = Socket::open()?;
    let mut inside = namespace.visit(&home, Socket::open)??;
    let mut ends = Ends { node: &mut node, inside: &mut inside };
    match ends.connect(namespace, &home, pod) {
        // The namespace was made with IPv6 off, which its interfaces take over. A pod that is given
        // an IPv6 address is meant to have IPv6.
        Err(error) if is_ipv6_off(&error, pod) && ipv6::enable(namespace, &home)? => {
            ends.connect(namespace, &home, pod)
        }
        outcome => outcome,
    }
}

/// The sockets at both ends of the pair.
struct Ends<'s> {
    node: &'s mut Socket,
    inside: &'s mut Socket,
}

impl Ends<'_> {
    /// Makes all of it, or takes it back.
    fn connect(
        &mut self,
        namespace: &Namespace,
        home: &Namespace,
        pod: &PodInterface,
    ) -> Result<Created, PodError> {
        let (made, inside) = self.make(namespace, home, pod)?;
        let outcome = inside.and_then(|()| {
            let link = Link::in_answer(made?)
                .ok_or_else(|| unreadable(&pod.pod_name, "the link itself"))?;
            self.finish(pod, &link)
        });
        match outcome {
            Ok(created) => Ok(created),
            Err(first) => Err(match self.node.request(requests::delete_link(&pod.host_name)) {
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

    /// The pair and all that is within the pod's namespace: what the kernel shows of the pod end, and
    /// whether all the rest was done. The outer result is the making of the pair: on an error of it
    /// there is nothing to take back.
    fn make(
        &mut self,
        namespace: &Namespace,
        home: &Namespace,
        pod: &PodInterface,
    ) -> Result<(Outcome, Result<(), PodError>), PodError> {
        let index = pod_index(&pod.host_name);
        // Asked about an end that is up and has no carrier yet, the kernel (Linux 6.8) waits for an RCU
        // grace period, and all who configure any interface wait with it.
        let mut asked = vec![
            requests::add_pair(pod, index, namespace, home),
            show_link(&pod.pod_name),
            requests::set_up_pod(pod, index),
        ];
        asked.extend(requests::add_pod_routes(pod, index));
        asked.push(requests::set_loopback_up());
        let mut outcomes = self.inside.batch(asked)?.into_iter();
        let made = outcomes.next().unwrap_or_else(|| Ok(Vec::new()));
        let shown = outcomes.next().unwrap_or_else(|| Ok(Vec::new()));
        match made {
            Ok(_) => {}
            // Of the two names, the kernel does not say which one is taken.
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                return Err(match (self.node.request(show_link(&pod.host_name)), shown) {
                    (Ok(_), _) => PodError::AlreadyExists { name: pod.host_name.clone() },
                    (_, Ok(_)) => PodError::PodInterfaceExists { name: pod.pod_name.clone() },
                    (Err(_), Err(_)) => error.into(),
                });
            }
            Err(error) => return Err(error.into()),
        }
        let rest = outcomes.try_for_each(|outcome| outcome.map(drop)).map_err(PodError::from);
        Ok((shown, rest))
    }

    /// Everything on the node after the pair itself.
    fn finish(&mut self, pod: &PodInterface, end: &Link) -> Result<Created, PodError> {
        let host_index =
            end.peer.ok_or_else(|| unreadable(&pod.pod_name, "the other end's index"))?;
        let created = Created {
            host_mac: HOST_MAC,
            pod_mac: read_mac(end, &pod.pod_name)?,
            host_index,
            pod_index: end.index,
        };
        // Before the host end is up: the pod's first packet may be a router advertisement.
        host_sysctl::set(&pod.host_name, pod)?;

        let name = pod.host_name.as_str();
        let mut asked = requests::set_up_host(pod, host_index);
        let routes_from = asked.len();
        asked
            .extend(pod.addresses.iter().map(|&to| requests::add_host_route(to, name, host_index)));
        for (number, outcome) in self.node.batch(asked)?.into_iter().enumerate() {
            match (outcome, number.checked_sub(routes_from)) {
                (Ok(_), _) => {}
                (Err(error), Some(route)) => return Err(self.route_error(pod, route, error)),
                // No link-local address is wanted where there is no IPv6 at all.
                (Err(error), None)
                    if !pod.has_ipv6() && error.errno() == Some(Errno::EAFNOSUPPORT) => {}
                (Err(error), None) => return Err(error.into()),
            }
        }
        // The pod end was up before the host end. The kernel notices the carrier by and by, and drops
        // what the pod sends until then: its first ARP request, which costs it a second. It notices
        // at once when asked (Linux 6.8); what it answers is of no interest.
        let _ = self.inside.notice_carrier(&pod.pod_name);
        Ok(created)
    }

    /// Says which route is in the way, if that is what the error is about.
    fn route_error(&mut self, pod: &PodInterface, route: usize, error: netlink::Error) -> PodError {
        let Some(&address) = pod.addresses.get(route) else { return error.into() };
        if error.errno() != Some(Errno::EEXIST) {
            return error.into();
        }
        match requests::route_to(self.node, address) {
            Ok(Some(taken_by)) => {
                PodError::RouteTaken { address, interface: pod.host_name.clone(), taken_by }
            }
            // It went meanwhile, or cannot be looked up: then the kernel's own error is what we know.
            Ok(None) | Err(_) => error.into(),
        }
    }
}

/// The pod end's index: the host end's name hashed (FNV-1a), from 2^28 on. The kernel numbers
/// interfaces from 1 on; so what could have the same number is another interface of ours in the same
/// pod, one time in 2^28, which the kernel would refuse.
pub(super) fn pod_index(host_name: &str) -> u32 {
    let hash = host_name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    0x1000_0000 | (hash & 0x0fff_ffff)
}

fn is_ipv6_off(error: &PodError, pod: &PodInterface) -> bool {
    let refused = matches!(error, PodError::Netlink(e) if e.errno() == Some(Errno::EACCES));
    refused && pod.has_ipv6()
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
    Ok(())
}
