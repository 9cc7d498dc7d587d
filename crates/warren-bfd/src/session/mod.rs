//! A session: the state machine of RFC 5880, 6.8, without sockets or clocks.
//!
//! ```text
//!                  they: Down              they: Init, Up
//!         ┌─────────────────────> Init ─────────────────────┐
//!         │                        │                        v
//!   ──> Down <─────────────────────┘ silence, AdminDown     Up
//!         ^  │           they: Init                         ^ │
//!         │  └──────────────────────────────────────────────┘ │
//!         └───────────────────────────────────────────────────┘
//!                 they: Down, AdminDown; silence; path down
//! ```
//!
//! Whoever drives it hands over packets with the time of their arrival, and calls
//! [`expire`](Session::expire) at [`next_deadline`](Session::next_deadline). After each of these,
//! and after every other call, [`transmit`](Session::transmit) is to be called until there is
//! nothing more. Demand mode is never asked for and the echo function never offered; a peer's wish
//! for demand mode is granted, as it must be (6.8.7).

mod negotiation;
#[cfg(test)]
mod tests;

use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::packet::{Diagnostic, Discard, Discriminator, Interval, Packet, State};
use negotiation::Negotiation;

/// What this end asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often to send (bfd.DesiredMinTxInterval once Up); not zero.
    pub desired_min_tx: Interval,
    /// How often the peer may send (bfd.RequiredMinRxInterval); not zero.
    pub required_min_rx: Interval,
    /// How many of our packets in a row the peer must miss until it gives us up.
    pub detect_mult: NonZeroU8,
}

impl Default for Timing {
    /// 300 ms and 3: a dead peer is known within 900 ms.
    fn default() -> Self {
        const THREE: NonZeroU8 = NonZeroU8::MIN.saturating_add(2);
        Self {
            desired_min_tx: Interval::from_millis(300),
            required_min_rx: Interval::from_millis(300),
            detect_mult: THREE,
        }
    }
}

/// That a session has come Up or is not Up any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Both ends hear each other.
    Up,
    /// They did, and do not any more.
    Down(Cause),
}

/// Why a session left Up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The peer was silent for the detection time.
    #[error("nothing was heard from the peer for the detection time")]
    DetectionTimeExpired,
    /// The peer does not hear us, or has started anew.
    #[error("the peer signaled that its session is down")]
    NeighborSignaledDown,
    /// The peer's operator took the session down: that says nothing about the path (RFC 5882, 3.2).
    #[error("the peer's session is administratively down")]
    NeighborAdminDown,
    /// The interface to the peer went down.
    #[error("the interface to the peer is down")]
    PathDown,
    /// This end's operator took the session down.
    #[error("the session is administratively down")]
    AdminDown,
}

impl Cause {
    /// Whether the peer cannot be reached, as far as is known.
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::NeighborAdminDown | Self::AdminDown)
    }
}

/// What the peer's latest packet says, with the values of 6.8.1 before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Its name for the session; none before it is heard and when it is silent.
    pub discriminator: Option<Discriminator>,
    /// Its state.
    pub state: State,
    /// Why its session last left Up.
    pub diagnostic: Diagnostic,
    /// How often it would like to send.
    pub desired_min_tx: Interval,
    /// How often it can receive.
    pub required_min_rx: Interval,
    /// How many of its packets in a row we must miss until we give it up.
    pub detect_mult: NonZeroU8,
    /// Whether its BFD goes on while its control plane restarts.
    pub control_plane_independent: bool,
    demand: bool,
}

impl Remote {
    const UNHEARD: Self = Self {
        discriminator: None,
        state: State::Down,
        diagnostic: Diagnostic::NONE,
        desired_min_tx: Interval::ZERO,
        required_min_rx: Interval::ONE_MICROSECOND,
        detect_mult: NonZeroU8::MIN,
        control_plane_independent: false,
        demand: false,
    };

    fn new(packet: &Packet) -> Self {
        Self {
            discriminator: Some(packet.my_discriminator),
            state: packet.state,
            diagnostic: packet.diagnostic,
            desired_min_tx: packet.desired_min_tx,
            required_min_rx: packet.required_min_rx,
            detect_mult: packet.detect_mult,
            control_plane_independent: packet.control_plane_independent,
            demand: packet.demand,
        }
    }
}

/// One end of a session.
#[derive(Debug)]
pub struct Session {
    timing: Timing,
    discriminator: Discriminator,
    state: State,
    diagnostic: Diagnostic,
    remote: Remote,
    negotiation: Negotiation,
    random: Rng,
    last_received: Option<Instant>,
    /// Until when no fault of the session was known.
    last_up: Instant,
    /// When the peer has been silent for too long.
    detect_at: Option<Instant>,
    last_sent: Option<Instant>,
    /// When the next periodic packet is due.
    send_at: Option<Instant>,
    /// Whether the content has changed since the last packet.
    has_news: bool,
    /// Whether a Poll waits for its answer.
    owes_final: bool,
    /// When to give up telling the peer of AdminDown.
    tell_until: Option<Instant>,
}

