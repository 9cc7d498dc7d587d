//! What is told to the speaker and what it tells.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnetwork::IpNetwork;
use warren_bgp::message::Family;
use warren_bgp::policy::Refusal;
use warren_bgp::role::LocalRole;
use warren_bgp::session::{ConnectRetry, GracefulRestart, HoldTime, RemoteAs, State, UpdateErrors};

use crate::transport::{Distance, Password};

/// What holds for all sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeakerConfig {
    /// This node's AS number.
    pub local_as: u32,
    /// This node's BGP identifier (RFC 4271, 4.2); never 0.0.0.0.
    pub router_id: Ipv4Addr,
    /// The cluster that this node reflects routes for (RFC 4456, 7); by default its BGP identifier.
    pub cluster_id: Option<Ipv4Addr>,
    /// Where peers connect to. Port 0 takes a free one. `[::]` takes IPv4 as well.
    pub listen: SocketAddr,
    /// Set if this is a restart and the node has gone on forwarding meanwhile.
    pub restarted: Option<Restarted>,
}

/// How long routes are not selected after a restart (RFC 4724, 4.1). The RFC has the restarting
/// speaker wait for End-of-RIB of all its peers; taken literally, one dead peer holds back the routes
/// of all the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarted {
    /// How long peers that are there may take to announce their routes: the
    /// Selection_Deferral_Timer.
    pub selection_deferral: Duration,
    /// How long a peer may take to be there. Those that are notice the restart at once, by the end of
    /// their connection, and take the new one at the first attempt.
    pub presence: Duration,
}

impl Restarted {
    /// With peers that have 3 s to be there.
    pub fn new(selection_deferral: Duration) -> Self {
        Self { selection_deferral, presence: Duration::from_secs(3) }
    }
}

impl SpeakerConfig {
    /// A speaker that starts for the first time.
    pub fn new(local_as: u32, router_id: Ipv4Addr, listen: SocketAddr) -> Self {
        Self { local_as, router_id, cluster_id: None, listen, restarted: None }
    }
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSettings {
    /// Where it is. A connection from anywhere else is not from this peer.
    pub address: IpAddr,
    /// The port it listens on.
    pub port: u16,
    /// Its AS number.
    pub as_number: RemoteAs,
    /// Whether to leave connecting to the peer.
    pub passive: bool,
    /// The hold time to propose.
    pub hold_time: HoldTime,
    /// How often to send a KEEPALIVE: by default, and at the least, thrice in a hold time.
    pub keepalive: Option<Duration>,
    /// How long it may take nothing of what is sent; by default eight minutes, or two hold times if
    /// that is longer (RFC 9687).
    pub send_hold_time: Option<Duration>,
    /// How often to try to connect.
    pub connect_retry: ConnectRetry,
    /// This node's address to connect from; by default the kernel chooses.
    pub source: Option<IpAddr>,
    /// This node's address of the other family than that of `address`. Where there is one, the
    /// session carries the routes of that family too, and this is their NEXT_HOP (RFC 4760, 3).
    pub other_address: Option<IpAddr>,
    /// The secret by which segments are signed; without, they are not.
    pub password: Option<Password>,
    /// How many hops away it may be.
    pub distance: Distance,
    /// How many prefixes it may announce; by default as many as there are.
    pub max_prefixes: Option<MaxPrefixes>,
    /// If there is to be no session with it, why: what it is told at the end (RFC 9003).
    pub shutdown: Option<String>,
    /// How this node restarts for the peer's eyes, and whether the peer's routes are kept while it
    /// restarts; neither where it is missing.
    pub graceful_restart: Option<GracefulRestart>,
    /// This node's AS number towards this peer; by default the one it has.
    pub local_as: Option<u32>,
    /// Whether it is an internal peer that this node reflects routes for (RFC 4456).
    pub route_reflector_client: bool,
    /// What this node is to it, if it is an external peer (RFC 9234).
    pub role: Option<LocalRole>,
    /// Whether the peer may announce several paths to one destination (RFC 7911).
    pub add_path: bool,
}

impl PeerSettings {
    /// The families that the session is to carry: those that this node can be NEXT_HOP of.
    pub(crate) fn families(&self) -> Vec<Family> {
        let addresses = [Some(self.address), self.other_address].into_iter().flatten();
        addresses.map(|address| Family::of(&address.into())).collect()
    }

