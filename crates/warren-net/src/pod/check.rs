//! Comparing a pod's connection with what it should be.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::route::{RouteScope, RouteType};

use super::requests::{self, Link, Route};
use super::{GATEWAY, GATEWAY6, HOST_MAC, PodInterface, host_sysctl, ipv6};
use crate::namespace::Namespace;
use crate::netlink::Socket;
use crate::netlink::requests::{show_link, show_link_number};
use crate::pod::PodError;
use crate::sysctl;

/// Where an interface is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In the node's namespace: the host end.
    Node,
    /// In the pod's namespace: the pod end.
    Pod,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "on the node",
            Self::Pod => "in the pod's namespace",
        })
    }
}

/// One thing that is not as [`super::create`] made it. It displays as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// An end of the pair is gone. What belongs to it is not looked at any further.
    Missing {
        /// Where.
        side: Side,
        /// What it was called.
        interface: String,
    },
    /// An end of the pair has another name.
    Renamed {
        /// Where.
        side: Side,
        /// What it was called.
        expected: String,
        /// What it is called.
        found: String,
    },
    /// The two interfaces of the right names are not the two ends of one pair.
    NotPaired {
        /// The host end's name.
        host: String,
        /// The pod end's name.
        pod: String,
    },
    /// An end of the pair is down.
    Down {
        /// Where.
        side: Side,
        /// The interface.
        interface: String,
    },
    /// An end of the pair has another MTU.
    Mtu {
        /// Where.
        side: Side,
        /// The interface.
        interface: String,
        /// What was set, in bytes.
        expected: u32,
        /// What there is, in bytes.
        found: u32,
    },
    /// An end of the pair has another MAC address.
    Mac {
        /// Where.
        side: Side,
        /// The interface.
        interface: String,
        /// What was set.
        expected: [u8; 6],
        /// What there is.
        found: Vec<u8>,
    },
    /// The pod lacks an address.
    AddressMissing {
        /// The pod end.
        interface: String,
        /// The address that was given.
        expected: IpAddr,
        /// The addresses that there are, with their prefix lengths.
        found: Vec<(IpAddr, u8)>,
    },
    /// The host end lacks the address of the pod's IPv6 next hop.
    NextHopMissing {
        /// The host end.
        interface: String,
    },
    /// The pod lacks one of its routes.
    PodRouteMissing {
        /// The route, in iproute2's words.
        route: String,
    },
    /// The node lacks the route to the pod.
    HostRouteMissing {
        /// The pod's address.
        address: IpAddr,
        /// The host end.
        interface: String,
        /// Another route to the same address, in iproute2's words.
        found: Option<String>,
    },
    /// A kernel parameter of the host end has another value.
    Sysctl {
        /// The parameter, by its path under /proc/sys.
        key: String,
        /// What was set.
        expected: &'static str,
        /// What there is. None: there is no such parameter.
        found: Option<String>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { side, interface } => {
                write!(f, "interface {interface} is missing {side}")
            }
            Self::Renamed { side, expected, found } => {
                write!(f, "interface {expected} is called {found} {side}")
            }
            Self::NotPaired { host, pod } => write!(
                f,
                "interface {host} on the node and interface {pod} in the pod's namespace are not \
                 the two ends of one veth pair"
            ),
            Self::Down { side, interface } => write!(f, "interface {interface} is down {side}"),
            Self::Mtu { side, interface, expected, found } => {
                write!(
                    f,
                    "the MTU of interface {interface} {side} is {found} instead of {expected}"
                )
            }
            Self::Mac { side, interface, expected, found } => write!(
                f,
                "the MAC address of interface {interface} {side} is {} instead of {}",
                mac_words(found),
                mac_words(expected)
            ),
            Self::AddressMissing { interface, expected, found } => {
                write!(
                    f,
                    "interface {interface} in the pod's namespace lacks the address {} ",
                    IpNetwork::from(*expected)
                )?;
                let found: Vec<String> =
                    found.iter().map(|(address, length)| format!("{address}/{length}")).collect();
                match found.as_slice() {
                    [] => f.write_str("and has no other"),
                    found => write!(f, "and has {}", found.join(", ")),
                }
            }
            Self::NextHopMissing { interface } => write!(
                f,
                "interface {interface} on the node lacks the address {}, the pod's next hop",
                requests::gateway6()
            ),
            Self::PodRouteMissing { route } => {
                write!(f, "the route {route} is missing in the pod's namespace")
            }
            Self::HostRouteMissing { address, interface, found } => {
                write!(f, "the route {address} dev {interface} scope link is missing on the node")?;
                match found {
                    Some(route) => write!(f, ", which has {route} instead"),
                    None => Ok(()),
                }
            }
            Self::Sysctl { key, expected, found: Some(found) } => {
                write!(f, "sysctl {key} on the node is {found} instead of {expected}")
            }
            Self::Sysctl { key, expected, found: None } => {
                write!(f, "sysctl {key} on the node is missing and should be {expected}")
            }
        }
    }
}

