use std::num::NonZeroU8;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::packet::tests::packet;
use crate::session::{Cause, Timing};

const PEER: &str = "192.0.2.1";

fn key(peer: &str, hops: Hops) -> Key {
    Key { peer: peer.parse().unwrap(), hops }
}

fn settings(peer: &str, hops: Hops) -> Settings {
    Settings { key: key(peer, hops), source: None, timing: Timing::default() }
}

struct Node {
    engine: Engine,
    now: Instant,
    outputs: Vec<Output>,
}

impl Node {
    fn new(sessions: &[Settings]) -> Self {
        let mut node = Self { engine: Engine::new(7), now: Instant::now(), outputs: Vec::new() };
        node.set(sessions);
        node
    }

    fn set(&mut self, sessions: &[Settings]) {
        self.engine.set_sessions(sessions, self.now, &mut self.outputs);
    }

    fn hear(&mut self, from: &str, hops: Hops, ttl: u8, payload: &[u8]) {
        let from = from.parse().unwrap();
        let datagram = Datagram { from, hops, ttl, interface: 2, payload };
        self.engine.receive(&datagram, self.now, &mut self.outputs);
    }

    /// Brings the session up; the name that the engine gave it.
    fn bring_up(&mut self, from: &str, hops: Hops) -> Discriminator {
        let name = self.sent().last().unwrap().1.my_discriminator;
        let init = Packet { your_discriminator: Some(name), ..packet(State::Init) };
        self.hear(from, hops, 255, &init.encode());
        assert_eq!(self.changes(), [(key(from, hops), Change::Up)]);
        name
    }

    fn sent(&self) -> Vec<(Key, Packet)> {
        let packet = |output: &Output| match output {
            Output::Send { key, payload, .. } => Some((*key, Packet::decode(payload).unwrap())),
            Output::Changed(_) => None,
        };
        self.outputs.iter().filter_map(packet).collect()
    }

    /// What clients are told; forgets all outputs.
    fn events(&mut self) -> Vec<Event> {
        let event = |output| match output {
            Output::Changed(event) => Some(event),
            Output::Send { .. } => None,
        };
        self.outputs.drain(..).filter_map(event).collect()
    }

    fn changes(&mut self) -> Vec<(Key, Change)> {
        self.events().into_iter().map(|event| (event.key, event.change)).collect()
    }

    fn state(&self) -> Option<State> {
        self.engine.snapshot().sessions.first().map(|session| session.state)
    }

    fn discarded(&self) -> Vec<(Discard, u64)> {
        self.engine.snapshot().discarded.into_iter().collect()
    }
}

#[test]
fn a_new_session_sends_at_once_and_once_a_second_from_then_on() {
    let mut node = Node::new(&[settings(PEER, Hops::Single)]);
    assert_eq!(node.sent().len(), 1);
    assert_eq!(node.sent()[0].1.your_discriminator, None);
    let deadline = node.engine.next_deadline().unwrap();
    assert!(deadline > node.now && deadline <= node.now + Duration::from_secs(1));
    node.engine.turn(deadline, &mut node.outputs);
    assert_eq!(node.sent().len(), 2);
}

#[test]
fn the_first_packet_is_known_by_its_address_and_those_after_it_by_their_discriminator() {
    let mut node = Node::new(&[settings("192.0.2.9", Hops::Single), settings(PEER, Hops::Single)]);
    let name = node.sent()[0].1.my_discriminator;
    node.hear(PEER, Hops::Single, 255, &packet(State::Down).encode());
    assert_eq!(node.state(), Some(State::Init));
    // The sessions are in the order of their addresses, and so are their packets.
    let up = Packet { your_discriminator: Some(name), ..packet(State::Up) };
    node.hear("192.0.2.9", Hops::Single, 255, &up.encode());
    assert_eq!(node.discarded(), [(Discard::UnknownDiscriminator, 1)], "it is the other's");
    let name = node.sent().iter().find(|(key, _)| key.peer.to_string() == PEER).unwrap().1;
    let up = Packet { your_discriminator: Some(name.my_discriminator), ..up };
    node.hear(PEER, Hops::Single, 255, &up.encode());
    assert_eq!(node.changes(), [(key(PEER, Hops::Single), Change::Up)]);
}

