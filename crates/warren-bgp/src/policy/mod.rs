//! Which routes of a peer this node believes (RFC 4271, 9.1.1).
//!
//! A pure function of the policy, the session and the route: [`Import::judge`]. The checks of
//! [`Import::check`] hold on every node and come first; what an operator adds for a peer, by the
//! rules of its [`PeerPolicy`], comes after them and can only be stricter.

mod community;
mod extended;
mod filter;
mod prefix_map;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use crate::message::{AsPathSegment, Attributes, Family};
use crate::role::Role;

pub use community::{
    Community, GRACEFUL_SHUTDOWN, LLGR_STALE, NO_ADVERTISE, NO_EXPORT, NO_EXPORT_SUBCONFED,
    NO_LLGR, NoCommunity,
};
pub(crate) use filter::prepend;
pub use filter::{
    Action, DEFAULT_LOCAL_PREF, Match, MatchOperator, Operation, Passing, PeerType, PrefixMatch,
    Rule, first_match,
};
pub use prefix_map::PrefixMap;
pub(crate) use prefix_map::network;

/// What an operator has settled for one peer. The default lets everything pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerPolicy {
    /// What becomes of its routes.
    pub import: Vec<Rule>,
    /// What becomes of the routes that it is told of.
    pub export: Vec<Rule>,
    /// Whose address it is told as NEXT_HOP.
    pub next_hop: NextHopMode,
    /// How often this node's own AS number may be in AS_PATH of its routes.
    pub allow_own_as: u8,
    /// Whether an external peer's routes are used, and routes are told to it, only where there are
    /// rules about them (RFC 8212, 2). Each family counts for itself.
    pub requires_rules: bool,
}

impl PeerPolicy {
    /// Whether nothing passes for want of a rule.
    pub(crate) fn lacks(&self, rules: &[Rule], peer_type: PeerType, prefix: &IpNetwork) -> bool {
        let family = Family::of(prefix);
        self.requires_rules
            && peer_type == PeerType::EBgp
            && !rules.iter().any(|rule| rule.family == family)
    }
}

/// What NEXT_HOP a peer is told of a route that another one announced (RFC 4271, 5.1.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NextHopMode {
    /// An external peer this node's address, an internal one what came with the route.
    #[default]
    Auto,
    /// This node's address.
    Own,
    /// What came with the route.
    Keep,
}

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
    /// ORIGINATOR_ID is this node's own identifier (RFC 4456, 8).
    OwnOriginator,
    /// This node's own cluster is in CLUSTER_LIST (RFC 4456, 8).
    ClusterLoop,
    /// NEXT_HOP is this node's own address (RFC 4271, 5.1.3).
    OwnNextHop,
    /// OTC says that the route was for customers only, and whom it came from is not to send it on (RFC
    /// 9234, 5).
    RouteLeak,
    /// The route does not lie inside a pool.
    OutsidePools,
    /// The route lies inside one of this node's own blocks, or covers one.
    OwnBlock,
    /// The route lies inside a block of a node that is neither NEXT_HOP nor the peer.
    OthersBlock,
    /// There is no rule that would let an external peer's route in (RFC 8212).
    NoRules,
    /// A rule of the peer's policy rejects it.
    Filter,
}

