//! Which BFD sessions the peers get.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nix::ifaddrs::getifaddrs;
use warren_bfd::{Hops, Key, Settings, ip};

use crate::datastore::Bfd;

/// A peer to have a session with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Where it is.
    pub peer: IpAddr,
    /// This node's address to send from, where there is one of its family.
    pub source: Option<IpAddr>,
    /// How BFD is to run.
    pub bfd: Bfd,
}

/// The sessions that are wished for; `networks` are those that this node is in, and `before` what was
/// decided with other networks.
///
/// Where nobody says whether there are routers on the way, there are none if the peer is in the
/// network of the node's own address: the peer comes to the same conclusion, and nobody beyond the link
/// can forge its packets then (RFC 5881, 5). While that address is on no interface there is nothing to
/// tell by, and all stays as it was.
pub fn sessions(
    wishes: impl IntoIterator<Item = Wish>,
    networks: &[IpNetwork],
    before: &[Settings],
) -> Vec<Settings> {
    let before: BTreeMap<IpAddr, Hops> =
        before.iter().map(|settings| (settings.key.peer, settings.key.hops)).collect();
    let guess = |Wish { peer, source, .. }: Wish| {
        let mut own = networks.iter().filter(|it| Some(it.ip()) == source).peekable();
        match before.get(&peer) {
            Some(hops) if own.peek().is_none() => *hops,
            _ if own.any(|network| network.contains(peer)) => Hops::Single,
            _ => Hops::Multi,
        }
    };
    let settings = |wish: Wish| {
        let hops = match wish.bfd.multihop {
            Some(true) => Hops::Multi,
            Some(false) => Hops::Single,
            None => guess(wish),
        };
        let key = Key { peer: wish.peer, hops };
        Settings { key, source: wish.source, timing: wish.bfd.timing }
    };
    wishes.into_iter().map(settings).collect()
}

/// The addresses of this node's interfaces, each with its network.
pub fn networks() -> Vec<IpNetwork> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let (address, mask) = (ip(&interface.address?)?, ip(&interface.netmask?)?);
            IpNetwork::with_netmask(address, mask).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use warren_bfd::Timing;

    use super::*;

    const SOURCE: &str = "192.168.0.1";

    fn wish(peer: &str, multihop: Option<bool>) -> Wish {
        Wish {
            peer: peer.parse().unwrap(),
            source: SOURCE.parse().ok(),
            bfd: Bfd { timing: Timing::default(), multihop },
        }
    }

    fn kinds(sessions: &[Settings]) -> Vec<(String, Hops)> {
        sessions.iter().map(|session| (session.key.peer.to_string(), session.key.hops)).collect()
    }

    #[test]
    fn a_peer_of_the_nodes_own_network_is_one_hop_away_unless_the_configuration_says_otherwise() {
        let wishes = [
            wish("192.168.0.2", None),
            wish("192.168.0.3", Some(true)),
            wish("192.168.1.2", None),
            wish("192.168.1.3", Some(false)),
            // In a network of the node, but not in the one of the address that it sends from.
            wish("10.0.0.2", None),
        ];
        let networks = ["192.168.0.1/24".parse().unwrap(), "10.0.0.1/8".parse().unwrap()];
        let sessions = sessions(wishes, &networks, &[]);
        let expected = [
            ("192.168.0.2", Hops::Single),
            ("192.168.0.3", Hops::Multi),
            ("192.168.1.2", Hops::Multi),
            ("192.168.1.3", Hops::Single),
            ("10.0.0.2", Hops::Multi),
        ];
        assert_eq!(kinds(&sessions), expected.map(|(peer, hops)| (peer.to_owned(), hops)));
        assert!(sessions.iter().all(|session| session.source == SOURCE.parse().ok()));
    }

    #[test]
    fn sessions_stay_as_they_are_while_the_nodes_address_is_gone() {
        let wishes = [wish("192.168.0.2", None)];
        let before = sessions(wishes, &["192.168.0.1/24".parse().unwrap()], &[]);
        assert_eq!(kinds(&before)[0].1, Hops::Single);
        assert_eq!(sessions(wishes, &[], &before), before);
        assert_eq!(kinds(&sessions(wishes, &[], &[]))[0].1, Hops::Multi);
    }

    #[test]
    fn this_machine_is_in_the_network_of_its_loopback() {
        assert!(networks().contains(&"127.0.0.1/8".parse().unwrap()));
    }
}
