//! S5: nodes come and go, and the others do not notice.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use tests::lab::Lab;
use tests::lab::node::Node;
use tests::lab::ping::Pinging;
use tests::lab::pod::Pod;
use tests::lab::wait::{SOON, eventually};
use tests::trial::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("S5: a node joins, dies and returns, and the others lose no packet", one_node),
        trial(
            "S5: all nodes lose their power and return, and nothing of the old life is left",
            all,
        ),
        trial("S5: a cable is pulled and put back, and routes go and return", cable),
        trial("S6: a node's address changes, and sessions and tunnels follow", new_address),
        trial(
            "an agent that is killed leaves its routes, and goes on from them when it is started again",
            killed,
        ),
        trial("an agent that is told to stop leaves its routes for the pods that run on", stopped),
    ]
}

/// That each of these nodes has a route to each other one of them.
fn expect_mesh(nodes: &[Node]) -> Result<()> {
    for node in nodes {
        let others = nodes.iter().filter(|other| other.name() != node.name());
        node.expect_routes(&others.map(|other| node.tunnel_route(other)).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// That BFD has found this peer to be dead, and its routes are gone. Nothing else would within
/// [`SOON`]: the hold time is longer.
fn expect_dead(node: &Node, peer: &Node) -> Result<()> {
    node.expect_no_route(peer.block())?;
    node.expect_not_established(peer)?;
    let entry = node.peer(peer)?;
    let reason = entry["bfdSession"]["lastDownReason"].as_str().unwrap_or_default();
    ensure!(reason.contains("nothing was heard"), "{}: {entry}", node.name());
    Ok(())
}

/// Traffic that goes on while something happens elsewhere.
pub fn traffic(from: &Pod, to: &Pod) -> Result<Pinging> {
    let pinging = from.ping_on(to.address())?;
    pinging.expect_more_answers()?;
    Ok(pinging)
}

fn one_node(lab: &Lab) -> Result<()> {
    let [node1, node2, node3] = lab.three_nodes()?;
    for node in lab.nodes() {
        node.start_agent()?;
    }
    eventually("three nodes know each other", SOON, || expect_mesh(&lab.nodes()))?;
    let a = node1.add_pod("a")?;
    let b = node2.add_pod("b")?;
    let pinging = traffic(&a, &b)?;

    // It joins.
    let node4 = lab.node("node4", "192.168.0.12/24", "172.16.9.0/26")?;
    node4.start_agent()?;
    for node in [&node1, &node2, &node3] {
        node.reload_agent()?;
    }
    eventually("four nodes know each other", SOON, || expect_mesh(&lab.nodes()))?;
    let c = node4.add_pod("c")?;
    a.expect_answers(&c, 2)?;

    // It dies.
    node4.power_off()?;
    eventually("the routes to the dead node go", SOON, || {
        for node in [&node1, &node2, &node3] {
            expect_dead(node, &node4)?;
        }
        Ok(())
    })?;
    expect_mesh(&[node1.clone(), node2.clone(), node3.clone()])?;

    // It returns.
    node4.power_on()?;
    node4.start_agent()?;
    eventually("its routes return", 2 * SOON, || expect_mesh(&lab.nodes()))?;
    let c = node4.add_pod("c")?;
    a.expect_answers(&c, 2)?;
    pinging.expect_no_loss()
}

fn all(lab: &Lab) -> Result<()> {
    let nodes = lab.three_nodes()?;
    for node in &nodes {
        node.start_agent()?;
    }
    eventually("three nodes know each other", SOON, || expect_mesh(&nodes))?;
    for node in &nodes {
        for pod in ["a", "b"] {
            node.add_pod(pod)?;
        }
    }
    for node in &nodes {
        node.power_off()?;
    }
    for node in &nodes {
        node.power_on()?;
        node.start_agent()?;
    }
    eventually("three nodes know each other again", SOON, || expect_mesh(&nodes))?;
    let mut pods = Vec::new();
    for node in &nodes {
        let allocated = &node.status()?["ipam"]["blocks"][0]["allocated"];
        ensure!(
            *allocated == 0,
            "{}: {allocated} addresses of the old life are taken",
            node.name()
        );
        for pod in ["b", "a", "c"] {
            pods.push(node.add_pod(pod)?);
        }
    }
    let addresses: std::collections::BTreeSet<_> = pods.iter().map(Pod::address).collect();
    ensure!(addresses.len() == pods.len(), "an address was given twice: {pods:?}");
    pods[0].expect_answers(&pods[3], 2)?;
    pods[5].expect_answers(&pods[8], 2)
}

fn cable(lab: &Lab) -> Result<()> {
    let [node1, node2, node3] = lab.three_nodes()?;
    for node in lab.nodes() {
        node.start_agent()?;
    }
    eventually("three nodes know each other", SOON, || expect_mesh(&lab.nodes()))?;
    let a = node1.add_pod("a")?;
    let c = node3.add_pod("c")?;
    lab.cut(&node3)?;
    eventually("the routes to the node without a cable go", SOON, || {
        expect_dead(&node1, &node3)?;
        expect_dead(&node2, &node3)
    })?;
    expect_mesh(&[node1.clone(), node2.clone()])?;
    lab.plug(&node3)?;
    eventually("they return", 2 * SOON, || expect_mesh(&lab.nodes()))?;
    a.expect_answers(&c, 2)
}

fn new_address(lab: &Lab) -> Result<()> {
    let [node1, node2, node3] = lab.three_nodes()?;
    let finds_its_address = |node: &Node| {
        let fixed = format!(", address: {}}}", node.address());
        node.agent_configuration().replacen(&fixed, "}", 1)
    };
    for node in [&node1, &node2] {
        node.start_agent()?;
    }
    node3.start_agent_with(&finds_its_address(&node3))?;
    eventually("three nodes know each other", SOON, || expect_mesh(&lab.nodes()))?;
    let a = node1.add_pod("a")?;
    let c = node3.add_pod("c")?;
    let old = node1.tunnel_route(&node3);

    node3.set_address("192.168.0.77/24")?;
    eventually("node3 knows its address", SOON, || {
        let status = node3.status()?;
        ensure!(status["node"]["address"] == "192.168.0.77", "{status}");
        Ok(())
    })?;
    for node in [&node1, &node2] {
        node.reload_agent()?;
    }
    eventually("the tunnels lead to the new address", SOON, || {
        expect_mesh(&lab.nodes())?;
        let routes = node1.routes()?;
        ensure!(!routes.contains(&old), "{}", routes.join("; "));
        Ok(())
    })?;
    a.expect_answers(&c, 2)
}

fn killed(lab: &Lab) -> Result<()> {
    let [node1, node2, _] = lab.three_nodes()?;
    for node in [&node1, &node2] {
        node.start_agent()?;
    }
    let nodes = [node1.clone(), node2.clone()];
    eventually("both know the way", SOON, || expect_mesh(&nodes))?;
    let a = node1.add_pod("a")?;
    let b = node2.add_pod("b")?;
    node1.stop(Signal::SIGKILL)?;
    node1.expect_routes(&[node1.tunnel_route(&node2), a.host_route()])?;
    // The plugin needs no agent.
    let c = node1.add_pod("c")?;
    node1.start_agent()?;
    eventually("the session is back", SOON, || {
        node1.expect_established(&[&node2])?;
        expect_mesh(&nodes)
    })?;
    a.expect_answers(&b, 2)?;
    c.expect_answers(&b, 2)
}

fn stopped(lab: &Lab) -> Result<()> {
    let [node1, node2, _] = lab.three_nodes()?;
    for node in [&node1, &node2] {
        node.start_agent()?;
    }
    eventually("node1 knows the way", SOON, || node1.expect_routes(&[node1.tunnel_route(&node2)]))?;
    let status = node1.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "the agent ended with {status}");
    node1.expect_routes(&[
        node1.tunnel_route(&node2),
        format!("blackhole {} proto bird", node1.block()),
    ])?;
    eventually("its peer keeps its route for a restart, and says so", SOON, || {
        let peer = node2.peer(&node1)?;
        ensure!(peer["state"] != "Established", "{peer}");
        ensure!(peer["prefixesStale"] == 1, "{peer}");
        node2.expect_routes(&[node2.tunnel_route(&node1)])
    })
}
