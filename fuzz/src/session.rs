//! A whole session: a peer that sends anything at any time over connections that come and go, and a
//! RIB behind it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ipnetwork::IpNetwork;
use warren_bgp::codec::{KEEPALIVE, MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN, open};
use warren_bgp::message::{Capability, Family, GracefulRestart, LongLived, Open};
use warren_bgp::policy::ImportPolicy;
use warren_bgp::rib::{Rib, Session};
use warren_bgp::role::{LocalRole, Role};
use warren_bgp::session::{
    self, Action, ConnectionId, Event, HoldTime, Peer, PeerConfig, StaleTime, State,
    TooManyPrefixes,
};

const OUR_AS: u32 = 64512;
const US: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// The octets that are left of a history.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// As many octets as the next two say, or as there are.
    fn octets(&mut self) -> &'a [u8] {
        let [high, low] = [self.octet(), self.octet()].map(Option::unwrap_or_default);
        let length = usize::from(u16::from_be_bytes([high, low])).min(self.0.len());
        let (octets, rest) = self.0.split_at(length);
        self.0 = rest;
        octets
    }
}

struct World {
    peer: Peer,
    peer_as: u32,
    rib: Rib,
    now: Instant,
    /// Connections that were asked for and are not open yet.
    opening: BTreeSet<ConnectionId>,
    open: BTreeSet<ConnectionId>,
    is_up: bool,
}

/// Reads a history from the octets and lives it.
pub(crate) fn session(octets: &[u8]) {
    let mut script = Script(octets);
    let mut world = World::new(script.octet().unwrap_or_default());
    world.event(Event::ManualStart);
    while let Some(kind) = script.octet() {
        world.step(kind, &mut script);
        world.check();
    }
    world.event(Event::ManualStop);
    assert!(world.open.is_empty() && world.opening.is_empty(), "connections are left");
    assert_eq!((world.peer.state(), world.peer.next_deadline()), (State::Idle, None));
    while world.rib.has_changes() {
        let changes = world.rib.take_changes(100);
        assert!(changes.iter().all(|it| it.best.is_none()), "routes are left: {changes:?}");
    }
}

impl World {
    fn new(flags: u8) -> Self {
        let peer_as = if flags & 1 == 0 { OUR_AS } else { 4_200_000_000 };
        let hold_time = HoldTime::from_secs([90, 3, 0, 65_535][usize::from(flags >> 1 & 3)]);
        let config = PeerConfig {
            local_as: OUR_AS,
            peer_as: peer_as.into(),
            router_id: US,
            hold_time: hold_time.unwrap_or_default(),
            keepalive: None,
            connect_retry: Default::default(),
            passive: flags & 8 != 0,
            families: vec![Family::Ipv4Unicast],
            loopback_next_hops: false,
            graceful_restart: (flags & 16 != 0).then(|| session::GracefulRestart {
                long_lived: StaleTime::from_secs(40).unwrap_or_default(),
                ..Default::default()
            }),
            role: [None, Some(Role::Customer), Some(Role::Peer), Some(Role::Provider)]
                [usize::from(flags >> 5 & 3)]
            .map(|role| LocalRole { role, strict: flags & 128 != 0 }),
            add_path: true,
        };
        let mut rib = Rib::default();
        let pools: Vec<IpNetwork> = "0.0.0.0/0".parse().into_iter().collect();
        rib.set_import_policy(ImportPolicy { pools, ..ImportPolicy::default() });
        Self {
            peer: Peer::new(config, u64::from(flags)),
            peer_as,
            rib,
            now: Instant::now(),
            opening: BTreeSet::new(),
            open: BTreeSet::new(),
            is_up: false,
        }
    }

