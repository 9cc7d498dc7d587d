//! Where the agent learns its blocks and its peers.
//!
//! A datastore yields [`Snapshot`]s: the first one at the start, another one whenever something
//! changed. The agent compares nothing itself; what it drives takes a whole new set and finds the
//! difference.

pub mod file;

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use warren_types::pool::Pool;
use warren_types::status::PeerKind;

/// All that a datastore knows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The pools.
    pub pools: Vec<Pool>,
    /// This node's own blocks, in the order of use.
    pub blocks: Vec<IpNetwork>,
    /// The peers.
    pub peers: Vec<Peer>,
    /// The blocks whose node is known, each with that node's address.
    pub owners: Vec<(IpNetwork, IpAddr)>,
}

/// A peer, with everything settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its TCP port.
    pub port: u16,
    /// Its name, where one is known.
    pub name: Option<String>,
    /// Its AS number.
    pub as_number: u32,
    /// Why it is a peer.
    pub kind: PeerKind,
    /// Whether to wait for its connection.
    pub passive: bool,
    /// The hold time proposed to it, in seconds.
    pub hold_time_seconds: u16,
}
