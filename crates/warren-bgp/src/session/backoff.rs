//! How long to wait before the next attempt.

use std::time::Duration;

use fastrand::Rng;

use super::ConnectRetry;

/// No configuration makes attempts come faster than this.
const SHORTEST: Duration = Duration::from_millis(10);

/// Waiting times that grow, and the jitter of RFC 4271, 10.
#[derive(Debug)]
pub(super) struct Backoff {
    retry: ConnectRetry,
    /// Attempts since a session was last Established: the ConnectRetryCounter of RFC 4271, 8.
    attempts: u32,
    random: Rng,
}

impl Backoff {
    pub(super) fn new(retry: ConnectRetry, seed: u64) -> Self {
        Self { retry, attempts: 0, random: Rng::with_seed(seed) }
    }

    /// Begins with short times again.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How long the attempt that is made now may take before the next is made.
    pub(super) fn next(&mut self) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        self.current()
    }

    /// How long to wait after the attempt that was made last has failed.
    pub(super) fn current(&mut self) -> Duration {
        let doublings = self.attempts.saturating_sub(1);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let time = self.retry.initial.max(SHORTEST).saturating_mul(factor);
        self.jittered(time.min(self.retry.max.max(SHORTEST)))
    }

    /// `time`, made up to a quarter shorter at random so that a cluster which starts at one moment
    /// does not keep step.
    pub(super) fn jittered(&mut self, time: Duration) -> Duration {
        time - (time / 4).mul_f64(self.random.f64())
    }
}
