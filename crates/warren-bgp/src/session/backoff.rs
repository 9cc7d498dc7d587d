//! How long to wait before the next attempt.

use std::time::Duration;

use super::ConnectRetry;

/// No configuration makes attempts come faster than this.
const SHORTEST: Duration = Duration::from_millis(10);

/// Waiting times that grow, and the jitter of RFC 4271, 10.
#[derive(Debug)]
pub(super) struct Backoff {
    retry: ConnectRetry,
    /// Attempts since a session was last Established: the ConnectRetryCounter of RFC 4271, 8.
    attempts: u32,
    random: u64,
}

impl Backoff {
    pub(super) fn new(retry: ConnectRetry, seed: u64) -> Self {
        Self { retry, attempts: 0, random: seed }
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
        // SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let quarter = time / 4;
        time - quarter.mul_f64((mixed >> 11) as f64 / (1_u64 << 53) as f64)
    }
}
