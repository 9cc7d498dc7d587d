//! Each in a network namespace of its own; `ip` sets the scene and is the witness.

use super::*;
use crate::testing::{ip, isolated};

/// What `ip` shows of the namespace.
fn picture() -> Vec<String> {
    ["-details link show", "-4 address show", "rule show", "-4 route show table all"].map(ip).into()
}

/// A node with a stand-in for tunl0, and routes of others.
fn node() {
    if ip("-oneline link show").contains(" tunl0@") {
        ip("link set tunl0 name real");
    }
    ip("link add tunl0 mtu 1480 type veth peer name tunl0-end");
    // A device gets its queue when it comes up for the first time, and keeps it.
    ip("link set tunl0 up");
    ip("link set tunl0 down");
    ip("link add enp1s0 up type veth peer name enp1s0-end");
    ip("link set enp1s0-end up");
    ip("address add 192.168.0.176/24 dev enp1s0");
    ip("route add default via 192.168.0.1 proto bird");
    ip("route add 10.1.0.0/16 via 192.168.0.1 proto bird");
    ip("route add 172.16.9.0/24 via 192.168.0.1 proto static");
    ip("route add blackhole 172.16.10.0/24");
}

/// What an agent makes of it.
fn install() {
    ip("link set tunl0 up mtu 1400");
    ip("address add 172.16.52.128/32 dev tunl0");
    ip("route add blackhole 172.16.52.128/26 proto bird");
    ip("route add 172.16.103.64/26 via 192.168.0.146 dev tunl0 proto bird onlink");
    ip("route add 172.16.246.192/26 via 192.168.0.241 dev enp1s0 proto bird onlink");
    ip("route add 10.9.0.0/26 via 192.168.0.241 dev tunl0 proto bird onlink");
}

fn owned() -> Owned {
    Owned { protocol: 12, networks: vec!["172.16.0.0/16".parse().unwrap()] }
}

fn clean() -> Vec<String> {
    let mut socket = Socket::open().unwrap();
    let removals = find(&mut socket, &owned()).unwrap();
    removals
        .into_iter()
        .map(|removal| {
            let line = format!("{} {}", removal.kind, removal.name);
            remove(&mut socket, removal).unwrap();
            line
        })
        .collect()
}

#[test]
fn afterwards_the_namespace_is_as_it_was_before_and_the_routes_of_others_are_there() {
    isolated(|| {
        node();
        let before = picture();
        install();
        assert_ne!(picture(), before);
        let said = clean();
        assert_eq!(picture(), before);
        assert_eq!(
            said,
            [
                "route 10.9.0.0/26 via 192.168.0.241 dev tunl0 proto bird",
                "route blackhole 172.16.52.128/26 proto bird",
                "route 172.16.103.64/26 via 192.168.0.146 dev tunl0 proto bird",
                "route 172.16.246.192/26 via 192.168.0.241 dev enp1s0 proto bird",
                "link tunl0 (set down, mtu 1480)",
                "address 172.16.52.128/32 dev tunl0",
            ]
        );
        assert!(clean().is_empty(), "there is nothing left to find");
    });
}

#[test]
fn a_tunnel_that_another_uses_too_stays_up_with_the_others_address() {
    isolated(|| {
        node();
        install();
        ip("address add 10.1.1.1/32 dev tunl0");
        assert!(!clean().iter().any(|line| line.starts_with("link")));
        let device = ip("-4 address show dev tunl0");
        assert!(device.contains("UP") && device.contains("10.1.1.1/32"), "{device}");
        assert!(!device.contains("172.16.52.128"), "{device}");
    });
}

#[test]
fn what_goes_by_itself_meanwhile_is_no_error() {
    isolated(|| {
        node();
        install();
        let mut socket = Socket::open().unwrap();
        let removals = find(&mut socket, &owned()).unwrap();
        ip("link delete tunl0");
        ip("route delete blackhole 172.16.52.128/26");
        for removal in removals {
            remove(&mut socket, removal).unwrap();
        }
    });
}
