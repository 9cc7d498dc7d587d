//! The timers of a connection: a table of deadlines.

use std::time::{Duration, Instant};

/// The timers (RFC 4271, 8.1.3 and 10), in the order in which they are served when several have
/// expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// How long the peer may be silent.
    Hold,
    /// When to send the next KEEPALIVE.
    Keepalive,
    /// When to abandon an attempt to connect, or to make the next.
    ConnectRetry,
    /// When to leave Idle after a session that failed (DampPeerOscillations, 8.1.1).
    IdleHold,
}

impl Timer {
    const ALL: [Self; 4] = [Self::Hold, Self::Keepalive, Self::ConnectRetry, Self::IdleHold];
}

/// When each timer expires, if it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    /// Starts `timer` anew. A duration of zero stops it: so the negotiated times are meant.
    pub(super) fn set(&mut self, timer: Timer, now: Instant, duration: Duration) {
        self.0[timer as usize] = if duration.is_zero() { None } else { now.checked_add(duration) };
    }

    /// Whether `timer` runs.
    pub(super) fn is_running(&self, timer: Timer) -> bool {
        self.0[timer as usize].is_some()
    }

    /// Stops all.
    pub(super) fn clear(&mut self) {
        self.0 = Default::default();
    }

    /// When the first expires.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Stops one that has expired and says which.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Timer> {
        let timer = Timer::ALL
            .into_iter()
            .find(|timer| self.0[*timer as usize].is_some_and(|deadline| deadline <= now))?;
        self.0[timer as usize] = None;
        Some(timer)
    }
}
