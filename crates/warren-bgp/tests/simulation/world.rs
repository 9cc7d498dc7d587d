//! Speakers, the network between them, and the clock of both.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use warren_bgp::rib::BestPath;
use warren_bgp::role::LocalRole;
use warren_bgp::session::{ConnectionId, Event};

use crate::network::{End, Network, Place, RETRANSMISSION, Segment, Side};
use crate::random::Random;
use crate::speaker::{Mistake, Speaker, Wish};
use crate::topology::{Topology, destinations, shared};

/// A machine, its configuration, and the speaker that runs on it or does not.
pub(crate) struct Node {
    pub(crate) is_powered: bool,
    pub(crate) speaker: Option<Speaker>,
    /// The routes that the kernel has while no speaker runs.
    kernel: BTreeMap<IpNetwork, BestPath>,
    pub(crate) originated: BTreeSet<IpNetwork>,
    pub(crate) believes_shared: bool,
    /// Peers that its operator has stopped.
    pub(crate) stopped: BTreeSet<usize>,
    /// Peers that were taken out of its configuration.
    pub(crate) removed: BTreeSet<usize>,
}

/// What is to come.
#[derive(Debug)]
enum Happening {
    /// `from` would like a connection; how often it has said so.
    Asks { from: usize, to: usize, id: ConnectionId, times: u32 },
    /// Nobody listens there.
    Refused { from: usize, to: usize, id: ConnectionId },
    /// Something arrives at one side of a connection.
    Arrives(Place),
    /// Peers that are not there have had their time, or all have: then the last of a former life goes.
    Wakes { node: usize, is_last: bool },
}

pub(crate) struct World {
    pub(crate) topology: Topology,
    pub(crate) network: Network,
    pub(crate) nodes: Vec<Node>,
    pub(crate) random: Random,
    pub(crate) now: Instant,
    start: Instant,
    queue: BTreeMap<(Instant, u64), Happening>,
    sequence: u64,
    /// Attempts to connect that are under way.
    attempts: BTreeSet<(usize, usize, ConnectionId)>,
    mistake: Option<Mistake>,
    /// Everything that happened, in one number.
    digest: DefaultHasher,
    /// What is told of it, where somebody listens.
    says: bool,
}

impl World {
    pub(crate) fn new(seed: u64, mistake: Option<Mistake>, says: bool) -> Self {
        let mut random = Random::new(seed);
        let topology = Topology::draw(&mut random, false);
        Self::of(topology, random, mistake, says)
    }

    /// Everybody in it can restart gracefully.
    pub(crate) fn of_restarts(seed: u64, mistake: Option<Mistake>, says: bool) -> Self {
        let mut random = Random::new(seed);
        let topology = Topology::draw(&mut random, true);
        Self::of(topology, random, mistake, says)
    }

    fn of(topology: Topology, random: Random, mistake: Option<Mistake>, says: bool) -> Self {
        let start = Instant::now();
        let nodes = (0..topology.speakers.len()).map(|n| Node {
            is_powered: true,
            speaker: None,
            kernel: BTreeMap::new(),
            originated: destinations(n)[..2].iter().copied().collect(),
            believes_shared: true,
            stopped: BTreeSet::new(),
            removed: BTreeSet::new(),
        });
        let mut world = Self {
            nodes: nodes.collect(),
            topology,
            network: Network::default(),
            random,
            now: start,
            start,
            queue: BTreeMap::new(),
            sequence: 0,
            attempts: BTreeSet::new(),
            mistake,
            digest: DefaultHasher::new(),
            says,
        };
        if says {
            println!("{:#?}", world.topology);
        }
        for node in 0..world.nodes.len() {
            world.boot(node);
        }
        world
    }

    pub(crate) fn say(&mut self, what: std::fmt::Arguments<'_>) {
        self.now.duration_since(self.start).hash(&mut self.digest);
        if self.says {
            println!("{:>9.3} {what}", self.now.duration_since(self.start).as_secs_f64());
        }
    }

