//! One warning rather than a thousand.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Lets a warning about an address pass once a minute. Anybody can connect from as many addresses
/// as he likes: those beyond the first hundred of a minute stay unnamed.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    warned: HashMap<IpAddr, Instant>,
}

impl RateLimit {
    const INTERVAL: Duration = Duration::from_secs(60);
    const ADDRESSES: usize = 100;

    pub(crate) fn passes(&mut self, address: IpAddr, now: Instant) -> bool {
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < Self::INTERVAL;
        if self.warned.get(&address).is_some_and(is_recent) {
            return false;
        }
        if self.warned.len() >= Self::ADDRESSES {
            self.warned.retain(|_, at| is_recent(at));
        }
        let has_room = self.warned.len() < Self::ADDRESSES;
        if has_room {
            self.warned.insert(address, now);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_is_named_once_a_minute_and_memory_is_bounded() {
        let mut limit = RateLimit::default();
        let start = Instant::now();
        let address = |n: u32| IpAddr::from(Ipv4Addr::from_bits(n));
        assert!(limit.passes(address(1), start));
        assert!(!limit.passes(address(1), start + Duration::from_secs(59)));
        assert!(limit.passes(address(1), start + Duration::from_secs(60)));
        let named = (1000..2000).filter(|n| limit.passes(address(*n), start)).count();
        assert!(named < RateLimit::ADDRESSES);
        assert!(limit.warned.len() <= RateLimit::ADDRESSES);
        assert!(limit.passes(address(5000), start + Duration::from_secs(121)));
    }
}
