//! Against the kernel, each test in a network namespace of its own.
//!
//! `ip` sets the scene and is the witness. A veth pair stands in for `tunl0`, which cannot be made:
//! it is there when the kernel has ipip. The routes through it are the same.

use std::time::Duration;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{SocketAddr, protocols::NETLINK_ROUTE};
use warren_types::pool::{Encapsulation, Pool};

use super::*;
use crate::desired::Path;
use crate::testing::{ip, isolated};

/// How long something may take that takes milliseconds, on a machine that is busy with other
/// things.
const PATIENCE: Duration = Duration::from_secs(30);

const FAR: &str = "172.16.103.64/26";
const FARTHER: &str = "172.16.246.192/26";
const FAR_ROUTE: &str = "172.16.103.64/26 via 192.168.0.146 dev tunl0 proto bird onlink";
const BLACKHOLE: &str = "blackhole 172.16.52.128/26 proto bird";

/// The lines of what `ip` prints, without what follows the routes of a device without carrier.
fn lines(words: &str) -> Vec<String> {
    ip(words).lines().map(|line| line.replace(" linkdown", "").trim_end().to_owned()).collect()
}

/// The routes of the protocol that is ours.
fn routes() -> Vec<String> {
    let mut lines = lines("route show");
    lines.retain(|line| line.contains("proto bird"));
    lines
}