    /// A number that differs where anything went differently.
    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.queue.keys().next().map(|(at, _)| *at);
            let timer = (0..self.nodes.len())
                .filter_map(|n| {
                    self.nodes[n].speaker.as_ref()?.next_deadline().map(|(at, p)| (at, n, p))
                })
                .min();
            let timer = timer.filter(|(at, ..)| arrival.is_none_or(|arrival| *at < arrival));
            match (timer, arrival) {
                (Some((at, node, peer)), _) if at <= end => {
                    assert!(at >= self.now, "a timer of {node} for {peer} has expired unserved");
                    self.now = at;
                    self.drive(node, peer, Event::Timer);
                    let next = self.nodes[node].speaker.as_ref().and_then(Speaker::next_deadline);
                    assert!(next != Some((at, peer)), "a timer of {node} for {peer} is lost");
                }
                (None, Some(at)) if at <= end => {
                    self.now = at;
                    if let Some((_, happening)) = self.queue.pop_first() {
                        self.happen(happening);
                    }
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn later(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), happening);
    }

    fn way(&mut self) -> Instant {
        let latency = self.topology.latency;
        self.now + self.random.duration(latency / 4, latency)
    }

    fn is_reachable(&self, from: usize, to: usize) -> bool {
        self.nodes[to].is_powered && !self.network.is_cut(from, to)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Asks { from, to, id, times } => self.asked(from, to, id, times),
            Happening::Refused { from, to, id } => {
                if self.attempts.remove(&(from, to, id)) {
                    self.drive(from, to, Event::ConnectFailed(id, "connection refused".into()));
                }
            }
            Happening::Arrives(place) => self.arrive(place),
            Happening::Wakes { node, is_last } => {
                let Some(speaker) = &mut self.nodes[node].speaker else { return };
                speaker.wake(self.now);
                if is_last {
                    speaker.settle();
                }
                self.tell(node);
            }
        }
    }

    fn asked(&mut self, from: usize, to: usize, id: ConnectionId, times: u32) {
        if !self.attempts.contains(&(from, to, id)) {
            return;
        }
        if !self.is_reachable(from, to) {
            let again = self.now + RETRANSMISSION * 2_u32.pow(times.min(5));
            return self.later(again, Happening::Asks { from, to, id, times: times + 1 });
        }
        let back = self.way();
        let Some(speaker) = &mut self.nodes[to].speaker else {
            return self.later(back, Happening::Refused { from, to, id });
        };
        // Of a peer that is not configured the connection is closed as soon as it is there.
        let Some(theirs) = speaker.new_connection(from) else {
            return self.later(back, Happening::Refused { from, to, id });
        };
        self.attempts.remove(&(from, to, id));
        let ends = [End::new(from, id, Side::Opening), End::new(to, theirs, Side::Open)];
        let wire = self.network.open(ends);
        self.send((wire, 0), Segment::Accepted);
        self.drive(to, from, Event::Accepted(theirs));
    }

    /// Puts a segment on its way to `place`.
    fn send(&mut self, place: Place, segment: Segment) {
        let at = self.way();
        if let Some(at) = self.network.send(place, segment, at) {
            self.later(at, Happening::Arrives(place));
        }
    }

    fn arrive(&mut self, place: Place) {
        let (Some(end), Some(other)) = (self.network.end(place), self.network.other(place)) else {
            return;
        };
        let (node, peer) = (end.speaker, other.speaker);
        if self.is_reachable(peer, node) {
            for segment in self.network.arrived(place, self.now) {
                self.deliver(place, node, peer, segment);
            }
            // There is room for more.
            self.tell(peer);
        } else {
            // It is sent again and again.
            if let Some(at) = self.network.put_off(place, self.now + RETRANSMISSION) {
                self.later(at, Happening::Arrives(place));
            }
            return;
        }
        if let Some(at) = self.network.announce(place, self.now) {
            self.later(at, Happening::Arrives(place));
        }
    }

    fn deliver(&mut self, place: Place, node: usize, peer: usize, segment: Segment) {
        let Some(end) = self.network.end(place) else { return };
        let (id, side) = (end.id, end.side);
        match (segment, side) {
            (Segment::Accepted, Side::Opening) => {
                self.network.opened(place);
                self.drive(node, peer, Event::ConnectSucceeded(id));
            }
            (Segment::Data(octets), Side::Open) => self.drive(node, peer, Event::Bytes(id, octets)),
            (Segment::End, Side::Open) => {
                self.network.leave(place, Side::Gone);
                let reason = "peer closed the connection".to_owned();
                self.drive(node, peer, Event::Closed(id, reason));
            }
            (Segment::Reset, Side::Opening) => {
                self.network.leave(place, Side::Gone);
                self.drive(node, peer, Event::ConnectFailed(id, "connection refused".to_owned()));
            }
            (Segment::Reset, Side::Open) => {
                self.network.leave(place, Side::Gone);
                let reason = "connection reset by peer".to_owned();
                self.drive(node, peer, Event::Closed(id, reason));
            }
            (Segment::Accepted | Segment::Data(_), Side::Gone) => {
                self.send((place.0, 1 - place.1), Segment::Reset);
            }
            _ => {}
        }
    }

    /// One step of a speaker, and what follows from it.
    pub(crate) fn drive(&mut self, node: usize, peer: usize, event: Event) {
        self.step(node, peer, event);
        self.tell(node);
    }

    /// The same, but that nobody is given news.
    fn step(&mut self, node: usize, peer: usize, event: Event) {
        (node, peer).hash(&mut self.digest);
        let now = self.now;
        let Some(speaker) = &mut self.nodes[node].speaker else { return };
        let ups = speaker.ups();
        let before = speaker.machine(peer).map(|it| it.state());
        let wishes = speaker.drive(peer, now, event);
        let machine = speaker.machine(peer);
        let (after, ups_after) = (machine.map(|it| it.state()), speaker.ups());
        let error = machine.and_then(|it| it.last_error()).unwrap_or_default().to_owned();
        if after != before || ups != ups_after {
            self.say(format_args!("  {node} for {peer}: {before:?} -> {after:?} ({error})"));
        }
        for wish in wishes {
            self.grant(node, peer, wish);
        }
    }

    fn grant(&mut self, node: usize, peer: usize, wish: Wish) {
        match wish {
            Wish::Connect(id) => {
                assert!(self.attempts.insert((node, peer, id)), "asked twice for {id}");
                let at = self.way();
                self.later(at, Happening::Asks { from: node, to: peer, id, times: 0 });
            }
            Wish::Send(id, octets) => {
                let place = self.network.find(node, peer, id);
                let place =
                    place.unwrap_or_else(|| panic!("{node} sends over {id}, which is gone"));
                self.write(place, octets);
            }
            Wish::Close(id) => {
                if self.attempts.remove(&(node, peer, id)) {
                    return;
                }
                let place = self.network.find(node, peer, id);
                let place = place.unwrap_or_else(|| panic!("{node} closes {id}, which is gone"));
                self.close(place, Side::Closed);
            }
        }
    }

    /// Octets leave in one piece or in several.
    fn write(&mut self, (wire, side): Place, mut octets: bytes::Bytes) {
        while !octets.is_empty() {
            let whole = octets.len();
            let piece = if self.random.one_in(8) { 1 + self.random.below(whole) } else { whole };
            self.send((wire, 1 - side), Segment::Data(octets.split_to(piece)));
        }
    }

    fn close(&mut self, (wire, side): Place, how: Side) {
        self.send((wire, 1 - side), Segment::End);
        self.network.leave((wire, side), how);
    }

    /// A reset of the kernel's own: what was written before it may have arrived or not.
    fn reset(&mut self, (wire, side): Place) {
        if self.random.one_in(2) {
            self.network.lose((wire, 1 - side));
        }
        self.send((wire, 1 - side), Segment::Reset);
    }

    /// The other side hears at once, late, or only when it says something.
    pub(crate) fn break_off(&mut self, (wire, side): Place) {
        let Some(end) = self.network.end((wire, side)) else { return };
        let Some(other) = self.network.other((wire, side)) else { return };
        let (node, peer, id, side_was) = (end.speaker, other.speaker, end.id, end.side);
        if self.random.one_in(2) {
            self.reset((wire, side));
        }
        self.network.leave((wire, side), Side::Gone);
        let reason = "connection reset by peer".to_owned();
        let event = match side_was {
            Side::Opening => Event::ConnectFailed(id, reason),
            _ => Event::Closed(id, reason),
        };
        self.drive(node, peer, event);
    }

    /// Gives news to peers that have room for it.
    pub(crate) fn tell(&mut self, node: usize) {
        loop {
            let limit = 1 + self.random.below(4);
            let (network, window) = (&self.network, self.topology.window);
            let Some(speaker) = &mut self.nodes[node].speaker else { return };
            let news = speaker.take_news(limit, |peer, id| {
                network.find(node, peer, id).is_some_and(|it| network.in_flight(it) < window)
            });
            let Some((peer, id, messages)) = news else { return };
            let Some(place) = self.network.find(node, peer, id) else { return };
            for message in messages {
                self.write(place, message);
            }
        }
    }

    /// The machine is there and its speaker starts, if they are not and does not yet.
    pub(crate) fn boot(&mut self, node: usize) {
        self.nodes[node].is_powered = true;
        if self.nodes[node].speaker.is_some() {
            return;
        }
        let identity = self.topology.speakers[node].clone();
        let former = std::mem::take(&mut self.nodes[node].kernel);
        let speaker = Speaker::new(node, identity, self.mistake, self.now, former);
        self.nodes[node].speaker = Some(speaker);
        for (wake, after) in Speaker::WAKES_AFTER.into_iter().enumerate() {
            self.later(self.now + after, Happening::Wakes { node, is_last: wake == 1 });
        }
        self.believe(node);
        self.originate(node);
        let peers: Vec<usize> = self.topology.peers(node).map(|(peer, _)| peer).collect();
        for peer in peers {
            if !self.nodes[node].removed.contains(&peer) {
                self.configure(node, peer);
            }
        }
    }

    /// Adds a peer, and starts its session unless an operator has stopped it.
    pub(crate) fn configure(&mut self, node: usize, peer: usize) {
        let passive = self.topology.peers(node).any(|(it, passive)| it == peer && passive);
        let (peer_as, seed) = (self.topology.speakers[peer].as_number, self.random.next());
        if let Some(speaker) = &mut self.nodes[node].speaker {
            let role = self.topology.role(node, peer).map(|role| LocalRole { role, strict: true });
            speaker.add_peer(peer, (peer_as, role), passive, seed);
        }
        if !self.nodes[node].stopped.contains(&peer) {
            self.drive(node, peer, Event::ManualStart);
        }
    }

    /// Ends the session with a peer and forgets it.
    pub(crate) fn deconfigure(&mut self, node: usize, peer: usize) {
        self.drive(node, peer, Event::Deconfigured);
        if let Some(speaker) = &mut self.nodes[node].speaker {
            speaker.remove_peer(peer);
        }
        self.believe(node);
    }

    /// Takes over what the node's configuration says of its own destinations.
    pub(crate) fn originate(&mut self, node: usize) {
        let Node { speaker, originated, .. } = &mut self.nodes[node];
        if let Some(speaker) = speaker {
            speaker.originate(originated);
        }
        self.tell(node);
    }

    /// Takes over what the node's configuration says of pools.
    pub(crate) fn believe(&mut self, node: usize) {
        let Node { speaker, believes_shared, .. } = &mut self.nodes[node];
        let pools = pools(*believes_shared);
        if let Some(speaker) = speaker {
            speaker.believe(&pools);
        }
        self.tell(node);
    }

    /// The speaker's process ends without a word of its own: the kernel closes its connections.
    pub(crate) fn kill(&mut self, node: usize) {
        if let Some(speaker) = self.nodes[node].speaker.take() {
            self.nodes[node].kernel = speaker.table();
        }
        self.attempts.retain(|(from, ..)| *from != node);
        for (wire, side) in self.network.of(node) {
            if self.random.one_in(2) {
                self.send((wire, 1 - side), Segment::End);
            } else {
                self.reset((wire, side));
            }
            self.network.leave((wire, side), Side::Gone);
        }
    }

    /// The machine is off from one moment to the next.
    pub(crate) fn cut_power(&mut self, node: usize) {
        self.nodes[node].speaker = None;
        self.nodes[node].kernel.clear();
        self.nodes[node].is_powered = false;
        self.attempts.retain(|(from, ..)| *from != node);
        for place in self.network.of(node) {
            self.network.leave(place, Side::Gone);
        }
    }

    /// The speaker tells everybody and ends.
    pub(crate) fn shut_down(&mut self, node: usize) {
        self.end(node, &Event::ManualStop);
    }

    /// The speaker ends so that another takes over.
    pub(crate) fn hand_over(&mut self, node: usize) {
        self.end(node, &Event::Handover);
    }

    fn end(&mut self, node: usize, event: &Event) {
        // What becomes of its routes meanwhile concerns neither the kernel nor its peers.
        let kernel = self.nodes[node].speaker.as_ref().map(Speaker::table);
        let peers: Vec<usize> = self.nodes[node].speaker.iter().flat_map(Speaker::peers).collect();
        for peer in peers {
            self.step(node, peer, event.clone());
        }
        self.kill(node);
        self.nodes[node].kernel = kernel.unwrap_or_default();
    }
}

/// The ranges that a node believes routes of.
pub(crate) fn pools(with_shared: bool) -> Vec<IpNetwork> {
    let own = IpNetwork::new([172, 16, 0, 0].into(), 16).expect("a prefix");
    if with_shared { vec![own, shared()] } else { vec![own] }
}
