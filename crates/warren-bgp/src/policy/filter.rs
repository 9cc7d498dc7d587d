//! What an operator lets in and out: rules of the shape of Calico's BGPFilter.

use std::ops::RangeInclusive;

use ipnetwork::IpNetwork;

use super::community::Community;
use crate::message::{AsPathSegment, Attributes, Family};

/// The longest AS_SEQUENCE (RFC 4271, 4.3: its length is one octet).
const LONGEST_SEGMENT: usize = 255;

/// What priorities are counted down from: the priority of a route is this less its LOCAL_PREF, so
/// that the lower priority wins, as with a metric.
const LEAST_PRIORITY: u32 = i32::MAX as u32;

/// LOCAL_PREF where there is none (the default of every known implementation).
pub const DEFAULT_LOCAL_PREF: u32 = 100;

/// One rule: the first one that matches a route decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The routes that it is about; of the other family, none.
    pub family: Family,
    /// What is asked of a route; all of it must hold.
    pub matches: Match,
    /// What becomes of a route that matches.
    pub action: Action,
}

/// What a rule asks of a route. What is empty matches every route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// About its destination.
    pub prefix: Option<PrefixMatch>,
    /// Whether it must have come from a peer, as opposed to this node's own.
    pub remote_peers: bool,
    /// The kind of the peer that it comes from or goes to.
    pub peer_type: Option<PeerType>,
    /// Communities that it must have, all of them.
    pub communities: Vec<Community>,
    /// The numbers that its AS_PATH must begin with.
    pub as_path_prefix: Vec<u32>,
    /// Its priority: 2147483647 less its LOCAL_PREF.
    pub priority: Option<u32>,
}

/// What is asked of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixMatch {
    /// How it relates to `cidr`.
    pub operator: MatchOperator,
    /// What it is compared with.
    pub cidr: IpNetwork,
    /// The prefix lengths that it may have. The negative operators negate this too.
    pub prefix_length: RangeInclusive<u8>,
}

/// How a destination relates to a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchOperator {
    /// It is the prefix.
    Equal,
    /// It is not what `Equal` matches.
    NotEqual,
    /// It lies inside or is the prefix.
    In,
    /// It is not what `In` matches.
    NotIn,
}

/// The kind of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerType {
    /// External.
    EBgp,
    /// Internal.
    IBgp,
}

/// What becomes of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It goes on, changed by these in order.
    Accept(Vec<Operation>),
    /// It ends here.
    Reject,
}

/// A change of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Marks it.
    AddCommunity(Community),
    /// Puts these numbers in front of its AS_PATH, in this order.
    PrependAsPath(Vec<u32>),
    /// Sets LOCAL_PREF.
    SetLocalPreference(u32),
    /// Sets MULTI_EXIT_DISC.
    SetMed(u32),
    /// Sets LOCAL_PREF to 2147483647 less this.
    SetPriority(u32),
}

/// A route at the moment that a rule looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Passing<'a> {
    /// Its destination.
    pub prefix: &'a IpNetwork,
    /// The kind of the peer that it comes from or goes to.
    pub peer_type: PeerType,
    /// Whether a peer announced it, as opposed to this node's own.
    pub is_learned: bool,
    /// Its attributes.
    pub attributes: &'a Attributes,
}

/// The first of `rules` that matches. A route that none matches goes on unchanged.
pub fn first_match<'a>(rules: &'a [Rule], route: &Passing<'_>) -> Option<(usize, &'a Action)> {
    let (index, rule) = rules.iter().enumerate().find(|(_, rule)| rule.is_about(route))?;
    Some((index, &rule.action))
}

impl Rule {
    fn is_about(&self, route: &Passing<'_>) -> bool {
        self.family == Family::of(route.prefix) && self.matches.holds(route)
    }
}

impl Match {
    fn holds(&self, route: &Passing<'_>) -> bool {
        self.prefix.as_ref().is_none_or(|wanted| wanted.holds(route.prefix))
            && (!self.remote_peers || route.is_learned)
            && self.peer_type.is_none_or(|wanted| wanted == route.peer_type)
            && self.communities.iter().all(|community| community.is_in(route.attributes))
            && begins_with(&route.attributes.as_path, &self.as_path_prefix)
            && self.priority.is_none_or(|wanted| wanted == priority(route.attributes))
    }
}

impl PrefixMatch {
    fn holds(&self, prefix: &IpNetwork) -> bool {
        let length_fits = self.prefix_length.contains(&prefix.prefix());
        let is_inside = || prefix.prefix() >= self.cidr.prefix() && self.cidr.contains(prefix.ip());
        match self.operator {
            MatchOperator::Equal => length_fits && *prefix == self.cidr,
            MatchOperator::NotEqual => !(length_fits && *prefix == self.cidr),
            MatchOperator::In => length_fits && is_inside(),
            MatchOperator::NotIn => !(length_fits && is_inside()),
        }
    }
}

impl Operation {
    /// Changes a route.
    pub fn apply(&self, attributes: &mut Attributes) {
        match self {
            Self::AddCommunity(community) => community.add_to(attributes),
            Self::PrependAsPath(numbers) => {
                for number in numbers.iter().rev() {
                    prepend(*number, &mut attributes.as_path);
                }
            }
            Self::SetLocalPreference(value) => attributes.local_pref = Some(*value),
            Self::SetMed(value) => attributes.med = Some(*value),
            Self::SetPriority(value) => {
                attributes.local_pref = Some(LEAST_PRIORITY.saturating_sub(*value));
            }
        }
    }
}

/// RFC 4271, 5.1.2 b).
pub(crate) fn prepend(number: u32, path: &mut Vec<AsPathSegment>) {
    match path.first_mut() {
        Some(AsPathSegment::Sequence(numbers)) if numbers.len() < LONGEST_SEGMENT => {
            numbers.insert(0, number);
        }
        _ => path.insert(0, AsPathSegment::Sequence(vec![number])),
    }
}

/// Whether the path's first numbers are these; those of a set have no order.
fn begins_with(path: &[AsPathSegment], wanted: &[u32]) -> bool {
    let mut ordered = path
        .iter()
        .map_while(|segment| match segment {
            AsPathSegment::Sequence(numbers) => Some(numbers),
            AsPathSegment::Set(_) => None,
        })
        .flatten();
    wanted.iter().all(|number| ordered.next() == Some(number))
}

fn priority(attributes: &Attributes) -> u32 {
    LEAST_PRIORITY.saturating_sub(attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF))
}

#[cfg(test)]
mod tests;
