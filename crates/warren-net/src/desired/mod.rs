//! What the node's tunnel and routes should be: a pure function of what is known.
//!
//! Nothing here touches the kernel. [`Known`] is what the rest of the agent has found out,
//! [`Links`] is what the kernel says of the two devices that matter, and [`desired`] says what
//! follows. What one destination should have depends on nothing but these two and its own path, so
//! that a changed path costs one [`desired_route`].

mod decide;
mod route;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use warren_types::pool::{self, Pool};

use crate::table::Table;

pub(crate) use decide::Rules;
pub use decide::{Verdict, Withheld, desired_route};
pub use route::{Action, DesiredRoute, protocol_name};

/// The tunnel device: the namespace's fallback device of the kernel's `ipip` module.
pub const TUNNEL: &str = "tunl0";

/// What the agent knows apart from the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The node's own address, the outer source of its tunnel packets.
    pub node_address: Option<IpAddr>,
    /// The addresses of the cluster's nodes, as far as the datastore knows them.
    pub nodes: BTreeSet<IpAddr>,
    /// The address pools.
    pub pools: Vec<Pool>,
    /// The node's own blocks, in the order of use.
    pub blocks: Vec<IpNetwork>,
    /// The best path to each other node's block.
    pub paths: Table<Path>,
    /// The protocol number that marks this agent's routes in the kernel.
    pub route_protocol: u8,
    /// Whether `paths` can be taken as complete.
    ///
    /// After a restart the routes of the former life are still in the kernel and still right, but
    /// no peer has said so again yet. While this is false no route is deleted, only added or
    /// corrected; once it is true what nobody announced again goes.
    pub settled: bool,
}

impl Known {
    /// Whether IPv6 is this node's business.
    pub(crate) fn uses_ipv6(&self) -> bool {
        let pools = self.pools.iter().map(|pool| &pool.cidr);
        pools.chain(&self.blocks).any(IpNetwork::is_ipv6)
    }

    /// Whether both say the same but for the paths and whether these are complete, so that what a
    /// destination should have differs only where its path does.
    pub fn has_the_settings_of(&self, other: &Self) -> bool {
        let Self { node_address, nodes, pools, blocks, paths: _, route_protocol, settled: _ } =
            self;
        *node_address == other.node_address
            && *nodes == other.nodes
            && *pools == other.pools
            && *blocks == other.blocks
            && *route_protocol == other.route_protocol
    }
}

/// Where to send packets for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// The node that has the destination.
    pub next_hop: IpAddr,
    /// The peer that told of it.
    pub learned_from: IpAddr,
}

/// A network device as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is up (`IFF_UP`).
    pub up: bool,
    /// Its addresses, each with the prefix length of its subnet.
    pub addresses: Vec<IpNetwork>,
}

impl Device {
    /// Whether `address` is in a subnet of one of the device's addresses.
    pub fn connects(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|subnet| subnet.contains(address))
    }

    /// Whether the device holds `address` itself.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|subnet| subnet.ip() == address)
    }
}

/// The facts of the kernel that the routes depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// [`TUNNEL`], if it exists.
    pub tunnel: Option<Device>,
    /// The network card: the device that holds the node's address.
    pub nic: Option<Device>,
}

/// What [`TUNNEL`] should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelDevice {
    /// Its name.
    pub name: &'static str,
    /// Its MTU in bytes; none while no device holds the node's address: then it stays as it is.
    pub mtu: Option<u32>,
    /// Its address; none while the node has no block to take it from.
    pub address: Option<Ipv4Addr>,
}

/// What the kernel should have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// The tunnel; none where no pool uses it: then the device is nobody's business.
    pub tunnel: Option<TunnelDevice>,
    /// The routes.
    pub routes: BTreeMap<IpNetwork, DesiredRoute>,
    /// The paths that get no route, and why. A destination can be here and among the routes: this
    /// node's own block, when a peer announces it too.
    pub withheld: BTreeMap<IpNetwork, Withheld>,
    /// The MTU of a pod's interface in bytes; none while no device holds the node's address.
    pub pod_mtu: Option<u32>,
    /// What is wrong with the node as a whole, a sentence each.
    pub problems: Vec<String>,
}

/// What follows from what is known.
pub fn desired(known: &Known, links: &Links) -> Desired {
    let rules = Rules::new(known, links);
    let mut desired = Desired {
        tunnel: tunnel(known, links),
        pod_mtu: links.nic.as_ref().map(|nic| nic.mtu.saturating_sub(overhead(&known.pools))),
        problems: rules.problems(),
        ..Desired::default()
    };
    for block in &known.blocks {
        match rules.own_block(*block) {
            Some(Verdict::Route(route)) => drop(desired.routes.insert(*block, route)),
            Some(Verdict::Withheld(why)) => drop(desired.withheld.insert(*block, why)),
            None => {}
        }
    }
    for (prefix, path) in known.paths.iter() {
        match rules.path(*prefix, path) {
            Verdict::Route(route) => drop(desired.routes.insert(*prefix, route)),
            Verdict::Withheld(why) => drop(desired.withheld.insert(*prefix, why)),
        }
    }
    desired
}

/// The address of [`TUNNEL`]: the first address of the first own block that lies in an IPIP pool.
///
/// Pods never get it. It is the source of what the node itself sends to pods of other nodes.
pub fn tunnel_address(pools: &[Pool], blocks: &[IpNetwork]) -> Option<Ipv4Addr> {
    blocks.iter().find_map(|block| match (block, pool::holding(pools, block)) {
        (IpNetwork::V4(block), Some(pool)) if pool.encapsulation.uses_ipip() => {
            Some(block.network())
        }
        _ => None,
    })
}

/// Whether any pool sends packets through [`TUNNEL`].
pub(crate) fn uses_tunnel(pools: &[Pool]) -> bool {
    pools.iter().any(|pool| pool.encapsulation.uses_ipip())
}

/// What [`TUNNEL`] should be; none where no pool uses it.
pub fn tunnel(known: &Known, links: &Links) -> Option<TunnelDevice> {
    const IPIP_HEADER: u32 = 20;
    uses_tunnel(&known.pools).then(|| TunnelDevice {
        name: TUNNEL,
        mtu: links.nic.as_ref().map(|nic| nic.mtu.saturating_sub(IPIP_HEADER)),
        address: tunnel_address(&known.pools, &known.blocks),
    })
}

/// The most that a pool's outer header takes: a pod does not know which way its packets go.
fn overhead(pools: &[Pool]) -> u32 {
    pools.iter().map(|pool| pool.encapsulation.overhead()).max().unwrap_or(0)
}
