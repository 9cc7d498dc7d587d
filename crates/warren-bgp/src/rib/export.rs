//! What a peer is told of a route (RFC 4271, 9.1.3 and 9.2, and the attributes' sections in 5).
//!
//! A route leaves in three steps: whether this peer hears of it at all, the rules of the peer's
//! policy, and what the protocol changes on the way out. The rules see the route as it is here, so
//! that what they put in front of AS_PATH comes behind this node's own AS number.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::decision::{Path, degree_of_preference};
use super::session::Session;
use crate::message::Attributes;
use crate::policy::{
    Action, Community, DEFAULT_LOCAL_PREF, GRACEFUL_SHUTDOWN, NO_ADVERTISE, NO_EXPORT,
    NO_EXPORT_SUBCONFED, NextHopMode, Passing, PeerPolicy, first_match, prepend,
};
use crate::role::Role;

/// A peer to tell, and what holds for all that it is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) to: &'a Session,
    pub(super) policy: &'a PeerPolicy,
    /// Whether this node is about to go away (RFC 8326).
    pub(super) graceful_shutdown: bool,
}

/// How a peer's policy lets a route out. Routes with equal attributes that are let out alike leave
/// with equal attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Passed {
    /// The place of the rule that lets it out; none where no rule is about it.
    rule: Option<usize>,
    /// This node's address, where it is to be NEXT_HOP.
    own_address: IpAddr,
}

impl Target<'_> {
    /// Whether the peer can be told of this destination at all.
    pub(super) fn reaches(&self, prefix: &IpNetwork) -> bool {
        self.to.carries(prefix) && self.to.next_hop_for(prefix).is_some()
    }

    /// Whether the peer's policy lets a route out, and by which rule. `learned` is none for a route
    /// of this node itself.
    pub(super) fn pass(&self, prefix: &IpNetwork, learned: Option<&Path>) -> Option<Passed> {
        let own_address = self.to.next_hop_for(prefix)?;
        if self.policy.lacks(&self.policy.export, self.to.peer_type(), prefix) {
            return None;
        }
        let passed = |rule| Some(Passed { rule, own_address });
        if self.policy.export.is_empty() {
            return passed(None);
        }
        let own;
        let attributes = match learned {
            Some(path) => &*path.attributes,
            None => {
                own = Attributes::via(own_address);
                &own
            }
        };
        let peer_type = self.to.peer_type();
        let route = Passing { prefix, peer_type, is_learned: learned.is_some(), attributes };
        match first_match(&self.policy.export, &route) {
            Some((_, Action::Reject)) => None,
            Some((index, Action::Accept(_))) => passed(Some(index)),
            None => passed(None),
        }
    }

    /// A route of this node itself, as the peer is told.
    pub(super) fn own(&self, passed: Passed) -> Attributes {
        let mut attributes = Attributes::via(passed.own_address);
        self.operate(passed, &mut attributes);
        self.send(attributes)
    }

    /// A route that a peer announced, as this one is told; `None` if it is not to hear of it.
    pub(super) fn learned(&self, path: &Path, passed: Passed) -> Option<Attributes> {
        let Self { to, .. } = self;
        // RFC 9234, 5: what may go to customers only does not go to others.
        let is_withheld =
            to.role.is_some_and(Role::is_up_or_across) && path.attributes.otc.is_some();
        if is_withheld || !may_hear(path, to) {
            return None;
        }
        let mut attributes = Attributes::clone(&path.attributes);
        if to.is_internal() {
            attributes.local_pref = Some(degree_of_preference(path));
        } else {
            // 5.1.4: what one AS says of its ways in is nothing to another one.
            attributes.med = None;
        }
        if path.from.is_internal() && to.is_internal() {
            reflect(path, to, &mut attributes);
        }
        self.operate(passed, &mut attributes);
        // 5.1.3
        let keeps_next_hop = match self.policy.next_hop {
            NextHopMode::Auto => to.is_internal(),
            NextHopMode::Own => false,
            NextHopMode::Keep => true,
        };
        if !keeps_next_hop {
            attributes.next_hop = passed.own_address;
        }
        // 5.1.3: no peer is told that it is its own next hop.
        (attributes.next_hop != to.peer).then(|| self.send(attributes))
    }

    fn operate(&self, passed: Passed, attributes: &mut Attributes) {
        let rule = passed.rule.and_then(|index| self.policy.export.get(index));
        if let Some(Action::Accept(operations)) = rule.map(|rule| &rule.action) {
            operations.iter().for_each(|operation| operation.apply(attributes));
        }
    }

    /// What the protocol asks for on the way out.
    fn send(&self, mut attributes: Attributes) -> Attributes {
        if self.graceful_shutdown {
            Community::Standard(GRACEFUL_SHUTDOWN).add_to(&mut attributes);
        }
        if self.to.is_internal() {
            // 5.1.5; and RFC 8326, 4.3: there is no worse one.
            let preference = attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF);
            attributes.local_pref = Some(if self.graceful_shutdown { 0 } else { preference });
        } else {
            if self.to.role.is_some_and(Role::is_down_or_across) {
                attributes.otc.get_or_insert(self.to.local_as); // RFC 9234, 5
            }
            prepend(self.to.local_as, &mut attributes.as_path); // 5.1.2 b)
            attributes.local_pref = None; // 5.1.5
            // RFC 4456, 8: not beyond this AS.
            attributes.originator_id = None;
            attributes.extended_communities.retain(|it| it.is_transitive()); // RFC 4360, 6
            attributes.cluster_list.clear();
        }
        attributes
    }
}

/// Whether a peer hears of another one's route, as far as the protocol is concerned.
fn may_hear(path: &Path, to: &Session) -> bool {
    let communities = &path.attributes.communities;
    if path.from.peer == to.peer || communities.contains(&NO_ADVERTISE) {
        return false;
    }
    // RFC 9494, 4.3: who does not know what it is would prefer it.
    if path.is_long_lived_stale() && !to.long_lived {
        return false;
    }
    if !to.is_internal() {
        return !communities.contains(&NO_EXPORT) && !communities.contains(&NO_EXPORT_SUBCONFED);
    }
    // 9.2: what one internal peer said is not told to another one, unless (RFC 4456, 6) one of them
    // is a client; and never to whom it began with, who would refuse it (8).
    !path.from.is_internal()
        || (path.from.is_client || to.is_client)
            && path.attributes.originator_id != Some(to.peer_router_id)
}

/// RFC 4456, 8.
fn reflect(path: &Path, by: &Session, attributes: &mut Attributes) {
    attributes.originator_id.get_or_insert(path.from.peer_router_id);
    attributes.cluster_list.insert(0, by.cluster_id);
}

#[cfg(test)]
mod tests;
