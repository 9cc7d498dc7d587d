//! Real packets through a node: a pod on one side, on the other a wire to the outside, where there
//! are also another node, one of its pods, and somebody who is no node.

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::*;
use crate::namespace::Namespace;
use crate::sysctl;
use crate::testing::{isolated, namespace};

pub const POD: &str = "172.16.52.130";
pub const NODE: &str = "192.168.0.176";
const OTHER_NODE: &str = "192.168.0.146";
pub const OTHER_POD: &str = "172.16.103.65";
const STRANGER: &str = "192.168.0.66";
/// Somewhere that the routes lead to through `tunl0`, though no pool has it.
const BEHIND_TUNNEL: &str = "10.99.0.1";

/// How long to wait for a packet before another one is sent, and how often.
const TURN: Duration = Duration::from_millis(100);
const TURNS: usize = 300;

/// The node is the calling thread's namespace.
pub struct Scene {
    pub pod: Namespace,
    pub outside: Namespace,
}

impl Scene {
    pub fn new() -> Self {
        let scene = Self { pod: namespace(), outside: namespace() };
        let path = |namespace: &Namespace| {
            format!("/proc/{}/fd/{}", std::process::id(), namespace.as_fd().as_raw_fd())
        };
        let (pod, outside) = (path(&scene.pod), path(&scene.outside));
        lenient();
        sysctl::write("net/ipv4/ip_forward", "1").unwrap();
        if run("ip -oneline link show").contains(" tunl0@") {
            run("ip link set tunl0 name real");
        }
        run(&format!("ip link add cali1 type veth peer name eth0 netns {pod}"));
        run(&format!("ip link add enp1s0 type veth peer name wire netns {outside}"));
        run(&format!("ip link add tunl0 type veth peer name tunnel netns {outside}"));
        scene.within_pod(|| {
            for line in [
                "link set eth0 up",
                &format!("address add {POD}/32 dev eth0"),
                "route add 169.254.1.1 dev eth0",
                "route add default via 169.254.1.1",
            ] {
                run(&format!("ip {line}"));
            }
        });
        scene.outside(|| {
            lenient();
            for line in [
                "link set lo up",
                "link set wire up",
                "link set tunnel up",
                "address add 192.168.0.1/24 dev wire",
                &format!("address add {OTHER_NODE}/24 dev wire"),
                &format!("address add {STRANGER}/24 dev wire"),
                &format!("address add {OTHER_POD}/32 dev lo"),
                "address add 10.88.0.1/24 dev tunnel",
                &format!("address add {BEHIND_TUNNEL}/32 dev lo"),
                &format!("route add 172.16.52.128/26 via {NODE}"),
            ] {
                run(&format!("ip {line}"));
            }
        });
        for line in [
            "link set cali1 up",
            "link set enp1s0 up",
            "link set tunl0 up",
            "address add 169.254.1.1/32 dev cali1",
            &format!("address add {NODE}/24 dev enp1s0"),
            "address add 10.88.0.2/24 dev tunl0",
            &format!("route add {POD} dev cali1"),
            &format!("route add 172.16.103.64/26 via {OTHER_NODE}"),
            "route add 10.99.0.0/16 via 10.88.0.1",
        ] {
            run(&format!("ip {line}"));
        }
        scene
    }

    pub fn within_pod<T>(&self, act: impl FnOnce() -> T) -> T {
        self.pod.within(act).unwrap()
    }

    pub fn outside<T>(&self, act: impl FnOnce() -> T) -> T {
        self.outside.within(act).unwrap()
    }

    /// A socket of the pod, and one at `to` on the outside.
    fn sockets(&self, to: &str) -> (UdpSocket, UdpSocket) {
        let pod = self.within_pod(|| UdpSocket::bind((POD, 0))).unwrap();
        let outside = self.outside(|| UdpSocket::bind((to, 0))).unwrap();
        outside.set_read_timeout(Some(TURN)).unwrap();
        (pod, outside)
    }

    /// From which address a datagram of the pod arrives at `to`.
    fn source_at(&self, to: &str) -> String {
        let (pod, outside) = self.sockets(to);
        let address = outside.local_addr().unwrap();
        let from = patiently(|| {
            pod.send_to(b"hello", address).unwrap();
            Some(outside.recv_from(&mut [0; 16]).ok()?.1)
        });
        from.unwrap_or_else(|| panic!("nothing arrives at {to}")).ip().to_string()
    }

