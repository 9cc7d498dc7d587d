//! What one destination should have.

use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;
use warren_types::pool::{self, Encapsulation};

use super::{
    Action, DesiredRoute, Device, Known, Links, Path, TUNNEL, tunnel_address, uses_tunnel,
};

/// What is decided for a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It gets this route.
    Route(DesiredRoute),
    /// It gets none.
    Withheld(Withheld),
}

/// Why a destination gets no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// The reason, in words.
    pub reason: String,
    /// Whether a route that the kernel has for it stays all the same. So it is where too little is
    /// known to say that the route is wrong.
    pub keep: bool,
}

/// What `prefix` should have, by its own block or path; none if nothing is known of it, or if it
/// needs no route.
///
/// It says of one destination what [`desired`](super::desired) says of all of them.
pub fn desired_route(known: &Known, links: &Links, prefix: IpNetwork) -> Option<Verdict> {
    Rules::new(known, links).verdict(prefix)
}

/// A device that routes can go through: its name, shared by all of them, and its number.
type Outlet = (Arc<str>, u32);

/// What holds for every destination, worked out once.
pub(crate) struct Rules<'a> {
    known: &'a Known,
    links: &'a Links,
    /// The tunnel, or why nothing can go through it.
    tunnel: Result<Outlet, String>,
    /// The network card, or why it is not known.
    nic: Result<(Outlet, &'a Device), Withheld>,
}

impl<'a> Rules<'a> {
    pub(crate) fn new(known: &'a Known, links: &'a Links) -> Self {
        Self { known, links, tunnel: tunnel(known, links), nic: nic(known, links) }
    }

    /// What a destination should have; none if nothing is known of it, or if it needs no route.
    pub(crate) fn verdict(&self, prefix: IpNetwork) -> Option<Verdict> {
        self.verdict_on(prefix, self.known.paths.get(&prefix))
    }

    /// The same for who knows the path to it already, if there is one.
    pub(crate) fn verdict_on(&self, prefix: IpNetwork, path: Option<&Path>) -> Option<Verdict> {
        if self.known.blocks.contains(&prefix) {
            return self.own_block(prefix);
        }
        path.map(|path| self.path(prefix, path))
    }

    /// What is wrong with the node as a whole.
    pub(super) fn problems(&self) -> Vec<String> {
        let tunnel = self.tunnel.as_ref().err().filter(|_| uses_tunnel(&self.known.pools));
        let nic = match &self.nic {
            Ok((_, nic)) if nic.up => None,
            Ok((_, nic)) => Some(is_down(&nic.name)),
            Err(why) => Some(why.reason.clone()),
        };
        tunnel.cloned().into_iter().chain(nic).collect()
    }

    /// What this node's own `block` should have; none for a block of one address, whose blackhole
    /// would take the place of the pod's own route.
    pub(super) fn own_block(&self, block: IpNetwork) -> Option<Verdict> {
        if let Some(reason) = unusable(block) {
            return Some(never(reason));
        }
        let nic = self.links.nic.iter().flat_map(|nic| &nic.addresses).map(IpNetwork::ip);
        let mut own = self.known.node_address.into_iter().chain(nic);
        if let Some(address) = own.find(|own| block.contains(*own)) {
            return Some(never(format!(
                "this node's own address {address} lies in its block {block}: \
                 choose a pool apart from the nodes' addresses"
            )));
        }
        let longest = if block.is_ipv4() { 32 } else { 128 };
        (block.prefix() < longest).then(|| self.route(block, Action::Blackhole))
    }

