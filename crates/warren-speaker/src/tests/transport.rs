//! Passwords, distances, and IPv6.

use std::net::{Ipv6Addr, SocketAddr};
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use tokio::net::TcpListener;

use super::node::{Node, fresh_address, listening, settings};
use crate::*;

fn password(text: &str) -> Option<Password> {
    Some(Password::new(text).unwrap())
}

/// Makes two nodes peers with these passwords of each for the other.
async fn peers_with(passwords: [Option<Password>; 2]) -> [Node; 2] {
    let nodes = [Node::start(&[]).await, Node::start(&[]).await];
    let [one, two] = &nodes;
    let [ones, twos] = passwords;
    one.speaker.set_peers(vec![PeerSettings { password: ones, ..two.as_peer_of(one) }]);
    two.speaker.set_peers(vec![PeerSettings { password: twos, ..one.as_peer_of(two) }]);
    nodes
}

async fn expect_no_connection([one, two]: &[Node; 2]) {
    for (node, other) in [(one, two), (two, one)] {
        let timed_out = |peer: &PeerSnapshot| {
            peer.last_error.as_ref().is_some_and(|error| error.starts_with("connecting timed out"))
        };
        node.until_peer(other.address, "out of reach", timed_out).await;
    }
}

#[tokio::test]
async fn peers_with_the_same_password_find_each_other() {
    let [one, two] = peers_with([password("secret"), password("secret")]).await;
    one.until_established(&two).await;
    two.until_established(&one).await;
    // Either of them may have opened the connection: now only the other one does.
    for (passive, active) in [(&one, &two), (&two, &one)] {
        let settings = active.as_peer_of(passive);
        let waits = PeerSettings { password: password("other"), passive: true, ..settings };
        passive.speaker.set_peers(vec![waits]);
        let settings = passive.as_peer_of(active);
        let connects = PeerSettings { password: password("other"), ..settings };
        active.speaker.set_peers(vec![connects]);
        passive.until_established(active).await;
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_one_keep_peers_apart() {
    expect_no_connection(&peers_with([password("secret"), password("Secret")]).await).await;
    let nodes = peers_with([password("secret"), None]).await;
    expect_no_connection(&nodes).await;
    let [one, two] = &nodes;
    let error = one.peer(two.address).await.last_error.unwrap();
    assert!(error.ends_with("The password must be the same on both sides"), "{error}");
    // It is only the password.
    one.speaker.set_peers(vec![two.as_peer_of(one)]);
    one.until_established(two).await;
}

#[test]
fn a_password_is_of_1_to_80_octets_and_is_not_shown() {
    assert!(Password::new("").is_err());
    let error = Password::new("x".repeat(81)).unwrap_err().to_string();
    assert_eq!(error, "a password of 81 octets is not allowed: give 1 to 80");
    assert_eq!(format!("{:?}", Password::new("x".repeat(80)).unwrap()), "Password(..)");
}

#[tokio::test]
async fn peers_that_check_the_distance_find_each_other_and_nobody_else_is_let_in() {
    let near = Distance::Checked(1.try_into().unwrap());
    let (one, two) = (Node::start(&[]).await, Node::start(&[]).await);
    one.speaker.set_peers(vec![PeerSettings { distance: near, ..two.as_peer_of(&one) }]);
    two.speaker.set_peers(vec![PeerSettings { distance: near, ..one.as_peer_of(&two) }]);
    one.until_established(&two).await;

    // Somebody whose packets start with the usual TTL, as if they had come a long way.
    let far = TcpListener::bind((fresh_address(), 0)).await.unwrap();
    let at = far.local_addr().unwrap();
    one.speaker.set_peers(vec![PeerSettings { distance: near, ..settings(at) }]);
    let timed_out = |peer: &PeerSnapshot| {
        peer.last_error.as_ref().is_some_and(|error| error.starts_with("connecting timed out"))
    };
    one.until_peer(at.ip(), "out of reach", timed_out).await;
    one.speaker.set_peers(vec![settings(at)]);
    far.accept().await.unwrap();
}

/// Runs a test in a network of its own, where these are addresses of the loopback interface.
fn with_addresses(addresses: &[Ipv6Addr], test: impl Future<Output = ()> + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let ip = |words: String| {
                let status = Command::new("ip").args(words.split(' ')).status().unwrap();
                assert!(status.success(), "ip {words}");
            };
            ip("link set lo up".to_owned());
            for address in addresses {
                ip(format!("address add {address}/128 dev lo nodad"));
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(test);
        });
    });
}

#[test]
fn peers_of_ipv6_exchange_routes_of_ipv6_signed_and_at_a_checked_distance() {
    let addresses: [Ipv6Addr; 2] = ["fd77::1".parse().unwrap(), "fd77::2".parse().unwrap()];
    with_addresses(&addresses, async {
        let node = async |address: Ipv6Addr, last: u8, block: &str| {
            let at = SocketAddr::new(address.into(), 0);
            let config = SpeakerConfig::new(64512, [10, 0, 0, last].into(), at);
            let (speaker, changes) = listening(config).await.unwrap();
            let node = Node::with(speaker, changes, &[block]);
            node.speaker.set_import_policy(ImportPolicy {
                pools: vec!["fd88::/16".parse().unwrap()],
                ..ImportPolicy::default()
            });
            node
        };
        let mut one = node(addresses[0], 1, "fd88:1::/122").await;
        let mut two = node(addresses[1], 2, "fd88:2::/122").await;
        let settings = |of: &Node, by: &Node| PeerSettings {
            password: password("secret"),
            distance: Distance::Checked(1.try_into().unwrap()),
            ..of.as_peer_of(by)
        };
        one.speaker.set_peers(vec![settings(&two, &one)]);
        two.speaker.set_peers(vec![settings(&one, &two)]);
        one.until_routes(&[("fd88:2::/122", two.address)]).await;
        two.until_routes(&[("fd88:1::/122", one.address)]).await;
    });
}
