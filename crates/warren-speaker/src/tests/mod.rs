mod dynamic;
mod families;
mod limits;
mod node;
mod restart;
mod transport;

use std::net::SocketAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use node::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn two_speakers_exchange_routes_and_follow_changes() {
    let mut one = Node::start(&["10.1.0.0/26"]).await;
    let mut two = Node::start(&["10.2.0.0/26"]).await;
    mesh(&[&one, &two]).await;
    one.until_routes(&[("10.2.0.0/26", two.address)]).await;
    two.until_routes(&[("10.1.0.0/26", one.address)]).await;
    one.until_peer(two.address, "End-of-RIB", |peer| peer.end_of_rib).await;

    two.speaker.originate(blocks(&["10.2.0.0/26", "10.2.0.64/26"]));
    one.until_routes(&[("10.2.0.0/26", two.address), ("10.2.0.64/26", two.address)]).await;
    let peer = one.peer(two.address).await;
    assert_eq!((peer.prefixes_received, peer.prefixes_advertised), (2, 1));

    two.speaker.originate(blocks(&["10.2.0.64/26"]));
    one.until_routes(&[("10.2.0.64/26", two.address)]).await;
}

#[tokio::test]
async fn that_all_is_announced_is_said_when_all_of_it_can_be_had_and_not_before() {
    let mut one = Node::start(&["10.1.0.0/26"]).await;
    let two = Node::start(&["10.2.0.0/26"]).await;
    let mut announced = one.speaker.announced();
    one.speaker.set_peers(Vec::new());
    two.speaker.set_peers(vec![one.as_peer_of(&two)]);
    let absent = PeerSettings::new(fresh_address().into(), AS);
    one.speaker.set_peers(vec![two.as_peer_of(&one), absent]);
    one.until_peer(two.address, "End-of-RIB", |peer| peer.end_of_rib).await;
    assert!(!*announced.borrow(), "one has said nothing yet");

    one.speaker.set_peers(vec![two.as_peer_of(&one)]);
    announced.wait_for(|is_so| *is_so).await.unwrap();
    one.take_waiting();
    assert_eq!(one.table.keys().collect::<Vec<_>>(), [&prefix("10.2.0.0/26")]);
}

#[tokio::test]
async fn one_of_three_ends_in_order_and_the_others_say_so() {
    let mut one = Node::start(&["10.1.0.0/26"]).await;
    let mut two = Node::start(&["10.2.0.0/26"]).await;
    let three = Node::start(&["10.3.0.0/26"]).await;
    mesh(&[&one, &two, &three]).await;
    one.until_routes(&[("10.2.0.0/26", two.address), ("10.3.0.0/26", three.address)]).await;
    let since = one.peer(two.address).await.since;

    three.speaker.shutdown().await;
    one.until_routes(&[("10.2.0.0/26", two.address)]).await;
    two.until_routes(&[("10.1.0.0/26", one.address)]).await;
    for node in [&one, &two] {
        // What is said at once; soon after it is that the connection is refused.
        let is_so = |peer: &PeerSnapshot| peer.state != State::Established;
        let peer = node.until_peer(three.address, "ended", is_so).await;
        let error = peer.last_error.unwrap();
        assert!(
            error.contains("Administrative Shutdown") || error == "connection refused",
            "{error}"
        );
    }
    assert_eq!(one.peer(two.address).await.since, since, "the others do not notice");
    assert!(three.speaker.peers().await.is_empty(), "it has ended");
    three.speaker.shutdown().await;
}

#[tokio::test]
async fn a_speaker_ends_with_its_last_handle() {
    let one = Node::start(&[]).await;
    let Node { speaker, mut changes, address, .. } = Node::start(&[]).await;
    let clone = speaker.clone();
    let two = Node { speaker, changes: mpsc::channel(1).1, address, table: [].into() };
    mesh(&[&one, &two]).await;
    drop(two);
    assert!(!clone.peers().await.is_empty(), "a clone keeps it");
    drop(clone);
    assert!(changes.recv().await.is_none());
    one.until_peer(address, "ended", |peer| peer.state != State::Established).await;
}

