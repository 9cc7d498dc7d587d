//! Two peers over a simulated network with a simulated clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Action, ConnectionId, Event, HoldTime, Peer, PeerConfig, State};
use super::{config, seconds, short};
use crate::message::{Capability, Family, Update};

/// What the network does with a wish to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    /// It works.
    Up,
    /// Nothing arrives, and nobody is told.
    Silent,
    /// Nobody listens.
    Refusing,
}

/// Something on its way to one of the two.
#[derive(Debug)]
enum Arrival {
    Event(Event),
    /// The other one, of this name there, wants to connect.
    Syn(ConnectionId),
}

struct Pair {
    now: Instant,
    peers: [Peer; 2],
    network: Network,
    /// How long the way to each of the two takes.
    latency: [Duration; 2],
    /// What is on its way, in order of arrival.
    queue: BTreeMap<(Instant, u64), (usize, Arrival)>,
    sequence: u64,
    /// The other end of every open connection.
    ends: BTreeMap<(usize, ConnectionId), ConnectionId>,
    /// The connections that each has opened itself.
    opened: BTreeSet<(usize, ConnectionId)>,
    /// What each was told to do, in short.
    log: [Vec<String>; 2],
}

impl Pair {
    fn new(configs: [PeerConfig; 2], seed: u64) -> Self {
        let [a, b] = configs;
        Self {
            now: Instant::now(),
            peers: [Peer::new(a, seed), Peer::new(b, seed.wrapping_add(1))],
            network: Network::Up,
            latency: [Duration::from_millis(1); 2],
            queue: BTreeMap::new(),
            sequence: 0,
            ends: BTreeMap::new(),
            opened: BTreeSet::new(),
            log: [vec![], vec![]],
        }
    }

    /// 10.0.0.1 and 10.0.0.2 of AS 64512.
    fn of_the_mesh() -> Self {
        Self::new(Self::configs(), 7)
    }

    fn configs() -> [PeerConfig; 2] {
        [1, 2].map(|n| PeerConfig { router_id: Ipv4Addr::new(10, 0, 0, n), ..config() })
    }

    fn both_up() -> Self {
        let mut pair = Self::of_the_mesh();
        pair.tell(0, Event::ManualStart);
        pair.tell(1, Event::ManualStart);
        pair.run(seconds(5));
        pair.assert_up();
        pair
    }

    fn arrives(&mut self, at: usize, after: Duration, arrival: Arrival) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), (at, arrival));
    }

    fn tell(&mut self, at: usize, event: Event) {
        let actions = self.peers[at].handle(self.now, event);
        self.log[at].extend(short(&actions));
        let (other, way) = (1 - at, self.latency[1 - at]);
        for action in actions {
            match action {
                Action::Connect(id) => {
                    self.opened.insert((at, id));
                    match self.network {
                        Network::Up => self.arrives(other, way, Arrival::Syn(id)),
                        Network::Silent => {}
                        Network::Refusing => {
                            let event = Event::ConnectFailed(id, "connection refused".to_owned());
                            self.arrives(at, way, Arrival::Event(event));
                        }
                    }
                }
                Action::Send(id, octets) => {
                    if let Some(end) = self.ends.get(&(at, id)).copied()
                        && self.network == Network::Up
                    {
                        let event = Event::Bytes(end, octets);
                        self.arrives(other, way, Arrival::Event(event));
                    }
                }
                Action::Close(id) => {
                    if let Some(end) = self.ends.remove(&(at, id))
                        && self.network == Network::Up
                    {
                        let event = Event::Closed(end, "peer closed the connection".to_owned());
                        self.arrives(other, way, Arrival::Event(event));
                    }
                }
                _ => {}
            }
        }
    }

    fn arrive(&mut self, at: usize, arrival: Arrival) {
        match arrival {
            Arrival::Event(Event::Closed(id, reason)) => {
                self.ends.remove(&(at, id));
                self.tell(at, Event::Closed(id, reason));
            }
            Arrival::Event(event) => self.tell(at, event),
            Arrival::Syn(theirs) => {
                let ours = self.peers[at].new_connection_id();
                self.ends.insert((at, ours), theirs);
                self.ends.insert((1 - at, theirs), ours);
                let way = self.latency[1 - at];
                self.arrives(1 - at, way, Arrival::Event(Event::ConnectSucceeded(theirs)));
                self.tell(at, Event::Accepted(ours));
            }
        }
    }

    /// Lets so much time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.queue.keys().next().map(|(when, _)| *when);
            let deadlines = self.peers.iter().map(Peer::next_deadline);
            let next = deadlines.flatten().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            assert!(next >= self.now, "time goes forwards");
            self.now = next;
            if arrival == Some(next) {
                if let Some((_, (at, arrival))) = self.queue.pop_first() {
                    self.arrive(at, arrival);
                }
            } else {
                for at in [0, 1] {
                    if self.peers[at].next_deadline().is_some_and(|deadline| deadline <= next) {
                        self.tell(at, Event::Timer);
                    }
                    let deadline = self.peers[at].next_deadline();
                    assert!(deadline.is_none_or(|deadline| deadline > next), "a tight loop");
                }
            }
        }
        self.now = end;
    }

    fn states(&self) -> [State; 2] {
        [self.peers[0].state(), self.peers[1].state()]
    }

    /// Both are Established over the two ends of one connection.
    fn assert_up(&self) {
        assert_eq!(self.states(), [State::Established; 2], "{:?}", self.log);
        let [a, b] = [0, 1].map(|at| self.peers[at].established_connection().unwrap());
        assert_eq!(self.ends.get(&(0, a)), Some(&b), "{:?}", self.log);
        assert_eq!(self.ends.len(), 2, "only that one is open");
    }

    fn count(&self, at: usize, what: &str) -> usize {
        self.log[at].iter().filter(|line| line.starts_with(what)).count()
    }

    fn error(&self, at: usize) -> &str {
        self.peers[at].last_error().unwrap_or_default()
    }
}

