//! Values by prefix, found by longest match.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

/// Values by prefix. A look-up costs one tree search for each prefix length in use (a cluster has
/// one or two), whatever the number of prefixes.
#[derive(Debug, Clone)]
pub struct PrefixMap<T> {
    entries: BTreeMap<IpNetwork, T>,
    lengths: BTreeSet<u8>,
}

impl<T> PrefixMap<T> {
    /// The value of the longest prefix that holds all of `prefix`.
    pub fn holding(&self, prefix: &IpNetwork) -> Option<&T> {
        self.lengths
            .range(..=prefix.prefix())
            .rev()
            .find_map(|length| self.entries.get(&network(prefix.ip(), *length)))
    }

    /// Whether some prefix of the map lies inside `prefix` or is `prefix` itself.
    pub fn has_inside(&self, prefix: &IpNetwork) -> bool {
        // Prefixes are in the order of their addresses. One that begins inside `prefix` and is
        // shorter would have to begin before it, so that everything in this range lies inside.
        let last = match prefix.broadcast() {
            IpAddr::V4(address) => network(IpAddr::V4(address), 32),
            IpAddr::V6(address) => network(IpAddr::V6(address), 128),
        };
        self.entries.range(network(prefix.ip(), prefix.prefix())..=last).next().is_some()
    }
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), lengths: BTreeSet::new() }
    }
}

impl<T> FromIterator<(IpNetwork, T)> for PrefixMap<T> {
    fn from_iter<I: IntoIterator<Item = (IpNetwork, T)>>(entries: I) -> Self {
        let entries: BTreeMap<_, _> = entries
            .into_iter()
            .map(|(prefix, value)| (network(prefix.ip(), prefix.prefix()), value))
            .collect();
        let lengths = entries.keys().map(IpNetwork::prefix).collect();
        Self { entries, lengths }
    }
}

/// The prefix of this length (0 to 32 or 128, else taken as that) that holds `address`, without
/// host bits.
pub(crate) fn network(address: IpAddr, length: u8) -> IpNetwork {
    match address {
        IpAddr::V4(address) => {
            let length = length.min(32);
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            let address = Ipv4Addr::from_bits(address.to_bits() & mask);
            ipnetwork::Ipv4Network::new_checked(address, length).map(IpNetwork::V4)
        }
        IpAddr::V6(address) => {
            let length = length.min(128);
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            let address = Ipv6Addr::from_bits(address.to_bits() & mask);
            ipnetwork::Ipv6Network::new_checked(address, length).map(IpNetwork::V6)
        }
    }
    // Not reached: the length was limited above.
    .unwrap_or_else(|| IpNetwork::from(address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix() -> impl Strategy<Value = IpNetwork> {
        // Few addresses, so that prefixes are often inside each other.
        (0u32..16, 0u8..=32)
            .prop_map(|(address, length)| network(Ipv4Addr::from(address << 27).into(), length))
    }

    fn holds(outer: &IpNetwork, inner: &IpNetwork) -> bool {
        outer.prefix() <= inner.prefix() && outer.contains(inner.ip())
    }

    proptest! {
        #[test]
        fn the_map_answers_as_a_scan_of_all_its_prefixes(
            entries in proptest::collection::vec(prefix(), 0..12),
            wanted in prefix(),
        ) {
            let map: PrefixMap<IpNetwork> = entries.iter().map(|p| (*p, *p)).collect();
            let longest = entries.iter().filter(|p| holds(p, &wanted)).max_by_key(|p| p.prefix());
            prop_assert_eq!(map.holding(&wanted), longest);
            prop_assert_eq!(map.has_inside(&wanted), entries.iter().any(|p| holds(&wanted, p)));
        }
    }

    #[test]
    fn an_ipv4_prefix_is_never_inside_an_ipv6_prefix() {
        let map: PrefixMap<()> = [("::/0".parse().unwrap(), ())].into_iter().collect();
        assert!(map.holding(&"10.0.0.0/8".parse().unwrap()).is_none());
        assert!(!map.has_inside(&"0.0.0.0/0".parse().unwrap()));
        assert!(map.holding(&"fd00::/64".parse().unwrap()).is_some());
    }

    #[test]
    fn host_bits_are_cleared() {
        assert_eq!(network("10.1.2.3".parse().unwrap(), 8).to_string(), "10.0.0.0/8");
        assert_eq!(network("10.1.2.3".parse().unwrap(), 0).to_string(), "0.0.0.0/0");
        assert_eq!(network("fd00::1".parse().unwrap(), 64).to_string(), "fd00::/64");
        assert_eq!(network("::1".parse().unwrap(), 128).to_string(), "::1/128");
    }
}
