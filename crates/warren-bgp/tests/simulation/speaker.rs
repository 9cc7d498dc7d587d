//! A speaker as `warren-speaker` puts it together: a machine per peer, one RIB, and the table of
//! the node. It checks what must hold after every single step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ipnetwork::IpNetwork;
use warren_bgp::message::Family;
use warren_bgp::policy::ImportPolicy;
use warren_bgp::rib::{BestPath, PathChange, Rib, Session};
use warren_bgp::role::LocalRole;
use warren_bgp::session::{Action, ConnectionId, Event, HoldTime, Peer, PeerConfig, State};

use crate::topology::{Identity, address, destinations, speaker};

/// How long a speaker that has restarted waits for its peers' routes, for those that are there and
/// for those that are not.
const SELECTION_DEFERRAL: Duration = Duration::from_secs(30);
const PRESENCE: Duration = Duration::from_secs(3);

/// A mistake that a speaker is made to make, to see that the simulation notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// It does not take in one UPDATE of three.
    LosesUpdates,
    /// It keeps the routes of sessions that have ended.
    KeepsRoutes,
    /// It does not serve timers that have expired.
    LosesTimers,
    /// It does not announce its own routes to those that come late.
    ForgetsLateComers,
    /// It keeps what a peer has not announced again.
    KeepsStaleRoutes,
    /// It selects routes at once after a restart, and says so.
    SelectsTooEarly,
    /// It agrees on roles and does not go by them.
    LeaksRoutes,
}

/// What the network is to do for a speaker.
#[derive(Debug)]
pub(crate) enum Wish {
    Connect(ConnectionId),
    Send(ConnectionId, Bytes),
    Close(ConnectionId),
}

pub(crate) struct Speaker {
    number: usize,
    identity: Identity,
    peers: BTreeMap<usize, Neighbor>,
    rib: Rib,
    table: BTreeMap<IpNetwork, BestPath>,
    /// What the node's kernel still has of the speaker's former life.
    former: BTreeMap<IpNetwork, BestPath>,
    /// When it has restarted, while its route selection is deferred (RFC 4724, 4.1).
    deferred_since: Option<Instant>,
    /// How often a route came, went or became another.
    moves: u32,
    mistake: Option<Mistake>,
    updates: u32,
}

struct Neighbor {
    machine: Peer,
    is_up: bool,
    /// How often a session was Established.
    ups: u32,
    has_told_all: bool,
}

impl Speaker {
    /// One that starts on a node whose kernel has these routes of a former life, or none.
    pub(crate) fn new(
        number: usize,
        identity: Identity,
        mistake: Option<Mistake>,
        now: Instant,
        former: BTreeMap<IpNetwork, BestPath>,
    ) -> Self {
        let (peers, mut rib, table): (_, Rib, _) = Default::default();
        let is_restart = !former.is_empty() && identity.graceful_restart.is_some();
        let deferred_since =
            (is_restart && mistake != Some(Mistake::SelectsTooEarly)).then_some(now);
        if deferred_since.is_some() {
            rib.defer();
        }
        let (moves, updates) = (0, 0);
        Self {
            number,
            identity,
            peers,
            rib,
            table,
            former,
            deferred_since,
            moves,
            mistake,
            updates,
        }
    }

    pub(crate) fn add_peer(
        &mut self,
        peer: usize,
        (peer_as, role): (u32, Option<LocalRole>),
        passive: bool,
        seed: u64,
    ) {
        let config = PeerConfig {
            local_as: self.identity.as_number,
            peer_as: peer_as.into(),
            router_id: self.identity.router_id,
            hold_time: HoldTime::from_secs(self.identity.hold_time).expect("a hold time"),
            keepalive: None,
            connect_retry: Default::default(),
            passive,
            families: vec![Family::Ipv4Unicast],
            loopback_next_hops: false,
            add_path: false,
            graceful_restart: self.identity.graceful_restart,
            role,
        };
        let mut machine = Peer::new(config, seed);
        if self.deferred_since.is_some() {
            machine.restarted();
        }
        let neighbor = Neighbor { machine, is_up: false, ups: 0, has_told_all: false };
        self.peers.insert(peer, neighbor);
    }

