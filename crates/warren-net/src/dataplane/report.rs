//! What the dataplane tells the rest of the agent.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ipnetwork::IpNetwork;

use crate::desired::{Desired, Known, Links, desired};

/// How the kernel stood after the last pass.
#[derive(Debug, Clone)]
pub struct Report {
    /// The tunnel device; none where no pool uses it.
    pub tunnel: Option<TunnelState>,
    /// The network card; none while no device holds the node's address.
    pub nic: Option<NicState>,
    /// The MTU of a pod's interface in bytes; none while there is no network card.
    pub pod_mtu: Option<u32>,
    /// How many destinations there are: routes that there should be, and paths that get none.
    pub desired: usize,
    /// How many of them the kernel has a route for.
    pub programmed: usize,
    /// Routes that there should be and are not, in the order of their destinations.
    pub refused: Vec<RouteReport>,
    /// Paths that get no route, in the order of their destinations.
    pub withheld: Vec<RouteReport>,
    /// How many routes of a former life are left until it is known whether they are still right.
    pub kept: usize,
    /// What is wrong with the node as a whole, a sentence each.
    pub problems: Vec<String>,
    /// When the pass ended. It grows at least every [`RESYNC`](super::RESYNC); a dataplane whose
    /// report is older than a few of these stands still.
    pub turned: Instant,
    /// What [`Report::routes`] follows from; none before the first pass.
    pub(super) source: Option<(Arc<Known>, Links)>,
}

impl Report {
    /// Each route that there should be, in the order of their destinations, and after them each
    /// path that gets no route.
    ///
    /// It is worked out here, when somebody asks: a report is made after every change, and all of
    /// the routes are many.
    pub fn routes(&self) -> Vec<RouteReport> {
        let Some((known, links)) = &self.source else { return Vec::new() };
        let Desired { routes, .. } = desired(known, links);
        let mut refused = self.refused.iter().peekable();
        let rows = routes.into_values().map(|route| {
            match refused.next_if(|refused| refused.prefix <= route.prefix) {
                Some(refused) => refused.clone(),
                None => RouteReport {
                    prefix: route.prefix,
                    words: route.to_string(),
                    learned_from: learned_from(known, &route.prefix),
                    programmed: true,
                    problem: None,
                    since: None,
                },
            }
        });
        rows.chain(self.withheld.iter().cloned()).collect()
    }

    /// What is not as it should be.
    pub fn drift(&self) -> impl Iterator<Item = &RouteReport> {
        self.refused.iter().chain(&self.withheld)
    }
}

/// The peer that told of a destination; none for this node's own blocks.
pub(super) fn learned_from(known: &Known, prefix: &IpNetwork) -> Option<IpAddr> {
    let path = known.paths.get(prefix).filter(|_| !known.blocks.contains(prefix));
    path.map(|path| path.learned_from)
}

impl Default for Report {
    /// The report before the first pass.
    fn default() -> Self {
        Self {
            tunnel: None,
            nic: None,
            pod_mtu: None,
            desired: 0,
            programmed: 0,
            refused: Vec::new(),
            withheld: Vec::new(),
            kept: 0,
            problems: vec!["the node's routes have not been looked at yet".to_owned()],
            turned: Instant::now(),
            source: None,
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
