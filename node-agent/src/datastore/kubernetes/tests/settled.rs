//! What follows from what is known, without any server.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde_json::json;

use super::config;
use super::fake::node;
use crate::datastore::kubernetes::cluster::{Cluster, Member};
use crate::datastore::kubernetes::settle::snapshot;
use crate::datastore::{NodeAddress, Snapshot};

fn member(node: serde_json::Value) -> Member {
    let node: k8s_openapi::api::core::v1::Node = serde_json::from_value(node).unwrap();
    Member::from(&node)
}

fn cluster(nodes: &[(&str, &str, &str)]) -> Cluster {
    let nodes = nodes
        .iter()
        .map(|(name, address, block)| ((*name).to_owned(), member(node(name, address, block))));
    Cluster { nodes: nodes.collect(), pod_subnets: Vec::new() }
}

fn settle(lines: &str, cluster: &Cluster) -> Snapshot {
    snapshot(&config(lines), "node1", cluster)
}

const NODES: [(&str, &str, &str); 3] = [
    ("node1", "10.77.0.11", "10.244.0.0/24"),
    ("node2", "10.77.0.12", "10.244.1.0/24"),
    ("node3", "10.77.0.13", "10.244.2.0/24"),
];

#[test]
fn own_pod_cidrs_are_blocks_and_the_other_nodes_are_named_peers_and_owners() {
    let lines = format!("asNumber: 64999\nlistenPort: 1179\n{}", super::POOLS);
    let snapshot = settle(&lines, &cluster(&NODES));
    assert_eq!(snapshot.node_address, NodeAddress::Is([10, 77, 0, 11].into()));
    assert_eq!(snapshot.blocks, ["10.244.0.0/24".parse().unwrap()]);
    assert_eq!(super::peers(&snapshot), ["node2", "node3"]);
    let peer = &snapshot.peers[0];
    assert_eq!(
        (peer.address, peer.as_number, peer.port),
        ([10, 77, 0, 12].into(), 64999.into(), 1179)
    );
    assert_eq!(
        snapshot.owners,
        [
            ("10.244.1.0/24".parse().unwrap(), [10, 77, 0, 12].into()),
            ("10.244.2.0/24".parse().unwrap(), [10, 77, 0, 13].into()),
        ]
    );
    assert!(snapshot.problems.is_empty(), "{:?}", snapshot.problems);
}

#[test]
fn kubeadms_subnets_are_the_pools_where_the_configuration_names_none() {
    let mut known = cluster(&[("node1", "10.77.0.11", "192.168.4.0/24")]);
    known.pod_subnets = vec!["192.168.0.0/16".parse().unwrap()];
    let snapshot = settle("", &known);
    let pool = serde_json::to_value(&snapshot.pools[0]).unwrap();
    let expected = json!({
        "cidr": "192.168.0.0/16", "blockSize": 24, "encapsulation": "IPIP", "natOutgoing": true,
    });
    assert_eq!(pool, expected);
    assert_eq!(snapshot.blocks, ["192.168.4.0/24".parse().unwrap()]);
    let configured = settle("pools: [{cidr: 192.168.0.0/20}]", &known);
    assert_eq!(configured.pools[0].cidr, "192.168.0.0/20".parse().unwrap());
}

#[test]
fn ipv6_blocks_go_with_the_ipv6_address_of_their_node() {
    let mut dual = node("node2", "fd00::12", "10.244.1.0/24");
    dual["spec"]["podCIDRs"] = json!(["10.244.1.0/24", "fd00:1::/64"]);
    dual["status"]["addresses"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "InternalIP", "address": "10.77.0.12"}));
    let dual = member(dual);
    let mut known = cluster(&[("node3", "fd00::13", "fd00:2::/64")]);
    let address = Some([10, 77, 0, 11].into());
    let own = Member { address, ipv6_address: None, ..dual.clone() };
    known.nodes.insert("node1".into(), own);
    known.nodes.insert("node2".into(), dual);
    known.pod_subnets = vec!["10.244.0.0/16".parse().unwrap(), "fd00::/16".parse().unwrap()];
    let snapshot = settle("", &known);
    let both: [IpNetwork; 2] = ["10.244.1.0/24".parse().unwrap(), "fd00:1::/64".parse().unwrap()];
    assert_eq!(snapshot.blocks, both[..1], "without an IPv6 address there is no IPv6");
    assert_eq!(super::peers(&snapshot), ["node2"], "node3 has no IPv4 address");
    let addresses: Vec<IpAddr> = snapshot.owners.iter().map(|(_, address)| *address).collect();
    let expected = ["10.77.0.12", "fd00::12", "fd00::13"];
    assert_eq!(addresses, expected.map(|address| address.parse::<IpAddr>().unwrap()));
    assert!(snapshot.problems.is_empty(), "{:?}", snapshot.problems);

    known.nodes.get_mut("node1").unwrap().ipv6_address = Some("fd00::11".parse().unwrap());
    let snapshot = settle("", &known);
    assert_eq!(snapshot.blocks, both);
    assert_eq!(snapshot.ipv6_address, Some("fd00::11".parse().unwrap()));
    let of_ipv4_only = settle(super::POOLS, &known);
    assert_eq!(of_ipv4_only.blocks.len(), 1);
    assert_eq!(of_ipv4_only.problems, [""; 0]);
    let configured = settle("node: {ipv6Address: fd00::99}", &known);
    assert_eq!(configured.ipv6_address, Some("fd00::99".parse().unwrap()));
}