fn mac_words(mac: &[u8]) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Compares the connection of the pod in `namespace` with `pod`, as [`super::create`] would have
/// made it, and lists what differs. Empty: all is well.
///
/// What others may have added (further addresses, further routes) is no difference.
///
/// # Errors
/// When the kernel does not tell.
pub fn check(namespace: &Namespace, pod: &PodInterface) -> Result<Vec<Difference>, PodError> {
    let mut node = Socket::open()?;
    let mut inside = Socket::open_in(namespace)?;
    let mut differences = Vec::new();

    let by_name = requests::find(&mut node, show_link(&pod.host_name))?;
    let pod_by_name = requests::find(&mut inside, show_link(&pod.pod_name))?;
    // An end that is not found by its name may still be found as the peer of the other end.
    let host = match (&by_name, &pod_by_name) {
        (None, Some(peer)) => other_end(&mut node, peer)?,
        _ => by_name,
    };
    let end = match (&pod_by_name, &host) {
        (None, Some(peer)) => other_end(&mut inside, peer)?,
        _ => pod_by_name,
    };
    if let (Some(host), Some(end)) = (&host, &end)
        && (host.peer, end.peer) != (Some(end.index), Some(host.index))
    {
        differences
            .push(Difference::NotPaired { host: pod.host_name.clone(), pod: pod.pod_name.clone() });
    }

    compare_link(&mut differences, Side::Node, &pod.host_name, host.as_ref(), pod, Some(HOST_MAC));
    if let Some(host) = &host {
        compare_host_routes(&mut differences, &mut node, pod, host)?;
        compare_next_hop(&mut differences, &mut node, pod, host)?;
        compare_sysctls(&mut differences, &host.name, pod)?;
    }
    compare_link(&mut differences, Side::Pod, &pod.pod_name, end.as_ref(), pod, pod.pod_mac);
    if let Some(end) = &end {
        compare_addresses(&mut differences, &mut inside, pod, end)?;
        compare_pod_routes(&mut differences, &mut inside, pod, end)?;
    }
    Ok(differences)
}

/// The link that says of itself to be the other end of `peer`.
fn other_end(socket: &mut Socket, peer: &Link) -> Result<Option<Link>, PodError> {
    let Some(index) = peer.peer else {
        return Ok(None);
    };
    let found = requests::find(socket, show_link_number(index))?;
    Ok(found.filter(|link| link.peer == Some(peer.index)))
}

fn compare_link(
    differences: &mut Vec<Difference>,
    side: Side,
    name: &str,
    link: Option<&Link>,
    pod: &PodInterface,
    mac: Option<[u8; 6]>,
) {
    let interface = name.to_string();
    let Some(link) = link else {
        differences.push(Difference::Missing { side, interface });
        return;
    };
    if link.name != name {
        differences.push(Difference::Renamed {
            side,
            expected: interface.clone(),
            found: link.name.clone(),
        });
    }
    if !link.up {
        differences.push(Difference::Down { side, interface: interface.clone() });
    }
    if link.mtu != pod.mtu {
        differences.push(Difference::Mtu {
            side,
            interface: interface.clone(),
            expected: pod.mtu,
            found: link.mtu,
        });
    }
    if let Some(expected) = mac
        && link.mac != expected
    {
        differences.push(Difference::Mac { side, interface, expected, found: link.mac.clone() });
    }
}

