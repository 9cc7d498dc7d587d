//! Which BFD sessions the peers get.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use warren_bfd::{Hops, Key, Settings};

use crate::datastore::Peer;

/// The sessions to have with `peers` from `source`; `networks` are those that this node is in, and
/// `before` what was decided with other networks.
///
/// Where nobody says whether there are routers on the way, there are none if the peer is in the
/// node's own network: the peer comes to the same conclusion, and nobody beyond the link can forge
/// its packets then (RFC 5881, 5). While the node's address is on no interface there is nothing to
/// tell by, and all stays as it was.
pub fn sessions(
    peers: &[Peer],
    source: IpAddr,
    networks: &[IpNetwork],
    before: &[Settings],
) -> Vec<Settings> {
    let before: BTreeMap<IpAddr, Hops> =
        before.iter().map(|settings| (settings.key.peer, settings.key.hops)).collect();
    let own: Vec<&IpNetwork> = networks.iter().filter(|network| network.ip() == source).collect();
    let guess = |peer: IpAddr| match before.get(&peer) {
        Some(hops) if own.is_empty() => *hops,
        _ if own.iter().any(|network| network.contains(peer)) => Hops::Single,
        _ => Hops::Multi,
    };
    let settings = |peer: &Peer| {
        let bfd = peer.bfd?;
        let hops = match bfd.multihop {
            Some(true) => Hops::Multi,
            Some(false) => Hops::Single,
            None => guess(peer.address),
        };
        let key = Key { peer: peer.address, hops };
        Some(Settings { key, source: Some(source), timing: bfd.timing })
    };
    peers.iter().filter_map(settings).collect()
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

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use warren_bfd::Timing;
    use warren_speaker::Distance;
    use warren_types::status::PeerKind;

    use super::*;
    use crate::datastore::{Bfd, Timers};

    fn peer(address: &str, bfd: Option<Option<bool>>) -> Peer {
        Peer {
            address: address.parse().unwrap(),
            port: 179,
            name: None,
            as_number: 64512.into(),
            kind: PeerKind::Mesh,
            passive: false,
            timers: Timers::holding(90),
            source: None,
            password: None,
            distance: Distance::default(),
            max_prefixes: None,
            shutdown: None,
            local_as: None,
            route_reflector_client: false,
            long_lived: None,
            role: None,
            policy: Arc::default(),
            bfd: bfd.map(|multihop| Bfd { timing: Timing::default(), multihop }),
        }
    }

    fn kinds(sessions: &[Settings]) -> Vec<(String, Hops)> {
        sessions.iter().map(|session| (session.key.peer.to_string(), session.key.hops)).collect()
    }

    #[test]
    fn a_peer_of_the_nodes_own_network_is_one_hop_away_unless_the_configuration_says_otherwise() {
        let peers = [
            peer("192.168.0.2", Some(None)),
            peer("192.168.0.3", Some(Some(true))),
            peer("192.168.0.4", None),
            peer("192.168.1.2", Some(None)),
            peer("192.168.1.3", Some(Some(false))),
            // In a network of the node, but not in the one of its address.
            peer("10.0.0.2", Some(None)),
        ];
        let networks = ["192.168.0.1/24".parse().unwrap(), "10.0.0.1/8".parse().unwrap()];
        let source = "192.168.0.1".parse().unwrap();
        let sessions = sessions(&peers, source, &networks, &[]);
        let expected = [
            ("192.168.0.2", Hops::Single),
            ("192.168.0.3", Hops::Multi),
            ("192.168.1.2", Hops::Multi),
            ("192.168.1.3", Hops::Single),
            ("10.0.0.2", Hops::Multi),
        ];
        assert_eq!(kinds(&sessions), expected.map(|(peer, hops)| (peer.to_owned(), hops)));
        assert!(sessions.iter().all(|session| session.source == Some(source)));
    }

    #[test]
    fn sessions_stay_as_they_are_while_the_nodes_address_is_gone() {
        let peers = [peer("192.168.0.2", Some(None))];
        let source = "192.168.0.1".parse().unwrap();
        let before = sessions(&peers, source, &["192.168.0.1/24".parse().unwrap()], &[]);
        assert_eq!(sessions(&peers, source, &[], &before), before);
        assert_eq!(kinds(&sessions(&peers, source, &[], &[]))[0].1, Hops::Multi);
    }

    #[test]
    fn this_machine_is_in_the_network_of_its_loopback() {
        assert!(networks().contains(&"127.0.0.1/8".parse().unwrap()));
    }
}
