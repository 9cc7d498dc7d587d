//! S4: a firewall between the nodes.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use tests::lab::Lab;
use tests::lab::node::Traffic;
use tests::lab::wait::{SOON, eventually};
use tests::trial::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("S4: TCP 179 is blocked, the node says so, and heals when it opens", bgp_is_blocked),
        trial("S4: protocol 4 is blocked, so BGP is up and yet no pod is reached", ipip_is_blocked),
    ]
}

fn bgp_is_blocked(lab: &Lab) -> Result<()> {
    let [node1, node2, node3] = lab.three_nodes()?;
    node1.block_traffic(Traffic::Bgp)?;
    for node in lab.nodes() {
        node.start_agent()?;
    }
    let pod = node1.add_pod("here")?;
    let other = node2.add_pod("there")?;
    eventually("the nodes that can know each other", SOON, || {
        node2.expect_routes(&[node2.tunnel_route(&node3)])?;
        node3.expect_routes(&[node3.tunnel_route(&node2)])
    })?;

    eventually("node1 is not ready and names its peers", SOON, || {
        let probe = node1.agent(&["ready"])?;
        ensure!(!probe.success(), "it is ready");
        ensure!(probe.stdout.lines().count() == 1, "more than a line: {}", probe.stdout);
        let names = "BGP not established with 192.168.0.146,192.168.0.241";
        ensure!(probe.stdout.contains(names), "it says: {}", probe.stdout);
        let status = node1.status()?;
        ensure!(status["ready"] == false, "{status}");
        ensure!(status["reasons"].to_string().contains(names), "{status}");
        for peer in [&node2, &node3] {
            node1.expect_not_established(peer)?;
        }
        Ok(())
    })?;
    let doctor = node2.agent(&["doctor"])?;
    let line = doctor.stdout.lines().find(|line| line.contains("node1 (192.168.0.176): "));
    let firewall = line.is_some_and(|line| line.contains("; TCP port 179 gets no answer"));
    ensure!(firewall, "the doctor says: {}", doctor.stdout);
    ensure!(doctor.stdout.contains("come back from 1 of 1 nodes"), "{}", doctor.stdout);
    let live = node1.agent(&["live"])?;
    ensure!(live.success(), "the agent itself is well, and yet: {}", live.stdout);
    let mut routes = node1.routes()?;
    routes.retain(|route| !route.contains("enp1s0"));
    let local = [format!("blackhole {} proto bird", node1.block()), pod.host_route()];
    ensure!(routes == local, "more than the local routes: {routes:?}");

    node1.allow_traffic(Traffic::Bgp)?;
    eventually("all heals without a restart", 3 * SOON, || {
        node1.expect_established(&[&node2, &node3])?;
        node1.expect_routes(&[node1.tunnel_route(&node2), node1.tunnel_route(&node3)])?;
        node2.expect_routes(&[node2.tunnel_route(&node1)])?;
        node1.expect_ready()
    })?;
    pod.expect_answers(&other, 2)
}

fn ipip_is_blocked(lab: &Lab) -> Result<()> {
    let [node1, node2, _] = lab.three_nodes()?;
    node2.block_traffic(Traffic::Ipip)?;
    for node in [&node1, &node2] {
        node.start_agent()?;
    }
    let here = node1.add_pod("here")?;
    let there = node2.add_pod("there")?;
    eventually("both know the way", SOON, || {
        node1.expect_established(&[&node2])?;
        node1.expect_routes(&[node1.tunnel_route(&node2)])?;
        node2.expect_routes(&[node2.tunnel_route(&node1)])
    })?;
    let pings = here.ping(there.address(), 2)?;
    ensure!(pings.answered == 0, "{pings:?}");
    let doctor = node1.agent(&["doctor"])?;
    let tunnel = "node2 (192.168.0.146): BGP is up, but nothing comes back from 172.16.103.64";
    ensure!(doctor.stdout.contains(tunnel), "the doctor says: {}", doctor.stdout);
    ensure!(doctor.stdout.contains("let IP protocol 4 through"), "{}", doctor.stdout);
    node2.allow_traffic(Traffic::Ipip)?;
    here.expect_answers(&there, 2)?;
    let doctor = node1.agent(&["doctor"])?;
    ensure!(doctor.stdout.contains("come back from 1 of 1 nodes"), "{}", doctor.stdout);
    Ok(())
}