fn compare_host_routes(
    differences: &mut Vec<Difference>,
    node: &mut Socket,
    pod: &PodInterface,
    host: &Link,
) -> Result<(), PodError> {
    for &address in &pod.addresses {
        let routes = requests::routes(node, Some(host.index), address)?;
        if !routes.iter().any(|route| route.is_to(address) && is_on_link(route)) {
            differences.push(Difference::HostRouteMissing {
                address,
                interface: pod.host_name.clone(),
                found: requests::route_to(node, address)?,
            });
        }
    }
    Ok(())
}

fn compare_next_hop(
    differences: &mut Vec<Difference>,
    node: &mut Socket,
    pod: &PodInterface,
    host: &Link,
) -> Result<(), PodError> {
    if pod.has_ipv6() {
        let found = requests::addresses(node, host, GATEWAY6.into())?;
        if !found.contains(&(GATEWAY6.into(), requests::gateway6().prefix())) {
            differences.push(Difference::NextHopMissing { interface: pod.host_name.clone() });
        }
    }
    Ok(())
}

fn compare_sysctls(
    differences: &mut Vec<Difference>,
    interface: &str,
    pod: &PodInterface,
) -> Result<(), PodError> {
    let mut settings: Vec<_> = host_sysctl::SETTINGS
        .iter()
        .map(|setting| (setting.key(interface), setting.value, setting.optional))
        .collect();
    if pod.has_ipv6() {
        settings.push((ipv6::key(interface), "0", false));
    }
    for (key, expected, optional) in settings {
        let found = match sysctl::read(&key) {
            Err(error) if error.is_missing() && optional => continue,
            Err(error) if error.is_missing() => None,
            found => Some(found?),
        };
        if found.as_deref() != Some(expected) {
            differences.push(Difference::Sysctl { key, expected, found });
        }
    }
    Ok(())
}

fn compare_addresses(
    differences: &mut Vec<Difference>,
    inside: &mut Socket,
    pod: &PodInterface,
    end: &Link,
) -> Result<(), PodError> {
    for &expected in &pod.addresses {
        let found = requests::addresses(inside, end, expected)?;
        if !found.contains(&(expected, IpNetwork::from(expected).prefix())) {
            differences.push(Difference::AddressMissing {
                interface: pod.pod_name.clone(),
                expected,
                found: found.into_iter().filter(|(address, _)| !is_link_local(*address)).collect(),
            });
        }
    }
    Ok(())
}

/// Whether the kernel gave the interface that address of its own accord.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn compare_pod_routes(
    differences: &mut Vec<Difference>,
    inside: &mut Socket,
    pod: &PodInterface,
    end: &Link,
) -> Result<(), PodError> {
    let families =
        [(pod.has_ipv4(), IpAddr::from(GATEWAY)), (pod.has_ipv6(), IpAddr::from(GATEWAY6))];
    for (_, gateway) in families.into_iter().filter(|(has, _)| *has) {
        let mut routes = requests::routes(inside, Some(end.index), gateway)?;
        if gateway.is_ipv4() {
            routes.retain(|route| route.metric == pod.metric);
            if !routes.iter().any(|route| route.is_to(gateway) && is_on_link(route)) {
                differences.push(Difference::PodRouteMissing {
                    route: format!("{gateway} dev {} scope link", pod.pod_name),
                });
            }
        }
        let is_default = |route: &Route| {
            route.length == 0 && route.kind == RouteType::Unicast && route.gateway == Some(gateway)
        };
        if !routes.iter().any(is_default) {
            differences.push(Difference::PodRouteMissing {
                route: format!("default via {gateway} dev {}", pod.pod_name),
            });
        }
    }
    Ok(())
}

fn is_on_link(route: &Route) -> bool {
    // IPv6 has no such scope.
    let near = route.scope == RouteScope::Link || route.destination.is_ipv6();
    route.kind == RouteType::Unicast && near && route.gateway.is_none()
}