#[tokio::test]
async fn a_passive_speaker_waits_for_the_other() {
    let one = Node::start(&[]).await;
    let two = Node::start(&[]).await;
    let passive = PeerSettings { passive: true, ..two.as_peer_of(&one) };
    one.speaker.set_peers(vec![passive]);
    let waiting = one.until_peer(two.address, "Active", |peer| peer.state == State::Active).await;
    assert_eq!(waiting.last_error.as_deref(), Some("waiting for the peer to connect"));
    two.speaker.set_peers(vec![one.as_peer_of(&two)]);
    one.until_established(&two).await;
}

#[tokio::test]
async fn an_unknown_caller_is_hung_up_on() {
    let one = Node::start(&[]).await;
    let mut caller = ByHand::connect(fresh_address(), one.speaker.listening(), None).await;
    assert_eq!(caller.receive().await, None);
    assert!(one.speaker.peers().await.is_empty());
}

#[tokio::test]
async fn a_peer_that_does_not_answer_is_described_in_words() {
    let one = Node::start(&[]).await;
    let nobody = SocketAddr::new(fresh_address().into(), 1);
    let source = "192.0.2.1".parse().unwrap();
    let elsewhere = SocketAddr::new(fresh_address().into(), 1);
    one.speaker.set_peers(vec![
        settings(nobody),
        PeerSettings { source: Some(source), ..settings(elsewhere) },
    ]);
    for (address, words) in [
        (nobody.ip(), "connection refused"),
        (elsewhere.ip(), "cannot connect from 192.0.2.1: cannot assign requested address"),
    ] {
        one.until_peer(address, words, |peer| {
            assert_ne!(peer.state, State::Established);
            assert!(peer.last_error.is_some(), "there always is a reason");
            peer.last_error.as_deref() == Some(words)
        })
        .await;
    }
}

#[tokio::test]
async fn changed_and_removed_peers_are_told_and_the_others_are_left_alone() {
    let one = Node::start(&[]).await;
    let two = Node::start(&[]).await;
    let three = Node::start(&[]).await;
    mesh(&[&one, &two, &three]).await;
    let since = |peer: PeerSnapshot| peer.since;
    let (two_since, three_since) =
        (since(one.peer(two.address).await), since(one.peer(three.address).await));

    // Nothing has changed.
    one.speaker.set_peers(vec![three.as_peer_of(&one), two.as_peer_of(&one)]);
    // Another hold time.
    let hold_time = HoldTime::from_secs(30).unwrap();
    let changed = PeerSettings { hold_time, ..three.as_peer_of(&one) };
    one.speaker.set_peers(vec![changed.clone(), two.as_peer_of(&one)]);
    one.until_peer(three.address, "restarted", |peer| {
        peer.since != three_since && peer.state == State::Established
    })
    .await;
    assert_eq!(since(one.peer(two.address).await), two_since);

    one.speaker.set_peers(vec![changed]);
    two.until_peer(one.address, "told", |peer| {
        peer.last_error.as_deref().is_some_and(|error| error.contains("Peer De-configured"))
    })
    .await;
    assert_eq!(one.speaker.peers().await.len(), 1);
}

#[tokio::test]
async fn refused_routes_are_counted_and_come_when_the_policy_lets_them() {
    let mut one = Node::start(&["10.1.0.0/26"]).await;
    let two = Node::start(&["10.1.0.0/28", "172.16.0.0/26", "10.2.0.0/26"]).await;
    mesh(&[&one, &two]).await;
    one.until_routes(&[("10.2.0.0/26", two.address)]).await;
    let peer = one.peer(two.address).await;
    assert_eq!(peer.prefixes_received, 3);
    assert_eq!(peer.refused, [(Refusal::OutsidePools, 1), (Refusal::OwnBlock, 1)].into());
    one.speaker.set_import_policy(ImportPolicy {
        pools: vec![prefix("172.16.0.0/16")],
        ..ImportPolicy::default()
    });
    one.until_routes(&[("172.16.0.0/26", two.address)]).await;
}

