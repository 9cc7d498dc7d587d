//! Restarts that nobody notices: `ip monitor route` stays silent everywhere, and no packet is lost.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use tests::lab::Lab;
use tests::lab::monitor::RouteMonitor;
use tests::lab::node::Node;
use tests::lab::pod::Pod;
use tests::lab::wait::{SOON, eventually};
use tests::trial::trial;

use crate::nodes::traffic;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("restart: an agent is killed, stopped or upgraded, and no route moves", of_an_agent),
        trial(
            "restart: without graceful restart the routes move, and the monitor tells",
            without_graceful_restart,
        ),
        trial(
            "restart: a node is rebooted beside a dead one, and has its routes at once",
            of_a_node,
        ),
        trial("restart: a BIRD is killed and started again, and no route moves", of_a_bird),
    ]
}

/// node1 and node2 with agents, node3 with BIRD, a pod on each of the first two.
fn mesh(lab: &Lab) -> Result<([Node; 3], [Pod; 2])> {
    let nodes = lab.three_nodes()?;
    let [node1, node2, node3] = &nodes;
    node1.start_agent()?;
    node2.start_agent()?;
    node3.start_bird()?;
    eventually("three nodes know each other", SOON, || expect_mesh(&nodes))?;
    let pods = [node1.add_pod("a")?, node2.add_pod("b")?];
    Ok((nodes, pods))
}

/// That all sessions are up, nothing is stale, and the tables are complete.
fn expect_mesh([node1, node2, node3]: &[Node; 3]) -> Result<()> {
    for (node, other) in [(node1, node2), (node1, node3), (node2, node1), (node2, node3)] {
        let peer = node.peer(other)?;
        let is_whole = peer["state"] == "Established"
            && peer["prefixesReceived"] == 1
            && peer["prefixesStale"] == 0;
        ensure!(is_whole, "{}: {peer}", node.name());
        node.expect_routes(&[node.tunnel_route(other)])?;
    }
    for other in [node1, node2] {
        node3.expect_bird_established(other)?;
        node3.expect_routes(&[node3.tunnel_route(other)])?;
    }
    Ok(())
}

fn watch(nodes: &[&Node]) -> Result<Vec<(String, RouteMonitor)>> {
    nodes.iter().map(|node| Ok((node.name().to_owned(), node.monitor_routes()?))).collect()
}

fn expect_silence(monitors: Vec<(String, RouteMonitor)>) -> Result<()> {
    for (name, monitor) in monitors {
        let told = monitor.finish()?;
        ensure!(told.is_empty(), "routes moved on {name}: {}", told.join("; "));
    }
    Ok(())
}

fn of_an_agent(lab: &Lab) -> Result<()> {
    let (nodes, [a, b]) = mesh(lab)?;
    let [node1, node2, node3] = &nodes;
    let monitors = watch(&[node1, node2, node3])?;
    let (there, back) = (traffic(&a, &b)?, traffic(&b, &a)?);
    let same: fn(&Node) -> Result<()> = Node::start_agent;
    for (signal, start_again) in [
        (Signal::SIGKILL, same),
        (Signal::SIGTERM, same),
        (Signal::SIGTERM, Node::start_upgraded_agent),
    ] {
        node1.stop(signal)?;
        eventually("its peer notices", SOON, || node2.expect_not_established(node1))?;
        start_again(node1)?;
        eventually("all is as before", SOON, || expect_mesh(&nodes))?;
    }
    expect_silence(monitors)?;
    there.expect_no_loss()?;
    back.expect_no_loss()
}

fn without_graceful_restart(lab: &Lab) -> Result<()> {
    lab.without_graceful_restart();
    let (nodes, _) = mesh(lab)?;
    let [node1, node2, node3] = &nodes;
    let monitors = watch(&[node2, node3])?;
    node1.stop(Signal::SIGKILL)?;
    eventually("its peer notices", SOON, || node2.expect_not_established(node1))?;
    node1.start_agent()?;
    eventually("all is as before", SOON, || expect_mesh(&nodes))?;
    for (name, monitor) in monitors {
        let told = monitor.finish()?;
        let block = node1.block().to_string();
        let moved = told.iter().any(|line| line.contains("Deleted") && line.contains(&block));
        ensure!(moved, "the monitor of {name} told: {}", told.join("; "));
    }
    Ok(())
}

/// Nobody has closed a connection of the node's former life, and one of its peers will never answer:
/// neither is waited for, though End-of-RIB of peers that are there would be, for four minutes.
fn of_a_node(lab: &Lab) -> Result<()> {
    let [node1, node2, node3] = lab.three_nodes()?;
    let start = |node: &Node| {
        let configuration = node.agent_configuration();
        let patient = "selectionDeferralSeconds: 240, restartTimeSeconds";
        node.start_agent_with(&configuration.replace("restartTimeSeconds", patient))
    };
    for node in [&node1, &node2, &node3] {
        start(node)?;
    }
    let expect_pair = || {
        node1.expect_established(&[&node2])?;
        node1.expect_routes(&[node1.tunnel_route(&node2)])?;
        node2.expect_routes(&[node2.tunnel_route(&node1)])
    };
    eventually("three nodes know each other", SOON, || {
        expect_pair()?;
        node2.expect_routes(&[node2.tunnel_route(&node3)])
    })?;
    node3.power_off()?;
    node2.power_off()?;
    node2.power_on()?;
    start(&node2)?;
    eventually("a rebooted node has its routes", SOON, expect_pair)?;
    node2.stop(Signal::SIGKILL)?;
    node2.ip(&format!("route delete {}", node1.block()))?;
    start(&node2)?;
    eventually("a restarted agent has a route that had gone", SOON, expect_pair)
}

fn of_a_bird(lab: &Lab) -> Result<()> {
    let (nodes, _) = mesh(lab)?;
    let [node1, node2, node3] = &nodes;
    let monitors = watch(&[node1, node2])?;
    node3.stop(Signal::SIGKILL)?;
    eventually("its peers notice", SOON, || {
        node1.expect_not_established(node3)?;
        node2.expect_not_established(node3)
    })?;
    node3.start_bird_again()?;
    eventually("all is as before", 3 * SOON, || expect_mesh(&nodes))?;
    expect_silence(monitors)
}
