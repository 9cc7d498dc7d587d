//! What the dataplane tells the rest of the agent.

use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use ipnetwork::IpNetwork;

/// How the kernel stood after the last pass.
#[derive(Debug, Clone)]
pub struct Report {
    /// The tunnel device; none where no pool uses it.
    pub tunnel: Option<TunnelState>,
    /// The network card; none while no device holds the node's address.
    pub nic: Option<NicState>,
    /// The MTU of a pod's interface in bytes; none while there is no network card.
    pub pod_mtu: Option<u32>,
    /// Each route that there should be, in the order of their destinations, and after them each
    /// path that gets no route.
    pub routes: Vec<RouteReport>,
    /// How many routes of a former life are left until it is known whether they are still right.
    pub kept: usize,
    /// What is wrong with the node as a whole, a sentence each.
    pub problems: Vec<String>,
    /// When the pass ended. It grows at least every [`RESYNC`](super::RESYNC); a dataplane whose
    /// report is older than a few of these stands still.
    pub turned: Instant,
}

impl Default for Report {
    /// The report before the first pass.
    fn default() -> Self {
        Self {
            tunnel: None,
            nic: None,
            pod_mtu: None,
            routes: Vec::new(),
            kept: 0,
            problems: vec!["the node's routes have not been looked at yet".to_owned()],
            turned: Instant::now(),
        }
    }
}

/// The tunnel device as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelState {
    /// Its name.
    pub device: String,
    /// The address that it should have, if it has it.
    pub address: Option<IpAddr>,
    /// Its MTU in bytes, 0 while it does not exist.
    pub mtu: u32,
    /// Whether it exists, is up and has its address.
    pub up: bool,
}

/// The network card as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicState {
    /// Its name.
    pub device: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
}

/// A route that there should be, or a path that gets none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteReport {
    /// The destination.
    pub prefix: IpNetwork,
    /// The route in the words of `ip route`; of a path that gets none, its next hop.
    pub words: String,
    /// The peer that told of it; none for this node's own blocks.
    pub learned_from: Option<IpAddr>,
    /// Whether the kernel has it.
    pub programmed: bool,
    /// Why it has not.
    pub problem: Option<String>,
    /// Since when there is a problem.
    pub since: Option<SystemTime>,
}
