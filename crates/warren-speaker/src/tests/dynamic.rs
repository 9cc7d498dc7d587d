//! Dynamic neighbours: peers that nobody has named, by the prefix that they connect from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnetwork::IpNetwork;
use tokio::time::timeout;

use super::node::*;
use crate::*;

/// Much longer than any test takes.
const LONG: Duration = Duration::from_secs(3600);

/// A template for all that connect from `range`.
fn template(range: &str, as_number: RemoteAs) -> PeerTemplate {
    let range: IpNetwork = range.parse().unwrap();
    PeerTemplate {
        name: "rack".into(),
        range,
        limit: 100,
        linger: LONG,
        settings: PeerSettings::new(range.ip(), as_number),
    }
}

/// The range of exactly this address.
fn only(address: Ipv4Addr, as_number: RemoteAs) -> PeerTemplate {
    template(&format!("{address}/32"), as_number)
}

async fn gone(node: &Node, address: Ipv4Addr) {
    let mut version = node.speaker.watch();
    let wait = async {
        loop {
            version.borrow_and_update();
            if node.speaker.peers().await.iter().all(|peer| peer.address != address) {
                return;
            }
            version.changed().await.unwrap();
        }
    };
    timeout(Duration::from_secs(60), wait).await.expect("it is forgotten");
}

fn is_up(peer: &PeerSnapshot) -> bool {
    peer.state == State::Established
}

#[tokio::test]
async fn who_connects_from_the_prefix_is_a_peer_and_is_forgotten_when_it_has_gone() {
    let mut one = Node::start(&["10.1.0.0/26"]).await;
    let mut two = Node::start(&["10.2.0.0/26"]).await;
    let template = PeerTemplate {
        linger: Duration::from_millis(50),
        ..template("127.77.0.0/16", RemoteAs::Internal)
    };
    one.speaker.set_templates(vec![template]);
    assert!(one.speaker.peers().await.is_empty());
    let mut met = one.speaker.dynamic_neighbors();
    assert!(met.borrow_and_update().is_empty());
    two.speaker.set_peers(vec![one.as_peer_of(&two)]);
    one.until_routes(&[("10.2.0.0/26", two.address)]).await;
    two.until_routes(&[("10.1.0.0/26", one.address)]).await;
    let peer = one.peer(two.address).await;
    assert_eq!((peer.template.as_deref(), peer.as_number), (Some("rack"), AS));
    let neighbor = DynamicNeighbor { template: "rack".into(), local_address: one.address };
    assert_eq!(*met.borrow_and_update(), DynamicNeighbors::from([(two.address, neighbor)]));

    two.speaker.shutdown().await;
    one.until_routes(&[]).await;
    let IpAddr::V4(address) = two.address else { panic!() };
    gone(&one, address).await;
    met.changed().await.unwrap();
    assert!(met.borrow().is_empty());
}

#[tokio::test]
async fn a_peer_of_its_own_comes_before_the_template_and_takes_its_place() {
    let one = Node::start(&[]).await;
    let two = Node::start(&[]).await;
    one.speaker.set_templates(vec![template("127.77.0.0/16", RemoteAs::External)]);
    let own = PeerSettings { passive: true, ..two.as_peer_of(&one) };
    one.speaker.set_peers(vec![own]);
    two.speaker.set_peers(vec![one.as_peer_of(&two)]);
    assert_eq!(one.until_established(&two).await.template, None);

    // Without it the template is what there is: the AS number does not fit.
    one.speaker.set_peers(vec![]);
    let refused = |peer: &PeerSnapshot| {
        let is_dynamic = peer.template.is_some();
        let error = peer.last_error.as_deref().unwrap_or_default();
        is_dynamic && error.starts_with("peer has AS 64512, as this speaker")
    };
    one.until_peer(two.address, "refused", refused).await;
    // And a peer of its own takes the place of the dynamic neighbour.
    one.speaker.set_peers(vec![two.as_peer_of(&one)]);
    let is_own = |peer: &PeerSnapshot| is_up(peer) && peer.template.is_none();
    one.until_peer(two.address, "a peer of its own", is_own).await;
}

#[tokio::test]
async fn the_longest_prefix_counts_and_a_template_that_goes_takes_its_neighbours_along() {
    let one = Node::start(&[]).await;
    let two = Node::start(&[]).await;
    let IpAddr::V4(address) = two.address else { panic!() };
    let near = PeerTemplate { name: "near".into(), ..only(address, AS.into()) };
    let far = template("127.0.0.0/8", RemoteAs::External);
    one.speaker.set_templates(vec![near.clone(), far.clone()]);
    two.speaker.set_peers(vec![one.as_peer_of(&two)]);
    let peer = one.until_established(&two).await;
    assert_eq!(peer.template.as_deref(), Some("near"));
    // Another one changes; this one does not notice.
    one.speaker.set_templates(vec![near, PeerTemplate { limit: 1, ..far.clone() }]);
    assert_eq!(one.peer(two.address).await.since, peer.since);
    one.speaker.set_templates(vec![far]);
    two.until_peer(one.address, "told", |peer| {
        peer.last_error.as_deref().is_some_and(|error| error.contains("Peer De-configured"))
    })
    .await;
}