fn net(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn path(next_hop: &str) -> Path {
    let next_hop = next_hop.parse().unwrap();
    Path { next_hop, learned_from: next_hop }
}

fn known() -> Known {
    Known {
        node_address: Some("192.168.0.176".parse().unwrap()),
        nodes: [].into(),
        pools: vec![Pool {
            cidr: net("172.16.0.0/16"),
            block_size: 26,
            encapsulation: Encapsulation::IpIp,
            nat_outgoing: false,
        }],
        blocks: vec![net("172.16.52.128/26")],
        paths: [(net(FAR), path("192.168.0.146"))].into(),
        route_protocol: 12,
        settled: true,
    }
}

fn make_tunnel() {
    // Where the kernel has ipip, every namespace has the real one: it gives up its name.
    if ip("-oneline link show").contains(" tunl0@") {
        ip("link set tunl0 name real");
    }
    ip("link add tunl0 type veth peer name tunl0-end");
}

fn make_card() {
    ip("link add enp1s0 type veth peer name wire");
    ip("link set wire up");
    ip("link set enp1s0 up");
    ip("address add 192.168.0.176/24 dev enp1s0");
}

/// A running dataplane and what tells it.
struct Node {
    known: watch::Sender<Arc<Known>>,
    dataplane: Dataplane,
    runtime: Runtime,
}

impl Node {
    /// Starts it and waits for its first report.
    fn start(known: Known) -> Self {
        let (known, told) = watch::channel(Arc::new(known));
        let dataplane = start(told).unwrap();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let mut node = Self { known, dataplane, runtime };
        node.next_report();
        node
    }

    /// On a node as it should be.
    fn with_tunnel_and_card(known: Known) -> Self {
        make_tunnel();
        make_card();
        let mut node = Self::start(known);
        node.until("all routes are programmed", |report| {
            report.routes().iter().all(|route| route.programmed) && report.problems.is_empty()
        });
        node
    }

    fn report(&self) -> Arc<Report> {
        Arc::clone(&self.dataplane.report.borrow())
    }

    fn next_report(&mut self) {
        let report = &mut self.dataplane.report;
        let changed = async { tokio::time::timeout(PATIENCE, report.changed()).await };
        match self.runtime.block_on(changed) {
            Ok(changed) => changed.expect("the dataplane lives"),
            Err(_) => panic!("no pass within {PATIENCE:?}: {:#?}\n{:#?}", self.report(), routes()),
        }
    }

    /// Waits until `holds`, pass by pass.
    fn until(&mut self, what: &str, holds: impl Fn(&Report) -> bool) {
        for _ in 0..1000 {
            // Seen before it is judged: a pass after that is waited for.
            let report = Arc::clone(&self.dataplane.report.borrow_and_update());
            if holds(&report) {
                return;
            }
            self.next_report();
        }
        panic!("not so after 1000 passes: {what}: {:#?}\n{:#?}", self.report(), routes());
    }

    fn until_routes(&mut self, expected: &[&str]) {
        self.until(&format!("{expected:?}"), |_| routes() == expected);
    }

    fn tell(&self, change: impl FnOnce(&mut Known)) {
        self.known.send_modify(|known| change(Arc::make_mut(known)));
    }

    /// What is wrong with the route to `prefix`.
    fn problem(report: &Report, prefix: &str) -> String {
        let found = report.routes().into_iter().find(|route| route.prefix == net(prefix));
        let route = found.unwrap_or_else(|| panic!("{prefix} is not in the report: {report:?}"));
        assert_eq!(route.programmed, route.problem.is_none());
        assert_eq!(route.since.is_some(), route.problem.is_some());
        route.problem.unwrap_or_default()
    }
}

#[test]
fn a_node_gets_its_tunnel_and_its_routes_and_keeps_them_after_the_end() {
    isolated(|| {
        let node = Node::with_tunnel_and_card(known());
        assert_eq!(routes(), [BLACKHOLE, FAR_ROUTE]);
        let tunnel = ip("-oneline link show tunl0");
        assert!(tunnel.contains("mtu 1480") && tunnel.contains(",UP"), "{tunnel}");
        let addresses = ip("-oneline -4 address show tunl0");
        assert!(addresses.contains("172.16.52.128/32"), "{addresses}");
        let forward = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward");
        assert_eq!(forward.unwrap().trim(), "1");

        let report = node.report();
        let state = report.tunnel.clone().unwrap();
        assert_eq!(state.address, Some("172.16.52.128".parse().unwrap()));
        assert_eq!((state.mtu, state.up, report.pod_mtu), (1480, true, Some(1480)));
        assert_eq!(report.nic.as_ref().unwrap().device, "enp1s0");
        let words: Vec<_> = report.routes().into_iter().map(|route| route.words).collect();
        assert_eq!(words, [BLACKHOLE, FAR_ROUTE]);
        let from: Vec<_> = report.routes().iter().map(|route| route.learned_from).collect();
        assert_eq!(from, [None, Some("192.168.0.146".parse().unwrap())]);

        node.dataplane.stop();
        assert_eq!(routes(), [BLACKHOLE, FAR_ROUTE]);
    });
}

#[test]
fn a_route_that_somebody_deletes_or_bends_is_put_right() {
    isolated(|| {
        let mut node = Node::with_tunnel_and_card(known());
        for harm in [
            "route del 172.16.103.64/26",
            "route del blackhole 172.16.52.128/26",
            "route replace 172.16.103.64/26 via 192.168.0.9 dev tunl0 proto bird onlink",
            "route replace 172.16.103.64/26 via 192.168.0.146 dev enp1s0 proto bird",
            "route prepend 172.16.103.64/26 via 192.168.0.9 dev tunl0 proto bird onlink",
            "route add 172.16.9.0/26 via 192.168.0.9 dev enp1s0 proto bird",
        ] {
            ip(harm);
            node.until_routes(&[BLACKHOLE, FAR_ROUTE]);
        }
    });
}

#[test]
fn the_tunnel_is_set_right_again_and_the_routes_with_it() {
    isolated(|| {
        let mut node = Node::with_tunnel_and_card(known());
        for harm in [
            "link set tunl0 down",
            "address del 172.16.52.128/32 dev tunl0",
            "link set tunl0 mtu 1300",
            "address add 172.16.9.9/32 dev tunl0",
        ] {
            ip(harm);
            node.until(harm, |_| {
                let link = ip("-oneline link show tunl0");
                let addresses = lines("-oneline -4 address show tunl0");
                link.contains(",UP")
                    && link.contains("mtu 1480")
                    && addresses.len() == 1
                    && addresses[0].contains("172.16.52.128/32")
                    && routes() == [BLACKHOLE, FAR_ROUTE]
            });
        }
        // Somebody's own, in no pool of ours, is left alone.
        ip("address add 10.55.0.1/32 dev tunl0");
        ip("link set tunl0 down");
        node.until("tunl0 is up again", |_| routes() == [BLACKHOLE, FAR_ROUTE]);
        assert!(ip("-4 address show tunl0").contains("10.55.0.1/32"));
    });
}

#[test]
fn without_the_tunnel_its_routes_are_withheld_and_said_to_be_until_it_is_back() {
    isolated(|| {
        let mut node = Node::with_tunnel_and_card(known());
        ip("link del tunl0");
        node.until("the missing tunnel is reported", |report| {
            report.problems == ["tunl0 does not exist: load the ipip kernel module (modprobe ipip)"]
        });
        assert_eq!(routes(), [BLACKHOLE]);
        let report = node.report();
        assert!(Node::problem(&report, FAR).starts_with("tunl0 does not exist"));
        assert_eq!(
            (report.tunnel.as_ref().unwrap().up, report.tunnel.as_ref().unwrap().mtu),
            (false, 0)
        );

        make_tunnel();
        node.until("all is well again", |report| report.problems.is_empty());
        assert_eq!(routes(), [BLACKHOLE, FAR_ROUTE]);
    });
}

#[test]
fn the_mtu_of_tunnel_and_pods_follows_the_network_card() {
    isolated(|| {
        let mut node = Node::with_tunnel_and_card(known());
        ip("link set enp1s0 mtu 9000");
        node.until("the pods' MTU follows", |report| report.pod_mtu == Some(8980));
        assert!(ip("-oneline link show tunl0").contains("mtu 8980"));
    });
}

#[test]
fn anothers_route_is_respected_and_reported_until_it_goes() {
    isolated(|| {
        make_tunnel();
        make_card();
        ip("route add 172.16.103.64/26 via 192.168.0.1 dev enp1s0 proto static");
        let mut node = Node::start(known());
        let expected = "172.16.103.64/26 is held by another route: \
                        172.16.103.64/26 via 192.168.0.1 dev enp1s0 proto static; remove it";
        node.until("the route in the way is named", |report| {
            Node::problem(report, FAR).starts_with(expected)
        });
        assert_eq!(routes(), [BLACKHOLE]);
        ip("route del 172.16.103.64/26");
        node.until_routes(&[BLACKHOLE, FAR_ROUTE]);

        // It can also come later, and then it has taken the place of ours.
        ip("route replace 172.16.103.64/26 via 192.168.0.1 dev enp1s0 proto static");
        node.until("the route in the way is named", |report| {
            Node::problem(report, FAR).starts_with(expected)
        });
        assert_eq!(lines("route show 172.16.103.64/26").len(), 1);
    });
}

#[test]
fn routes_of_a_former_life_stay_until_the_paths_are_complete_and_then_go() {
    isolated(|| {
        let former = Known {
            paths: [(net(FAR), path("192.168.0.146")), (net(FARTHER), path("192.168.0.241"))]
                .into(),
            ..known()
        };
        Node::with_tunnel_and_card(former).dataplane.stop();
        ip("route add default via 192.168.0.1 dev enp1s0 proto bird");
        let before = routes();
        assert_eq!(before.len(), 4, "{before:?}");

        let known = Known { paths: [].into(), settled: false, ..known() };
        let mut node = Node::start(known);
        node.until("both are kept", |report| report.kept == 2);
        assert_eq!(routes(), before);

        node.tell(|known| {
            known.paths.insert(net(FAR), path("192.168.0.146"));
        });
        node.until("one is wanted again", |report| report.kept == 1);
        assert_eq!(routes(), before);

        node.tell(|known| known.settled = true);
        // Also: a BIRD of the host itself keeps what is its own.
        let own = "default via 192.168.0.1 dev enp1s0 proto bird";
        node.until_routes(&[own, BLACKHOLE, FAR_ROUTE]);
    });
}

#[test]
fn when_the_nodes_address_is_on_no_card_what_is_there_stays() {
    isolated(|| {
        // The loopback device is no card, whatever it holds.
        ip("link set lo up");
        ip("address add 192.168.0.176/32 dev lo");
        let mut node = Node::with_tunnel_and_card(known());
        assert_eq!(node.report().nic.as_ref().unwrap().device, "enp1s0");
        ip("address del 192.168.0.176/24 dev enp1s0");
        node.until("it is reported", |report| {
            report.problems.len() == 1 && report.problems[0].contains("is on no network device")
        });
        assert_eq!(routes(), [BLACKHOLE, FAR_ROUTE]);
        assert_eq!(node.report().pod_mtu, None);
        ip("address add 192.168.0.176/24 dev enp1s0");
        node.until("all is well again", |report| report.problems.is_empty());
    });
}

#[test]
fn routes_straight_through_the_card_go_and_come_with_it() {
    isolated(|| {
        let mut plain = known();
        plain.pools[0].encapsulation = Encapsulation::None;
        let mut node = Node::with_tunnel_and_card(plain);
        let straight = "172.16.103.64/26 via 192.168.0.146 dev enp1s0 proto bird onlink";
        assert_eq!(routes(), [BLACKHOLE, straight]);
        let tunnel = ip("-oneline link show tunl0");
        assert!(!tunnel.contains(",UP"), "a tunnel that nobody uses is left alone: {tunnel}");
        ip("link set enp1s0 down");
        node.until("it is reported", |report| report.problems == ["enp1s0 is down"]);
        assert_eq!(Node::problem(&node.report(), FAR), "enp1s0 is down");
        ip("link set enp1s0 up");
        node.until_routes(&[BLACKHOLE, straight]);
    });
}

#[test]
fn a_route_that_the_kernel_refuses_is_reported_and_blocks_no_other() {
    isolated(|| {
        let mut known = known();
        known.paths.insert(net("172.16.1.0/26"), path("224.0.0.1"));
        make_tunnel();
        make_card();
        let mut node = Node::start(known);
        node.until("the good ones are there", |_| routes() == [BLACKHOLE, FAR_ROUTE]);
        let report = node.report();
        let problem = Node::problem(&report, "172.16.1.0/26");
        assert!(problem.starts_with("cannot add route 172.16.1.0/26 via 224.0.0.1"), "{problem}");
        assert_eq!(Node::problem(&report, FAR), "");
        // It is tried again and again, and "since" stays the first time.
        let since = |report: &Report| report.routes().iter().find_map(|route| route.since);
        let first = since(&report);
        node.next_report();
        assert_eq!(since(&node.report()), first);
    });
}

#[test]
fn a_changed_path_replaces_its_route_without_a_moment_in_between() {
    isolated(|| {
        let mut node = Node::with_tunnel_and_card(known());
        let mut listener = netlink_sys::Socket::new(NETLINK_ROUTE).unwrap();
        listener.bind(&SocketAddr::new(0, 0)).unwrap();
        listener.add_membership(7).unwrap(); // RTNLGRP_IPV4_ROUTE
        node.tell(|known| {
            known.paths.insert(net(FAR), path("192.168.0.241"));
        });
        let moved = FAR_ROUTE.replace(".146", ".241");
        node.until_routes(&[BLACKHOLE, &moved]);
        let (datagram, _) = listener.recv_from_full().unwrap();
        let first = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram).unwrap();
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) = first.payload
        else {
            panic!("something else than the new route came first: {first:?}");
        };
        assert_eq!(kernel::route(&route).unwrap().gateway, Some("192.168.0.241".parse().unwrap()));

        node.tell(|known| known.paths.clear());
        node.until_routes(&[BLACKHOLE]);
    });
}

