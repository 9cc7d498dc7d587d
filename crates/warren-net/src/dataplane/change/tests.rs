//! Random histories: a pass over a few destinations leaves the kernel, and what is said of it, as a
//! pass over everything would.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use warren_types::pool::{Encapsulation, Pool};

use super::*;
use crate::dataplane::report::Report;
use crate::desired::{Path, desired};
use crate::netlink::Socket;
use crate::testing::{ip, isolated, try_ip};

/// What can happen. Destinations and next hops are numbers into small tables.
#[derive(Debug, Clone)]
enum Step {
    /// The path of each of these leads there now; one that can be no route's is among them.
    Paths(Vec<(u8, Option<u8>)>),
    /// Somebody deletes what the kernel has for a destination.
    Delete(u8),
    /// Somebody has the route lead elsewhere.
    Bend(u8),
    /// Somebody puts another's route in its place.
    Hold(u8),
    /// The paths are complete, or are not known to be.
    Settled(bool),
    /// Everything is looked at by a dataplane that was started anew.
    Restart,
}

const DESTINATIONS: u8 = 6;

fn step() -> impl Strategy<Value = Step> {
    let path = (0..DESTINATIONS, proptest::option::weighted(0.7, 0..4u8));
    prop_oneof![
        6 => proptest::collection::vec(path, 1..4).prop_map(Step::Paths),
        2 => (0..DESTINATIONS).prop_map(Step::Delete),
        2 => (0..DESTINATIONS).prop_map(Step::Bend),
        1 => (0..DESTINATIONS).prop_map(Step::Hold),
        1 => any::<bool>().prop_map(Step::Settled),
        1 => Just(Step::Restart),
    ]
}

/// Every other one is of IPv6.
fn prefix(number: u8) -> IpNetwork {
    match number % 2 {
        0 => IpNetwork::new(Ipv4Addr::new(172, 16, number, 0).into(), 26).unwrap(),
        _ => format!("fd10:0:0:{number:x}::/64").parse().unwrap(),
    }
}

fn address(destination: u8, last: u8) -> IpAddr {
    match destination % 2 {
        0 => Ipv4Addr::new(192, 168, 0, last).into(),
        _ => format!("fd00::{last}").parse().unwrap(),
    }
}

/// Next hop 3 is this node itself: such a path gets no route.
fn path(destination: u8, number: u8) -> Path {
    let next_hop = address(destination, if number == 3 { 176 } else { number + 1 });
    Path { next_hop, learned_from: next_hop }
}

fn known() -> Known {
    Known {
        node_address: Some(Ipv4Addr::new(192, 168, 0, 176).into()),
        nodes: [].into(),
        pools: [("172.16.0.0/16", 26), ("fd10::/16", 64)]
            .map(|(cidr, block_size)| Pool {
                cidr: cidr.parse().unwrap(),
                block_size,
                encapsulation: Encapsulation::None,
                nat_outgoing: false,
            })
            .into(),
        blocks: vec![prefix(200), prefix(201)],
        paths: [].into(),
        route_protocol: 12,
        settled: true,
    }
}

/// A node without a thread: passes are made by hand.
struct Node {
    known: Arc<Known>,
    reconciler: Reconciler,
}

impl Node {
    fn new() -> Self {
        for command in [
            "link add enp1s0 type veth peer name wire",
            "link set wire up",
            "link set enp1s0 up",
            "address add 192.168.0.176/24 dev enp1s0",
            "address add fd00::176/64 dev enp1s0 nodad",
        ] {
            ip(command);
        }
        let known = Arc::new(known());
        let reconciler = Reconciler::new(Socket::open().unwrap(), Arc::clone(&known));
        let mut node = Self { known, reconciler };
        assert!(node.pass(&Stirred::everything()));
        node
    }

    /// Makes a pass; tells whether it looked at everything.
    fn pass(&mut self, stirred: &Stirred) -> bool {
        self.reconciler.pass(Arc::clone(&self.known), stirred).whole
    }

