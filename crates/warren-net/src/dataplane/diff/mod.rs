//! What must change in the kernel's main table: a pure function of what is there and what should
//! be.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use foldhash::HashSet;
use ipnetwork::IpNetwork;
use netlink_packet_route::route::RouteType;
use warren_types::pool::{self, Pool};

use crate::desired::{Action, Desired, DesiredRoute, protocol_name};

/// A route of the main table as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRoute {
    /// Its destination.
    pub prefix: IpNetwork,
    /// Whose it is.
    pub protocol: u8,
    /// Its metric; the smallest wins.
    pub metric: u32,
    /// The type of service that it is for; 0 is for all.
    pub tos: u8,
    /// What happens to a packet.
    pub kind: RouteType,
    /// The next hop, if it has exactly one.
    pub gateway: Option<IpAddr>,
    /// The device, if it has exactly one.
    pub index: Option<u32>,
    /// Whether the next hop is taken as reachable by the device.
    pub onlink: bool,
    /// Whether it has anything that our routes never have: several next hops, a preferred source,
    /// an MTU of its own.
    pub special: bool,
}

impl From<&DesiredRoute> for KernelRoute {
    /// The route as the kernel has it once it is written.
    fn from(route: &DesiredRoute) -> Self {
        let (kind, gateway, index, onlink) = match &route.action {
            Action::Blackhole => (RouteType::BlackHole, None, None, false),
            Action::Via { gateway, index, .. } => {
                (RouteType::Unicast, Some(*gateway), Some(*index), true)
            }
        };
        let (prefix, protocol) = (route.prefix, route.protocol);
        let (metric, tos, special) = (usual_metric(&prefix), 0, false);
        Self { prefix, protocol, metric, tos, kind, gateway, index, onlink, special }
    }
}

impl KernelRoute {
    /// Whether it is `route`, in every respect.
    pub fn is(&self, route: &DesiredRoute) -> bool {
        let same_action = match &route.action {
            Action::Blackhole => self.kind == RouteType::BlackHole,
            Action::Via { gateway, index, .. } => {
                self.kind == RouteType::Unicast
                    && self.gateway == Some(*gateway)
                    && self.index == Some(*index)
                    && self.onlink
            }
        };
        same_action
            && self.prefix == route.prefix
            && self.protocol == route.protocol
            && self.is_in_the_place_of_ours()
            && !self.special
    }

    /// Whether the kernel looks it up where it looks up our routes: one key holds several routes,
    /// and the first of them is used.
    pub fn is_in_the_place_of_ours(&self) -> bool {
        self.metric == usual_metric(&self.prefix) && self.tos == 0
    }

    /// The route in the words of `ip route`; `names` are those of the devices.
    pub fn words(&self, names: &BTreeMap<u32, String>) -> String {
        let mut words = match self.kind {
            RouteType::Unicast => String::new(),
            RouteType::BlackHole => "blackhole ".to_owned(),
            kind => format!("{kind:?} ").to_lowercase(),
        };
        words += &self.prefix.to_string();
        if let Some(gateway) = self.gateway {
            words += &format!(" via {gateway}");
        }
        if let Some(index) = self.index {
            let number = || format!("if{index}");
            words += &format!(" dev {}", names.get(&index).cloned().unwrap_or_else(number));
        }
        words + &format!(" proto {}", protocol_name(self.protocol))
    }
}

/// The metric of a route that is written without one.
fn usual_metric(prefix: &IpNetwork) -> u32 {
    /// IP6_RT_PRIO_USER of linux/ipv6_route.h.
    const IPV6: u32 = 1024;
    if prefix.is_ipv4() { 0 } else { IPV6 }
}

/// Which routes this agent may delete.
#[derive(Debug, Clone, Copy)]
pub struct Realm<'a> {
    /// The number that marks its routes.
    pub protocol: u8,
    /// Whether anything may be deleted yet; see [`Known::settled`](crate::desired::Known::settled).
    pub settled: bool,
    /// The address pools.
    pub pools: &'a [Pool],
    /// The kernel's number for the tunnel device.
    pub tunnel: Option<u32>,
    /// The destinations that this very process gave routes to.
    pub written: &'a HashSet<IpNetwork>,
}

impl Realm<'_> {
    /// Whether `route` is this agent's, of this or of a former life.
    ///
    /// The protocol number alone does not tell: 12 is that of every BIRD, and one may run on the
    /// same host and keep the host's own default route. What lies inside the pools is ours, and so
    /// is what goes through the tunnel device; of the rest, only what this process wrote itself.
    fn holds(&self, route: &KernelRoute) -> bool {
        self.has(route.protocol, &route.prefix, route.index)
    }

    /// The same by the three things that matter.
    pub fn has(&self, protocol: u8, prefix: &IpNetwork, index: Option<u32>) -> bool {
        protocol == self.protocol
            && (pool::holding(self.pools, prefix).is_some()
                || (self.tunnel.is_some() && index == self.tunnel)
                || self.written.contains(prefix))
    }
}

/// A route to be put into the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The route.
    pub route: DesiredRoute,
    /// Whether it takes the place of one of ours. Else there must be none, and the kernel is told
    /// so: another's route that appears meanwhile is not overwritten.
    pub replace: bool,
}

/// What must change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Routes that are missing or wrong.
    pub write: Vec<Write>,
    /// Routes of this agent that should not be there.
    pub delete: Vec<KernelRoute>,
    /// Destinations that another's route holds, and that route. They are left to it.
    pub held: BTreeMap<IpNetwork, KernelRoute>,
    /// Routes of a former life that stay until it is known whether they are still right.
    pub kept: Vec<KernelRoute>,
}

/// What must change so that the table has what is desired. `table` is the main table in the
/// kernel's own order, which says which of several routes for one destination it uses.
pub fn diff(desired: &Desired, mut table: Vec<KernelRoute>, realm: &Realm<'_>) -> Difference {
    // The sort is stable: routes for the same destination stay in the kernel's order.
    table.sort_by_key(|route| route.prefix);
    let mut difference = Difference::default();
    for route in desired.routes.values() {
        let from = table.partition_point(|there| there.prefix < route.prefix);
        let mut there = table
            .get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(|there| there.prefix == route.prefix)
            .filter(|there| there.is_in_the_place_of_ours());
        match there.next() {
            None => difference.write.push(Write { route: route.clone(), replace: false }),
            Some(first) if first.protocol != realm.protocol => {
                difference.held.insert(route.prefix, first.clone());
            }
            // If the right one is there behind a wrong one, deleting the wrong one is enough.
            Some(first) if first.is(route) || there.any(|there| there.is(route)) => {}
            Some(_) => difference.write.push(Write { route: route.clone(), replace: true }),
        }
    }
    let mut replaced: BTreeSet<_> =
        difference.write.iter().filter(|w| w.replace).map(|w| w.route.prefix).collect();
    for route in table {
        let wanted = desired.routes.get(&route.prefix);
        let ours = route.protocol == realm.protocol && (wanted.is_some() || realm.holds(&route));
        let right = wanted.is_some_and(|wanted| route.is(wanted));
        // A replacement takes the place of the first one, and of it only.
        if !ours || right || (route.is_in_the_place_of_ours() && replaced.remove(&route.prefix)) {
            continue;
        }
        // Where it is known what the destination should have, a further route is wrong at any time.
        let undecided = !realm.settled
            || desired.withheld.get(&route.prefix).is_some_and(|withheld| withheld.keep);
        if undecided && wanted.is_none() {
            difference.kept.push(route);
        } else {
            difference.delete.push(route);
        }
    }
    difference
}