#[test]
fn an_address_that_is_configured_wins_and_one_that_is_there_twice_is_one_peer() {
    let mut nodes = NODES.to_vec();
    nodes.push(("renamed3", "10.77.0.13", "10.244.3.0/24"));
    nodes.push(("former1", "10.99.0.1", "10.244.4.0/24"));
    let lines = format!("node: {{address: 10.99.0.1}}\n{}", super::POOLS);
    let snapshot = settle(&lines, &cluster(&nodes));
    assert_eq!(snapshot.node_address, NodeAddress::Is([10, 99, 0, 1].into()));
    assert_eq!(super::peers(&snapshot), ["node2", "node3"]);
}

#[test]
fn a_node_that_no_agent_runs_on_is_no_peer_and_its_block_is_its_own_all_the_same() {
    let labelled = |name: &str, value: &str| {
        let mut node = node("node2", "10.77.0.12", "10.244.1.0/24");
        node["metadata"]["labels"] = json!({name: value});
        member(node)
    };
    for (name, value, is_peer) in [
        ("kubernetes.io/os", "linux", true),
        ("kubernetes.io/os", "windows", false),
        ("warren.io/cleanup", "", false),
    ] {
        let mut known = cluster(&NODES);
        known.nodes.insert("node2".to_owned(), labelled(name, value));
        let snapshot = settle(super::POOLS, &known);
        let expected: &[_] = if is_peer { &["node2", "node3"] } else { &["node3"] };
        assert_eq!(super::peers(&snapshot), expected, "{name}={value}");
        assert_eq!(snapshot.owners.len(), 2);
    }
}

#[test]
fn an_old_object_with_pod_cidr_alone_is_understood() {
    let mut old = node("node1", "10.77.0.11", "10.244.0.0/24");
    old["spec"].as_object_mut().unwrap().remove("podCIDRs");
    assert_eq!(member(old).blocks, ["10.244.0.0/24".parse().unwrap()]);
    let mut odd = node("node1", "no address", "no block");
    assert_eq!(member(odd.clone()), Member::default());
    odd.as_object_mut().unwrap().remove("status");
    odd.as_object_mut().unwrap().remove("spec");
    assert_eq!(member(odd), Member::default());
}

#[test]
fn whatever_is_missing_is_said_with_what_to_do() {
    let without = |what: &str| {
        let mut nodes = cluster(&NODES);
        let own = nodes.nodes.get_mut("node1").unwrap();
        match what {
            "address" => own.address = None,
            "block" => own.blocks.clear(),
            _ => own.blocks = vec!["fd00::/64".parse().unwrap()],
        }
        nodes
    };
    let cases = [
        (super::POOLS, Cluster::default(), "no node called node1: set NODE_NAME"),
        (super::POOLS, without("address"), "no InternalIP yet"),
        (super::POOLS, without("block"), "--allocate-node-cidrs"),
        (super::POOLS, without("IPv4"), "no IPv6 InternalIP"),
        ("", cluster(&NODES), "set `pools`"),
        (
            "pools: [{cidr: 10.0.0.0/16}]",
            cluster(&NODES),
            "10.244.0.0/24 lies in none of the pools",
        ),
    ];
    for (lines, cluster, expected) in cases {
        let snapshot = settle(lines, &cluster);
        assert_eq!(snapshot.problems.len(), 1, "{:?}", snapshot.problems);
        assert!(snapshot.problems[0].contains(expected), "{:?}", snapshot.problems);
        let has_block = !snapshot.blocks.is_empty();
        assert_eq!(has_block, expected == "no InternalIP yet", "{expected}");
    }
}
