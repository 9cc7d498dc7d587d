//! The node's packet rules: what they should be, and bringing the kernel there.
//!
//! [`rules`] is a pure function, as [`desired`](crate::desired) is for routes; [`Keeper`] brings
//! nf_tables to its outcome, without nft(8). A [`Ruleset`] displays in that program's words.
//!
//! All is in a table of our own, `ip warren`, which is replaced in one transaction, but for this: a
//! packet passes every base chain of a hook, and what one of them drops no other can save. Where
//! the chain FORWARD of iptables has the policy DROP (Docker sets it), pod traffic passes only by a
//! rule in that very chain. So [`Ruleset::forward`] is appended to it, for as long as that is its
//! policy. Appended, not put first: the policy is what is to be overruled, and not the rules of
//! others, such as those by which kube-proxy rejects what is for a service without endpoints.
//!
//! iptables-legacy has a chain FORWARD of its own, apart from nf_tables, and gets the same rules.

mod encode;
mod keeper;
mod legacy;
mod netfilter;
mod others;
#[cfg(test)]
mod tests;
mod words;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};
use warren_types::pool::{Pool, contains};

use crate::desired::{Known, TUNNEL, uses_tunnel};

pub use keeper::Keeper;
pub(crate) use netfilter::{GROUP, concerns};
pub use others::forward_droppers;

/// The protocol number of IP in IP (RFC 2003).
const IPIP: u8 = 4;

/// All of the node's packet rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// The set `nodes` of the table: the addresses of the cluster's nodes.
    pub nodes: BTreeSet<Ipv4Addr>,
    /// The base chains of the table; without any there is no table.
    pub chains: Vec<Chain>,
    /// What is appended to each chain FORWARD of iptables while its policy is DROP.
    pub forward: Vec<Rule>,
}

/// A base chain: it has its hook's name, and accepts what none of its rules decides on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Where packets meet it.
    pub hook: Hook,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// Where a chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// What is for the node itself, filtered.
    Input,
    /// What leaves the node, its source to be translated.
    Postrouting,
}

/// A rule: what a packet must be, all of it, and what becomes of it then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What the packet must be.
    pub matches: Vec<Match>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What the rule is for, where it stands among those of others.
    pub comment: Option<&'static str>,
}

/// What a packet must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It comes from here.
    Source(Ipv4Network),
    /// It comes from no node of the cluster.
    SourceNoNode,
    /// It comes from an address of this node's own.
    SourceLocal,
    /// It goes there.
    Destination(Ipv4Network),
    /// It has this protocol number.
    Protocol(u8),
    /// It leaves through this device.
    OutputInterface(&'static str),
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This chain lets it through.
    Accept,
    /// It is thrown away.
    Drop,
    /// It gets the address of the device it leaves through, and a port at random: counted ports
    /// collide when many connections to one destination begin at once.
    Masquerade,
    /// The rest of the chain does not concern it.
    Return,
}

/// What follows from what is known.
pub fn rules(known: &Known) -> Ruleset {
    let mut ruleset = Ruleset::default();
    if uses_tunnel(&known.pools) {
        let next_hops = known.paths.values().map(|path| path.next_hop);
        let nodes = known.nodes.iter().copied().chain(known.node_address).chain(next_hops);
        ruleset.nodes = nodes.filter_map(v4).collect();
    }
    if !ruleset.nodes.is_empty() {
        // A forged packet in a packet would be let in as if it came from another node's pod.
        let forged = [Match::Protocol(IPIP), Match::SourceNoNode];
        ruleset.chains.push(Chain { hook: Hook::Input, rules: vec![rule(forged, Verdict::Drop)] });
    }
    let pools: Vec<_> =
        known.pools.iter().filter_map(|pool| Some((pool, v4_net(pool.cidr)?))).collect();
    let postrouting = postrouting(known, &pools);
    if !postrouting.is_empty() {
        ruleset.chains.push(Chain { hook: Hook::Postrouting, rules: postrouting });
    }
    let pods = |matches| Rule { comment: Some("warren: pods"), ..rule([matches], Verdict::Accept) };
    let both_ways =
        pools.iter().flat_map(|(_, cidr)| [Match::Source(*cidr), Match::Destination(*cidr)]);
    ruleset.forward = both_ways.map(pods).collect();
    ruleset
}

/// Whose address a packet gets that leaves the node.
///
/// What the node itself sends to a pod of another node is to come from the tunnel's address, for the
/// answer is to come back through the tunnel. The kernel sees to that where a route through the tunnel
/// is looked up first. A packet for a service has its source before kube-proxy gives it the pod as its
/// destination, and not every configuration of kube-proxy then changes the source too.
fn postrouting(known: &Known, pools: &[(&Pool, Ipv4Network)]) -> Vec<Rule> {
    let tunnel = Match::OutputInterface(TUNNEL);
    let mut rules = Vec::new();
    if uses_tunnel(&known.pools) {
        let cidrs = pools.iter().map(|(_, cidr)| Match::Source(*cidr));
        rules.extend(cidrs.map(|source| rule([tunnel, source], Verdict::Return)));
        rules.push(rule([tunnel, Match::SourceLocal], Verdict::Masquerade));
    }
    if pools.iter().any(|(pool, _)| pool.nat_outgoing) {
        rules.push(rule([tunnel], Verdict::Return));
        let inside = pools.iter().map(|(_, cidr)| Match::Destination(*cidr));
        rules.extend(inside.map(|inside| rule([inside], Verdict::Return)));
        // Of pools in one another the smallest decides.
        let mut outgoing: Vec<_> = pools.iter().collect();
        outgoing.sort_by_key(|(_, cidr)| Reverse(cidr.prefix()));
        let verdict = |pool: &Pool| match pool.nat_outgoing {
            true => Some(Verdict::Masquerade),
            false => pools
                .iter()
                .any(|(other, _)| other.nat_outgoing && contains(&other.cidr, &pool.cidr))
                .then_some(Verdict::Return),
        };
        rules.extend(
            outgoing
                .iter()
                .filter_map(|(pool, cidr)| Some(rule([Match::Source(*cidr)], verdict(pool)?))),
        );
    }
    rules
}

fn rule(matches: impl Into<Vec<Match>>, verdict: Verdict) -> Rule {
    Rule { matches: matches.into(), verdict, comment: None }
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v4_net(prefix: IpNetwork) -> Option<Ipv4Network> {
    match prefix {
        IpNetwork::V4(prefix) => Some(prefix),
        IpNetwork::V6(_) => None,
    }
}