impl Session {
    /// A session that is Down and says so at once. It takes the active role (6.1).
    pub fn new(timing: Timing, discriminator: Discriminator, seed: u64, now: Instant) -> Self {
        Self {
            timing,
            discriminator,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            remote: Remote::UNHEARD,
            negotiation: Negotiation::new(&timing),
            random: Rng::with_seed(seed),
            last_received: None,
            last_up: now,
            detect_at: None,
            last_sent: None,
            send_at: Some(now),
            has_news: false,
            owes_final: false,
            tell_until: None,
        }
    }

    /// bfd.SessionState.
    pub fn state(&self) -> State {
        self.state
    }

    /// bfd.LocalDiag.
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// bfd.LocalDiscr.
    pub fn discriminator(&self) -> Discriminator {
        self.discriminator
    }

    /// What is known of the peer's end.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Until when no fault of the session that has ended was known: until a packet was missing that
    /// was due, the peer said that the session is down, or the interface went down.
    pub fn last_up(&self) -> Instant {
        self.last_up
    }

    /// How many of our packets in a row the peer must miss until it gives us up.
    pub fn detect_mult(&self) -> NonZeroU8 {
        self.timing.detect_mult
    }

    /// The time between two packets before jitter (6.8.2); none while the peer wants none.
    pub fn transmit_interval(&self) -> Option<Duration> {
        self.negotiation.transmit_interval(&self.remote)
    }

    /// How long the peer may be silent (6.8.4); none before it is heard.
    pub fn detection_time(&self) -> Option<Duration> {
        self.remote.discriminator.map(|_| self.negotiation.detection_time(&self.remote))
    }

    /// Takes other parameters; the peer is asked first where it must be (6.8.3).
    pub fn reconfigure(&mut self, timing: Timing, now: Instant) {
        self.has_news |= timing.detect_mult != self.timing.detect_mult;
        self.timing = timing;
        self.negotiate(now);
    }

    /// Takes a packet that is of this session (6.8.6, from the authentication on).
    ///
    /// # Errors
    /// Why it was discarded.
    pub fn receive(&mut self, packet: &Packet, now: Instant) -> Result<Option<Change>, Discard> {
        if packet.has_authentication {
            return Err(Discard::Authentication);
        }
        let next_due = self.next_due();
        self.remote = Remote::new(packet);
        self.negotiation.heard(packet.is_final);
        if self.state == State::AdminDown {
            return Err(Discard::AdministrativelyDown);
        }
        let change = self.follow(packet.state);
        if change.is_some() {
            self.last_up = next_due.map_or(now, |due| due.min(now));
        }
        self.owes_final |= packet.poll;
        self.last_received = Some(now);
        self.negotiate(now);
        Ok(change)
    }

    /// When the packet after the last one is due at the latest.
    fn next_due(&self) -> Option<Instant> {
        self.last_received?.checked_add(self.negotiation.receive_interval(&self.remote))
    }

