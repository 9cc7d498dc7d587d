//! What the RIB tells the rest of the program.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::policy::Refusal;

/// The path that this node is to use to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BestPath {
    /// Where to send: NEXT_HOP.
    pub next_hop: IpAddr,
    /// The peer that announced it.
    pub learned_from: IpAddr,
}

/// A destination whose best path is another one now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathChange {
    /// The destination; never one that this node originates.
    pub prefix: IpNetwork,
    /// The best path; `None` if there is none any more.
    pub best: Option<BestPath>,
}

/// A route that was refused, the first one of its peer for this reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstRefusal {
    /// Who announced it.
    pub peer: IpAddr,
    /// The destination.
    pub prefix: IpNetwork,
    /// Why it was refused.
    pub refusal: Refusal,
}

/// How many routes there are of a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Prefixes that it announces now, refused ones included, each as often as it has paths.
    pub received: usize,
    /// Prefixes that it announced in a session that has ended, that are kept (RFC 4724, 4.2).
    pub stale: usize,
    /// Prefixes that it was told of and that still hold.
    pub advertised: usize,
    /// How often a prefix that it announced was refused, in all its sessions.
    pub refused: BTreeMap<Refusal, u64>,
}
