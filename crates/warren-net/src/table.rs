//! A map from prefixes to values that is cheap to copy and to compare.
//!
//! The agent tells the dataplane whole states rather than changes, so that nothing can be missed.
//! With a hundred thousand routes a whole state is large, and mostly the same as the last one: so
//! copies of a [`Table`] share what they have in common, and [`Table::changes_to`] looks only at what
//! they do not.

use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock};
use std::{iter, mem};

use foldhash::fast::RandomState;
use ipnetwork::IpNetwork;

/// Parts of a table. A change copies one part and moves half of it, and comparing costs a look at each:
/// some times the square root of the largest number of entries that is expected makes all cheap.
const PARTS: usize = 2048;

/// What decides on a prefix's part, the same for all tables so that they can be compared. Peers choose
/// the prefixes, and cannot know the seed.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// In the order of the prefixes: small, and copied at once.
type Part<V> = Arc<Vec<(IpNetwork, V)>>;

/// A map from prefixes to values.
#[derive(Debug, Clone)]
pub struct Table<V> {
    parts: Arc<Vec<Part<V>>>,
    len: usize,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { parts: Arc::new(vec![Arc::default(); PARTS]), len: 0 }
    }
}

impl<V> Table<V> {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of exactly this prefix.
    pub fn get(&self, prefix: &IpNetwork) -> Option<&V> {
        let part = self.parts.get(place(prefix))?;
        find(part, prefix).ok().and_then(|at| part.get(at)).map(|(_, value)| value)
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&IpNetwork, &V)> {
        self.parts.iter().flat_map(|part| part.iter()).map(|(prefix, value)| (prefix, value))
    }

    /// All values, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<V: Clone> Table<V> {
    /// Sets the value of a prefix; returns the one of before.
    pub fn insert(&mut self, prefix: IpNetwork, value: V) -> Option<V> {
        let part = self.part_mut(&prefix)?;
        match find(part, &prefix) {
            Ok(at) => part.get_mut(at).map(|(_, before)| mem::replace(before, value)),
            Err(at) => {
                part.insert(at, (prefix, value));
                self.len += 1;
                None
            }
        }
    }

    /// Removes a prefix; returns its value.
    pub fn remove(&mut self, prefix: &IpNetwork) -> Option<V> {
        // Not to copy a part for nothing.
        self.get(prefix)?;
        let part = self.part_mut(prefix)?;
        let (_, before) = part.remove(find(part, prefix).ok()?);
        self.len -= 1;
        Some(before)
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The part of a prefix, which there always is.
    fn part_mut(&mut self, prefix: &IpNetwork) -> Option<&mut Vec<(IpNetwork, V)>> {
        Arc::make_mut(&mut self.parts).get_mut(place(prefix)).map(Arc::make_mut)
    }
}

/// A prefix whose value is another one in a later table.
#[derive(Debug, PartialEq, Eq)]
pub struct Change<'a, V> {
    /// The prefix.
    pub prefix: IpNetwork,
    /// Its value in the table; none if it has none.
    pub before: Option<&'a V>,
    /// Its value in the later one.
    pub now: Option<&'a V>,
}

impl<V: PartialEq> Table<V> {
    /// The prefixes whose value in `later` is another one or none, or that are only there.
    pub fn changes_to<'a>(&'a self, later: &'a Self) -> Vec<Change<'a, V>> {
        let mut changes = Vec::new();
        let gone = |(prefix, value): &'a (IpNetwork, V)| Change {
            prefix: *prefix,
            before: Some(value),
            now: None,
        };
        for (before, now) in self.parts.iter().zip(later.parts.iter()) {
            if Arc::ptr_eq(before, now) {
                continue;
            }
            let mut before = before.iter().peekable();
            for (prefix, value) in now.iter() {
                changes.extend(iter::from_fn(|| before.next_if(|it| it.0 < *prefix)).map(gone));
                let known = before.next_if(|it| it.0 == *prefix).map(|(_, value)| value);
                if known != Some(value) {
                    changes.push(Change { prefix: *prefix, before: known, now: Some(value) });
                }
            }
            changes.extend(before.map(gone));
        }
        changes
    }
}

