//! Packets for a service, with the rules that kube-proxy makes for one, to a pod of another node behind
//! the tunnel.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use super::traffic::{NODE, POD, Scene, bring};
use super::*;
use crate::testing::isolated;

const SERVICE: &str = "10.96.0.10";
/// The pod of another node that the service leads to.
const BACKEND: &str = "172.16.246.193";
const TUNNEL_ADDRESS: &str = "172.16.52.128";

/// What kube-proxy writes in its mode `iptables`, for one service with one endpoint. `{masquerade}` is
/// there where it is told the cluster's CIDR.
const IPTABLES: &str = "\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-A - [0:0]
:KUBE-SEP-A - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-A
{masquerade}
-A KUBE-SVC-A -j KUBE-SEP-A
-A KUBE-SEP-A -s 172.16.246.193/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination 172.16.246.193:8080
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
COMMIT
";

/// And in its mode `nftables`.
const NFTABLES: &str = "\
table ip kube-proxy {
	chain mark-for-masquerade { meta mark set meta mark or 0x4000; }
	chain masquerading {
		meta mark and 0x4000 == 0 return
		meta mark set meta mark xor 0x4000
		masquerade fully-random
	}
	chain endpoint-a {
		ip saddr 172.16.246.193 jump mark-for-masquerade
		meta l4proto tcp dnat to 172.16.246.193:8080
	}
	chain service-a {
		{masquerade}
		numgen random mod 1 vmap { 0 : goto endpoint-a }
	}
	map service-ips {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = { 10.96.0.10 . tcp . 80 : goto service-a }
	}
	chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
	chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
	chain nat-output { type nat hook output priority -100; policy accept; jump services; }
	chain nat-postrouting { type nat hook postrouting priority srcnat; policy accept; jump masquerading; }
}
";

/// The modes: the program that takes the rules, the rules, and the one that is there where kube-proxy
/// knows the cluster's CIDR.
const MODES: [(&str, &str, &str); 2] = [
    (
        "iptables-nft-restore",
        IPTABLES,
        "-A KUBE-SVC-A ! -s 172.16.0.0/16 -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ",
    ),
    (
        "nft -f -",
        NFTABLES,
        "ip daddr 10.96.0.10 ip saddr != 172.16.0.0/16 jump mark-for-masquerade",
    ),
];

/// The node's tunnel as it is, with the route to the other node's block; and that pod.
fn scene() -> Scene {
    let scene = Scene::new();
    for line in [
        "address flush dev tunl0",
        &format!("address add {TUNNEL_ADDRESS}/32 dev tunl0"),
        "route add 172.16.246.192/26 via 10.88.0.1 dev tunl0 onlink",
        // Everything that no route leads to, services among it.
        "route add default via 192.168.0.1",
    ] {
        run(&format!("ip {line}"));
    }
    scene.outside(|| run(&format!("ip address add {BACKEND}/32 dev lo")));
    scene
}

fn feed(program: &str, rules: &str) {
    let mut words = program.split_whitespace();
    let mut child = Command::new(words.next().unwrap())
        .args(words)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("these tests need the command {program}: {error}"));
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{program} refuses {rules}");
}

/// From which address a connection to the service arrives at the pod behind it.
fn source_at(backend: &TcpListener, connect: impl FnOnce(&SocketAddr) -> TcpStream) -> String {
    let service = SocketAddr::from((SERVICE.parse::<Ipv4Addr>().unwrap(), 80));
    let _connection = connect(&service);
    backend.accept().unwrap().1.ip().to_string()
}

fn connect(to: &SocketAddr) -> TcpStream {
    TcpStream::connect_timeout(to, Duration::from_secs(30))
        .unwrap_or_else(|error| panic!("no connection to the service: {error}"))
}

#[test]
fn a_service_is_reached_from_pods_under_their_own_address_and_from_the_node_under_the_tunnels() {
    for (program, service, with_cidr) in MODES {
        for masquerade in [with_cidr, ""] {
            let service = service.replace("{masquerade}", masquerade);
            isolated(|| {
                let scene = scene();
                // One for all: a child that another test starts at this moment has a closed one open
                // until it runs its program.
                let backend = scene.outside(|| TcpListener::bind((BACKEND, 8080))).unwrap();
                feed(program, &service);
                run("iptables-nft -P FORWARD DROP");
                let what = format!("with {program} and {masquerade:?}");
                if masquerade.is_empty() {
                    let from = source_at(&backend, connect);
                    assert_eq!(from, NODE, "the scene is wrong {what}");
                }
                bring(Encapsulation::IpIp);
                let from = source_at(&backend, |to| scene.within_pod(|| connect(to)));
                assert_eq!(from, POD, "{what}");
                let from = source_at(&backend, connect);
                assert_eq!(from, TUNNEL_ADDRESS, "{what}");
            });
        }
    }
}