    /// Whether somebody else has a route there.
    fn is_held(&mut self, number: u8) -> bool {
        let table = kernel::table(&mut self.reconciler.socket, true).unwrap();
        table.iter().any(|there| there.prefix == prefix(number) && there.protocol != 12)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Paths(paths) => {
                let is_simple = self.known.settled
                    && self.reconciler.report.kept == 0
                    && !paths.iter().any(|(number, _)| self.is_held(*number));
                let known = Arc::make_mut(&mut self.known);
                for (number, to) in paths {
                    match to {
                        Some(to) => drop(known.paths.insert(prefix(*number), path(*number, *to))),
                        None => drop(known.paths.remove(&prefix(*number))),
                    }
                }
                let whole = self.pass(&Stirred::default());
                assert!(!whole || !is_simple, "everything was looked at for a changed path");
            }
            Step::Delete(number) => {
                let is_simple = !self.is_held(*number) && self.reconciler.report.kept == 0;
                let prefix = prefix(*number);
                let has_gone = try_ip(&format!("route del {prefix}")).status.success();
                let gone = has_gone.then_some(prefix);
                let gone = gone.into_iter().collect();
                let whole = self.pass(&Stirred { gone, ..Stirred::default() });
                assert!(!whole || !is_simple, "everything was looked at for a deleted route");
            }
            Step::Bend(number) => {
                let (prefix, via) = (prefix(*number), address(*number, 9));
                let table = kernel::table(&mut self.reconciler.socket, true).unwrap();
                let is_ours = table.iter().any(|it| it.prefix == prefix && it.protocol == 12);
                if is_ours && !self.is_held(*number) && self.reconciler.report.kept == 0 {
                    ip(&format!("route replace {prefix} via {via} proto 12"));
                    let stirred = Stirred { bent: [prefix].into(), ..Stirred::default() };
                    assert!(!self.pass(&stirred), "everything was looked at for a bent route");
                }
            }
            Step::Hold(number) => {
                let (prefix, via) = (prefix(*number), address(*number, 9));
                ip(&format!("route replace {prefix} via {via} proto static"));
                self.pass(&Stirred::everything());
            }
            Step::Settled(settled) => {
                let is_simple = *settled && self.reconciler.report.kept == 0;
                Arc::make_mut(&mut self.known).settled = *settled;
                let whole = self.pass(&Stirred::default());
                assert!(!whole || !is_simple, "everything was looked at with nothing kept");
            }
            Step::Restart => {
                let socket = Socket::open().unwrap();
                self.reconciler = Reconciler::new(socket, Arc::clone(&self.known));
                self.pass(&Stirred::default());
            }
        }
    }

    /// Compares with what a pass over everything finds to do and says.
    fn check(&mut self) {
        let wanted = desired(&self.known, &self.reconciler.view.links).routes;
        let table = kernel::table(&mut self.reconciler.socket, true).unwrap();
        let ours: Vec<KernelRoute> =
            table.into_iter().filter(|there| there.protocol == 12).collect();
        let standing = self.reconciler.standing.as_ref().unwrap();
        for (prefix, route) in &wanted {
            let is_there = ours.iter().any(|there| there.is(route));
            assert_eq!(is_there, !standing.refused.contains_key(prefix), "{route}");
        }
        let stray = ours.iter().filter(|there| !wanted.contains_key(&there.prefix)).count();
        assert_eq!(stray, standing.kept.len());
        let next_hops: BTreeSet<IpAddr> = standing.next_hops.keys().copied().collect();
        let expected = self.known.paths.values().map(|path| path.next_hop).collect();
        assert_eq!(next_hops, expected);

        let before = summary(&self.reconciler.report);
        self.pass(&Stirred::everything());
        assert_eq!(summary(&self.reconciler.report), before);
    }
}

fn summary(report: &Report) -> impl PartialEq + std::fmt::Debug + use<> {
    let rows: Vec<_> = report
        .routes()
        .into_iter()
        .map(|row| (row.words, row.learned_from, row.programmed, row.problem))
        .collect();
    (report.desired, report.programmed, report.kept, report.problems.clone(), rows)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_pass_over_a_few_destinations_ends_as_one_over_everything(
        histories in proptest::collection::vec(proptest::collection::vec(step(), 1..6), 1..6),
    ) {
        isolated(|| {
            let mut node = Node::new();
            for history in &histories {
                history.iter().for_each(|step| node.step(step));
                node.check();
            }
        });
    }
}
