//! Datagrams get across: the routes, the proxied ARP and the forwarding do what they are for.

use std::net::UdpSocket;
use std::time::Duration;

use super::*;

/// Gives the node a default route. The kernel answers ARP requests only for addresses that it has a
/// route to, 169.254.1.1 among them.
fn default_route() {
    ip("link add nic up type veth peer name wire");
    ip("link set wire up");
    ip("route add default dev nic");
}

/// A socket that fails rather than waits for ever.
pub(super) fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

/// Sends a datagram there and back, and checks that neither address was rewritten.
pub(super) fn exchange(here: &UdpSocket, there: &UdpSocket) {
    let mut buffer = [0; 16];
    here.send_to(b"there", there.local_addr().unwrap()).unwrap();
    let (length, from) = there.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"there"[..], here.local_addr().unwrap()));
    there.send_to(b"back", from).unwrap();
    let (length, from) = here.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"back"[..], there.local_addr().unwrap()));
}

#[test]
fn a_pod_and_its_node_reach_each_other() {
    isolated(|| {
        default_route();
        ip("link set lo up");
        ip("address add 192.0.2.1/32 dev lo");
        let namespace = namespace();
        create(&namespace, &pod()).unwrap();

        let node = socket("192.0.2.1:0");
        let inside = namespace.within(|| socket(&format!("{ADDRESS}:0"))).unwrap();
        exchange(&inside, &node);
        exchange(&node, &inside);
    });
}

#[test]
fn two_pods_of_a_node_reach_each_other() {
    isolated(|| {
        default_route();
        sysctl::write("net/ipv4/conf/default/forwarding", "0").unwrap();
        let second = PodInterface {
            host_name: "cali6973aefed8d".into(),
            addresses: vec!["172.16.52.135".parse().unwrap()],
            ..pod()
        };
        let (one, other) = (namespace(), namespace());
        create(&one, &pod()).unwrap();
        create(&other, &second).unwrap();

        let here = one.within(|| socket(&format!("{ADDRESS}:0"))).unwrap();
        let there = other.within(|| socket("172.16.52.135:0")).unwrap();
        exchange(&here, &there);
        exchange(&there, &here);
    });
}

#[test]
fn a_pod_reaches_itself_by_127_0_0_1() {
    isolated(|| {
        let namespace = namespace();
        create(&namespace, &pod()).unwrap();
        let sockets = namespace.within(|| (socket("127.0.0.1:0"), socket("127.0.0.1:0"))).unwrap();
        exchange(&sockets.0, &sockets.1);
    });
}
