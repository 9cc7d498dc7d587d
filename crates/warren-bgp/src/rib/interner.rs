//! One copy of equal path attributes.

use std::collections::HashSet;
use std::sync::Arc;

use crate::message::Attributes;

/// Hands out one `Arc` for equal attributes, so that a path costs a pointer, however the peer
/// spreads its routes over messages, and equal attributes have equal addresses.
#[derive(Debug, Default)]
pub(super) struct Interner {
    known: HashSet<Arc<Attributes>>,
    /// The size at which to look for what nobody holds any more.
    sweep_at: usize,
}

impl Interner {
    const SMALLEST_SWEEP: usize = 64;

    pub(super) fn intern(&mut self, attributes: Arc<Attributes>) -> Arc<Attributes> {
        if let Some(known) = self.known.get(&attributes) {
            return Arc::clone(known);
        }
        // Each sweep costs what was added since the last one, so that adding stays cheap.
        if self.known.len() >= self.sweep_at.max(Self::SMALLEST_SWEEP) {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_at = 2 * self.known.len();
        }
        self.known.insert(Arc::clone(&attributes));
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rib::tests::attributes;

    fn with_med(med: u32) -> Arc<Attributes> {
        Arc::new(Attributes { med: Some(med), ..attributes("192.0.2.1") })
    }

    #[test]
    fn equal_attributes_are_one_and_unused_ones_go() {
        let mut interner = Interner::default();
        let held = interner.intern(with_med(0));
        for med in 1..10_000 {
            interner.intern(with_med(med));
        }
        assert!(Arc::ptr_eq(&held, &interner.intern(with_med(0))));
        assert!(interner.known.len() <= 2 * Interner::SMALLEST_SWEEP);
    }
}
