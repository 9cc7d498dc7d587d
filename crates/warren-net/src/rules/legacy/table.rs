//! A table as the kernel hands it over (linux/netfilter_ipv4/ip_tables.h), and changes to it.

use std::collections::BTreeMap;

use super::super::{Match, Rule, Verdict};

/// The table that filters.
pub const NAME: &str = "filter";

/// The length of `struct ipt_getinfo`, and where in it things are.
pub const INFO: usize = 84;
const HOOKS_AT: usize = 32;
const HOOK_ENTRIES_AT: usize = 36;
const UNDERFLOWS_AT: usize = 56;
pub const SIZE_AT: usize = 80;

/// Where `struct ipt_get_entries` has their size, and where they begin there and in
/// `struct ipt_replace`; where the counters begin in `struct xt_counters_info`.
pub const ASKED_SIZE_AT: usize = 32;
pub const ENTRIES_AT: usize = 40;
const COUNTERS_AT: usize = 40;
const REPLACE: usize = 96;

/// The hooks of netfilter, and which of them is FORWARD's.
const HOOKS: usize = 5;
const FORWARD: usize = 2;

/// `struct ipt_entry`: the packet's addresses (`struct ipt_ip`), then where its target and the next
/// entry are; its matches follow.
const ADDRESSES: usize = 84;
const TARGET_AT: usize = 88;
const NEXT_AT: usize = 90;
const MATCHES: usize = 112;

/// The header of a match or a target: its length, its name, its revision.
const HEADER: usize = 32;
const NAME_AT: usize = 2;
const NAME_LENGTH: usize = 29;

/// The match that does not match anything, but says something.
const COMMENT: &str = "comment";
const COMMENT_LENGTH: usize = 256;

/// The target without a name: a verdict, or else how far to jump, padded to eight octets.
const STANDARD: usize = HEADER + 8;

/// Verdicts are told from jumps by being negative: minus one, minus the number that nf_tables uses.
const DROP: i32 = -1;
const ACCEPT: i32 = -2;

/// A table: its entries, and where each hook's begin and where its policy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    hooks: u32,
    begins: [u32; HOOKS],
    policies: [u32; HOOKS],
    entries: Vec<Vec<u8>>,
}

/// A table with changes.
pub struct Edit {
    /// As it is to be.
    pub table: Table,
    /// For each of its entries which one it was before.
    origins: Vec<Option<usize>>,
}

impl Table {
    /// What the kernel says of it, and its entries; none where they are not as they should be.
    pub fn parse(info: &[u8], mut rest: &[u8]) -> Option<Self> {
        let numbers = |at: usize| -> Option<[u32; HOOKS]> {
            let numbers: Option<Vec<u32>> = (0..HOOKS).map(|n| number(info, at + 4 * n)).collect();
            numbers?.try_into().ok()
        };
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let (entry, others) = rest.split_at_checked(short(rest, NEXT_AT)?.max(1).into())?;
            entries.push(entry.to_owned());
            rest = others;
        }
        Some(Self {
            hooks: number(info, HOOKS_AT)?,
            begins: numbers(HOOK_ENTRIES_AT)?,
            policies: numbers(UNDERFLOWS_AT)?,
            entries,
        })
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether any of them is ours.
    pub fn is_anything_ours(&self) -> bool {
        self.entries.iter().any(|entry| is_ours(entry))
    }

    /// With `wanted` at the end of FORWARD while its policy is DROP, and no other entries of ours; none
    /// if it is so.
    pub fn edit(&self, wanted: &[Rule]) -> Option<Edit> {
        let policy = self.policies[FORWARD];
        let drops = self.at(policy).and_then(verdict) == Some(DROP);
        let wanted: Vec<_> = match drops {
            true => wanted.iter().filter_map(encode).collect(),
            false => Vec::new(),
        };
        let ours = self.entries.iter().filter(|entry| is_ours(entry));
        if ours.map(|entry| meaning(entry)).eq(wanted.iter().map(|entry| meaning(entry))) {
            return None;
        }
        let mut edit =
            Edit { table: Self { entries: Vec::new(), ..self.clone() }, origins: Vec::new() };
        let mut moved = BTreeMap::new();
        let mut was = 0;
        for (number, entry) in self.entries.iter().enumerate() {
            moved.insert(was, edit.table.size());
            if was == policy {
                wanted.iter().for_each(|new| edit.push(new, None));
                edit.table.policies[FORWARD] = edit.table.size();
            }
            if !is_ours(entry) {
                edit.push(entry, Some(number));
            }
            was += length(entry);
        }
        edit.table.follow(&moved);
        Some(edit)
    }

    /// Has jumps and hooks lead to where the entries went. The policy of FORWARD has been followed.
    fn follow(&mut self, moved: &BTreeMap<u32, u32>) {
        let go = |place: &mut u32| {
            if let Some(to) = moved.get(place) {
                *place = *to;
            }
        };
        for entry in &mut self.entries {
            let jump = verdict(entry).and_then(|verdict| u32::try_from(verdict).ok());
            if let Some(mut place) = jump {
                go(&mut place);
                set_verdict(entry, place.cast_signed());
            }
        }
        for hook in (0..HOOKS).filter(|hook| self.hooks & (1 << hook) != 0) {
            go(&mut self.begins[hook]);
            if hook != FORWARD {
                go(&mut self.policies[hook]);
            }
        }
    }