    /// What the destination of `path` should have.
    pub(super) fn path(&self, prefix: IpNetwork, path: &Path) -> Verdict {
        let Path { next_hop, learned_from } = path;
        if let Some(reason) = unusable(prefix) {
            return never(reason);
        }
        if next_hop.is_ipv4() != prefix.is_ipv4() {
            return never(format!("the next hop {next_hop} is of the other address family"));
        }
        // Also what is only a part of an own block: such a route would be in the way of the pod
        // that gets the address.
        if let Some(block) = self.known.blocks.iter().find(|own| pool::contains(own, &prefix)) {
            return never(format!("{learned_from} announces it, but this node owns {block}"));
        }
        if self.is_own(*next_hop) {
            return never(format!("the next hop {next_hop} is this node itself"));
        }
        if prefix.contains(*next_hop) {
            return never(format!(
                "the next hop {next_hop} lies in the destination itself: packets would go in \
                 circles"
            ));
        }
        let Some(pool) = pool::holding(&self.known.pools, &prefix) else {
            return never("it lies in no pool".to_owned());
        };
        match pool.encapsulation {
            Encapsulation::IpIp if prefix.is_ipv6() => never(format!(
                "{TUNNEL} carries IPv4 only: give pool {} the encapsulation None",
                pool.cidr
            )),
            Encapsulation::IpIp => self.by_tunnel(prefix, *next_hop),
            Encapsulation::IpIpCrossSubnet => match &self.nic {
                Ok((_, nic)) if !nic.connects(*next_hop) && prefix.is_ipv6() => never(format!(
                    "the next hop {next_hop} is in no subnet of {}, and {TUNNEL} carries IPv4 only",
                    nic.name
                )),
                Ok((_, nic)) if !nic.connects(*next_hop) => self.by_tunnel(prefix, *next_hop),
                _ => self.by_nic(prefix, *next_hop),
            },
            Encapsulation::None => match &self.nic {
                Ok((_, nic)) if !nic.connects(*next_hop) => never(format!(
                    "the next hop {next_hop} is in no subnet of {}, and pool {} has no \
                     encapsulation",
                    nic.name, pool.cidr
                )),
                _ => self.by_nic(prefix, *next_hop),
            },
            Encapsulation::Vxlan | Encapsulation::VxlanCrossSubnet => {
                never("VXLAN is not available in this version".to_owned())
            }
        }
    }

    fn by_tunnel(&self, prefix: IpNetwork, gateway: IpAddr) -> Verdict {
        match &self.tunnel {
            Ok(outlet) => self.via(prefix, gateway, outlet),
            Err(reason) => never(reason.clone()),
        }
    }

    fn by_nic(&self, prefix: IpNetwork, gateway: IpAddr) -> Verdict {
        match &self.nic {
            Ok((outlet, nic)) if nic.up => self.via(prefix, gateway, outlet),
            Ok((_, nic)) => never(is_down(&nic.name)),
            Err(why) => Verdict::Withheld(why.clone()),
        }
    }

    fn via(&self, prefix: IpNetwork, gateway: IpAddr, (device, index): &Outlet) -> Verdict {
        self.route(prefix, Action::Via { gateway, device: Arc::clone(device), index: *index })
    }

    fn route(&self, prefix: IpNetwork, action: Action) -> Verdict {
        Verdict::Route(DesiredRoute { prefix, action, protocol: self.known.route_protocol })
    }

    /// Whether `address` is one of this node's.
    fn is_own(&self, address: IpAddr) -> bool {
        let devices = [&self.links.nic, &self.links.tunnel];
        self.known.node_address == Some(address)
            || devices.into_iter().flatten().any(|device| device.holds(address))
    }
}

fn tunnel(known: &Known, links: &Links) -> Result<Outlet, String> {
    let Some(device) = &links.tunnel else {
        return Err(format!(
            "{TUNNEL} does not exist: load the ipip kernel module (modprobe ipip)"
        ));
    };
    let Some(address) = tunnel_address(&known.pools, &known.blocks) else {
        return Err(format!(
            "{TUNNEL} has no address: this node has no block in a pool with encapsulation IPIP"
        ));
    };
    if !device.up {
        return Err(is_down(TUNNEL));
    }
    // Without it the node's own packets to other nodes' pods leave with an address of no pool.
    if !device.holds(address.into()) {
        return Err(format!("{TUNNEL} lacks its address {address}"));
    }
    Ok((device.name.as_str().into(), device.index))
}

fn nic<'a>(known: &Known, links: &'a Links) -> Result<(Outlet, &'a Device), Withheld> {
    // Without a network card nothing says that the routes in the kernel are wrong: the address may
    // be back in a moment (DHCP), so they stay.
    let Some(address) = known.node_address else {
        return Err(Withheld { reason: "this node's address is not known".to_owned(), keep: true });
    };
    let Some(nic) = &links.nic else {
        let reason =
            format!("this node's address {address} is on no network device (lo does not count)");
        return Err(Withheld { reason, keep: true });
    };
    Ok(((nic.name.as_str().into(), nic.index), nic))
}

fn is_down(device: &str) -> String {
    format!("{device} is down")
}

fn never(reason: String) -> Verdict {
    Verdict::Withheld(Withheld { reason, keep: false })
}

/// Why no route can have this destination, whatever its next hop.
fn unusable(prefix: IpNetwork) -> Option<String> {
    (prefix.ip() != prefix.network())
        .then(|| format!("{prefix} has bits set behind its prefix length"))
}