    /// The transitions of 6.8.6.
    fn follow(&mut self, theirs: State) -> Option<Change> {
        match (self.state, theirs) {
            (State::Down, State::Down) => self.enter(State::Init),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.enter(State::Up)
            }
            (State::Init | State::Up, State::AdminDown) => self.fail(Cause::NeighborAdminDown),
            (State::Up, State::Down) => self.fail(Cause::NeighborSignaledDown),
            _ => None,
        }
    }

    /// Ends the session if the peer has been silent for the detection time.
    pub fn expire(&mut self, now: Instant) -> Option<Change> {
        if self.detect_at.is_none_or(|at| now < at) {
            return None;
        }
        self.last_up = self.next_due().unwrap_or(now);
        // 6.8.1: who is not heard has no name. So has it no wishes either; else a peer that wanted
        // nothing at the end would never hear of us again.
        self.remote = Remote::UNHEARD;
        self.last_received = None;
        let change = self.fail(Cause::DetectionTimeExpired);
        self.negotiate(now);
        self.negotiation.forget();
        change
    }

    /// Ends the session because the way to the peer is known to be down.
    pub fn path_down(&mut self, now: Instant) -> Option<Change> {
        let change = self.fail(Cause::PathDown);
        if change.is_some() {
            self.last_up = now;
        }
        self.negotiate(now);
        change
    }

    /// Holds the session down for good. The peer is told, again and again, until it has
    /// [taken note](Self::is_over).
    pub fn admin_down(&mut self, now: Instant) -> Option<Change> {
        let change = (self.state == State::Up).then_some(Change::Down(Cause::AdminDown));
        self.state = State::AdminDown;
        self.diagnostic = Diagnostic::ADMINISTRATIVELY_DOWN;
        self.has_news = true;
        self.negotiate(now);
        // 6.8.16: for a Detection Time, the peer's.
        let interval = self.transmit_interval().unwrap_or_default();
        self.tell_until = now.checked_add(interval * u32::from(self.timing.detect_mult.get()));
        change
    }

    /// Whether a session that is held down can be forgotten: the peer knows, or could have known.
    pub fn is_over(&self, now: Instant) -> bool {
        let knows = !matches!(self.remote.state, State::Init | State::Up) && !self.has_news;
        self.state == State::AdminDown && (knows || self.tell_until.is_none_or(|at| at <= now))
    }

    /// Leaves Init or Up.
    fn fail(&mut self, cause: Cause) -> Option<Change> {
        if !matches!(self.state, State::Init | State::Up) {
            return None;
        }
        let was_up = self.state == State::Up;
        self.enter(State::Down);
        self.diagnostic = match cause {
            Cause::DetectionTimeExpired => Diagnostic::CONTROL_DETECTION_TIME_EXPIRED,
            Cause::PathDown => Diagnostic::PATH_DOWN,
            Cause::AdminDown => Diagnostic::ADMINISTRATIVELY_DOWN,
            Cause::NeighborSignaledDown | Cause::NeighborAdminDown => {
                Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN
            }
        };
        was_up.then_some(Change::Down(cause))
    }

    fn enter(&mut self, state: State) -> Option<Change> {
        self.state = state;
        self.has_news = true;
        if state != State::Up {
            return None;
        }
        self.diagnostic = Diagnostic::NONE;
        Some(Change::Up)
    }

    /// Brings parameters and timers in line with the state, the configuration and the peer.
    fn negotiate(&mut self, now: Instant) {
        self.has_news |= self.negotiation.advertise(&self.timing, self.state);
        self.detect_at = self.last_received.and_then(|at| at.checked_add(self.detection_time()?));
        // An interval that became shorter holds at once (6.8.3); one that became longer from the
        // next packet on.
        let soonest = self.transmit_interval().and_then(|interval| {
            let from = self.last_sent.unwrap_or(now);
            from.checked_add(interval)
        });
        self.send_at = match (self.send_at, soonest) {
            (Some(at), Some(soonest)) => Some(at.min(soonest)),
            (None, Some(soonest)) => Some(soonest),
            (_, None) => None,
        };
    }

    /// The next packet to send now, if there is one. To be called again until there is none.
    pub fn transmit(&mut self, now: Instant) -> Option<Packet> {
        if self.owes_final {
            self.owes_final = false;
            return Some(self.packet(false, true));
        }
        let is_due = self.is_periodic() && self.send_at.is_some_and(|at| at <= now);
        if !is_due && !self.has_news {
            return None;
        }
        self.has_news = false;
        self.last_sent = Some(now);
        self.send_at =
            self.transmit_interval().and_then(|interval| now.checked_add(self.jittered(interval)));
        Some(self.packet(self.negotiation.is_polling(), false))
    }

    /// Whether packets are sent although nothing is new (6.8.7).
    fn is_periodic(&self) -> bool {
        let both_up = self.state == State::Up && self.remote.state == State::Up;
        !(self.remote.demand && both_up) || self.negotiation.is_polling()
    }

    fn packet(&self, poll: bool, is_final: bool) -> Packet {
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll,
            is_final,
            // Our BFD ends with the agent, which is the control plane (RFC 5882, 4.3.2).
            control_plane_independent: false,
            has_authentication: false,
            demand: false,
            detect_mult: self.timing.detect_mult,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.discriminator,
            desired_min_tx: self.negotiation.desired_min_tx(),
            required_min_rx: self.negotiation.required_min_rx(),
            required_min_echo_rx: Interval::ZERO,
        }
    }

    /// Shorter by up to a quarter; with a multiplier of one by no less than a tenth, so that the
    /// peer's detection time is not reached (6.8.7).
    fn jittered(&mut self, interval: Duration) -> Duration {
        let least = if self.timing.detect_mult.get() == 1 { 10 } else { 0 };
        let percent_off = least * 1000 + self.random.u64(..=(25 - least) * 1000);
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        interval.saturating_sub(Duration::from_nanos(nanos / 100_000 * percent_off))
    }

    /// When to call [`expire`](Self::expire) and [`transmit`](Self::transmit) again, if nothing
    /// comes before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let send_at = self.send_at.filter(|_| self.is_periodic());
        [send_at, self.detect_at, self.tell_until].into_iter().flatten().min()
    }
}
