//! All sessions of a node: which packet is whose, and when each wants to be looked at.
//!
//! Like a session it has no socket and no clock. What it wants done it puts into a list of
//! [`Output`]s.

mod api;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Instant, SystemTime};

use fastrand::Rng;

use crate::packet::{Discard, Discriminator, Packet, State};
use crate::session::{Change, Session};
use crate::snapshot::{LastDown, SessionSnapshot, Snapshot};
pub use api::{Datagram, Event, Hops, Key, Output, Settings};

/// All sessions.
#[derive(Debug)]
pub struct Engine {
    entries: BTreeMap<Key, Entry>,
    by_discriminator: HashMap<Discriminator, Key>,
    /// When each session wants to be looked at.
    deadlines: BTreeSet<(Instant, Key)>,
    discarded: BTreeMap<Discard, u64>,
    random: Rng,
    changes: u64,
}

#[derive(Debug)]
struct Entry {
    settings: Settings,
    session: Session,
    /// Its entry among the deadlines.
    deadline: Option<Instant>,
    /// The interface that the peer was last heard at.
    interface: Option<u32>,
    since: SystemTime,
    state: State,
    last_down: Option<LastDown>,
    came_up: u64,
    went_down: u64,
    sent: u64,
    received: u64,
}

impl Engine {
    /// Without sessions. The same seed gives the same discriminators and jitter.
    pub fn new(seed: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            by_discriminator: HashMap::new(),
            deadlines: BTreeSet::new(),
            discarded: BTreeMap::new(),
            random: Rng::with_seed(seed),
            changes: 0,
        }
    }

    /// The sessions to have, in place of those before. The peer of one that is not in the list any
    /// more is told AdminDown; one that is to be from another address starts anew; of two with one
    /// key the last counts.
    pub fn set_sessions(&mut self, wanted: &[Settings], now: Instant, outputs: &mut Vec<Output>) {
        let wanted: BTreeMap<Key, Settings> =
            wanted.iter().map(|settings| (settings.key, *settings)).collect();
        let keys: Vec<Key> = self.entries.keys().copied().collect();
        for key in keys {
            let next = wanted.get(&key);
            self.with(key, now, outputs, |entry| {
                if entry.session.state() == State::AdminDown {
                    return None;
                }
                match next {
                    Some(next) if next.source == entry.settings.source => {
                        entry.settings = *next;
                        entry.session.reconfigure(next.timing, now);
                        None
                    }
                    _ => entry.session.admin_down(now),
                }
            });
        }
        for (key, settings) in wanted {
            let is_there = self
                .entries
                .get(&key)
                .is_some_and(|entry| entry.session.state() != State::AdminDown);
            if !is_there {
                self.forget(key);
                self.add(settings, now, outputs);
            }
        }
    }

    fn add(&mut self, settings: Settings, now: Instant, outputs: &mut Vec<Output>) {
        let discriminator = self.free_discriminator();
        let seed = self.random.u64(..);
        let session = Session::new(settings.timing, discriminator, seed, now);
        self.by_discriminator.insert(discriminator, settings.key);
        self.changes += 1;
        let entry = Entry {
            settings,
            session,
            deadline: None,
            interface: None,
            since: SystemTime::now(),
            state: State::Down,
            last_down: None,
            came_up: 0,
            went_down: 0,
            sent: 0,
            received: 0,
        };
        self.entries.insert(settings.key, entry);
        self.with(settings.key, now, outputs, |_| None);
    }

    /// Unique on this node, never zero (6.8.1), and not to be guessed (RFC 5880, 9).
    fn free_discriminator(&mut self) -> Discriminator {
        loop {
            if let Some(free) = Discriminator::new(self.random.u32(..))
                && !self.by_discriminator.contains_key(&free)
            {
                return free;
            }
        }
    }

    /// Takes a datagram: RFC 5880, 6.8.6. One that is discarded is counted.
    pub fn receive(&mut self, datagram: &Datagram<'_>, now: Instant, outputs: &mut Vec<Output>) {
        let outcome = self.select(datagram).and_then(|(key, packet)| {
            let mut outcome = Ok(());
            self.with(key, now, outputs, |entry| match entry.session.receive(&packet, now) {
                Ok(change) => {
                    entry.received += 1;
                    entry.interface = Some(datagram.interface);
                    change
                }
                Err(discard) => {
                    outcome = Err(discard);
                    None
                }
            });
            outcome
        });
        if let Err(discard) = outcome {
            let count = self.discarded.entry(discard).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Finds the session that a datagram is for. Beyond the RFC, which goes by Your Discriminator
    /// alone once that is set, the packet must come from the session's peer.
    fn select(&self, datagram: &Datagram<'_>) -> Result<(Key, Packet), Discard> {
        if datagram.hops == Hops::Single && datagram.ttl != 255 {
            return Err(Discard::TtlNot255);
        }
        let packet = Packet::decode(datagram.payload)?;
        let by_address = Key { peer: datagram.from, hops: datagram.hops };
        let key = match packet.your_discriminator {
            Some(yours) => self
                .by_discriminator
                .get(&yours)
                .filter(|key| **key == by_address)
                .ok_or(Discard::UnknownDiscriminator)?,
            None if matches!(packet.state, State::Init | State::Up) => {
                return Err(Discard::YourDiscriminatorZero);
            }
            None => self.entries.get_key_value(&by_address).ok_or(Discard::UnknownPeer)?.0,
        };
        Ok((*key, packet))
    }

    /// An interface went down: so do the sessions with the peers that were heard there.
    pub fn interface_down(&mut self, interface: u32, now: Instant, outputs: &mut Vec<Output>) {
        let there: Vec<Key> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.interface == Some(interface))
            .map(|(key, _)| *key)
            .collect();
        for key in there {
            self.with(key, now, outputs, |entry| entry.session.path_down(now));
        }
    }

    /// Sends what is due and ends what was silent for too long.
    ///
    /// All that has arrived is to be [received](Self::receive) before: a peer whose packet waits in
    /// the socket has not been silent.
    pub fn turn(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        let due: Vec<Key> =
            self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| *key).collect();
        for key in due {
            self.with(key, now, outputs, |entry| entry.session.expire(now));
        }
    }

    /// When to call [`turn`](Self::turn) if nothing comes before.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The sessions there are, be it only to tell the peer of their end.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = Key> {
        self.entries.keys().copied()
    }

    /// Whether a session is among [`keys`](Self::keys).
    pub fn has(&self, key: Key) -> bool {
        self.entries.contains_key(&key)
    }

    /// How often [`keys`](Self::keys) have changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether there is no session left, nor a peer to be told.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Lets `act` do something to a session, and does what follows from it.
    fn with(
        &mut self,
        key: Key,
        now: Instant,
        outputs: &mut Vec<Output>,
        act: impl FnOnce(&mut Entry) -> Option<Change>,
    ) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let control_plane_independent = entry.session.remote().control_plane_independent;
        let change = act(entry);
        if let Some(change) = change {
            entry.count(change);
            let last_up = entry.session.last_up();
            let event = Event { key, change, last_up, control_plane_independent };
            outputs.push(Output::Changed(event));
        }
        if entry.session.state() != entry.state {
            entry.state = entry.session.state();
            entry.since = SystemTime::now();
        }
        while let Some(packet) = entry.session.transmit(now) {
            entry.sent += 1;
            let (source, payload) = (entry.settings.source, packet.encode());
            outputs.push(Output::Send { key, source, payload });
        }
        if entry.session.is_over(now) {
            self.forget(key);
            return;
        }
        let deadline = entry.session.next_deadline();
        if deadline != entry.deadline {
            if let Some(at) = entry.deadline {
                self.deadlines.remove(&(at, key));
            }
            self.deadlines.extend(deadline.map(|at| (at, key)));
            entry.deadline = deadline;
        }
    }

    fn forget(&mut self, key: Key) {
        let Some(entry) = self.entries.remove(&key) else { return };
        self.changes += 1;
        self.by_discriminator.remove(&entry.session.discriminator());
        if let Some(at) = entry.deadline {
            self.deadlines.remove(&(at, key));
        }
    }

    /// How each session is doing, those that are being ended not among them.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            sessions: self
                .entries
                .iter()
                .filter(|(_, entry)| entry.state != State::AdminDown)
                .map(|(key, entry)| entry.snapshot(*key))
                .collect(),
            discarded: self.discarded.clone(),
            ..Snapshot::default()
        }
    }
}

impl Entry {
    fn count(&mut self, change: Change) {
        match change {
            Change::Up => self.came_up += 1,
            Change::Down(cause) => {
                self.went_down += 1;
                self.last_down = Some(LastDown { at: SystemTime::now(), cause });
            }
        }
    }

    fn snapshot(&self, key: Key) -> SessionSnapshot {
        let (session, remote) = (&self.session, self.session.remote());
        SessionSnapshot {
            key,
            state: self.state,
            since: self.since,
            diagnostic: session.diagnostic(),
            remote: *remote,
            discriminator: session.discriminator(),
            transmit_interval: session.transmit_interval(),
            detection_time: session.detection_time(),
            detect_mult: session.detect_mult(),
            last_down: self.last_down,
            came_up: self.came_up,
            went_down: self.went_down,
            sent: self.sent,
            received: self.received,
            problem: None,
        }
    }
}