#[test]
fn what_is_of_no_session_is_counted_by_reason_and_changes_nothing() {
    let mut node = Node::new(&[settings(PEER, Hops::Single)]);
    let of_another = Packet { your_discriminator: Discriminator::new(1), ..packet(State::Down) };
    let cases = [
        (PEER, Hops::Single, 254, packet(State::Down), Discard::TtlNot255),
        (PEER, Hops::Single, 255, of_another, Discard::UnknownDiscriminator),
        (PEER, Hops::Single, 255, packet(State::Init), Discard::YourDiscriminatorZero),
        (PEER, Hops::Single, 255, packet(State::Up), Discard::YourDiscriminatorZero),
        ("192.0.2.2", Hops::Single, 255, packet(State::Down), Discard::UnknownPeer),
        (PEER, Hops::Multi, 255, packet(State::Down), Discard::UnknownPeer),
    ];
    let mut expected = BTreeMap::new();
    for (from, hops, ttl, packet, discard) in cases {
        node.hear(from, hops, ttl, &packet.encode());
        *expected.entry(discard).or_insert(0) += 1;
        assert_eq!(node.discarded(), expected.clone().into_iter().collect::<Vec<_>>());
    }
    let mut authenticated = [0; 26];
    authenticated[..24].copy_from_slice(&packet(State::Down).encode());
    authenticated[1] |= 0x04;
    authenticated[3] = 26;
    node.hear(PEER, Hops::Single, 255, &authenticated);
    assert_eq!(node.engine.snapshot().discarded[&Discard::Authentication], 1);
    assert_eq!(node.state(), Some(State::Down));
}

#[test]
fn a_multihop_packet_may_have_passed_routers() {
    let mut node = Node::new(&[settings(PEER, Hops::Multi)]);
    node.hear(PEER, Hops::Multi, 61, &packet(State::Down).encode());
    assert_eq!(node.state(), Some(State::Init));
    assert_eq!(Hops::Multi.port(), 4784);
}

#[test]
fn a_packet_with_the_name_of_another_kind_of_session_is_not_this_ones() {
    let mut node = Node::new(&[settings(PEER, Hops::Single)]);
    let name = node.bring_up(PEER, Hops::Single);
    let down = Packet { your_discriminator: Some(name), ..packet(State::Down) };
    node.hear(PEER, Hops::Multi, 255, &down.encode());
    node.hear("192.0.2.2", Hops::Single, 255, &down.encode());
    assert_eq!(node.events(), []);
    assert_eq!(node.discarded(), [(Discard::UnknownDiscriminator, 2)]);
}

#[test]
fn silence_is_a_failure_and_a_peer_that_was_never_up_is_none() {
    let mut node = Node::new(&[settings(PEER, Hops::Single), settings("192.0.2.9", Hops::Multi)]);
    node.hear("192.0.2.9", Hops::Multi, 64, &packet(State::Down).encode());
    let first = node.sent()[0].1.my_discriminator;
    let init = Packet { your_discriminator: Some(first), ..packet(State::Init) };
    node.hear(PEER, Hops::Single, 255, &init.encode());
    node.events();
    for _ in 0..100 {
        node.now = node.engine.next_deadline().unwrap();
        node.engine.turn(node.now, &mut node.outputs);
    }
    let events = node.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].key.peer.to_string(), PEER);
    assert_eq!(events[0].failure(), Some(Cause::DetectionTimeExpired));
}

#[test]
fn a_failure_tells_until_when_there_was_no_sign_of_it() {
    let millis = Duration::from_millis;
    // After so long a peer that has started anew says so; with 300 ms between two packets.
    for (pause, expected) in [(200, 200), (800, 300)] {
        let mut node = Node::new(&[settings(PEER, Hops::Single)]);
        node.bring_up(PEER, Hops::Single);
        let up = node.now;
        node.now += millis(pause);
        node.hear(PEER, Hops::Single, 255, &packet(State::Down).encode());
        let events = node.events();
        assert_eq!(events[0].failure(), Some(Cause::NeighborSignaledDown));
        assert_eq!(events[0].last_up, up + millis(expected));
    }
    let mut node = Node::new(&[settings(PEER, Hops::Single)]);
    node.bring_up(PEER, Hops::Single);
    let up = node.now;
    node.engine.turn(up + millis(900), &mut node.outputs);
    let events = node.events();
    assert_eq!(events[0].failure(), Some(Cause::DetectionTimeExpired));
    assert_eq!(events[0].last_up, up + millis(300));
}

#[test]
fn a_failure_tells_whether_the_peers_bfd_outlives_its_control_plane() {
    for control_plane_independent in [false, true] {
        let mut node = Node::new(&[settings(PEER, Hops::Single)]);
        let name = node.bring_up(PEER, Hops::Single);
        let up = Packet {
            your_discriminator: Some(name),
            control_plane_independent,
            ..packet(State::Up)
        };
        node.hear(PEER, Hops::Single, 255, &up.encode());
        node.engine.turn(node.now + Duration::from_secs(5), &mut node.outputs);
        let events = node.events();
        assert_eq!(events[0].failure(), Some(Cause::DetectionTimeExpired));
        assert_eq!(events[0].control_plane_independent, control_plane_independent);
    }
}

