//! What there is of pods on the node, and mending it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_route::route::RouteType;
use nix::errno::Errno;

use super::{GATEWAY, GATEWAY6, create, ipv6, requests};
use crate::netlink::requests::show_link;
use crate::netlink::{self, Socket};

/// All that can belong to pods in the calling thread's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The ends of veth pairs whose other end is in another namespace.
    pub ends: Vec<HostEnd>,
    /// The routes to one address each that lead to one of these.
    pub routes: Vec<HostRoute>,
}

/// An end of a veth pair on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEnd {
    /// What it is called.
    pub name: String,
    /// The index of the other end, in its namespace.
    peer: u32,
}

/// A route to one address by one of the [ends](HostEnd).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// Where it leads.
    pub address: IpAddr,
    /// The end's name.
    pub interface: String,
}

impl HostEnd {
    /// Whether [`super::create`] made it with this name, whatever it is called now: of the pairs that it
    /// makes, the pod end's index follows from the host end's name.
    pub fn was_made_as(&self, host_name: &str) -> bool {
        self.peer == create::pod_index(host_name)
    }

    /// Whether [`super::create`] made it. Other plugins' pairs may have such names, but not such a
    /// number at the other end.
    pub fn is_ours(&self) -> bool {
        self.was_made_as(&self.name)
    }
}

/// Looks at the calling thread's namespace.
///
/// # Errors
/// When the kernel does not tell.
pub fn inventory() -> Result<Inventory, netlink::Error> {
    let mut socket = Socket::open()?;
    let mut ends = Vec::new();
    let mut names = BTreeMap::new();
    for link in requests::veths(&mut socket)? {
        if let Some(peer) = link.peer {
            names.insert(link.index, link.name.clone());
            ends.push(HostEnd { name: link.name, peer });
        }
    }
    ends.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut routes = Vec::new();
    // Asked for a family that it does not have, the kernel tells of the others.
    let families = [Some(IpAddr::from(GATEWAY)), ipv6::is_available().then_some(GATEWAY6.into())];
    for family in families.into_iter().flatten() {
        for route in requests::routes(&mut socket, None, family)? {
            let name = route.interface.and_then(|index| names.get(&index));
            let is_direct = route.gateway.is_none() && route.kind == RouteType::Unicast;
            if let Some(name) = name.filter(|_| is_direct && route.is_to(route.destination)) {
                routes.push(HostRoute { address: route.destination, interface: name.clone() });
            }
        }
    }
    routes.sort_unstable_by(|a, b| (a.address, &a.interface).cmp(&(b.address, &b.interface)));
    Ok(Inventory { ends, routes })
}

/// Puts `<address> dev <interface> scope link` in place, and another route to the address out of it.
/// False: there is no such interface.
///
/// # Errors
/// When the kernel refuses.
pub fn restore_route(address: IpAddr, interface: &str) -> Result<bool, netlink::Error> {
    let mut socket = Socket::open()?;
    let Some(link) = requests::find(&mut socket, show_link(interface))? else { return Ok(false) };
    socket.request(requests::replace_host_route(address, interface, link.index))?;
    Ok(true)
}

/// Removes the route to `address` by the interface. False: there is no such interface or route.
///
/// # Errors
/// When the kernel refuses.
pub fn remove_route(address: IpAddr, interface: &str) -> Result<bool, netlink::Error> {
    let mut socket = Socket::open()?;
    let Some(link) = requests::find(&mut socket, show_link(interface))? else { return Ok(false) };
    match socket.request(requests::delete_host_route(address, interface, link.index)) {
        Err(error) if error.errno() == Some(Errno::ESRCH) => Ok(false),
        outcome => outcome.map(|_| true),
    }
}
