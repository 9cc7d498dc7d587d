//! Which address is next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

/// The addresses that pods can have.
#[derive(Debug, Clone, Copy)]
pub struct Space<'s> {
    /// The node's blocks, in the order of use.
    pub blocks: &'s [IpNetwork],
    /// What of them no pod gets.
    pub reserved: &'s [IpNetwork],
}

/// What became of them.
#[derive(Debug, Clone, Copy)]
pub struct History<'h> {
    /// The addresses in use.
    pub used: &'h BTreeSet<IpAddr>,
    /// When an address became free last.
    pub freed: &'h BTreeMap<IpAddr, u64>,
    /// An address that became free later than this is not given again yet.
    pub cooled: u64,
}

/// The next address for a pod; `None` when all are in use or cool down.
///
/// Addresses that were never used come first, in their order; then the one that has been free for
/// the longest, so that what others still remember of an address has the most time to fade. Every
/// address of a block is usable, the first and the last too, because each pod has a /32 of its own.
pub fn next(space: Space<'_>, history: History<'_>) -> Option<IpAddr> {
    let mut oldest: Option<(u64, IpAddr)> = None;
    for address in space.blocks.iter().flat_map(|block| free_of(block, space.reserved)) {
        if history.used.contains(&address) {
            continue;
        }
        match history.freed.get(&address) {
            None => return Some(address),
            Some(&at) if at > history.cooled => {}
            Some(&at) if oldest.is_none_or(|(other, _)| at < other) => oldest = Some((at, address)),
            Some(_) => {}
        }
    }
    oldest.map(|(_, address)| address)
}

/// How many addresses of `block` pods can have. It is cut at [`u64::MAX`], which only matters for
/// IPv6 blocks wider than a /64.
pub fn capacity(block: &IpNetwork, reserved: &[IpNetwork]) -> u64 {
    let mut count = 0_u128;
    let (mut first, last) = bounds(block);
    for (from, to) in reserved_in(block, reserved) {
        count = count.saturating_add(from.saturating_sub(first));
        match to.checked_add(1) {
            Some(after) => first = first.max(after),
            None => return cut(count),
        }
    }
    if first <= last {
        count = count.saturating_add(last - first).saturating_add(1);
    }
    cut(count)
}

fn cut(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The addresses of `block` that are not reserved, lazily: an IPv6 block may have 2^64 of them, and
/// what is reserved of it as many.
fn free_of(block: &IpNetwork, reserved: &[IpNetwork]) -> impl Iterator<Item = IpAddr> + use<> {
    let (first, last) = bounds(block);
    let mut reserved = reserved_in(block, reserved).into_iter().peekable();
    let is_ipv4 = block.is_ipv4();
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let mut address = next.filter(|address| *address <= last)?;
        while let Some((_, to)) = reserved.next_if(|(from, _)| *from <= address) {
            if to >= address {
                address = to.checked_add(1).filter(|address| *address <= last)?;
            }
        }
        next = address.checked_add(1);
        Some(if is_ipv4 {
            // Within an IPv4 block, so it fits.
            IpAddr::V4(Ipv4Addr::from(address as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from(address))
        })
    })
}

/// What of `block` is reserved, as first and last address each, in order; they may overlap.
fn reserved_in(block: &IpNetwork, reserved: &[IpNetwork]) -> Vec<(u128, u128)> {
    let (first, last) = bounds(block);
    let mut found: Vec<_> = reserved
        .iter()
        .filter(|other| other.is_ipv4() == block.is_ipv4())
        .map(bounds)
        .filter(|(from, to)| *from <= last && *to >= first)
        .map(|(from, to)| (from.max(first), to.min(last)))
        .collect();
    found.sort_unstable();
    found
}