#[test]
fn a_peers_admin_down_is_no_failure() {
    let mut node = Node::new(&[settings(PEER, Hops::Single)]);
    let name = node.bring_up(PEER, Hops::Single);
    let held = Packet { your_discriminator: Some(name), ..packet(State::AdminDown) };
    node.hear(PEER, Hops::Single, 255, &held.encode());
    let events = node.events();
    assert_eq!(events[0].change, Change::Down(Cause::NeighborAdminDown));
    assert_eq!(events[0].failure(), None);
}

#[test]
fn an_interface_takes_the_peers_down_that_are_heard_there() {
    let mut node = Node::new(&[settings(PEER, Hops::Multi)]);
    node.bring_up(PEER, Hops::Multi);
    node.engine.interface_down(3, node.now, &mut node.outputs);
    assert_eq!(node.events(), []);
    node.now += Duration::from_millis(100);
    node.engine.interface_down(2, node.now, &mut node.outputs);
    let event = node.events()[0];
    assert_eq!((event.failure(), event.last_up), (Some(Cause::PathDown), node.now));
}

#[test]
fn a_session_that_is_not_wanted_any_more_says_so_and_is_gone_when_the_peer_knows() {
    let mut node = Node::new(&[settings(PEER, Hops::Single)]);
    let name = node.bring_up(PEER, Hops::Single);
    node.set(&[]);
    assert_eq!(node.sent().last().unwrap().1.state, State::AdminDown);
    assert_eq!(node.events()[0].failure(), None);
    assert_eq!(node.state(), None, "it is not shown any more");
    assert!(!node.engine.is_empty());
    let down = Packet { your_discriminator: Some(name), ..packet(State::Down) };
    node.hear(PEER, Hops::Single, 255, &down.encode());
    assert!(node.engine.is_empty());
    assert_eq!(node.engine.next_deadline(), None);
}

#[test]
fn a_session_that_is_wanted_again_before_its_peer_knows_of_its_end_starts_anew() {
    let mut node = Node::new(&[settings(PEER, Hops::Single)]);
    let name = node.bring_up(PEER, Hops::Single);
    node.set(&[]);
    node.set(&[settings(PEER, Hops::Single)]);
    let last = node.sent().last().unwrap().1;
    assert_eq!((last.state, last.your_discriminator), (State::Down, None));
    assert_ne!(last.my_discriminator, name);
}

#[test]
fn other_intervals_leave_a_session_up_and_another_source_starts_it_anew() {
    let mut node = Node::new(&[settings(PEER, Hops::Single)]);
    node.bring_up(PEER, Hops::Single);
    let slower = Timing { detect_mult: NonZeroU8::new(9).unwrap(), ..Timing::default() };
    node.set(&[Settings { timing: slower, ..settings(PEER, Hops::Single) }]);
    assert_eq!(node.sent().last().unwrap().1.detect_mult.get(), 9);
    assert_eq!((node.events(), node.state()), (vec![], Some(State::Up)));
    let source = Some("192.0.2.7".parse().unwrap());
    node.set(&[Settings { source, ..settings(PEER, Hops::Single) }]);
    assert_eq!(node.state(), Some(State::Down));
    assert_eq!(node.events()[0].failure(), None);
}

#[test]
fn a_thousand_sessions_have_a_thousand_names() {
    let sessions: Vec<Settings> = (0..1000)
        .map(|n| settings(&format!("10.0.{}.{}", n / 250, n % 250 + 1), Hops::Single))
        .collect();
    let node = Node::new(&sessions);
    let names: BTreeSet<_> = node.sent().iter().map(|(_, p)| p.my_discriminator).collect();
    assert_eq!(names.len(), 1000);
}

proptest! {
    #[test]
    fn whatever_arrives_from_whomever_the_engine_goes_on(
        datagrams in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..40), 0..4_u8, any::<bool>(), 0..3000_u64), 0..200,
        ),
    ) {
        let sessions = [settings(PEER, Hops::Single), settings("192.0.2.2", Hops::Multi)];
        let mut node = Node::new(&sessions);
        let names: Vec<u32> =
            node.sent().iter().map(|(_, packet)| packet.my_discriminator.get()).collect();
        for (mut payload, peer, single, pause) in datagrams {
            // Most are nearly right.
            if let (Some(head), true) = (payload.first_chunk_mut::<12>(), peer < 3) {
                (head[0], head[3]) = (0x20, 24);
                head[1] &= 0xfa;
                head[8..].copy_from_slice(&names[usize::from(peer % 2)].to_be_bytes());
            }
            let hops = if single { Hops::Single } else { Hops::Multi };
            node.hear(&format!("192.0.2.{peer}"), hops, 255, &payload);
            node.now += Duration::from_millis(pause);
            node.engine.turn(node.now, &mut node.outputs);
            prop_assert!(node.engine.next_deadline().unwrap() > node.now);
        }
        prop_assert_eq!(node.engine.snapshot().sessions.len(), 2);
    }
}