#[test]
fn both_connect_at_once_and_the_connection_of_the_higher_identifier_stays() {
    let pair = Pair::both_up();
    let id = pair.peers[1].established_connection().unwrap();
    assert!(pair.opened.contains(&(1, id)), "10.0.0.2 opened it");
    for at in [0, 1] {
        assert_eq!((pair.count(at, "up"), pair.count(at, "down")), (1, 0));
        assert_eq!(pair.peers[at].last_error(), None);
    }
    assert_eq!(pair.log[0].iter().filter(|line| line.ends_with("6/7")).count(), 1);
}

#[test]
fn a_session_comes_up_within_moments_of_the_start() {
    let mut pair = Pair::of_the_mesh();
    pair.tell(0, Event::ManualStart);
    pair.tell(1, Event::ManualStart);
    pair.run(Duration::from_millis(20));
    pair.assert_up();
}

#[test]
fn one_may_be_passive() {
    for passive in [0, 1] {
        let mut configs = Pair::configs();
        configs[passive].passive = true;
        let mut pair = Pair::new(configs, 1);
        pair.tell(0, Event::ManualStart);
        pair.tell(1, Event::ManualStart);
        pair.run(seconds(1));
        pair.assert_up();
        assert_eq!(pair.count(passive, "connect"), 0);
    }
}

#[test]
fn where_both_are_passive_nothing_happens() {
    let configs = Pair::configs().map(|config| PeerConfig { passive: true, ..config });
    let mut pair = Pair::new(configs, 1);
    pair.tell(0, Event::ManualStart);
    pair.tell(1, Event::ManualStart);
    pair.run(seconds(3600));
    assert_eq!(pair.states(), [State::Active; 2]);
}

#[test]
fn keepalives_hold_a_session_up_for_a_day() {
    let mut pair = Pair::both_up();
    pair.run(seconds(86_400));
    pair.assert_up();
    for at in [0, 1] {
        assert_eq!((pair.count(at, "up"), pair.count(at, "down")), (1, 0));
        let sent = pair.log[at].iter().filter(|line| line.ends_with("KEEPALIVE")).count();
        // Every 22.5 to 30 s.
        assert!((2880..3841).contains(&sent), "{sent}");
    }
}

#[test]
fn the_shortest_hold_time_holds_as_well() {
    let configs = Pair::configs()
        .map(|config| PeerConfig { hold_time: HoldTime::from_secs(3).unwrap(), ..config });
    let mut pair = Pair::new(configs, 3);
    pair.latency = [Duration::from_millis(400); 2];
    pair.tell(0, Event::ManualStart);
    pair.tell(1, Event::ManualStart);
    pair.run(seconds(30));
    let ups = pair.count(0, "up");
    pair.run(seconds(3600));
    pair.assert_up();
    assert_eq!(pair.count(0, "up"), ups);
}

#[test]
fn silence_ends_the_session_and_it_returns_with_the_network() {
    let mut pair = Pair::both_up();
    pair.network = Network::Silent;
    pair.run(seconds(200));
    for at in [0, 1] {
        assert!(pair.states()[at] < State::OpenSent);
        assert!(pair.log[at].iter().any(|line| line.ends_with("4/0")), "hold timer expired");
        assert_eq!(pair.error(at), "connecting timed out: is the peer up and its BGP port open?");
    }
    pair.network = Network::Up;
    // The longest distance between attempts.
    pair.run(seconds(17));
    pair.assert_up();
}

#[test]
fn a_peer_that_is_not_there_yet_is_found_soon_after_it_is() {
    let mut pair = Pair::of_the_mesh();
    pair.network = Network::Refusing;
    pair.tell(0, Event::ManualStart);
    pair.run(seconds(3600));
    assert_eq!(pair.states()[0], State::Active);
    assert_eq!(pair.error(0), "connection refused");
    let attempts = pair.count(0, "connect");
    assert!((3600 / 16..3600 / 12 + 10).contains(&attempts), "{attempts}");
    pair.network = Network::Up;
    pair.tell(1, Event::ManualStart);
    pair.run(seconds(1));
    pair.assert_up();
}