#[tokio::test]
async fn garbage_gets_its_notification_and_the_speaker_lives() {
    let one = Node::start(&[]).await;
    let address = fresh_address();
    let peer = PeerSettings { passive: true, ..settings(SocketAddr::new(address.into(), 1)) };
    one.speaker.set_peers(vec![peer]);
    let cases: [(&str, &[u8], [u8; 2]); 3] = [
        ("no marker", &[b'x'; 64], [1, 1]),
        ("an OPEN of 5000", &[&[0xFF; 16][..], &[0x13, 0x88, 1]].concat(), [1, 2]),
        ("type 77", &[&[0xFF; 16][..], &[0, 19, 77]].concat(), [1, 3]),
    ];
    for (what, octets, expected) in cases {
        let mut caller = ByHand::connect(address, one.speaker.listening(), None).await;
        caller.receive_until(OPEN).await;
        caller.stream.write_all(octets).await.unwrap();
        let notification = caller.receive_until(NOTIFICATION).await;
        assert_eq!(notification[..2], expected, "{what}");
        caller.until_closed().await;
        let peer = one.peer(address.into()).await;
        assert!(peer.last_error.is_some(), "{what}");
    }
    // And a proper one is as welcome as before.
    let mut caller = ByHand::connect(address, one.speaker.listening(), None).await;
    caller.send_open(90, address).await;
    caller.send(KEEPALIVE, &[]).await;
    one.until_peer(address.into(), "Established", |peer| peer.state == State::Established).await;
}

#[tokio::test]
async fn the_last_words_reach_a_peer_that_goes_on_talking() {
    let one = Node::start(&[]).await;
    let address = fresh_address();
    let peer = PeerSettings { passive: true, ..settings(SocketAddr::new(address.into(), 1)) };
    one.speaker.set_peers(vec![peer]);
    let mut caller = ByHand::connect(address, one.speaker.listening(), None).await;
    // More than is read before the first of it is found to be wrong.
    caller.stream.write_all(&[b'x'; 3 << 20]).await.unwrap();
    assert_eq!(caller.receive_until(NOTIFICATION).await[..2], [1, 1]);
    caller.until_closed().await;
    // Had the rest been left in the socket, the kernel would have reset the connection, and where
    // the network loses packets the NOTIFICATION with it.
    caller.stream.write_all(b"x").await.unwrap();
}

#[tokio::test]
async fn a_peer_that_never_reads_loses_its_session_and_holds_up_nobody() {
    const ROUTES: u64 = 1 << 17;
    let one = Node::start(&[]).await;
    let mut two = Node::start(&[]).await;
    let deaf = fresh_address();
    one.speaker.set_peers(vec![
        two.as_peer_of(&one),
        PeerSettings {
            passive: true,
            send_hold_time: Some(Duration::from_secs(6)),
            ..settings(SocketAddr::new(deaf.into(), 1))
        },
    ]);
    two.speaker.set_peers(vec![one.as_peer_of(&two)]);
    let mut caller = ByHand::connect(deaf, one.speaker.listening(), Some(2048)).await;
    caller.send_open(6, deaf).await;
    caller.send(KEEPALIVE, &[]).await;
    one.until_peer(deaf.into(), "Established", |peer| peer.state == State::Established).await;
    one.until_established(&two).await;
    // It sends its KEEPALIVEs, so that its own silence is not what ends the session.
    let (_unread, mut output) = caller.stream.into_split();
    let mut keepalive = vec![0xFF; 16];
    keepalive.extend([0, 19, KEEPALIVE]);
    tokio::spawn(async move {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            if output.write_all(&keepalive).await.is_err() {
                return;
            }
        }
    });

    let all = (0..ROUTES).map(|n| {
        let address = std::net::Ipv4Addr::from_bits(0x0A00_0000 + ((n as u32) << 6));
        IpNetwork::new(address.into(), 26).unwrap()
    });
    let speaker = one.speaker.clone();
    let ended = tokio::spawn(async move {
        let is_so = |peer: &PeerSnapshot| {
            let told = peer.prefixes_advertised;
            assert!(told < ROUTES / 2, "what it does not take waits in the RIB, and {told} do not");
            peer.state != State::Established
        };
        until_peer(&speaker, deaf.into(), "ended", is_so).await
    });
    one.speaker.originate(all.collect());
    two.until_table(|table| table.len() as u64 == ROUTES).await;
    let peer = ended.await.unwrap();
    let error = peer.last_error.unwrap();
    assert!(error.contains("peer has taken nothing that was sent for 6 s"), "{error}");
    assert_eq!(one.peer(two.address).await.state, State::Established);
}