fn bounds(network: &IpNetwork) -> (u128, u128) {
    (number(network.network()), number(network.broadcast()))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn networks(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    fn next(
        blocks: &[IpNetwork],
        reserved: &[IpNetwork],
        used: &BTreeSet<IpAddr>,
        freed: &BTreeMap<IpAddr, u64>,
        cooled: u64,
    ) -> Option<IpAddr> {
        super::next(Space { blocks, reserved }, History { used, freed, cooled })
    }

    /// All that a block has to give, in order.
    fn all(blocks: &[&str], reserved: &[&str]) -> Vec<String> {
        let (blocks, reserved) = (networks(blocks), networks(reserved));
        let mut used = BTreeSet::new();
        while let Some(address) = next(&blocks, &reserved, &used, &BTreeMap::new(), 0) {
            assert!(used.insert(address), "{address} is given twice");
        }
        let capacity: u64 = blocks.iter().map(|block| capacity(block, &reserved)).sum();
        assert_eq!(used.len() as u64, capacity);
        used.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_and_the_last_address_are_usable_and_what_is_reserved_is_not() {
        assert_eq!(all(&["10.0.0.4/30"], &["10.0.0.5"]), ["10.0.0.4", "10.0.0.6", "10.0.0.7"]);
        assert_eq!(all(&["10.0.0.0/29"], &["10.0.0.0/30", "10.0.0.2", "10.0.0.7"]).len(), 3);
        assert_eq!(all(&["10.0.0.0/30"], &["10.0.0.0/24"]), [""; 0]);
        assert_eq!(all(&["255.255.255.252/30"], &["255.255.255.254/31"]).len(), 2);
        assert_eq!(all(&["fd00::/126"], &["fd00::", "10.0.0.0/8"]).len(), 3);
        let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126";
        assert_eq!(all(&[last], &["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]).len(), 3);
        assert_eq!(all(&["10.0.0.0/31", "fd00::/127"], &[]).len(), 4);
    }

    #[test]
    fn the_never_used_come_before_the_longest_free() {
        let blocks = networks(&["10.0.0.0/31", "10.0.1.0/31"]);
        let mut freed: BTreeMap<_, _> =
            [(ip("10.0.0.0"), 7), (ip("10.0.0.1"), 3), (ip("10.0.1.0"), 5)].into();
        let used = BTreeSet::new();
        assert_eq!(next(&blocks, &[], &used, &freed, u64::MAX), Some(ip("10.0.1.1")));
        freed.insert(ip("10.0.1.1"), 9);
        assert_eq!(next(&blocks, &[], &used, &freed, u64::MAX), Some(ip("10.0.0.1")));
    }

    #[test]
    fn what_became_free_a_moment_ago_is_not_given_again() {
        let blocks = networks(&["10.0.0.0/31"]);
        let freed: BTreeMap<_, _> = [(ip("10.0.0.0"), 7), (ip("10.0.0.1"), 9)].into();
        let used = BTreeSet::new();
        assert_eq!(next(&blocks, &[], &used, &freed, 6), None);
        assert_eq!(next(&blocks, &[], &used, &freed, 7), Some(ip("10.0.0.0")));
        assert_eq!(next(&blocks, &[], &[ip("10.0.0.0")].into(), &freed, 8), None);
    }

    #[test]
    fn neither_a_wide_block_nor_a_wide_reservation_is_walked() {
        let (blocks, half) = (networks(&["fd00::/64"]), networks(&["fd00::/65"]));
        let used = [ip("fd00::")].into();
        assert_eq!(next(&blocks, &[], &used, &BTreeMap::new(), 0), Some(ip("fd00::1")));
        assert_eq!(next(&blocks, &half, &used, &BTreeMap::new(), 0), Some(ip("fd00::8000:0:0:0")));
        assert_eq!(capacity(&blocks[0], &[]), u64::MAX);
        assert_eq!(capacity(&blocks[0], &half), 1 << 63);
        assert_eq!(capacity(&networks(&["fd00::/122"])[0], &networks(&["fd00::", "fe00::"])), 63);
        assert_eq!(capacity(&networks(&["::/0"])[0], &networks(&["::/0"])), 0);
    }
}