    fn step(&mut self, kind: u8, script: &mut Script<'_>) {
        let newest = self.open.last().copied();
        match (kind % 16, newest) {
            // Octets, with a header or without.
            (0, Some(id)) => self.bytes(id, script.octets()),
            (1..=3, Some(id)) => {
                let (kind, body) = (script.octet().unwrap_or_default(), script.octets());
                let length = (body.len() + 19) as u16;
                let header = [&[0xff; 16][..], &length.to_be_bytes(), &[kind]].concat();
                self.bytes(id, &[&header, body].concat());
            }
            // What a proper peer says.
            (4, Some(id)) => self.bytes(id, &self.proper_open()),
            (5, Some(id)) => self.bytes(id, &KEEPALIVE),
            (6, Some(id)) => {
                self.open.remove(&id);
                self.event(Event::Closed(id, "reset".to_owned()));
            }
            (7, _) => {
                let id = self.peer.new_connection_id();
                self.open.insert(id);
                self.event(Event::Accepted(id));
            }
            (8, _) => {
                if let Some(id) = self.opening.pop_first() {
                    self.open.insert(id);
                    self.event(Event::ConnectSucceeded(id));
                }
            }
            (9, _) => {
                if let Some(id) = self.opening.pop_first() {
                    self.event(Event::ConnectFailed(id, "refused".to_owned()));
                }
            }
            // Time passes: to the next timer, or some of it.
            (10, _) => {
                self.now = self.peer.next_deadline().unwrap_or(self.now).max(self.now);
                self.event(Event::Timer);
            }
            (11, _) => {
                let tenths = u64::from(script.octet().unwrap_or_default());
                self.now += Duration::from_millis(tenths * 100);
                if self.peer.next_deadline().is_some_and(|at| at <= self.now) {
                    self.event(Event::Timer);
                }
            }
            (12, _) => self.event(Event::RequestRefresh(Family::Ipv4Unicast)),
            (13, _) => match script.octet().unwrap_or_default() % 5 {
                0 => self.event(Event::ManualStop),
                1 => self.event(Event::TooManyPrefixes(TooManyPrefixes {
                    family: Family::Ipv4Unicast,
                    limit: 1,
                    idle: Duration::from_secs(30),
                })),
                2 => self.event(Event::Deconfigured),
                4 => self.event(Event::Handover),
                _ => self.event(Event::ManualStart),
            },
            (14, _) => {
                let count = script.octet().unwrap_or_default();
                self.rib
                    .originate((0..count).filter_map(|n| {
                        IpNetwork::new(Ipv4Addr::new(10, 0, n, 0).into(), 24).ok()
                    }));
            }
            _ => {
                for update in self.rib.take_updates(PEER.into(), 10) {
                    let messages = self.peer.encode_update(&update);
                    assert!(!messages.is_empty() && self.is_up, "cannot be said: {update:?}");
                    let extended = self.peer.negotiated().is_some_and(|it| it.extended_messages);
                    let most = if extended { MAX_EXTENDED_MESSAGE_LEN } else { MAX_MESSAGE_LEN };
                    assert!(messages.iter().all(|it| it.len() <= most));
                }
            }
        }
    }

    /// From a peer that has gone on forwarding if it has restarted.
    fn proper_open(&self) -> Vec<u8> {
        let mut capabilities = vec![
            Capability::Multiprotocol(Family::Ipv4Unicast),
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::ExtendedMessage,
            Capability::GracefulRestart(GracefulRestart {
                restarting: false,
                notification: true,
                restart_time: 20,
                families: vec![(Family::Ipv4Unicast, true)],
            }),
            Capability::LongLivedGracefulRestart(vec![LongLived {
                family: Family::Ipv4Unicast,
                forwarding: true,
                stale_time: 30,
            }]),
            Capability::FourOctetAs(self.peer_as),
        ];
        let role = self.peer.config().role.map(|it| Capability::Role(it.role.counterpart()));
        capabilities.extend(role);
        let it = Open { as_number: self.peer_as, hold_time: 90, router_id: PEER, capabilities };
        open::encode(&it).map(Into::into).unwrap_or_default()
    }

    fn bytes(&mut self, id: ConnectionId, octets: &[u8]) {
        self.event(Event::Bytes(id, Bytes::copy_from_slice(octets)));
    }

    fn event(&mut self, event: Event) {
        for action in self.peer.handle(self.now, event) {
            match action {
                Action::Connect(id) => assert!(self.opening.insert(id), "asked for twice"),
                Action::Send(id, message) => {
                    assert!(self.open.contains(&id), "sent over {id}, which is not open");
                    assert!((19..=MAX_MESSAGE_LEN).contains(&message.len()));
                }
                Action::Close(id) => {
                    assert!(self.open.remove(&id) || self.opening.remove(&id), "closed twice");
                }
                Action::Up(negotiated) => {
                    assert!(!self.is_up, "up twice");
                    self.is_up = true;
                    let long_lived = negotiated.long_lived();
                    self.rib.peer_up(Session {
                        peer: PEER.into(),
                        peer_as: negotiated.peer_as,
                        peer_router_id: negotiated.peer_router_id,
                        local_address: IpAddr::V4(US),
                        other_address: None,
                        local_as: OUR_AS,
                        local_router_id: US,
                        cluster_id: US,
                        is_client: false,
                        families: negotiated.families,
                        enhanced_refresh: negotiated.enhanced_refresh,
                        long_lived,
                        role: negotiated.role,
                    });
                }
                Action::Down { kept, .. } => {
                    assert!(self.is_up, "down without having been up");
                    self.is_up = false;
                    self.rib.peer_restarting(PEER.into(), &kept);
                }
                Action::Sweep(family) => self.rib.sweep(PEER.into(), family),
                Action::Update(update) => {
                    assert!(self.is_up, "routes without a session");
                    self.rib.update(PEER.into(), update);
                }
                Action::LongLived(family) => self.rib.long_lived(PEER.into(), family),
                Action::MarkStale(family) => self.rib.mark_stale(PEER.into(), family),
                Action::Refresh(family) => self.rib.refresh(PEER.into(), family),
            }
        }
    }

    /// What holds after every step.
    fn check(&self) {
        assert_eq!(self.is_up, self.peer.state() == State::Established);
        assert!(self.open.len() + self.opening.len() <= 2, "connections pile up");
        if let Some(id) = self.peer.established_connection() {
            assert!(self.open.contains(&id));
        }
    }
}
