//! Which of the node's addresses pods get, and whether they last.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use warren_net::desired;
use warren_types::pool::{self, Pool};
use warren_types::status::{IpamBlock, Low};

/// What no pod gets: one address per family for the tunnel, and what the configuration says.
pub fn reserved(pools: &[Pool], blocks: &[IpNetwork], configured: &[IpNetwork]) -> Vec<IpNetwork> {
    let tunnel = desired::tunnel_address(pools, blocks).map(IpAddr::V4);
    let is_tunneled = |block: &&IpNetwork| {
        block.is_ipv6()
            && pool::holding(pools, block).is_some_and(|pool| pool.encapsulation.overhead() > 0)
    };
    let tunnel6 = blocks.iter().find(is_tunneled).map(IpNetwork::network);
    let tunnels = tunnel.into_iter().chain(tunnel6).map(IpNetwork::from);
    tunnels.chain(configured.iter().copied()).collect()
}

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
    use warren_types::pool::Encapsulation;

    use super::*;

    fn block(cidr: &str, allocated: u64, cooling: u64) -> IpamBlock {
        IpamBlock { cidr: cidr.parse().unwrap(), allocated, capacity: 64, cooling }
    }

    #[test]
    fn the_tunnel_has_one_address_of_each_family_that_it_carries() {
        let pool = |cidr: &str, encapsulation| Pool {
            cidr: cidr.parse().unwrap(),
            block_size: 26,
            encapsulation,
            nat_outgoing: false,
        };
        let tunneled =
            [pool("172.16.0.0/16", Encapsulation::IpIp), pool("fd00::/48", Encapsulation::IpIp)];
        let blocks = ["172.16.52.128/26", "172.16.60.0/26", "fd00::5200/122", "fd00::6000/122"]
            .map(|block| block.parse().unwrap());
        let configured = ["172.16.52.190/31".parse().unwrap()];
        let words = |pools: &[Pool]| {
            let all = reserved(pools, &blocks, &configured);
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(words(&tunneled), ["172.16.52.128/32", "fd00::5200/128", "172.16.52.190/31"]);
        let plain =
            [pool("172.16.0.0/16", Encapsulation::None), pool("fd00::/48", Encapsulation::None)];
        assert_eq!(words(&plain), ["172.16.52.190/31"]);
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
