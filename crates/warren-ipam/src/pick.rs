//! Which address is next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;

/// The next address of `blocks` for a pod; `None` when all are in use.
///
/// Addresses that were never used come first, in their order; then the one that has been free for
/// the longest, so that what others still remember of an address has the most time to fade. `freed`
/// says when an address became free last. Every address of a block is usable, the first and the
/// last too, because each pod has a /32 of its own; those of `reserved` are not.
pub fn next(
    blocks: &[IpNetwork],
    reserved: &[IpAddr],
    used: &BTreeSet<IpAddr>,
    freed: &BTreeMap<IpAddr, u64>,
) -> Option<IpAddr> {
    let free = |address: &IpAddr| !used.contains(address) && !reserved.contains(address);
    let mut oldest: Option<(u64, IpAddr)> = None;
    for address in blocks.iter().flat_map(addresses).filter(free) {
        match freed.get(&address) {
            None => return Some(address),
            Some(&at) if oldest.is_none_or(|(other, _)| at < other) => oldest = Some((at, address)),
            Some(_) => {}
        }
    }
    oldest.map(|(_, address)| address)
}

/// How many addresses of `block` pods can have. It is cut at [`u64::MAX`], which only matters for
/// IPv6 blocks wider than a /64.
pub fn capacity(block: &IpNetwork, reserved: &[IpAddr]) -> u64 {
    let bits = match block {
        IpNetwork::V4(_) => 32 - block.prefix(),
        IpNetwork::V6(_) => 128 - block.prefix(),
    };
    let size = 1_u64.checked_shl(bits.into()).unwrap_or(u64::MAX);
    // A set: an address that is named twice is still one.
    let reserved: BTreeSet<_> =
        reserved.iter().filter(|address| block.contains(**address)).collect();
    size.saturating_sub(reserved.len() as u64)
}

/// All addresses of `block`, lazily: an IPv6 block may have 2^64 of them.
fn addresses(block: &IpNetwork) -> Box<dyn Iterator<Item = IpAddr>> {
    match (block.network(), block.broadcast()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            Box::new((u32::from(first)..=u32::from(last)).map(|a| IpAddr::V4(a.into())))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            Box::new((u128::from(first)..=u128::from(last)).map(|a| IpAddr::V6(Ipv6Addr::from(a))))
        }
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn blocks(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn the_first_and_the_last_address_are_usable_and_the_reserved_one_is_not() {
        let blocks = blocks(&["10.0.0.4/30"]);
        let reserved = [ip("10.0.0.5")];
        let mut used = BTreeSet::new();
        let mut order = Vec::new();
        while let Some(address) = next(&blocks, &reserved, &used, &BTreeMap::new()) {
            order.push(address.to_string());
            used.insert(address);
        }
        assert_eq!(order, ["10.0.0.4", "10.0.0.6", "10.0.0.7"]);
        assert_eq!(capacity(&blocks[0], &reserved), 3);
    }

    #[test]
    fn the_never_used_come_before_the_longest_free() {
        let blocks = blocks(&["10.0.0.0/31", "10.0.1.0/31"]);
        let mut freed: BTreeMap<_, _> =
            [(ip("10.0.0.0"), 7), (ip("10.0.0.1"), 3), (ip("10.0.1.0"), 5)].into();
        let used = BTreeSet::new();
        assert_eq!(next(&blocks, &[], &used, &freed), Some(ip("10.0.1.1")));
        freed.insert(ip("10.0.1.1"), 9);
        assert_eq!(next(&blocks, &[], &used, &freed), Some(ip("10.0.0.1")));
    }

    #[test]
    fn a_wide_ipv6_block_is_not_walked() {
        let blocks = blocks(&["fd00::/64"]);
        let used = [ip("fd00::")].into();
        assert_eq!(next(&blocks, &[], &used, &BTreeMap::new()), Some(ip("fd00::1")));
        assert_eq!(capacity(&blocks[0], &[]), u64::MAX);
        assert_eq!(capacity(&"fd00::/122".parse().unwrap(), &[ip("fd00::"), ip("fe00::")]), 63);
    }
}