#[test]
fn a_thousand_routes_come_and_go() {
    isolated(|| {
        let mut node = Node::with_tunnel_and_card(known());
        let blocks = (0..250).flat_map(|third| [0, 64, 128, 192].map(|last| (third, last)));
        node.tell(|known| {
            for (third, last) in blocks.filter(|block| *block != (52, 128)) {
                let prefix = net(&format!("172.16.{third}.{last}/26"));
                known.paths.insert(prefix, path(&format!("10.0.{third}.{}", last + 1)));
            }
        });
        let programmed = |report: &Report| report.routes().iter().filter(|r| r.programmed).count();
        node.until("all are there", |report| programmed(report) == 1000);
        assert_eq!(routes().len(), 1000);
        node.tell(|known| known.paths.clear());
        node.until_routes(&[BLACKHOLE]);
    });
}

#[test]
fn ipv6_routes_are_kept_as_those_of_ipv4_are() {
    isolated(|| {
        let routes = || {
            let mut lines = lines("-6 route show");
            lines.retain(|line| line.contains("proto bird"));
            lines
        };
        make_tunnel();
        make_card();
        ip("address add fd00::176/64 dev enp1s0 nodad");
        std::fs::write("/proc/sys/net/ipv6/conf/enp1s0/accept_ra", "1").unwrap();
        let pool = Pool {
            cidr: net("fd10::/16"),
            block_size: 64,
            encapsulation: Encapsulation::None,
            nat_outgoing: false,
        };
        let far = "fd10:0:0:7::/64";
        let mut known = known();
        known.pools.push(pool);
        known.blocks.push(net("fd10:0:0:1::/64"));
        known.paths.insert(net(far), path("fd00::146"));
        let mut node = Node::start(known);
        let expected = |via: &str| {
            vec![
                "blackhole fd10:0:0:1::/64 dev lo proto bird metric 1024 pref medium".to_owned(),
                format!("{far} via {via} dev enp1s0 proto bird metric 1024 onlink pref medium"),
            ]
        };
        node.until("both are there", |_| routes() == expected("fd00::146"));
        let sysctl = |key: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{key}"));
        assert_eq!(sysctl("all/forwarding").unwrap().trim(), "1");
        assert_eq!(sysctl("enp1s0/accept_ra").unwrap().trim(), "2");

        ip(&format!("route del {far}"));
        node.until("a deleted one is back", |_| routes() == expected("fd00::146"));
        ip(&format!("route replace {far} via fd00::9 proto bird"));
        node.until("a changed one is right again", |_| routes() == expected("fd00::146"));
        ip("route del fd10:0:0:1::/64");
        node.until("the blackhole is back", |_| routes() == expected("fd00::146"));
        // A default route or whatever else with another metric is nobody's.
        ip("route add fd10:0:0:7::/64 via fd00::9 proto static metric 77");
        node.tell(|known| _ = known.paths.insert(net(far), path("fd00::147")));
        node.until("it follows its path", |_| routes() == expected("fd00::147"));
        assert_eq!(node.report().routes().iter().filter(|route| route.programmed).count(), 4);
        node.tell(|known| _ = known.paths.remove(&net(far)));
        node.until("it goes", |_| routes() == expected("")[..1]);
        // The card's IPv6 addresses go with it, and come back as somebody gives it them.
        node.tell(|known| _ = known.paths.insert(net(far), path("fd00::146")));
        ip("address del fd00::176/64 dev enp1s0");
        node.until("no way there", |report| !Node::problem(report, far).is_empty());
        ip("address add fd00::176/64 dev enp1s0 nodad");
        node.until("there is one again", |_| routes() == expected("fd00::146"));
    });
}

#[test]
fn routes_of_one_next_hop_are_written_one_after_the_other() {
    let route = |block: u8, action| diff::Write {
        route: crate::desired::DesiredRoute {
            prefix: net(&format!("172.16.{block}.0/26")),
            action,
            protocol: 12,
        },
        replace: false,
    };
    let via = |last: u8| crate::desired::Action::Via {
        gateway: [192, 168, 0, last].into(),
        device: "enp1s0".into(),
        index: 2,
    };
    let mut writes = [
        route(1, via(7)),
        route(2, via(6)),
        route(3, crate::desired::Action::Blackhole),
        route(4, via(7)),
        route(5, via(6)),
    ];
    kernel::sort(&mut writes);
    let order = writes.map(|write| write.route.prefix.to_string());
    assert_eq!(order, [3, 2, 5, 1, 4].map(|block| format!("172.16.{block}.0/26")));
}