    /// `struct ipt_replace`, but for the counters' number and place.
    pub fn replacement(&self) -> Vec<u8> {
        let mut value = request(HOOKS_AT);
        let count = u32::try_from(self.len()).unwrap_or(u32::MAX);
        let numbers = [self.hooks, count, self.size()];
        for number in numbers.iter().chain(&self.begins).chain(&self.policies) {
            value.extend(number.to_ne_bytes());
        }
        value.resize(REPLACE, 0);
        value.extend(self.entries.iter().flatten());
        value
    }

    fn size(&self) -> u32 {
        self.entries.iter().map(|entry| length(entry)).sum()
    }

    fn at(&self, place: u32) -> Option<&[u8]> {
        let mut at = 0;
        let found = self.entries.iter().find(|entry| {
            let here = at == place;
            at += length(entry);
            here
        });
        found.map(Vec::as_slice)
    }
}

impl Edit {
    fn push(&mut self, entry: &[u8], origin: Option<usize>) {
        self.table.entries.push(entry.to_owned());
        self.origins.push(origin);
    }

    /// `struct xt_counters_info` with what the entries had `counted` before.
    pub fn counters(&self, counted: &[[u64; 2]]) -> Vec<u8> {
        let mut value = request(HOOKS_AT);
        value.extend(u32::try_from(self.origins.len()).unwrap_or(u32::MAX).to_ne_bytes());
        value.resize(COUNTERS_AT, 0);
        for origin in &self.origins {
            let counted = origin.and_then(|origin| counted.get(origin)).copied().unwrap_or([0; 2]);
            value.extend(counted.iter().flat_map(|count| count.to_ne_bytes()));
        }
        value
    }
}

/// A request about the table: its name, then zeroes up to this length.
pub fn request(length: usize) -> Vec<u8> {
    let mut request = NAME.as_bytes().to_owned();
    request.resize(length, 0);
    request
}

/// The number at this place.
pub fn number(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*octets.get(at..)?.first_chunk()?))
}

fn short(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*octets.get(at..)?.first_chunk()?))
}

fn length(entry: &[u8]) -> u32 {
    u32::try_from(entry.len()).unwrap_or(u32::MAX)
}

/// What the header of a match or a target says that it is.
fn name(header: &[u8]) -> &[u8] {
    let name = header.get(NAME_AT..NAME_AT + NAME_LENGTH).unwrap_or_default();
    name.split(|octet| *octet == 0).next().unwrap_or_default()
}

fn target(entry: &[u8]) -> Option<&[u8]> {
    entry.get(short(entry, TARGET_AT)?.into()..)
}

/// What becomes of a packet, if the target is the one without a name.
fn verdict(entry: &[u8]) -> Option<i32> {
    let target = target(entry).filter(|target| name(target).is_empty())?;
    number(target, HEADER).map(u32::cast_signed)
}

fn set_verdict(entry: &mut [u8], verdict: i32) {
    let place = short(entry, TARGET_AT).map_or(0, usize::from) + HEADER;
    if let Some(there) = entry.get_mut(place..place + 4) {
        there.copy_from_slice(&verdict.to_ne_bytes());
    }
}

/// Of one of ours: which packets, and what becomes of them. The rest the kernel makes its own.
fn meaning(entry: &[u8]) -> (Option<&[u8]>, Option<i32>) {
    (entry.get(..ADDRESSES), verdict(entry))
}

fn is_ours(entry: &[u8]) -> bool {
    let end = short(entry, TARGET_AT).map_or(0, usize::from);
    let mut matches = entry.get(MATCHES..end).unwrap_or_default();
    while let Some(length) = short(matches, 0).filter(|length| *length > 0) {
        let (this, others) =
            matches.split_at_checked(length.into()).unwrap_or((matches, Default::default()));
        if name(this) == COMMENT.as_bytes()
            && this.get(HEADER..).is_some_and(|text| text.starts_with(b"warren: "))
        {
            return true;
        }
        matches = others;
    }
    false
}

/// The rule as an entry; none if it says more than an entry of this form can: a rule that is left out
/// is better than one that lets more through.
fn encode(rule: &Rule) -> Option<Vec<u8>> {
    let comment = rule.comment?.as_bytes();
    if rule.verdict != Verdict::Accept || comment.len() >= COMMENT_LENGTH {
        return None;
    }
    let [mut source, mut destination] = [([0; 4], [0; 4]); 2];
    for wanted in &rule.matches {
        let (place, prefix) = match wanted {
            Match::Source(prefix) => (&mut source, prefix),
            Match::Destination(prefix) => (&mut destination, prefix),
            _ => return None,
        };
        *place = (prefix.network().octets(), prefix.mask().octets());
    }
    let mut entry = [source.0, destination.0, source.1, destination.1].concat();
    entry.resize(TARGET_AT, 0);
    let target_at = MATCHES + HEADER + COMMENT_LENGTH;
    entry.extend(u16::try_from(target_at).ok()?.to_ne_bytes());
    entry.extend(u16::try_from(target_at + STANDARD).ok()?.to_ne_bytes());
    entry.resize(MATCHES, 0);
    entry.extend(u16::try_from(HEADER + COMMENT_LENGTH).ok()?.to_ne_bytes());
    entry.extend(COMMENT.as_bytes());
    entry.resize(MATCHES + HEADER, 0);
    entry.extend(comment);
    entry.resize(target_at, 0);
    entry.extend(u16::try_from(STANDARD).ok()?.to_ne_bytes());
    entry.resize(target_at + HEADER, 0);
    entry.extend(ACCEPT.to_ne_bytes());
    entry.resize(target_at + STANDARD, 0);
    Some(entry)
}
