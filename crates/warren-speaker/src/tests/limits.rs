//! What ends a session that is in order.

use std::time::Duration;

use super::node::{Node, blocks, mesh};
use crate::*;

#[tokio::test]
async fn a_peer_that_announces_more_than_it_may_is_left_alone_until_it_is_allowed_more() {
    let mut one = Node::start(&[]).await;
    let two = Node::start(&["10.2.0.0/26", "10.2.0.64/26"]).await;
    let settings = two.as_peer_of(&one);
    let at_most = |limit| {
        let idle = Duration::from_secs(3600);
        let max_prefixes = Some(MaxPrefixes { limit, warning: limit - 1, idle });
        PeerSettings { max_prefixes, ..settings.clone() }
    };
    one.speaker.set_peers(vec![at_most(2)]);
    two.speaker.set_peers(vec![one.as_peer_of(&two)]);
    one.until_peer(two.address, "told", |peer| peer.prefixes_received == 2).await;

    two.speaker.originate(blocks(&["10.2.0.0/26", "10.2.0.64/26", "10.2.0.128/26"]));
    let ended = |peer: &PeerSnapshot| peer.state == State::Idle && peer.prefixes_received == 0;
    let error = one.until_peer(two.address, "ended", ended).await.last_error.unwrap();
    assert!(error.contains("more than 2 prefixes"), "{error}");
    one.until_routes(&[]).await;
    let told = |peer: &PeerSnapshot| {
        let error = peer.last_error.as_deref().unwrap_or_default();
        error.contains("Maximum Number of Prefixes Reached") || error.contains("Rejected")
    };
    two.until_peer(one.address, "told", told).await;

    one.speaker.set_peers(vec![at_most(3)]);
    one.until_peer(two.address, "told", |peer| peer.prefixes_received == 3).await;
}

#[tokio::test]
async fn a_session_that_an_operator_stops_says_why_and_stays_down_until_it_is_started() {
    let one = Node::start(&[]).await;
    let two = Node::start(&[]).await;
    mesh(&[&one, &two]).await;
    let shutdown = Some("new cables until noon".to_owned());
    one.speaker.set_peers(vec![PeerSettings { shutdown, ..two.as_peer_of(&one) }]);
    let stopped = |peer: &PeerSnapshot| {
        let error = "administratively shut down: new cables until noon";
        peer.state == State::Idle && peer.last_error.as_deref() == Some(error)
    };
    one.until_peer(two.address, "stopped", stopped).await;
    let told = |peer: &PeerSnapshot| {
        // The first thing that it hears; then that its connections are rejected.
        let error = peer.last_error.as_deref().unwrap_or_default();
        error.contains("Shutdown: new cables until noon") || error.contains("Rejected")
    };
    two.until_peer(one.address, "told", told).await;
    one.speaker.set_peers(vec![two.as_peer_of(&one)]);
    one.until_established(&two).await;
}
