//! Which routes of a peer this node believes (RFC 4271, 9.1.1).
//!
//! A pure function of the policy, the session and the route: [`Import::check`]. What an operator
//! will one day add by name (the match and action rules of a BGPFilter) belongs behind it, in the
//! same place: these checks are the ones that hold on every node.

mod prefix_map;

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::message::{AsPathSegment, Attributes};
use prefix_map::PrefixMap;

pub(crate) use prefix_map::network;

/// What this node knows of the cluster's addresses. The default knows no pool and so refuses
/// every route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportPolicy {
    /// The ranges that pod addresses come from: a route must lie inside one of them.
    pub pools: Vec<IpNetwork>,
    /// This node's own blocks.
    pub own_blocks: Vec<IpNetwork>,
    /// Blocks whose node is known, each with that node's address. A block that is not here may be
    /// announced by any peer.
    pub owners: Vec<(IpNetwork, IpAddr)>,
}

/// Why a route was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The route is `0.0.0.0/0` or `::/0`.
    DefaultRoute,
    /// This node's own AS number is in AS_PATH (RFC 4271, 9.1.2).
    AsLoop,
    /// NEXT_HOP is this node's own address (RFC 4271, 5.1.3).
    OwnNextHop,
    /// The route does not lie inside a pool.
    OutsidePools,
    /// The route lies inside one of this node's own blocks, or covers one.
    OwnBlock,
    /// The route lies inside a block of a node that is neither NEXT_HOP nor the peer.
    OthersBlock,
}

impl Refusal {
    /// The reason in words, as the status shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DefaultRoute => "default route",
            Self::AsLoop => "own AS number in AS_PATH",
            Self::OwnNextHop => "own address as NEXT_HOP",
            Self::OutsidePools => "outside the pools",
            Self::OwnBlock => "own block",
            Self::OthersBlock => "block of another node",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The session that a route came by, as far as policy cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// This node's AS number on the session.
    pub local_as: u32,
    /// This node's address on the session.
    pub local_address: IpAddr,
    /// The peer's address.
    pub peer: IpAddr,
}

/// An [`ImportPolicy`] made ready for look-ups: checking a route costs the same with ten known
/// blocks and with ten thousand.
#[derive(Debug, Clone, Default)]
pub struct Import {
    pools: PrefixMap<()>,
    own_blocks: PrefixMap<()>,
    owners: PrefixMap<IpAddr>,
}

impl From<&ImportPolicy> for Import {
    fn from(policy: &ImportPolicy) -> Self {
        Self {
            pools: policy.pools.iter().map(|pool| (*pool, ())).collect(),
            own_blocks: policy.own_blocks.iter().map(|block| (*block, ())).collect(),
            owners: policy.owners.iter().copied().collect(),
        }
    }
}

impl Import {
    /// Whether a route with these attributes may be used.
    ///
    /// # Errors
    /// The first reason that holds, in the order of [`Refusal`].
    pub fn check(
        &self,
        arrival: &Arrival,
        prefix: &IpNetwork,
        attributes: &Attributes,
    ) -> Result<(), Refusal> {
        if prefix.prefix() == 0 {
            return Err(Refusal::DefaultRoute);
        }
        if has_as(&attributes.as_path, arrival.local_as) {
            return Err(Refusal::AsLoop);
        }
        if attributes.next_hop == arrival.local_address {
            return Err(Refusal::OwnNextHop);
        }
        if self.pools.holding(prefix).is_none() {
            return Err(Refusal::OutsidePools);
        }
        if self.own_blocks.holding(prefix).is_some() || self.own_blocks.has_inside(prefix) {
            return Err(Refusal::OwnBlock);
        }
        // NEXT_HOP counts as well as the peer: a route reflector passes on what others announced.
        match self.owners.holding(prefix) {
            Some(owner) if *owner != attributes.next_hop && *owner != arrival.peer => {
                Err(Refusal::OthersBlock)
            }
            _ => Ok(()),
        }
    }
}

fn has_as(path: &[AsPathSegment], number: u32) -> bool {
    path.iter().any(|segment| match segment {
        AsPathSegment::Sequence(numbers) | AsPathSegment::Set(numbers) => numbers.contains(&number),
    })
}

#[cfg(test)]
mod tests;
