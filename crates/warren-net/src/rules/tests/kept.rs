//! The rules as a part of what the dataplane keeps.

use std::sync::Arc;
use std::time::Duration;

use netlink_packet_core::NLM_F_CREATE;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::*;
use crate::dataplane::{self, Dataplane, RESYNC, Report};
use crate::testing::isolated;

/// Shorter than the time after which the dataplane would look by itself: what is put right within
/// it was put right because of an event.
const PATIENCE: Duration = RESYNC.checked_div(2).unwrap();

struct Node {
    dataplane: Dataplane,
    runtime: Runtime,
    _known: watch::Sender<Arc<Known>>,
}

impl Node {
    fn start() -> Self {
        run("ip link add enp1s0 type veth peer name wire");
        run("ip link set wire up");
        run("ip link set enp1s0 up");
        run("ip address add 192.168.0.176/24 dev enp1s0");
        let known = Known { paths: [].into(), ..known(Encapsulation::None, true) };
        let (_known, told) = watch::channel(Arc::new(known));
        let dataplane = dataplane::start(told).unwrap();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        Self { dataplane, runtime, _known }
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Report) -> bool) {
        let reports = &mut self.dataplane.report;
        let wait =
            async { tokio::time::timeout(PATIENCE, reports.wait_for(|now| holds(now))).await };
        if self.runtime.block_on(wait).is_err() {
            panic!("not so: {what}: {:#?}\n{}", self.dataplane.report.borrow(), list());
        }
    }
}

fn list() -> String {
    run("nft --numeric list ruleset")
}

fn table() -> String {
    format!("table ip warren {{\n{}}}\n", POSTROUTING.strip_prefix('\n').unwrap())
}

#[test]
fn the_dataplane_puts_the_table_back_when_somebody_deletes_it() {
    isolated(|| {
        let mut node = Node::start();
        node.until("the rules are there", |report| report.problems.is_empty() && list() == table());
        run("nft add table ip others");
        for harm in ["nft delete table ip warren", "nft flush chain ip warren postrouting"] {
            run(harm);
            node.until(harm, |_| list().contains(&table()));
        }
        run("iptables-nft -P FORWARD DROP");
        node.until("pods are let through", |_| list().contains("ip saddr 172.16.0.0/16 accept"));
        run("iptables-nft -D FORWARD 1");
        node.until("again", |_| list().contains("ip saddr 172.16.0.0/16 accept"));
        assert!(list().contains("table ip others {\n}"));
        let before = list();
        node.dataplane.stop();
        assert_eq!(list(), before, "the rules stay when the agent ends");
    });
}

#[test]
fn rules_that_the_kernel_refuses_are_reported_and_block_no_route() {
    isolated(|| {
        // A table that belongs to another program, for as long as its socket is open.
        const NFTA_TABLE_FLAGS: u16 = 2;
        const NFT_TABLE_F_OWNER: u32 = 2;
        let mut other = netfilter::Netfilter::open().unwrap();
        let name = netfilter::text(encode::NFTA_TABLE_NAME, encode::TABLE);
        let owned = [name, netfilter::number(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER)];
        let owned = netfilter::Message::new(encode::NFT_MSG_NEWTABLE, NLM_F_CREATE, owned);
        let generation = keeper::generation(&mut other).unwrap();
        other.commit("take the table", generation, vec![owned]).unwrap();

        let mut node = Node::start();
        node.until("it is reported", |report| {
            report.problems.iter().any(|problem| {
                problem.starts_with("cannot replace the packet rules (table ip warren): Operation")
            })
        });
        assert!(node.dataplane.report.borrow().routes().iter().all(|route| route.programmed));
        assert!(run("ip route").contains("blackhole 172.16.52.128/26"));
        drop(other);
        node.until("all is well", |report| report.problems.is_empty() && list() == table());
    });
}
