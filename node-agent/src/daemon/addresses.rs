//! Whether the node's addresses last.

use warren_types::status::{IpamBlock, Low};

/// The families of which fewer addresses than `low_water` are free. A family that the node has no
/// block of is not missed.
pub fn low(blocks: &[IpamBlock], low_water: u64) -> Vec<Low> {
    let mut found = Vec::new();
    for (family, is_ipv6) in [("IPv4", false), ("IPv6", true)] {
        let mut of_family =
            blocks.iter().filter(|block| block.cidr.is_ipv6() == is_ipv6).peekable();
        if of_family.peek().is_none() {
            continue;
        }
        let free = of_family.map(IpamBlock::free).fold(0, u64::saturating_add);
        if free < low_water {
            found.push(Low { family: family.to_owned(), free, low_water });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(cidr: &str, allocated: u64, cooling: u64) -> IpamBlock {
        IpamBlock { cidr: cidr.parse().unwrap(), allocated, capacity: 64, cooling }
    }

    #[test]
    fn a_family_is_low_when_all_its_blocks_together_have_few_free_addresses() {
        let blocks = [block("10.0.0.0/26", 64, 0), block("fd00::/122", 55, 1)];
        assert_eq!(low(&blocks, 0), []);
        let words: Vec<_> = low(&blocks, 8).iter().map(ToString::to_string).collect();
        assert_eq!(words, ["0 free addresses of IPv4 are left, less than 8"]);
        assert_eq!(low(&blocks, 9).len(), 2);
        assert_eq!(low(&[block("10.0.0.0/26", 64, 0), block("10.0.1.0/26", 56, 0)], 8), []);
        assert_eq!(low(&[], 8), []);
    }
}
