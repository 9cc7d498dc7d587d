//! What the agent knows of itself, as `agent status -o json` prints it.
//!
//! Names here are relied on by people's scripts: fields are added, never renamed.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// This node.
    pub node: Node,
    /// Whether the node can carry pod traffic; see `reasons`.
    pub ready: bool,
    /// Why it is not ready, a sentence each; empty when ready.
    pub reasons: Vec<String>,
    /// The BGP peers, in the order of their addresses.
    pub peers: Vec<Peer>,
    /// The routes that this agent keeps.
    pub routes: Routes,
    /// The addresses of this node's pods.
    pub ipam: Ipam,
    /// Where blocks and peers come from.
    #[serde(default)]
    pub datastore: Option<Datastore>,
    /// Bidirectional Forwarding Detection; none before the agent knows who it is.
    #[serde(default)]
    pub bfd: Option<Bfd>,
}

/// Where blocks and peers come from, and how that is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Datastore {
    /// `file` or `kubernetes`.
    pub kind: String,
    /// Whether the agent hears from it. While it does not, the node goes on with what it heard last.
    pub in_touch: bool,
    /// Since when it is so.
    pub since: Timestamp,
    /// Why the agent does not hear from it, in words.
    pub problem: Option<String>,
}

/// This node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its address, if one is known.
    pub address: Option<IpAddr>,
    /// Its AS number.
    pub as_number: u32,
    /// Its BGP identifier (RFC 4271, 4.2).
    pub router_id: Option<Ipv4Addr>,
    /// The agent's version.
    pub version: String,
    /// For how long the agent has run.
    pub uptime_seconds: u64,
    /// The node's own blocks.
    pub blocks: Vec<IpNetwork>,
    /// The tunnel device, where a pool uses one.
    pub tunnel: Option<Tunnel>,
}

/// The tunnel device as the kernel has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tunnel {
    /// Its name.
    pub device: String,
    /// Its address, taken from the node's own block; none while it is missing.
    pub address: Option<IpAddr>,
    /// Its MTU in bytes, 0 while it is missing.
    pub mtu: u32,
    /// Whether it is there, up and addressed.
    pub up: bool,
}

/// A BGP peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its name, where one is known.
    pub name: Option<String>,
    /// Its AS number; 0 where any external one is taken and the peer has not said which it has.
    pub as_number: u32,
    /// The name of its template, if it is a dynamic neighbour: one that has come into being by
    /// connecting from a prefix.
    #[serde(default)]
    pub template: Option<String>,
    /// Why it is a peer.
    #[serde(rename = "type")]
    pub kind: PeerKind,
    /// The state of its session, by the names of RFC 4271, 8.2.2.
    pub state: String,
    /// Since when it is in that state.
    pub since: Timestamp,
    /// Why the last session ended or the next one does not come up, in words. A peer that is not
    /// Established always has one.
    pub last_error: Option<String>,
    /// Prefixes that it announces now, refused ones included.
    pub prefixes_received: u64,
    /// Prefixes that it announced before, kept until it has announced them again: since its session
    /// ended (RFC 4724), or since it has begun to refresh them (RFC 7313).
    #[serde(default)]
    pub prefixes_stale: u64,
    /// Those of them that are kept beyond its restart time, as the last resort (RFC 9494).
    #[serde(default)]
    pub long_lived_stale: Vec<LongLivedStale>,
    /// Prefixes that we announce to it now.
    pub prefixes_advertised: u64,
    /// How many of the prefixes that it announced so far the import policy refused, by reason.
    #[serde(default)]
    pub prefixes_refused: BTreeMap<String, u64>,
    /// Errors in its UPDATEs that cost no session (RFC 7606).
    #[serde(default)]
    pub update_errors: UpdateErrors,
    /// The families and capabilities in use in its session, in words; empty unless Established.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The state of its BFD session, by the names of RFC 5880, 4.1; none where BFD does not run.
    pub bfd: Option<String>,
    /// The BFD session in all detail.
    #[serde(default)]
    pub bfd_session: Option<BfdSession>,
}

/// What of a peer and a family is kept beyond its restart time (RFC 9494, 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LongLivedStale {
    /// The family, as `IPv4 unicast`.
    pub family: String,
    /// How many prefixes.
    pub prefixes: u64,
    /// Until when, unless the peer announces them again.
    pub until: Timestamp,
}

