//! What a peer was told, and what it is still to be told.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use crate::message::{Attributes, Family, Update};

/// The Adj-RIB-Out of one peer, kept as what it has and where that may be out of date. A
/// destination that changes many times before the peer can take the news costs one entry.
#[derive(Debug)]
pub(super) struct AdjRibOut {
    /// Destinations whose route may have changed since the peer was told.
    pending: BTreeSet<IpNetwork>,
    /// What the peer has; `None` where it wants to be told again (RFC 2918).
    advertised: HashMap<IpNetwork, Option<Arc<Attributes>>>,
    /// The families of which the peer is still to hear that it has all routes (RFC 4724, 2).
    end_of_rib: BTreeSet<Family>,
}

impl AdjRibOut {
    /// For a new session: everything in `routes` is to be told, and the end of these families.
    pub(super) fn new(routes: impl Iterator<Item = IpNetwork>, families: &[Family]) -> Self {
        Self {
            pending: routes.collect(),
            advertised: HashMap::new(),
            end_of_rib: families.iter().copied().collect(),
        }
    }

    pub(super) fn changed(&mut self, prefix: IpNetwork) {
        self.pending.insert(prefix);
    }

    /// What the peer is to have may be another for each of `routes` and for what it was told.
    pub(super) fn all_changed(&mut self, routes: impl Iterator<Item = IpNetwork>) {
        self.pending.extend(routes);
        self.pending.extend(self.advertised.keys());
    }

    pub(super) fn refresh(&mut self, wanted: Family) {
        for (prefix, told) in &mut self.advertised {
            if Family::of(prefix) == wanted {
                *told = None;
                self.pending.insert(*prefix);
            }
        }
    }

    pub(super) fn advertised(&self) -> usize {
        self.advertised.len()
    }

    pub(super) fn is_up_to_date(&self) -> bool {
        self.pending.is_empty() && self.end_of_rib.is_empty()
    }

    /// The news of at most `limit` destinations, withdrawals first, then one update for each set of
    /// equal attributes. `export` says what the peer is to have now, interned; `complete`, whether
    /// that is all there will be, so that the end may be told.
    pub(super) fn take(
        &mut self,
        limit: usize,
        complete: bool,
        mut export: impl FnMut(&IpNetwork) -> Option<Arc<Attributes>>,
    ) -> Vec<Update> {
        let mut withdrawals = Update::default();
        let mut updates: Vec<Update> = Vec::new();
        let mut by_attributes: HashMap<*const Attributes, usize> = HashMap::new();
        for _ in 0..limit {
            let Some(prefix) = self.pending.pop_first() else { break };
            let Some(attributes) = export(&prefix) else {
                if self.advertised.remove(&prefix).is_some() {
                    withdrawals.withdrawn.push(prefix);
                }
                continue;
            };
            let told = self.advertised.insert(prefix, Some(Arc::clone(&attributes))).flatten();
            if told.is_some_and(|told| Arc::ptr_eq(&told, &attributes)) {
                continue;
            }
            let index = *by_attributes.entry(Arc::as_ptr(&attributes)).or_insert_with(|| {
                updates.push(Update { attributes: Some(attributes), ..Update::default() });
                updates.len() - 1
            });
            if let Some(update) = updates.get_mut(index) {
                update.announced.push(prefix);
            }
        }
        if !withdrawals.withdrawn.is_empty() {
            updates.insert(0, withdrawals);
        }
        if complete && self.pending.is_empty() {
            updates.extend(mem::take(&mut self.end_of_rib).into_iter().map(Update::end_of_rib));
        }
        updates
    }
}
