//! That the lab itself is right: three nodes run by BIRD alone pass what our own nodes have to pass.

use anyhow::Result;
use libtest_mimic::Trial;
use tests::lab::Lab;
use tests::lab::wait::{SOON, eventually};
use tests::trial::trial;

pub fn trials() -> Vec<Trial> {
    vec![trial("the lab's own check: three nodes run by BIRD have the routes of S1", birds)]
}

fn birds(lab: &Lab) -> Result<()> {
    let [node1, node2, node3] = lab.three_nodes()?;
    for node in lab.nodes() {
        node.start_bird()?;
    }
    let here = node1.plumb_pod("here", "172.16.52.132".parse()?)?;
    let there = node2.plumb_pod("there", "172.16.103.65".parse()?)?;
    eventually("node1 has the routing table of S1", SOON, || {
        node1.expect_routes(&[
            "default via 192.168.0.1 dev enp1s0 proto static",
            "blackhole 172.16.52.128/26 proto bird",
            &here.host_route(),
            "172.16.103.64/26 via 192.168.0.146 dev tunl0 proto bird onlink",
            "172.16.246.192/26 via 192.168.0.241 dev tunl0 proto bird onlink",
            "192.168.0.0/24 dev enp1s0 proto kernel scope link src 192.168.0.176",
        ])
    })?;
    eventually("node2 knows the way back", SOON, || {
        node2.expect_routes(&[node2.tunnel_route(&node1), node2.tunnel_route(&node3)])
    })?;
    here.expect_answers(&there, 3)
}
