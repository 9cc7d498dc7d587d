//! S5, S6: nodes come and go, and their addresses change.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use tests::cluster::scenario::Shared;
use tests::cluster::{Cluster, PATIENCE};
use tests::lab::wait::eventually;

pub fn trials(cluster: &Shared) -> Vec<Trial> {
    vec![
        cluster.trial("S5: a third node joins, and its pods reach the others'", join),
        cluster.trial("S6: a node's InternalIP changes, and routes follow", address),
        cluster.trial("S5: a Node is deleted while its agent is down, and its routes go", leave),
    ]
}

/// A pod on the third node.
const VISITOR: &str = r##"
apiVersion: v1
kind: Pod
metadata: {name: visitor}
spec:
  nodeName: node3
  terminationGracePeriodSeconds: 1
  containers:
  - {name: it, image: "warren.test/busybox:1", command: [sleep, infinity]}
"##;

/// What the third node is given in place of its first address.
const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 23);

fn join(cluster: &mut Cluster) -> Result<()> {
    with_third_node(cluster)?;
    let addresses: Vec<_> = cluster.web()?.iter().map(|pod| pod.address.to_string()).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    cluster.ask_from_pod("visitor", &addresses).map(drop)
}

fn address(cluster: &mut Cluster) -> Result<()> {
    with_third_node(cluster)?;
    cluster.node_mut(3)?.change_address(OTHER_ADDRESS)?;
    eventually("kubelet reports the new address", PATIENCE, || {
        let path = ".status.addresses[?(@.type==\"InternalIP\")].address";
        let address = cluster.kubectl.field("node", "node3", path)?;
        ensure!(address == OTHER_ADDRESS.to_string(), "it reports {address}");
        Ok(())
    })?;
    cluster.expect_full_mesh()?;
    let addresses: Vec<_> = cluster.web()?.iter().map(|pod| pod.address.to_string()).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    cluster.ask_from_pod("visitor", &addresses).map(drop)
}

fn leave(cluster: &mut Cluster) -> Result<()> {
    with_third_node(cluster)?;
    cluster.cut_power(3);
    cluster.kubectl.delete("node", "node3")?;
    // Two nodes are left, and a full mesh has no more than their routes.
    cluster.expect_full_mesh()?;
    for number in [1, 2] {
        let peers = cluster.agent(number, &["peers"])?;
        ensure!(!peers.contains("node3"), "node{number} keeps it: {peers}");
    }
    cluster.kubectl.run(&["delete", "pod", "visitor", "--force", "--ignore-not-found"]).map(drop)
}

fn with_third_node(cluster: &mut Cluster) -> Result<()> {
    cluster.install()?;
    if cluster.node(3).is_err() {
        cluster.add_node(3)?;
        cluster.expect_condition(3, "Ready", "True")?;
        cluster.kubectl.apply(VISITOR)?;
    }
    cluster.expect_full_mesh()?;
    cluster.kubectl.wait("condition=Ready", &["pod/visitor"])
}
