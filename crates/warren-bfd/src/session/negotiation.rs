//! Agreeing on intervals (RFC 5880, 6.5, 6.8.2 to 6.8.4).

use std::time::Duration;

use super::{Remote, Timing};
use crate::packet::{Interval, State};

/// What was told to the peer, what holds until it has answered, and whether it has.
#[derive(Debug)]
pub(super) struct Negotiation {
    /// bfd.DesiredMinTxInterval, as it is sent.
    advertised_tx: Interval,
    /// The same as far as the peer is known to know it.
    used_tx: Interval,
    /// bfd.RequiredMinRxInterval, as it is sent.
    advertised_rx: Interval,
    /// The same as far as the peer is known to know it.
    used_rx: Interval,
    poll: Poll,
}

/// The Poll Sequence (6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    /// None is going on, and one may begin.
    Idle,
    /// Packets have P set.
    Active,
    /// It was answered. Another answer could still be one to the same Poll, so the next sequence
    /// begins only after a packet that is none (the third way of 6.8.3).
    Answered,
}

impl Negotiation {
    pub(super) fn new(timing: &Timing) -> Self {
        let tx = wanted_tx(timing, State::Down);
        let rx = timing.required_min_rx;
        Self { advertised_tx: tx, used_tx: tx, advertised_rx: rx, used_rx: rx, poll: Poll::Idle }
    }

    pub(super) fn desired_min_tx(&self) -> Interval {
        self.advertised_tx
    }

    pub(super) fn required_min_rx(&self) -> Interval {
        self.advertised_rx
    }

    pub(super) fn is_polling(&self) -> bool {
        self.poll == Poll::Active
    }

    /// Takes note of a packet, which answers a Poll or does not.
    pub(super) fn heard(&mut self, is_final: bool) {
        match (self.poll, is_final) {
            (Poll::Active, true) => {
                self.poll = Poll::Answered;
                self.used_tx = self.advertised_tx;
                self.used_rx = self.advertised_rx;
            }
            (Poll::Answered, false) => self.poll = Poll::Idle,
            _ => {}
        }
    }

    /// Nobody is there any more to be asked.
    pub(super) fn forget(&mut self) {
        self.poll = Poll::Idle;
    }

    /// Begins to tell the peer what is wanted in `state`; says whether that is something new. While
    /// the session is Up, one change waits until the one before is answered.
    pub(super) fn advertise(&mut self, timing: &Timing, state: State) -> bool {
        let is_up = state == State::Up;
        if is_up && self.poll != Poll::Idle {
            return false;
        }
        let (tx, rx) = (wanted_tx(timing, state), timing.required_min_rx);
        let is_new = (tx, rx) != (self.advertised_tx, self.advertised_rx);
        if is_new {
            self.poll = Poll::Active;
        }
        self.advertised_tx = tx;
        self.advertised_rx = rx;
        // While Up, the peer must have heard before we send more rarely or listen less patiently.
        if !(is_up && tx > self.used_tx) {
            self.used_tx = tx;
        }
        if !(is_up && rx < self.used_rx) {
            self.used_rx = rx;
        }
        is_new
    }

    pub(super) fn transmit_interval(&self, remote: &Remote) -> Option<Duration> {
        let theirs = remote.required_min_rx;
        (theirs != Interval::ZERO).then(|| self.used_tx.max(theirs).as_duration())
    }

    /// The longest time between two packets of the peer.
    pub(super) fn receive_interval(&self, remote: &Remote) -> Duration {
        self.used_rx.max(remote.desired_min_tx).as_duration()
    }

    pub(super) fn detection_time(&self, remote: &Remote) -> Duration {
        self.receive_interval(remote) * u32::from(remote.detect_mult.get())
    }
}

/// Not more than a packet a second while the session is not Up (6.8.3).
fn wanted_tx(timing: &Timing, state: State) -> Interval {
    match state {
        State::Up => timing.desired_min_tx,
        _ => timing.desired_min_tx.max(Interval::ONE_SECOND),
    }
}