#[tokio::test]
async fn changes_that_nobody_receives_add_up_to_the_latest_state() {
    let mut one = Node::start(&[]).await;
    let two = Node::start(&[]).await;
    mesh(&[&one, &two]).await;
    for round in 0..100 {
        let block = format!("10.2.{round}.0/26");
        two.speaker.originate(blocks(&[&block]));
        let received = |peer: &PeerSnapshot| peer.prefixes_received == 1;
        one.until_peer(two.address, "told", received).await;
        two.speaker.originate(blocks(&[]));
        let received = |peer: &PeerSnapshot| peer.prefixes_received == 0;
        one.until_peer(two.address, "told", received).await;
    }
    two.speaker.originate(blocks(&["10.9.0.0/26"]));
    one.until_peer(two.address, "told", |peer| peer.prefixes_received == 1).await;
    let mut batches = 0;
    while !one.table.contains_key(&prefix("10.9.0.0/26")) {
        for change in one.changes.recv().await.unwrap() {
            match change.best {
                Some(best) => drop(one.table.insert(change.prefix, best)),
                None => drop(one.table.remove(&change.prefix)),
            }
        }
        batches += 1;
    }
    assert_eq!(one.table.len(), 1);
    assert!(batches <= 3, "{batches} batches");
}

#[tokio::test]
async fn an_address_in_use_is_a_clear_error() {
    let one = Node::start(&[]).await;
    let address = one.speaker.listening();
    let config = SpeakerConfig::new(AS, fresh_address(), address);
    let error = start(config).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot listen for BGP on {address}: address already in use"))
    );
}

#[tokio::test]
async fn nobody_is_let_in_before_the_speaker_listens_and_peers_that_were_set_before_are_known_then()
{
    let config =
        SpeakerConfig::new(AS, fresh_address(), SocketAddr::new(fresh_address().into(), 0));
    let (speaker, _changes) = start(config).await.unwrap();
    let (address, at) = (fresh_address(), speaker.listening());
    let early = TcpStream::connect(at).await.unwrap_err();
    assert_eq!(early.kind(), std::io::ErrorKind::ConnectionRefused);
    let peer = settings(SocketAddr::new(address.into(), 1));
    speaker.set_peers(vec![PeerSettings { passive: true, ..peer }]);
    speaker.listen().await.unwrap();
    let mut caller = ByHand::connect(address, at, None).await;
    caller.receive_until(OPEN).await;
    speaker.listen().await.unwrap();
}

#[tokio::test]
async fn a_program_that_was_held_up_does_not_blame_its_peers() {
    let one = Node::start(&[]).await;
    let address = fresh_address();
    let hold_time = HoldTime::from_secs(3).unwrap();
    let peer = settings(SocketAddr::new(address.into(), 1));
    one.speaker.set_peers(vec![PeerSettings { passive: true, hold_time, ..peer }]);
    let mut caller = ByHand::connect(address, one.speaker.listening(), None).await;
    caller.send_open(3, address).await;
    caller.send(KEEPALIVE, &[]).await;
    let is_up = |peer: &PeerSnapshot| peer.state == State::Established;
    let since = one.until_peer(address.into(), "Established", is_up).await.since;
    // Held up for longer than the hold time, with the peer's KEEPALIVE waiting in the socket.
    caller.send(KEEPALIVE, &[]).await;
    std::thread::sleep(Duration::from_secs(4));
    // The answer to the OPEN, the one that is overdue, and the one after that.
    for _ in 0..3 {
        caller.receive_until(KEEPALIVE).await;
    }
    assert_eq!(one.peer(address.into()).await.since, since);
}