#[test]
fn a_wrong_as_number_is_told_again_and_again_but_not_often() {
    let mut configs = Pair::configs();
    configs[1].local_as = 64513;
    let mut pair = Pair::new(configs, 5);
    pair.tell(0, Event::ManualStart);
    pair.tell(1, Event::ManualStart);
    pair.run(seconds(3600));
    assert_eq!(pair.count(0, "up") + pair.count(1, "up"), 0);
    let words = "peer has AS 64513, not 64512 (sent OPEN Message Error/Bad Peer AS)";
    assert_eq!(pair.error(0), words);
    assert!(pair.error(1).contains("Bad Peer AS"), "{}", pair.error(1));
    for at in [0, 1] {
        assert!((100..400).contains(&pair.count(at, "connect")), "{}", pair.count(at, "connect"));
    }
}

#[test]
fn a_stop_is_told_to_the_other_side_which_tries_until_it_is_started_again() {
    let mut pair = Pair::both_up();
    pair.tell(1, Event::ManualStop);
    pair.run(Duration::from_millis(10));
    assert_eq!(pair.error(0), "peer sent Cease/Administrative Shutdown");
    assert_eq!(pair.states()[1], State::Idle);
    pair.run(seconds(600));
    assert_eq!(pair.error(0), "peer sent Cease/Connection Rejected");
    pair.tell(1, Event::ManualStart);
    pair.run(seconds(1));
    pair.assert_up();
}

#[test]
fn a_restart_costs_a_second_or_so() {
    let mut pair = Pair::both_up();
    pair.tell(1, Event::ManualStop);
    pair.run(Duration::from_millis(300));
    pair.tell(1, Event::ManualStart);
    pair.run(seconds(2));
    pair.assert_up();
}

#[test]
fn two_as_numbers_of_four_octets_and_equal_identifiers_meet() {
    let [mut a, mut b] = Pair::configs();
    (a.local_as, a.peer_as) = (4_200_000_001, 4_200_000_002.into());
    (b.local_as, b.peer_as) = (4_200_000_002, 4_200_000_001.into());
    b.router_id = a.router_id;
    let mut pair = Pair::new([a, b], 5);
    pair.tell(0, Event::ManualStart);
    pair.tell(1, Event::ManualStart);
    pair.run(seconds(1));
    pair.assert_up();
    let id = pair.peers[1].established_connection().unwrap();
    assert!(pair.opened.contains(&(1, id)), "AS 4200000002 opened it");
    let negotiated = pair.peers[0].negotiated().unwrap();
    assert_eq!(negotiated.peer_as, 4_200_000_002);
}

#[test]
fn routes_and_requests_for_them_arrive() {
    let mut pair = Pair::both_up();
    pair.tell(0, Event::RequestRefresh(Family::Ipv4Unicast));
    let octets = pair.peers[0].encode_update(&Update::end_of_rib(Family::Ipv4Unicast));
    let id = pair.peers[1].established_connection().unwrap();
    pair.tell(1, Event::Bytes(id, octets[0].clone()));
    pair.run(seconds(1));
    assert_eq!((pair.count(1, "update"), pair.count(1, "refresh")), (1, 1));
}

/// The capabilities that are offered are those that RFC 5492 has names for.
#[test]
fn what_is_offered_is_what_is_supported() {
    let families = vec![Family::Ipv6Unicast, Family::Ipv4Unicast];
    let ours = super::super::negotiate::our_open(
        &PeerConfig { families, ..config() },
        false,
        super::super::negotiate::Past::default(),
    );
    let expected = [
        Capability::Multiprotocol(Family::Ipv4Unicast),
        Capability::Multiprotocol(Family::Ipv6Unicast),
        Capability::RouteRefresh,
        Capability::EnhancedRouteRefresh,
        Capability::ExtendedMessage,
        Capability::FourOctetAs(64512),
    ];
    assert_eq!(ours.capabilities, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_the_latencies_and_starts_one_session_comes_up_and_stays(
        seed: u64,
        there in 0_u64..600,
        back in 0_u64..600,
        late in 0_u64..4000,
        dominant in 0_usize..2,
    ) {
        let mut configs = Pair::configs();
        configs[dominant].router_id = Ipv4Addr::new(10, 0, 0, 9);
        let mut pair = Pair::new(configs, seed);
        pair.latency = [there, back].map(Duration::from_millis);
        pair.tell(0, Event::ManualStart);
        pair.run(Duration::from_millis(late));
        pair.tell(1, Event::ManualStart);
        pair.run(seconds(40));
        pair.assert_up();
        let ups = pair.count(0, "up");
        pair.run(seconds(600));
        pair.assert_up();
        prop_assert_eq!(pair.count(0, "up"), ups);
    }
}