impl<V: PartialEq> PartialEq for Table<V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.parts, &other.parts) || self.parts == other.parts
    }
}

impl<V: Eq> Eq for Table<V> {}

impl<V: Clone> FromIterator<(IpNetwork, V)> for Table<V> {
    fn from_iter<I: IntoIterator<Item = (IpNetwork, V)>>(entries: I) -> Self {
        let mut table = Self::default();
        for (prefix, value) in entries {
            table.insert(prefix, value);
        }
        table
    }
}

impl<V: Clone, const N: usize> From<[(IpNetwork, V); N]> for Table<V> {
    fn from(entries: [(IpNetwork, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

/// Where a prefix is in a part, or would be.
fn find<V>(part: &[(IpNetwork, V)], prefix: &IpNetwork) -> Result<usize, usize> {
    part.binary_search_by(|(there, _)| there.cmp(prefix))
}

/// Which part a prefix is in.
fn place(prefix: &IpNetwork) -> usize {
    // Less than PARTS, so that it fits.
    (HASHER.hash_one(prefix) % PARTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn prefix(number: u16) -> IpNetwork {
        let [high, low] = number.to_be_bytes();
        IpNetwork::new([10, high, low, 0].into(), 24).unwrap()
    }

    proptest! {
        #[test]
        fn a_table_is_a_map_whose_copies_do_not_notice_and_whose_changes_are_told(
            first in proptest::collection::vec((0..40u16, 0..3u8), 0..60),
            then in proptest::collection::vec((0..40u16, proptest::option::of(0..3u8)), 0..20),
        ) {
            let mut map: BTreeMap<IpNetwork, u8> = BTreeMap::new();
            let mut table = Table::default();
            for (number, value) in first {
                prop_assert_eq!(
                    table.insert(prefix(number), value),
                    map.insert(prefix(number), value)
                );
            }
            let (copy, before) = (table.clone(), map.clone());
            prop_assert!(copy.changes_to(&table).is_empty());
            for (number, value) in then {
                match value {
                    Some(value) => prop_assert_eq!(
                        table.insert(prefix(number), value),
                        map.insert(prefix(number), value)
                    ),
                    None => prop_assert_eq!(
                        table.remove(&prefix(number)),
                        map.remove(&prefix(number))
                    ),
                }
            }
            let all = |table: &Table<u8>| -> BTreeMap<IpNetwork, u8> {
                table.iter().map(|(prefix, value)| (*prefix, *value)).collect()
            };
            prop_assert_eq!(&all(&table), &map);
            prop_assert_eq!(&all(&copy), &before);
            prop_assert_eq!((table.len(), table.is_empty()), (map.len(), map.is_empty()));
            let expected: BTreeSet<IpNetwork> = before
                .keys()
                .chain(map.keys())
                .filter(|prefix| before.get(prefix) != map.get(prefix))
                .copied()
                .collect();
            let changes = copy.changes_to(&table);
            prop_assert_eq!(changes.len(), expected.len(), "each once");
            for Change { prefix, before: was, now } in &changes {
                prop_assert_eq!((*was, *now), (before.get(prefix), map.get(prefix)));
            }
            prop_assert_eq!(changes.iter().map(|it| it.prefix).collect::<BTreeSet<_>>(), expected);
            prop_assert_eq!(copy == table, before == map);
        }
    }

    #[test]
    fn one_change_among_many_copies_one_part() {
        let mut table: Table<u8> = (0..60_000).map(|number| (prefix(number), 0)).collect();
        let before = table.clone();
        table.insert(prefix(7), 1);
        let shared = before.parts.iter().zip(table.parts.iter());
        assert_eq!(shared.filter(|(one, other)| !Arc::ptr_eq(one, other)).count(), 1);
        let change = Change { prefix: prefix(7), before: Some(&0), now: Some(&1) };
        assert_eq!(before.changes_to(&table), [change]);
        table.clear();
        assert_eq!((table.len(), before.len()), (0, 60_000));
    }
}