    pub(crate) fn remove_peer(&mut self, peer: usize) {
        self.rib.forget_peer(address(peer));
        self.peers.remove(&peer);
    }

    pub(crate) fn originate(&mut self, prefixes: &BTreeSet<IpNetwork>) {
        self.rib.originate(prefixes.iter().copied());
        self.take_changes();
    }

    pub(crate) fn believe(&mut self, pools: &[IpNetwork]) {
        let own_blocks = destinations(self.number)[..3].to_vec();
        self.rib.set_import_policy(ImportPolicy {
            pools: pools.to_vec(),
            own_blocks,
            owners: vec![],
        });
        self.take_changes();
    }

    pub(crate) fn new_connection(&mut self, peer: usize) -> Option<ConnectionId> {
        Some(self.peers.get_mut(&peer)?.machine.new_connection_id())
    }

    /// One step of the machine of `peer`.
    pub(crate) fn drive(&mut self, peer: usize, now: Instant, event: Event) -> Vec<Wish> {
        let Some(neighbor) = self.peers.get_mut(&peer) else { return Vec::new() };
        if matches!(event, Event::Timer) && self.mistake == Some(Mistake::LosesTimers) {
            return Vec::new();
        }
        let is_timer = matches!(event, Event::Timer);
        let actions = neighbor.machine.handle(now, event);
        if is_timer {
            let next = neighbor.machine.next_deadline();
            assert!(next.is_none_or(|next| next > now), "a timer that has expired runs on");
        }
        let mut wishes = Vec::new();
        for action in actions {
            match action {
                Action::Connect(id) => wishes.push(Wish::Connect(id)),
                Action::Send(id, octets) => wishes.push(Wish::Send(id, octets)),
                Action::Close(id) => wishes.push(Wish::Close(id)),
                other => self.take(peer, other),
            }
        }
        self.end_deferral(now);
        self.take_changes();
        let Some(neighbor) = self.peers.get(&peer) else { return wishes };
        let is_established = neighbor.machine.state() == State::Established;
        assert_eq!(neighbor.is_up, is_established, "what was said last is what is");
        wishes
    }

    fn take(&mut self, peer: usize, action: Action) {
        let Some(neighbor) = self.peers.get_mut(&peer) else { return };
        let from = address(peer);
        match action {
            Action::Up(negotiated) => {
                assert!(!neighbor.is_up, "up twice");
                neighbor.is_up = true;
                neighbor.ups += 1;
                neighbor.has_told_all = false;
                let long_lived = negotiated.long_lived();
                self.rib.peer_up(Session {
                    peer: from,
                    peer_as: negotiated.peer_as,
                    peer_router_id: negotiated.peer_router_id,
                    local_address: self.identity.address,
                    other_address: None,
                    local_as: self.identity.as_number,
                    local_router_id: self.identity.router_id,
                    cluster_id: self.identity.router_id,
                    is_client: false,
                    families: negotiated.families,
                    enhanced_refresh: negotiated.enhanced_refresh,
                    long_lived,
                    role: negotiated.role.filter(|_| self.mistake != Some(Mistake::LeaksRoutes)),
                });
                if self.mistake == Some(Mistake::ForgetsLateComers) && neighbor.ups > 1 {
                    self.rib.take_updates(from, usize::MAX);
                }
            }
            Action::Down { kept, .. } => {
                assert!(neighbor.is_up, "down without having been up");
                neighbor.is_up = false;
                if self.mistake != Some(Mistake::KeepsRoutes) {
                    self.rib.peer_restarting(from, &kept);
                }
            }
            Action::Sweep(family) => {
                if self.mistake != Some(Mistake::KeepsStaleRoutes) {
                    self.rib.sweep(from, family);
                }
            }
            Action::Update(update) => {
                assert!(neighbor.is_up, "an update without a session");
                self.updates += 1;
                neighbor.has_told_all |= update.end_of_rib.is_some();
                let lost =
                    self.mistake == Some(Mistake::LosesUpdates) && self.updates.is_multiple_of(3);
                if !lost {
                    self.rib.update(from, update);
                }
            }
            Action::LongLived(family) => {
                assert!(!neighbor.is_up, "kept for long although it is there");
                self.rib.long_lived(from, family);
            }
            Action::MarkStale(family) => {
                assert!(neighbor.is_up, "a refresh without a session");
                self.rib.mark_stale(from, family);
            }
            Action::Refresh(family) => {
                assert!(neighbor.is_up, "a refresh without a session");
                self.rib.refresh(from, family);
            }
            Action::Connect(_) | Action::Send(..) | Action::Close(_) => {}
        }
    }