    /// A peer with the defaults for all else.
    pub fn new(address: IpAddr, as_number: impl Into<RemoteAs>) -> Self {
        Self {
            address,
            port: 179,
            as_number: as_number.into(),
            passive: false,
            hold_time: HoldTime::DEFAULT,
            keepalive: None,
            send_hold_time: None,
            connect_retry: ConnectRetry::default(),
            source: None,
            other_address: None,
            password: None,
            distance: Distance::default(),
            max_prefixes: None,
            shutdown: None,
            graceful_restart: Some(GracefulRestart::default()),
            local_as: None,
            route_reflector_client: false,
            role: None,
            add_path: false,
        }
    }
}

/// What becomes of connections from addresses that no peer has: from within `range` they are those
/// of dynamic neighbours, which come into being by connecting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerTemplate {
    /// What the neighbours' snapshots call it.
    pub name: String,
    /// Where they connect from. Of several templates the longest prefix counts.
    pub range: IpNetwork,
    /// How many of them there are at most.
    pub limit: usize,
    /// How long one that has no connection is remembered, if not longer for the sake of
    /// [`GracefulRestart`] or [`MaxPrefixes`].
    pub linger: Duration,
    /// All else; the address is the neighbour's own, and every one of them is passive.
    pub settings: PeerSettings,
}

impl PeerTemplate {
    /// What it makes of who connects from `address`.
    pub(crate) fn settings_for(&self, address: IpAddr) -> PeerSettings {
        PeerSettings { address, passive: true, ..self.settings.clone() }
    }
}

/// A peer that was made from a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicNeighbor {
    /// The template's name.
    pub template: Arc<str>,
    /// The address of this node that its latest session was with.
    pub local_address: IpAddr,
}

/// How many prefixes a peer may announce, refused ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxPrefixes {
    /// At most; one more ends the session.
    pub limit: u32,
    /// More than these are worth a word in the log.
    pub warning: u32,
    /// How long to have nothing to do with it then.
    pub idle: Duration,
}

/// How a peer is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSnapshot {
    /// Where it is.
    pub address: IpAddr,
    /// Its AS number; 0 where any external one is taken and the peer has not said which it has.
    pub as_number: u32,
    /// The template that it was made from, if it is a dynamic neighbour.
    pub template: Option<String>,
    /// The state of its session.
    pub state: State,
    /// Since when it is in that state.
    pub since: SystemTime,
    /// Why the last session ended or the next one does not come up, in words. There always is one
    /// unless the state is Established.
    pub last_error: Option<String>,
    /// Prefixes that it announces now, refused ones included.
    pub prefixes_received: u64,
    /// Prefixes that it announced in a session that has ended, kept until it has announced all of
    /// them again (RFC 4724, 4.2).
    pub prefixes_stale: u64,
    /// Those of them that are kept for long (RFC 9494): the last resort to their destinations.
    pub long_lived_stale: Vec<LongLivedStale>,
    /// Prefixes that it has been told of and that still hold.
    pub prefixes_advertised: u64,
    /// How many of the prefixes that it announced so far were refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Errors in its UPDATEs that cost no session (RFC 7606).
    pub update_errors: UpdateErrors,
    /// Whether it has said in this session that all its routes have been announced, of every family
    /// (RFC 4724, 2).
    pub end_of_rib: bool,
    /// The capabilities in use in this session, in words; none unless Established.
    pub capabilities: Vec<String>,
}

/// What of a peer and a family is kept for long (RFC 9494, 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongLivedStale {
    /// The family.
    pub family: Family,
    /// How many prefixes.
    pub prefixes: u64,
    /// Until when, unless the peer announces them again.
    pub until: SystemTime,
}

/// Why a speaker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listening address cannot be had.
    #[error(
        "cannot listen for BGP on {address}: {reason}; \
         see that no other BGP daemon runs here and that the address is this node's"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        reason: String,
    },
}

impl StartError {
    pub(crate) fn at(address: SocketAddr, error: &std::io::Error) -> Self {
        Self::Listen { address, reason: crate::error_words::of(error) }
    }
}
