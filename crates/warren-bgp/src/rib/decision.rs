//! The decision process (RFC 4271, 9.1).

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::Session;
use crate::message::{AsPathSegment, Attributes};
use crate::policy::{DEFAULT_LOCAL_PREF, LLGR_STALE, Refusal};

/// A route as a peer announced it: one entry of its Adj-RIB-In.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pub(super) from: Arc<Session>,
    /// Which of the peer's paths to the destination (RFC 7911, 3); 0 where it can have only one.
    pub(super) path_id: u32,
    /// Its attributes as they came.
    pub(super) received: Arc<Attributes>,
    /// Its attributes after import policy: the very same where that changes nothing.
    pub(super) attributes: Arc<Attributes>,
    /// Why the route may not be used, if it may not.
    pub(super) refusal: Option<Refusal>,
}

impl Path {
    /// Whether its speaker is away, or that of one before, and the route is kept for long (RFC 9494, 4.3).
    pub(super) fn is_long_lived_stale(&self) -> bool {
        self.attributes.communities.contains(&LLGR_STALE)
    }

    /// Whether the peer has announced `other` in its place.
    pub(super) fn is_replaced_by(&self, other: &Self) -> bool {
        self.from.peer == other.from.peer && self.path_id == other.path_id
    }

    /// Whether both are the same route, attributes and all.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.from, &other.from) && Arc::ptr_eq(&self.attributes, &other.attributes)
    }
}

/// The best of the paths of one destination that may be used.
///
/// The steps remove routes from consideration rather than compare two: MULTI_EXIT_DISC counts only
/// among routes of one neighbouring AS, so that "better than" is not transitive and the outcome of
/// comparing by twos would depend on the order of arrival.
pub(super) fn best(paths: &[Path]) -> Option<&Path> {
    let mut usable = paths.iter().filter(|path| path.refusal.is_none());
    let first = usable.next()?;
    let mut routes: Vec<&Path> = usable.collect();
    if routes.is_empty() {
        return Some(first);
    }
    routes.push(first);

    // RFC 9494, 4.4: what is kept for long is preferred to nothing only.
    keep_least(&mut routes, |path| path.is_long_lived_stale());
    // 9.1.1 and 9.1.2: the highest degree of preference. Every NEXT_HOP counts as resolvable, and
    // a path through the own AS was refused on arrival.
    keep_least(&mut routes, |path| Reverse(degree_of_preference(path)));
    // 9.1.2.2 a)
    keep_least(&mut routes, |path| as_path_length(&path.attributes));
    // b)
    keep_least(&mut routes, |path| path.attributes.origin);
    // c)
    keep_least_med(&mut routes);
    // d) external before internal
    keep_least(&mut routes, |path| path.from.is_internal());
    // e) the interior cost: the nodes of a cluster are all equally far.
    // f), with RFC 4456, 9: a reflected route is its originator's.
    keep_least(&mut routes, |path| {
        path.attributes.originator_id.unwrap_or(path.from.peer_router_id)
    });
    // RFC 4456, 9: the fewest reflections, none being the fewest.
    keep_least(&mut routes, |path| path.attributes.cluster_list.len());
    // g)
    keep_least(&mut routes, |path| path.from.peer);
    // Of one peer's equal paths always the same one.
    keep_least(&mut routes, |path| path.path_id);
    routes.first().copied()
}

/// Removes all routes but those with the least `key`.
fn keep_least<K: Ord>(routes: &mut Vec<&Path>, key: impl Fn(&Path) -> K) {
    if let Some(least) = routes.iter().map(|path| key(path)).min() {
        routes.retain(|path| key(path) == least);
    }
}

/// 9.1.2.2 c): removes each route for which there is one of the same neighbouring AS with a lower
/// MULTI_EXIT_DISC; a missing one is the lowest, 0.
fn keep_least_med(routes: &mut Vec<&Path>) {
    let med = |path: &Path| path.attributes.med.unwrap_or(0);
    let mut least: HashMap<u32, u32> = HashMap::new();
    for path in routes.iter() {
        least
            .entry(neighbor_as(path))
            .and_modify(|known| *known = med(path).min(*known))
            .or_insert_with(|| med(path));
    }
    routes.retain(|path| least.get(&neighbor_as(path)) == Some(&med(path)));
}

/// 9.1.1: LOCAL_PREF, which import policy leaves to internal peers and to itself (5.1.5).
pub(super) fn degree_of_preference(path: &Path) -> u32 {
    path.attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF)
}

/// 9.1.2.2 a): an AS_SET counts as 1.
fn as_path_length(attributes: &Attributes) -> usize {
    attributes
        .as_path
        .iter()
        .map(|segment| match segment {
            AsPathSegment::Sequence(numbers) => numbers.len(),
            AsPathSegment::Set(_) => 1,
        })
        .sum()
}

/// `neighborAS` of 9.1.2.2 c): the AS that the route was received from by whoever took it into
/// this one, or this one if it began here.
fn neighbor_as(path: &Path) -> u32 {
    if !path.from.is_internal() {
        return path.from.peer_as;
    }
    match path.attributes.as_path.first() {
        Some(AsPathSegment::Sequence(numbers)) => {
            numbers.first().copied().unwrap_or(path.from.local_as)
        }
        _ => path.from.local_as,
    }
}

#[cfg(test)]
mod tests;
