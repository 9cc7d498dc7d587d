//! What a peer was told, and what it is still to be told.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::{ByPrefix, Session};
use crate::message::{Attributes, Family, RouteRefresh, Update};

/// The Adj-RIB-Out of one peer, kept as what it has and where that may be out of date. A
/// destination that changes many times before the peer can take the news costs one entry.
#[derive(Debug)]
pub(super) struct AdjRibOut {
    /// Destinations whose route may have changed since the peer was told.
    pending: BTreeSet<IpNetwork>,
    /// What the peer has; `None` where it wants to be told again (RFC 2918).
    advertised: ByPrefix<Option<Arc<Attributes>>>,
    /// The families of which the peer is still to hear that it has all routes (RFC 4724, 2).
    end_of_rib: BTreeSet<Family>,
    /// Whether the peer is told where a refresh begins and ends (RFC 7313).
    enhanced_refresh: bool,
    /// The families that the peer has asked for and whose refresh has not begun. It begins after
    /// End-of-RIB (RFC 7313, 4), and after the one that is under way.
    wanted: BTreeSet<Family>,
    /// The families whose refresh has begun and has not ended.
    refreshing: BTreeSet<Family>,
}

impl AdjRibOut {
    /// For a new session: everything in `routes` is to be told, and the end of its families.
    pub(super) fn new(routes: impl Iterator<Item = IpNetwork>, session: &Session) -> Self {
        Self {
            pending: routes.collect(),
            advertised: ByPrefix::default(),
            end_of_rib: session.families.iter().copied().collect(),
            enhanced_refresh: session.enhanced_refresh,
            wanted: BTreeSet::new(),
            refreshing: BTreeSet::new(),
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
        if self.enhanced_refresh {
            self.wanted.insert(wanted);
        } else {
            self.tell_again(wanted);
        }
    }

    fn tell_again(&mut self, wanted: Family) {
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
        self.pending.is_empty()
            && self.end_of_rib.is_empty()
            && self.wanted.is_empty()
            && self.refreshing.is_empty()
    }

    /// Whether there may be news of a family. Prefixes of IPv4 come before those of IPv6.
    fn has_pending(&self, family: Family) -> bool {
        let outermost = match family {
            Family::Ipv4Unicast => self.pending.first(),
            Family::Ipv6Unicast => self.pending.last(),
        };
        outermost.is_some_and(|prefix| Family::of(prefix) == family)
    }

    /// Begins the refreshes that can begin, each with its mark (RFC 7313, 4).
    fn begin_refreshes(&mut self) -> Vec<Update> {
        let Self { end_of_rib, refreshing, .. } = self;
        let ready = |it: &Family| !end_of_rib.contains(it) && !refreshing.contains(it);
        let begun: Vec<Family> = self.wanted.extract_if(.., |it| ready(it)).collect();
        for family in &begun {
            self.tell_again(*family);
            self.refreshing.insert(*family);
        }
        begun.into_iter().map(|it| Update::refresh(RouteRefresh::Begin(it))).collect()
    }

    /// Ends the refreshes of which nothing is left to be told.
    fn end_refreshes(&mut self) -> Vec<Update> {
        let ended: Vec<Family> =
            self.refreshing.iter().copied().filter(|it| !self.has_pending(*it)).collect();
        self.refreshing.retain(|it| !ended.contains(it));
        ended.into_iter().map(|it| Update::refresh(RouteRefresh::End(it))).collect()
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
        let mut updates = self.begin_refreshes();
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
        updates.extend(self.end_refreshes());
        if complete && self.pending.is_empty() {
            updates.extend(mem::take(&mut self.end_of_rib).into_iter().map(Update::end_of_rib));
        }
        updates
    }
}