/// A BFD session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BfdSession {
    /// Since when it is in its state.
    pub since: Timestamp,
    /// Whether there may be routers on the way (RFC 5883).
    pub multihop: bool,
    /// Why nothing can be sent or received, in words.
    pub problem: Option<String>,
    /// When it last left Up.
    pub last_down: Option<Timestamp>,
    /// Why it last left Up, in words.
    pub last_down_reason: Option<String>,
    /// The time between two packets to the peer, before jitter; none while the peer wants none.
    pub transmit_interval_milliseconds: Option<u64>,
    /// How long the peer may be silent; none before it is heard.
    pub detection_time_milliseconds: Option<u64>,
    /// How many packets in a row the peer must miss until it gives this node up.
    pub detect_multiplier: u8,
    /// This node's diagnostic, by the words of RFC 5880, 4.1.
    pub diagnostic: String,
    /// This node's name for the session.
    pub discriminator: u32,
    /// The peer's state, as it says.
    pub remote_state: String,
    /// The peer's diagnostic.
    pub remote_diagnostic: String,
    /// The peer's name for the session; none before it is heard.
    pub remote_discriminator: Option<u32>,
    /// Whether the peer's BFD goes on while its control plane restarts: its C bit.
    pub remote_control_plane_independent: bool,
    /// How often the session came Up.
    pub came_up: u64,
    /// How often it left Up.
    pub went_down: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets received and not discarded.
    pub packets_received: u64,
}

/// BFD as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bfd {
    /// How its thread is scheduled: `real time`, `raised`, or `ordinary` where the kernel allows
    /// nothing else.
    pub priority: String,
    /// By how much the thread was late at worst, in microseconds.
    pub longest_delay_microseconds: u64,
    /// How many packets were discarded, by reason.
    pub discarded: BTreeMap<String, u64>,
}

/// Errors in the UPDATEs of a peer that cost no session, since it was configured (RFC 7606).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateErrors {
    /// Errors for which the routes of a message counted as withdrawn.
    pub treated_as_withdraw: u64,
    /// Attributes that were left out.
    pub attributes_discarded: u64,
    /// How many there were of each kind.
    #[serde(default)]
    pub kinds: Vec<UpdateErrorKind>,
    /// The latest, in words.
    pub last: Option<String>,
}

/// How many errors of a kind there were in the UPDATEs of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateErrorKind {
    /// The attribute's name.
    pub attribute: String,
    /// Its type code (RFC 4271, 4.3).
    pub code: u8,
    /// What was wrong with it, in the words of RFC 4271, 6.3.
    pub reason: String,
    /// What it cost: `treat-as-withdraw` or `attribute discard`, as RFC 7606 calls it.
    pub reaction: String,
    /// How often.
    pub count: u64,
}

/// Why a peer is a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerKind {
    /// Another node of the mesh.
    #[serde(rename = "node-to-node mesh")]
    Mesh,
    /// Configured for all nodes.
    #[serde(rename = "global")]
    Global,
    /// Configured for this node.
    #[serde(rename = "node specific")]
    NodeSpecific,
}

impl PeerKind {
    /// The words that the status shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mesh => "node-to-node mesh",
            Self::Global => "global",
            Self::NodeSpecific => "node specific",
        }
    }
}

/// Counts of the routes that the agent keeps, and what is wrong with them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Routes {
    /// How many there should be.
    pub desired: u64,
    /// How many of them the kernel has.
    pub programmed: u64,
    /// Each route that should be there and is not, with the reason.
    pub drift: Vec<Drift>,
}

/// A route that is not as it should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Its destination.
    pub prefix: IpNetwork,
    /// What is wrong, in words.
    pub problem: String,
    /// Since when.
    pub since: Timestamp,
}

/// A route that the agent keeps, as `agent routes` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Its destination.
    pub prefix: IpNetwork,
    /// The route in the words of `ip route`.
    pub route: String,
    /// The peer it was learned from; none for this node's own blocks.
    pub learned_from: Option<IpAddr>,
    /// Whether the kernel has it.
    pub programmed: bool,
    /// What is wrong with it, in words.
    pub problem: Option<String>,
}

/// The addresses of this node's pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ipam {
    /// Each block of this node.
    pub blocks: Vec<IpamBlock>,
    /// The families of which another block is wanted, because few addresses are left.
    #[serde(default)]
    pub low: Vec<Low>,
}

/// A family of which few addresses are left. It displays as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Low {
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// How many addresses pods could be given now.
    pub free: u64,
    /// With fewer than this another block is wanted.
    pub low_water: u64,
}

impl fmt::Display for Low {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, free, low_water } = self;
        write!(f, "{free} free addresses of {family} are left, less than {low_water}")
    }
}

/// A block and how much of it is in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpamBlock {
    /// The block.
    pub cidr: IpNetwork,
    /// How many of its addresses pods have now.
    pub allocated: u64,
    /// How many of its addresses pods can have at all.
    pub capacity: u64,
    /// How many of its addresses were given back too short a while ago to be given again.
    #[serde(default)]
    pub cooling: u64,
}

impl IpamBlock {
    /// How many of its addresses pods could be given now.
    pub fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.allocated).saturating_sub(self.cooling)
    }
}
