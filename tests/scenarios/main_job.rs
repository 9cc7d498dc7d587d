//! S1 and S2: three nodes, pods on each, and the way of a packet from one to the other.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use tests::lab::Lab;
use tests::lab::node::NIC;
use tests::lab::packet::{ICMP, IPIP};
use tests::lab::wait::{SOON, eventually};
use tests::trial::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "S1: three nodes learn each other's blocks, and the tables are the operator's",
            tables,
        ),
        trial(
            "S2: a packet crosses in an outer header, and its inner one is not rewritten",
            packet,
        ),
        trial("BIRD, configured as Calico configures it, takes part in the mesh", with_bird),
        trial("a route deleted by hand and a tunnel set down by hand come back", by_hand),
    ]
}

fn tables(lab: &Lab) -> Result<()> {
    let [node1, node2, node3] = lab.three_nodes()?;
    for node in lab.nodes() {
        node.start_agent()?;
    }
    let pods = [node1.add_pod("web-0")?, node1.add_pod("web-1")?, node1.add_pod("web-2")?];
    eventually("node1 has the routing table of S1, and nothing else", SOON, || {
        let mut expected = vec![
            "default via 192.168.0.1 dev enp1s0 proto static".to_owned(),
            "blackhole 172.16.52.128/26 proto bird".to_owned(),
            "172.16.103.64/26 via 192.168.0.146 dev tunl0 proto bird onlink".to_owned(),
            "172.16.246.192/26 via 192.168.0.241 dev tunl0 proto bird onlink".to_owned(),
            "192.168.0.0/24 dev enp1s0 proto kernel scope link src 192.168.0.176".to_owned(),
        ];
        expected.extend(pods.iter().map(|pod| pod.host_route()));
        expected.sort();
        let mut routes = node1.routes()?;
        routes.sort();
        ensure!(routes == expected, "{}\n  instead of\n{}", routes.join("\n"), expected.join("\n"));
        Ok(())
    })?;
    for (node, peers) in
        [(&node1, [&node2, &node3]), (&node2, [&node1, &node3]), (&node3, [&node1, &node2])]
    {
        eventually("all sessions are Established and the node is ready", SOON, || {
            node.expect_established(&peers)?;
            node.expect_routes(&peers.map(|peer| node.tunnel_route(peer)))?;
            node.expect_ready()
        })?;
    }
    let status = node1.status()?;
    ensure!(status["node"]["tunnel"]["mtu"] == 1480, "{status}");
    ensure!(status["routes"]["drift"].as_array().is_some_and(Vec::is_empty), "{status}");
    ensure!(status["ipam"]["blocks"][0]["allocated"] == 3, "{status}");
    let tunnel = status["node"]["tunnel"]["address"].as_str().context("no tunnel address")?;
    ensure!(node1.block().contains(tunnel.parse()?), "{tunnel} is not the node's own");
    // The nodes themselves reach the pods too, with the tunnel's address as their own.
    ensure!(
        node2.ping(pods[0].address(), 2)?.all_answered(),
        "node2 does not reach {}",
        pods[0].address()
    );
    Ok(())
}

fn packet(lab: &Lab) -> Result<()> {
    let [node1, node2, _] = lab.three_nodes()?;
    for node in [&node1, &node2] {
        node.start_agent()?;
    }
    let a = node1.add_pod("a")?;
    let b = node2.add_pod("b")?;
    eventually("both know the way", SOON, || {
        node1.expect_routes(&[node1.tunnel_route(&node2)])?;
        node2.expect_routes(&[node2.tunnel_route(&node1)])
    })?;

    let on_the_wire = node1.capture(NIC, "ip proto 4")?;
    let at_a = a.capture("icmp")?;
    let at_b = b.capture("icmp")?;
    b.expect_answers(&a, 1)?;
    a.expect_answers(&b, 3)?;

    // Of each ping a request and an answer.
    let outside = on_the_wire.wait_for(8)?;
    let inside: Vec<_> = at_a.wait_for(8)?.into_iter().zip(at_b.wait_for(8)?).collect();
    for (packet, (sent, received)) in outside.iter().zip(&inside) {
        let (outer, inner) = packet.tunnelled().context("a packet has no second header")?;
        ensure!(outer.protocol == IPIP && inner.protocol == ICMP, "{outer}; {inner}");
        ensure!(outer.length == inner.length + 20, "{outer}; {inner}");
        let ends = [(&node1, &a), (&node2, &b)];
        let towards = ends.iter().find(|(_, pod)| pod.address() == inner.destination);
        let (node, pod) = towards.with_context(|| format!("unknown inner header {inner}"))?;
        ensure!(
            outer.destination == node.address() && inner.destination == pod.address(),
            "{outer}"
        );
        let from = ends.iter().find(|(_, pod)| pod.address() == inner.source);
        let (node, _) = from.with_context(|| format!("the inner source is rewritten: {inner}"))?;
        ensure!(outer.source == node.address(), "{outer}");
        // Both pods see the packet as it was sent, two routers apart.
        let (at_a, at_b) = (&sent.headers[0], &received.headers[0]);
        ensure!(
            at_a.source == at_b.source && at_a.destination == at_b.destination,
            "{at_a}; {at_b}"
        );
        ensure!(at_a.ttl.abs_diff(at_b.ttl) == 2, "{at_a}; {at_b}");
        ensure!(sent.payload == received.payload && sent.payload == packet.payload, "rewritten");
    }
    Ok(())
}

fn with_bird(lab: &Lab) -> Result<()> {
    let [node1, node2, node3] = lab.three_nodes()?;
    let bird = lab.node("calico", "192.168.0.12/24", "172.16.9.0/26")?;
    let ours = [&node1, &node2, &node3];
    for node in ours {
        node.start_agent()?;
    }
    bird.start_bird()?;
    let here = node1.add_pod("here")?;
    let there = bird.plumb_pod("there", "172.16.9.5".parse()?)?;
    eventually("BIRD has the agents' blocks", SOON, || {
        bird.expect_routes(&ours.map(|node| bird.tunnel_route(node)))
    })?;
    for node in ours {
        eventually("the agents have BIRD's block", SOON, || {
            node.expect_established(&[&bird])?;
            node.expect_routes(&[node.tunnel_route(&bird)])
        })?;
        bird.expect_bird_established(node)?;
    }
    there.expect_answers(&here, 3)?;
    here.expect_answers(&there, 3)
}

fn by_hand(lab: &Lab) -> Result<()> {
    let [node1, node2, _] = lab.three_nodes()?;
    for node in [&node1, &node2] {
        node.start_agent()?;
    }
    let way = [node1.tunnel_route(&node2)];
    eventually("node1 knows the way", SOON, || node1.expect_routes(&way))?;
    node1.ip(&format!("route delete {}", node2.block()))?;
    eventually("the route is back", SOON, || node1.expect_routes(&way))?;
    node1.ip("link set tunl0 down")?;
    eventually("the tunnel and the route are back", SOON, || {
        node1.expect_routes(&way)?;
        let status = node1.status()?;
        ensure!(status["node"]["tunnel"]["up"] == true, "{status}");
        Ok(())
    })
}