impl Refusal {
    /// The reason in words, as the status shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DefaultRoute => "default route",
            Self::AsLoop => "own AS number in AS_PATH",
            Self::OwnNextHop => "own address as NEXT_HOP",
            Self::RouteLeak => "route leak (RFC 9234)",
            Self::OutsidePools => "outside the pools",
            Self::OwnBlock => "own block",
            Self::OthersBlock => "block of another node",
            Self::OwnOriginator => "own identifier as ORIGINATOR_ID",
            Self::ClusterLoop => "own cluster in CLUSTER_LIST",
            Self::NoRules => "no import filter for an external peer (RFC 8212)",
            Self::Filter => "rejected by a filter",
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
    /// This node's addresses on the session, each of which a peer may have been told as NEXT_HOP.
    pub local_addresses: [Option<IpAddr>; 2],
    /// The peer's address.
    pub peer: IpAddr,
    /// The peer's AS number.
    pub peer_as: u32,
    /// The kind of the peer.
    pub peer_type: PeerType,
    /// What this node is to the peer, where that is settled.
    pub role: Option<Role>,
    /// This node's BGP identifier.
    pub router_id: Ipv4Addr,
    /// The cluster that this node reflects routes for, or would.
    pub cluster_id: Ipv4Addr,
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
    /// Whether a route with these attributes may be used, and with which: none where they stay as
    /// they are.
    ///
    /// # Errors
    /// Why it may not be used.
    pub fn judge(
        &self,
        arrival: &Arrival,
        policy: &PeerPolicy,
        prefix: &IpNetwork,
        received: &Attributes,
    ) -> Result<Option<Attributes>, Refusal> {
        self.check(arrival, policy.allow_own_as, prefix, received)?;
        if policy.lacks(&policy.import, arrival.peer_type, prefix) {
            return Err(Refusal::NoRules);
        }
        let mut changed = None;
        // What an external peer says of LOCAL_PREF does not count (RFC 4271, 5.1.5).
        if arrival.peer_type == PeerType::EBgp && received.local_pref.is_some() {
            changed.get_or_insert_with(|| received.clone()).local_pref = None;
        }
        // RFC 9234, 5: from here on it may go to customers only.
        if arrival.role.is_some_and(Role::is_up_or_across) && received.otc.is_none() {
            changed.get_or_insert_with(|| received.clone()).otc = Some(arrival.peer_as);
        }
        // RFC 8326, 4.1: used only where there is nothing else. A rule can still set it otherwise.
        if received.communities.contains(&GRACEFUL_SHUTDOWN) {
            changed.get_or_insert_with(|| received.clone()).local_pref = Some(0);
        }
        let route = Passing {
            prefix,
            peer_type: arrival.peer_type,
            is_learned: true,
            attributes: changed.as_ref().unwrap_or(received),
        };
        match first_match(&policy.import, &route) {
            Some((_, Action::Reject)) => return Err(Refusal::Filter),
            Some((_, Action::Accept(operations))) if !operations.is_empty() => {
                let attributes = changed.get_or_insert_with(|| received.clone());
                operations.iter().for_each(|operation| operation.apply(attributes));
            }
            Some((_, Action::Accept(_))) | None => {}
        }
        Ok(changed)
    }

    /// Whether a route with these attributes may be used, whatever an operator says.
    ///
    /// # Errors
    /// The first reason that holds, in the order of [`Refusal`].
    fn check(
        &self,
        arrival: &Arrival,
        allow_own_as: u8,
        prefix: &IpNetwork,
        attributes: &Attributes,
    ) -> Result<(), Refusal> {
        if prefix.prefix() == 0 {
            return Err(Refusal::DefaultRoute);
        }
        if occurrences(arrival.local_as, &attributes.as_path) > usize::from(allow_own_as) {
            return Err(Refusal::AsLoop);
        }
        if attributes.originator_id == Some(arrival.router_id) {
            return Err(Refusal::OwnOriginator);
        }
        if attributes.cluster_list.contains(&arrival.cluster_id) {
            return Err(Refusal::ClusterLoop);
        }
        if arrival.local_addresses.contains(&Some(attributes.next_hop)) {
            return Err(Refusal::OwnNextHop);
        }
        if arrival.role.is_some_and(|role| role.is_leak(attributes.otc, arrival.peer_as)) {
            return Err(Refusal::RouteLeak);
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

fn occurrences(number: u32, path: &[AsPathSegment]) -> usize {
    let numbers = path.iter().flat_map(|segment| match segment {
        AsPathSegment::Sequence(numbers) | AsPathSegment::Set(numbers) => numbers,
    });
    numbers.filter(|there| **there == number).count()
}

#[cfg(test)]
mod tests;
