//! Chance that can be repeated.

use std::time::Duration;

use fastrand::Rng;

/// What follows from its seed.
#[derive(Debug, Clone)]
pub(crate) struct Random(Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// Less than `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    pub(crate) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn duration(&mut self, least: Duration, most: Duration) -> Duration {
        let span = (most - least).as_micros() as usize;
        least + Duration::from_micros(self.below(span + 1) as u64)
    }
}