    /// The messages of some news for one of the peers that have `room`.
    pub(crate) fn take_news(
        &mut self,
        limit: usize,
        has_room: impl Fn(usize, ConnectionId) -> bool,
    ) -> Option<(usize, ConnectionId, Vec<Bytes>)> {
        let (peer, id) = self.rib.out_of_date(None).find_map(|peer| {
            let peer = speaker(peer);
            let id = self.peers.get(&peer)?.machine.established_connection()?;
            has_room(peer, id).then_some((peer, id))
        })?;
        let updates = self.rib.take_updates(address(peer), limit);
        let machine = &self.peers.get(&peer)?.machine;
        let messages = updates.iter().flat_map(|update| {
            let messages = machine.encode_update(update);
            assert!(!messages.is_empty(), "news that cannot be written: {update:?}");
            messages
        });
        Some((peer, id, messages.collect()))
    }

    fn take_changes(&mut self) {
        while self.rib.has_changes() {
            for PathChange { prefix, best } in self.rib.take_changes(3) {
                let before = match best {
                    Some(best) => self.table.insert(prefix, best),
                    None => self.table.remove(&prefix),
                };
                assert_ne!(before, best, "a change that changes nothing");
                if self.former.get(&prefix) != best.as_ref() {
                    self.moves += 1;
                }
            }
        }
    }

    /// When to call [`wake`](Self::wake) after the start of a speaker.
    pub(crate) const WAKES_AFTER: [Duration; 2] = [PRESENCE, SELECTION_DEFERRAL];

    /// The time has come to go on although nothing has happened.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.end_deferral(now);
        self.take_changes();
    }

    /// What is left of a former life goes.
    pub(crate) fn settle(&mut self) {
        let Self { former, table, .. } = self;
        former.retain(|prefix, _| !table.contains_key(prefix));
        self.moves += former.len() as u32;
        former.clear();
    }

    fn end_deferral(&mut self, now: Instant) {
        let Some(since) = self.deferred_since else { return };
        let waits_for = |neighbor: &Neighbor| match neighbor.machine.negotiated() {
            Some(it) => {
                let restart = it.graceful_restart.as_ref();
                restart.is_some_and(|it| !it.restarting) && !neighbor.has_told_all
            }
            None => neighbor.machine.has_answered() || now < since + PRESENCE,
        };
        if now < since + SELECTION_DEFERRAL && self.peers.values().any(waits_for) {
            return;
        }
        self.deferred_since = None;
        self.rib.resume();
        self.peers.values_mut().for_each(|neighbor| neighbor.machine.selected());
    }

    /// The routes of the node.
    pub(crate) fn table(&self) -> BTreeMap<IpNetwork, BestPath> {
        let mut table = self.former.clone();
        table.extend(&self.table);
        table
    }

    /// How often a route of the node came, went or became another.
    pub(crate) fn moves(&self) -> u32 {
        self.moves
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = usize> {
        self.peers.keys().copied()
    }

    /// What there is of the session with `peer`.
    pub(crate) fn machine(&self, peer: usize) -> Option<&Peer> {
        self.peers.get(&peer).map(|neighbor| &neighbor.machine)
    }

    pub(crate) fn ups(&self) -> u32 {
        self.peers.values().map(|neighbor| neighbor.ups).sum()
    }

    /// Whether every peer has been told everything.
    pub(crate) fn has_nothing_to_say(&self) -> bool {
        self.rib.out_of_date(None).next().is_none()
    }

    /// The peer whose timer expires first.
    pub(crate) fn next_deadline(&self) -> Option<(Instant, usize)> {
        let deadlines = self.peers.iter();
        deadlines.filter_map(|(peer, it)| Some((it.machine.next_deadline()?, *peer))).min()
    }
}
