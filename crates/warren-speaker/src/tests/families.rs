//! Routes of both families by one session.

use std::net::IpAddr;

use super::*;

/// Believes what lies in a pool of either family, and announces these.
fn settle(node: &Node, originated: &[&str]) {
    node.speaker.set_import_policy(ImportPolicy {
        pools: vec![prefix("10.0.0.0/8"), prefix("fd10::/16")],
        own_blocks: originated.iter().map(|text| prefix(text)).collect(),
        owners: Vec::new(),
    });
    node.speaker.originate(blocks(originated));
}

#[tokio::test]
async fn a_session_over_ipv4_carries_ipv6_between_nodes_that_have_addresses_of_it() {
    let of_one = ["10.1.0.0/26", "fd10:0:0:1::/64"];
    let of_two = ["10.2.0.0/26", "fd10:0:0:2::/64"];
    let (mut one, mut two) = (Node::start(&of_one).await, Node::start(&of_two).await);
    let mut three = Node::start(&["10.3.0.0/26"]).await;
    settle(&one, &of_one);
    settle(&two, &of_two);
    settle(&three, &["10.3.0.0/26"]);
    let ipv6 = |last: u8| -> IpAddr { format!("fd00::{last}").parse().unwrap() };
    let with = |node: &Node, of: &Node, last| PeerSettings {
        other_address: Some(ipv6(last)),
        ..node.as_peer_of(of)
    };
    // The third one has no address of IPv6.
    one.speaker.set_peers(vec![with(&two, &one, 1), with(&three, &one, 1)]);
    two.speaker.set_peers(vec![with(&one, &two, 2), with(&three, &two, 2)]);
    three.speaker.set_peers(vec![one.as_peer_of(&three), two.as_peer_of(&three)]);

    let (first, second, third) = (one.address, two.address, three.address);
    let path = |next_hop, learned_from| BestPath { next_hop, learned_from };
    let expected = [
        (prefix("10.2.0.0/26"), path(second, second)),
        (prefix("10.3.0.0/26"), path(third, third)),
        (prefix("fd10:0:0:2::/64"), path(ipv6(2), second)),
    ];
    one.until_table(|table| *table == expected.into()).await;
    let expected = [
        (prefix("10.1.0.0/26"), path(first, first)),
        (prefix("10.3.0.0/26"), path(third, third)),
        (prefix("fd10:0:0:1::/64"), path(ipv6(1), first)),
    ];
    two.until_table(|table| *table == expected.into()).await;
    three.until_routes(&[("10.1.0.0/26", first), ("10.2.0.0/26", second)]).await;
    // End-of-RIB of both families has come.
    one.until_peer(second, "all announced", |peer| peer.end_of_rib).await;
    three.until_peer(second, "all announced", |peer| peer.end_of_rib).await;

    two.speaker.originate(blocks(&["10.2.0.0/26"]));
    one.until_table(|table| !table.contains_key(&prefix("fd10:0:0:2::/64"))).await;
}