    /// From which address a TCP connection of the pod arrives at `to`, and that it carries.
    fn connection_at(&self, to: &str) -> String {
        let listener = self.outside(|| TcpListener::bind((to, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let mut pod = self
            .within_pod(|| TcpStream::connect_timeout(&address, TURN * 100))
            .unwrap_or_else(|error| panic!("no connection to {to}: {error}"));
        let (mut outside, from) = listener.accept().unwrap();
        io::Write::write_all(&mut outside, b"hello").unwrap();
        let mut heard = [0; 5];
        io::Read::read_exact(&mut pod, &mut heard).unwrap();
        assert_eq!(&heard, b"hello");
        from.ip().to_string()
    }
}

/// No check of where a packet would be answered to: that is not what is tested here.
fn lenient() {
    sysctl::write("net/ipv4/conf/all/rp_filter", "0").unwrap();
    sysctl::write("net/ipv4/conf/default/rp_filter", "0").unwrap();
}

fn patiently<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    (0..TURNS).find_map(|_| attempt())
}

pub fn bring(encapsulation: Encapsulation) -> Keeper {
    let mut keeper = Keeper::default();
    keeper.bring(&rules(&known(encapsulation, true)), true).unwrap();
    keeper
}

#[test]
fn pod_traffic_is_masqueraded_outside_the_pools_and_nowhere_else() {
    isolated(|| {
        let scene = Scene::new();
        assert_eq!(scene.source_at("192.168.0.1"), POD);
        bring(Encapsulation::None);
        for (to, expected) in
            [("192.168.0.1", NODE), (OTHER_NODE, NODE), (OTHER_POD, POD), (BEHIND_TUNNEL, POD)]
        {
            assert_eq!(scene.source_at(to), expected, "UDP to {to}");
            assert_eq!(scene.connection_at(to), expected, "TCP to {to}");
        }
    });
}

#[test]
fn pod_traffic_passes_where_iptables_drops_what_is_forwarded_by_policy() {
    passes_in_spite_of("iptables-nft");
}

#[test]
fn pod_traffic_passes_where_iptables_legacy_drops_what_is_forwarded_by_policy() {
    passes_in_spite_of("iptables-legacy");
}

fn passes_in_spite_of(iptables: &str) {
    isolated(|| {
        let scene = Scene::new();
        run(&format!("{iptables} -P FORWARD DROP"));
        let (pod, outside) = scene.sockets(OTHER_POD);
        let address = outside.local_addr().unwrap();
        let dropped = patiently(|| {
            pod.send_to(b"hello", address).unwrap();
            let refused = run(&format!("{iptables} -L FORWARD -v -x -n"));
            (!refused.contains("policy DROP 0 packets")).then_some(())
        });
        assert!(dropped.is_some(), "the policy drops nothing: the scene is wrong");
        bring(Encapsulation::None);
        assert_eq!(scene.source_at(OTHER_POD), POD);
        assert_eq!(scene.connection_at("192.168.0.1"), NODE);
        // The way in as well, to a pod that did not begin.
        let pod = scene.within_pod(|| UdpSocket::bind((POD, 0))).unwrap();
        pod.set_read_timeout(Some(TURN)).unwrap();
        let outside = scene.outside(|| UdpSocket::bind((OTHER_POD, 0))).unwrap();
        let arrived = patiently(|| {
            outside.send_to(b"hello", pod.local_addr().unwrap()).unwrap();
            pod.recv_from(&mut [0; 16]).ok()
        });
        assert!(arrived.is_some(), "nothing arrives at the pod");
    });
}

/// A socket for packets in packets (protocol 4), bound to an address.
fn in_packets(address: &str) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::IPV4,
        Type::from(libc::SOCK_RAW),
        Some(Protocol::from(i32::from(IPIP))),
    )?;
    let address: SocketAddr = (address.parse::<IpAddr>().unwrap(), 0).into();
    socket.bind(&address.into())?;
    socket.set_read_timeout(Some(TURN))?;
    Ok(socket)
}

#[test]
fn a_forged_packet_in_a_packet_is_dropped_and_a_nodes_is_let_in() {
    isolated(|| {
        let scene = Scene::new();
        // Raw sockets get what passed the input chain.
        let node = in_packets(NODE).unwrap();
        let to: SocketAddr = (NODE.parse::<IpAddr>().unwrap(), 0).into();
        let forger = scene.outside(|| in_packets(STRANGER)).unwrap();
        let peer = scene.outside(|| in_packets(OTHER_NODE)).unwrap();
        let send = |socket: &Socket| socket.send_to(&[0x45; 40], &to.into()).unwrap();
        let source = || {
            let mut packet = [MaybeUninit::new(0); 128];
            let (_, from) = node.recv_from(&mut packet).ok()?;
            Some(from.as_socket()?.ip().to_string())
        };
        let forged = patiently(|| {
            send(&forger);
            source()
        });
        assert_eq!(forged.as_deref(), Some(STRANGER), "the scene is wrong");
        bring(Encapsulation::IpIp);
        // What passed before the rule was there.
        while source().is_some() {}
        let mut sources = Vec::new();
        patiently(|| {
            send(&forger);
            send(&peer);
            sources.extend(source());
            (sources.len() == 20).then_some(())
        });
        sources.extend(std::iter::from_fn(source));
        assert!(sources.len() >= 20, "only {sources:?} got in");
        assert!(sources.iter().all(|source| source == OTHER_NODE), "a forged one got in");
    });
}

#[test]
fn the_nodes_own_packets_to_pods_of_others_come_from_the_tunnels_first_address() {
    isolated(|| {
        for line in [
            "link add tunnel type veth peer name end",
            "link set tunnel up",
            "link set end up",
            "address add 172.16.52.128/32 dev tunnel",
            "address add 10.55.0.1/32 dev tunnel",
            "route add 172.16.103.64/26 via 192.168.0.146 dev tunnel onlink proto 12",
        ] {
            run(&format!("ip {line}"));
        }
        let found = run(&format!("ip route get {OTHER_POD}"));
        assert!(found.contains("src 172.16.52.128"), "{found}");
    });
}
