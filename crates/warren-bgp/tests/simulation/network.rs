//! TCP as a speaker meets it: octets arrive late but in order or not at all, connections end on one
//! side before the other hears of it, and where no wire is nothing is said.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use warren_bgp::session::ConnectionId;

/// How long a sender waits before it sends again what was not acknowledged.
pub(crate) const RETRANSMISSION: Duration = Duration::from_secs(1);

/// What travels over a connection.
#[derive(Debug, Clone)]
pub(crate) enum Segment {
    /// To the side that has asked for the connection: it is open.
    Accepted,
    Data(Bytes),
    /// The sender has closed.
    End,
    /// There is no such connection.
    Reset,
}

/// How one side of a connection sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Asked for.
    Opening,
    Open,
    /// Closed in order: what still arrives is read and thrown away.
    Closed,
    /// Its process or its machine has ended, or the other side has closed.
    Gone,
}

/// One side of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) speaker: usize,
    pub(crate) id: ConnectionId,
    pub(crate) side: Side,
    /// What is on its way to this side.
    incoming: VecDeque<(Instant, Segment)>,
    /// Octets of it.
    octets: usize,
    /// When the next of it was announced to arrive.
    announced: Option<Instant>,
}

impl End {
    pub(crate) fn new(speaker: usize, id: ConnectionId, side: Side) -> Self {
        Self { speaker, id, side, incoming: VecDeque::new(), octets: 0, announced: None }
    }

    pub(crate) fn is_in_use(&self) -> bool {
        matches!(self.side, Side::Opening | Side::Open)
    }
}

/// The name of a connection in the whole network.
pub(crate) type Wire = u64;

/// One side of one connection.
pub(crate) type Place = (Wire, usize);

/// All connections, and which speakers cannot reach one another.
#[derive(Debug, Default)]
pub(crate) struct Network {
    wires: BTreeMap<Wire, [End; 2]>,
    names: BTreeMap<(usize, usize, ConnectionId), Place>,
    cut: BTreeSet<(usize, usize)>,
    next: Wire,
}

impl Network {
    pub(crate) fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&(a.min(b), a.max(b)))
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert((a.min(b), a.max(b)));
    }

    pub(crate) fn heal(&mut self, a: usize, b: usize) {
        self.cut.remove(&(a.min(b), a.max(b)));
    }

    pub(crate) fn heal_all(&mut self) {
        self.cut.clear();
    }

    /// A connection: the first side has asked for it, the second has accepted it.
    pub(crate) fn open(&mut self, ends: [End; 2]) -> Wire {
        self.next += 1;
        let wire = self.next;
        let [first, second] = &ends;
        self.names.insert((first.speaker, second.speaker, first.id), (wire, 0));
        self.names.insert((second.speaker, first.speaker, second.id), (wire, 1));
        self.wires.insert(wire, ends);
        wire
    }

    /// The side of `speaker` that its machine for `peer` knows by this name.
    pub(crate) fn find(&self, speaker: usize, peer: usize, id: ConnectionId) -> Option<Place> {
        self.names.get(&(speaker, peer, id)).copied()
    }

    pub(crate) fn end(&self, (wire, side): Place) -> Option<&End> {
        Some(&self.wires.get(&wire)?[side])
    }

    pub(crate) fn other(&self, (wire, side): Place) -> Option<&End> {
        self.end((wire, 1 - side))
    }

    /// Octets on their way to the other side.
    pub(crate) fn in_flight(&self, (wire, side): Place) -> usize {
        self.other((wire, side)).map_or(0, |end| end.octets)
    }

    /// Everything that `speaker` has open.
    pub(crate) fn of(&self, speaker: usize) -> Vec<Place> {
        let sides = self
            .wires
            .iter()
            .flat_map(|(wire, ends)| [((*wire, 0), &ends[0]), ((*wire, 1), &ends[1])]);
        sides
            .filter(|(_, end)| end.speaker == speaker && end.is_in_use())
            .map(|(place, _)| place)
            .collect()
    }

    /// Puts a segment on its way to `place`; when to look there, if nobody was told to yet.
    pub(crate) fn send(&mut self, place: Place, segment: Segment, at: Instant) -> Option<Instant> {
        let end = &mut self.wires.get_mut(&place.0)?[place.1];
        if let Segment::Data(octets) = &segment {
            end.octets += octets.len();
        }
        let at = end.incoming.back().map_or(at, |(before, _)| at.max(*before));
        end.incoming.push_back((at, segment));
        match end.announced {
            Some(_) => None,
            None => {
                end.announced = Some(at);
                end.announced
            }
        }
    }

    /// Octets on their way to `place` are lost: whoever sent them has nothing left to send them again.
    pub(crate) fn lose(&mut self, place: Place) {
        if let Some(ends) = self.wires.get_mut(&place.0) {
            let end = &mut ends[place.1];
            end.incoming.retain(|(_, segment)| !matches!(segment, Segment::Data(_)));
            end.octets = 0;
        }
    }

    /// Somebody looks at `place`: what has arrived there, octets that follow one another as one.
    pub(crate) fn arrived(&mut self, place: Place, now: Instant) -> Vec<Segment> {
        let Some(ends) = self.wires.get_mut(&place.0) else { return Vec::new() };
        let end = &mut ends[place.1];
        end.announced = None;
        let mut arrived: Vec<Segment> = Vec::new();
        while let Some((at, _)) = end.incoming.front()
            && *at <= now
            && let Some((_, segment)) = end.incoming.pop_front()
        {
            match (arrived.last_mut(), segment) {
                (Some(Segment::Data(before)), Segment::Data(octets)) => {
                    end.octets -= octets.len();
                    *before = [&before[..], &octets[..]].concat().into();
                }
                (_, segment) => {
                    if let Segment::Data(octets) = &segment {
                        end.octets -= octets.len();
                    }
                    arrived.push(segment);
                }
            }
        }
        arrived
    }

    /// Nothing gets through to `place`: when to look there again.
    pub(crate) fn put_off(&mut self, place: Place, until: Instant) -> Option<Instant> {
        if let Some(ends) = self.wires.get_mut(&place.0) {
            ends[place.1].announced = None;
        }
        self.announce(place, until)
    }

    /// When to look at `place` next, if something is on its way there and nobody was told yet.
    pub(crate) fn announce(&mut self, place: Place, no_sooner: Instant) -> Option<Instant> {
        let end = &mut self.wires.get_mut(&place.0)?[place.1];
        if end.announced.is_some() {
            return None;
        }
        let at = (*end.incoming.front().map(|(at, _)| at)?).max(no_sooner);
        end.announced = Some(at);
        Some(at)
    }

    pub(crate) fn opened(&mut self, place: Place) {
        if let Some(ends) = self.wires.get_mut(&place.0) {
            ends[place.1].side = Side::Open;
        }
    }

    /// One side does not use it any more; what neither uses and nothing travels over is forgotten.
    pub(crate) fn leave(&mut self, (wire, side): Place, how: Side) {
        let Some(ends) = self.wires.get_mut(&wire) else { return };
        ends[side].side = how;
        let name = (ends[side].speaker, ends[1 - side].speaker, ends[side].id);
        self.names.remove(&name);
        if ends.iter().all(|end| !end.is_in_use()) {
            self.wires.remove(&wire);
        }
    }
}