#[tokio::test]
async fn there_are_no_more_of_them_than_the_limit_and_those_that_only_knocked_make_room() {
    let one = Node::start(&[]).await;
    let [first, second, third] = [fresh_address(), fresh_address(), fresh_address()];
    let few = PeerTemplate { limit: 2, ..template("127.77.0.0/16", AS.into()) };
    one.speaker.set_templates(vec![few]);
    let connect = async |from: Ipv4Addr| {
        let mut caller = ByHand::connect(from, one.speaker.listening(), None).await;
        caller.send_open(90, from).await;
        caller.send(KEEPALIVE, &[]).await;
        caller
    };
    let knocking = ByHand::connect(first, one.speaker.listening(), None).await;
    let _second = connect(second).await;
    one.until_peer(second.into(), "Established", is_up).await;
    let mut refused = ByHand::connect(third, one.speaker.listening(), None).await;
    assert_eq!(refused.receive().await, None, "there is no room");

    drop(knocking);
    one.until_peer(first.into(), "gone", |peer| peer.state < State::OpenSent).await;
    let _third = connect(third).await;
    one.until_peer(third.into(), "Established", is_up).await;
    let peers: Vec<_> = one.speaker.peers().await.iter().map(|it| it.address).collect();
    assert_eq!(peers, [second, third]);
}

#[tokio::test]
async fn the_password_of_a_prefix_holds_for_all_in_it() {
    let password = |text: &str| Some(Password::new(text).unwrap());
    let one = Node::start(&[]).await;
    let two = Node::start(&[]).await;
    let mut signed = template("127.77.0.0/16", RemoteAs::Internal);
    signed.settings.password = password("secret");
    one.speaker.set_templates(vec![signed]);
    let with = |text| PeerSettings { password: password(text), ..one.as_peer_of(&two) };
    two.speaker.set_peers(vec![with("other")]);
    let timed_out = |peer: &PeerSnapshot| {
        peer.last_error.as_ref().is_some_and(|error| error.starts_with("connecting timed out"))
    };
    two.until_peer(one.address, "out of reach", timed_out).await;
    assert!(one.speaker.peers().await.is_empty(), "nothing is made of who does not know it");
    two.speaker.set_peers(vec![with("secret")]);
    one.until_established(&two).await;
    // Without the template it does not hold any longer.
    one.speaker.set_templates(vec![]);
    one.speaker.set_peers(vec![PeerSettings { passive: true, ..two.as_peer_of(&one) }]);
    two.speaker.set_peers(vec![one.as_peer_of(&two)]);
    one.until_established(&two).await;
}

#[tokio::test]
async fn routes_of_one_that_vanished_stay_for_its_restart_time_and_then_it_is_forgotten() {
    let mut one = Node::start(&[]).await;
    let address = fresh_address();
    let all = template("127.77.0.0/16", AS.into());
    let briefly = PeerTemplate { linger: Duration::ZERO, ..all };
    one.speaker.set_templates(vec![briefly]);
    let connect = async |restart_time: u8| {
        let mut caller = ByHand::connect(address, one.speaker.listening(), None).await;
        let mut capability = GRACEFUL_RESTART;
        capability[5] = restart_time;
        caller.send_open_with(90, address, &capability).await;
        caller.send(KEEPALIVE, &[]).await;
        one.until_peer(address.into(), "Established", is_up).await;
        caller
    };
    let announce = [0, 0, 0, 21].into_iter().chain([0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4]);
    let announce =
        announce.chain(address.octets()).chain([0x40, 5, 4, 0, 0, 0, 100, 26, 10, 2, 0, 0]);
    let announce: Vec<u8> = announce.collect();

    let mut caller = connect(100).await;
    caller.send(UPDATE, &announce).await;
    one.until_peer(address.into(), "announced", |peer| peer.prefixes_received == 1).await;
    drop(caller);
    one.until_peer(address.into(), "kept", |peer| peer.prefixes_stale == 1).await;
    // Somebody else, of whom nothing is kept, comes and goes meanwhile.
    let other = fresh_address();
    let caller = ByHand::connect(other, one.speaker.listening(), None).await;
    one.until_peer(other.into(), "there", |peer| peer.state == State::OpenSent).await;
    drop(caller);
    gone(&one, other).await;
    assert_eq!(one.peer(address.into()).await.prefixes_stale, 1);
    // It comes back, has nothing to say any more, and goes for good.
    let mut caller = connect(1).await;
    assert_eq!(one.peer(address.into()).await.prefixes_stale, 1);
    caller.send(UPDATE, &announce).await;
    let confirmed = |peer: &PeerSnapshot| peer.prefixes_stale == 0;
    one.until_peer(address.into(), "confirmed", confirmed).await;
    drop(caller);
    gone(&one, address).await;
    // The first news is of the route, and the second of its end.
    one.until_table(|table| table.len() == 1).await;
    one.until_routes(&[]).await;
}

#[tokio::test]
async fn a_speaker_that_has_restarted_gives_them_time_to_come_before_it_selects_routes() {
    for (presence, is_over) in [(LONG, false), (Duration::from_millis(50), true)] {
        let address = fresh_address();
        let restarted = Some(Restarted { selection_deferral: LONG, presence });
        let listen = SocketAddr::new(address.into(), 0);
        let config = SpeakerConfig { restarted, ..SpeakerConfig::new(AS, address, listen) };
        let (speaker, changes) = listening(config).await.unwrap();
        let mut one = Node::with(speaker, changes, &[]);
        one.speaker.set_templates(vec![template("127.77.0.0/16", RemoteAs::Internal)]);
        one.speaker.set_peers(vec![]);
        let two = Node::start(&["10.2.0.0/26"]).await;
        two.speaker.set_peers(vec![one.as_peer_of(&two)]);
        one.until_peer(two.address, "complete", |peer| peer.end_of_rib).await;
        if is_over {
            one.until_routes(&[("10.2.0.0/26", two.address)]).await;
        } else {
            assert!(one.changes.try_recv().is_err(), "another one may come");
        }
    }
}
