//! A peer as the actor keeps it.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use warren_bgp::message::Family;
use warren_bgp::rib::Rib;
use warren_bgp::session::{ConnectionId, Negotiated, Peer, PeerConfig, RemoteAs, State};

use crate::connection::ConnectionKey;
use crate::settings::{LongLivedStale, PeerSettings, PeerSnapshot, SpeakerConfig};

/// A peer and what the state machine does not know of it.
pub(super) struct Neighbor {
    pub(super) settings: PeerSettings,
    pub(super) machine: Peer,
    /// Its connections, those being opened included: at most a few.
    pub(super) connections: Vec<(ConnectionId, ConnectionKey)>,
    /// The connection of the Established session.
    pub(super) established: Option<ConnectionKey>,
    /// Whether it was said in this session that it comes near the most prefixes that it may announce.
    pub(super) warned_of_prefixes: bool,
    /// The families of which its session has brought End-of-RIB.
    pub(super) end_of_rib: BTreeSet<Family>,
    /// The template that it was made from; `None` for a peer of its own.
    pub(super) template: Option<Arc<str>>,
    /// How long it is remembered without a connection, if it is a dynamic neighbour.
    pub(super) linger: Duration,
    /// When it is forgotten unless it has connected by then.
    pub(super) leaves: Option<Instant>,
    /// The AS number that it had in its latest session.
    pub(super) peer_as: Option<u32>,
    /// The entry of this peer among the actor's deadlines.
    pub(super) deadline: Option<Instant>,
    pub(super) state: State,
    since: SystemTime,
    /// Errors in UPDATEs that the log has heard of, or was spared.
    pub(super) update_errors: u64,
    /// The latest error that went to the log, so that each goes there once.
    pub(super) logged: Option<String>,
}

impl Neighbor {
    pub(super) fn new(config: &SpeakerConfig, settings: PeerSettings, deferring: bool) -> Self {
        let machine = PeerConfig {
            local_as: settings.local_as.unwrap_or(config.local_as),
            peer_as: settings.as_number,
            router_id: config.router_id,
            hold_time: settings.hold_time,
            keepalive: settings.keepalive,
            connect_retry: settings.connect_retry,
            passive: settings.passive,
            families: settings.families(),
            loopback_next_hops: settings.address.is_loopback(),
            graceful_restart: settings.graceful_restart,
            role: settings.role,
            add_path: settings.add_path,
        };
        // Randomly keyed by the standard library: enough for jitter.
        let seed = RandomState::new().build_hasher().finish();
        let mut machine = Peer::new(machine, seed);
        if config.restarted.is_some() {
            // A peer that is known late may have kept routes over the restart as well.
            machine.restarted();
            if !deferring {
                machine.selected();
            }
        }
        Self {
            settings,
            machine,
            connections: Vec::new(),
            established: None,
            warned_of_prefixes: false,
            end_of_rib: BTreeSet::new(),
            template: None,
            linger: Duration::ZERO,
            leaves: None,
            peer_as: None,
            deadline: None,
            state: State::Idle,
            since: SystemTime::now(),
            update_errors: 0,
            logged: None,
        }
    }

    /// Takes over the machine's state; says whether it is a new one.
    pub(super) fn observe(&mut self) -> bool {
        let state = self.machine.state();
        let is_new = state != self.state;
        if is_new {
            self.state = state;
            self.since = SystemTime::now();
        }
        is_new
    }

    /// The machine's name for a connection.
    pub(super) fn id(&self, key: ConnectionKey) -> Option<ConnectionId> {
        self.connections.iter().find(|(_, known)| *known == key).map(|(id, _)| *id)
    }

    /// The driver's name for a connection.
    pub(super) fn key(&self, id: ConnectionId) -> Option<ConnectionKey> {
        self.connections.iter().find(|(known, _)| *known == id).map(|(_, key)| *key)
    }

    pub(super) fn snapshot(&self, peer: IpAddr, rib: &Rib) -> PeerSnapshot {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let counts = rib.counts(peer);
        let (now, clock) = (Instant::now(), SystemTime::now());
        let long_lived = self.machine.long_lived_stale().map(|(family, until)| LongLivedStale {
            family,
            prefixes: count(rib.stale(peer, family)),
            until: clock + until.saturating_duration_since(now),
        });
        PeerSnapshot {
            address: self.settings.address,
            as_number: self.as_number(),
            template: self.template.as_deref().map(str::to_owned),
            state: self.state,
            since: self.since,
            last_error: self.last_error(),
            prefixes_received: count(counts.received),
            prefixes_advertised: count(counts.advertised),
            refused: counts.refused,
            prefixes_stale: count(counts.stale),
            long_lived_stale: long_lived.filter(|it| it.prefixes > 0).collect(),
            update_errors: self.machine.update_errors().clone(),
            end_of_rib: self.has_announced_all(),
            capabilities: self
                .machine
                .negotiated()
                .map(Negotiated::capabilities)
                .unwrap_or_default(),
        }
    }

    fn as_number(&self) -> u32 {
        match self.settings.as_number {
            RemoteAs::Is(number) => number,
            RemoteAs::Internal => self.machine.config().local_as,
            RemoteAs::External => self.peer_as.unwrap_or(0),
        }
    }

    /// Whether its session has brought End-of-RIB of all its families.
    pub(super) fn has_announced_all(&self) -> bool {
        let negotiated = self.machine.negotiated();
        negotiated.is_some_and(|it| it.families.iter().all(|it| self.end_of_rib.contains(it)))
    }

    fn last_error(&self) -> Option<String> {
        match self.machine.last_error() {
            Some(error) if self.settings.password.is_some() && self.state < State::OpenSent => {
                Some(format!("{error} The password must be the same on both sides"))
            }
            Some(error) => Some(error.to_owned()),
            None if self.state == State::Established => None,
            None if self.settings.passive => Some("waiting for the peer to connect".to_owned()),
            None => Some("session is being established".to_owned()),
        }
    }
}
