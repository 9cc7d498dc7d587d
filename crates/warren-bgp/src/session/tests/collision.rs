//! Collision detection (RFC 4271, 6.8; RFC 6286, 2.3).

use super::super::{Event, PeerConfig, State};
use super::{Solo, config, their_open};
use crate::message::{Capability, Open};

/// Connection 1 goes out, connection 2 came in, and both have sent their OPEN.
fn both(config: PeerConfig) -> Solo {
    let mut solo = Solo::started(config);
    assert_eq!(solo.accept(), ["send 2 OPEN"]);
    let id = solo.id(1);
    assert_eq!(solo.event(Event::ConnectSucceeded(id)), ["send 1 OPEN"]);
    solo
}

fn with_id(router_id: [u8; 4]) -> PeerConfig {
    PeerConfig { router_id: router_id.into(), ..config() }
}

#[test]
fn the_connection_of_the_higher_identifier_stays_whichever_open_comes_first() {
    // The peer is 10.0.0.2. The octet counts that comes first, not the last.
    let cases = [([10, 0, 0, 1], 2), ([10, 0, 0, 3], 1), ([9, 9, 9, 9], 2), ([11, 0, 0, 0], 1)];
    for (ours, stays) in cases {
        let goes = 3 - stays;
        let mut solo = both(with_id(ours));
        assert_eq!(solo.open(stays, &their_open()), [format!("send {stays} KEEPALIVE")]);
        assert_eq!(
            solo.open(goes, &their_open()),
            [format!("send {goes} 6/7"), format!("close {goes}")]
        );
        assert_eq!(solo.keepalive(stays), ["up"]);

        let mut solo = both(with_id(ours));
        assert_eq!(solo.open(goes, &their_open()), [format!("send {goes} KEEPALIVE")]);
        assert_eq!(
            solo.open(stays, &their_open()),
            [
                format!("send {goes} 6/7"),
                format!("close {goes}"),
                format!("send {stays} KEEPALIVE")
            ]
        );
        assert_eq!(solo.keepalive(stays), ["up"]);
        assert_eq!(solo.peer.last_error(), None, "a collision is no error");
    }
}

#[test]
fn with_equal_identifiers_the_higher_as_number_decides() {
    for (peer_as, stays) in [(64511, 1), (64513, 2)] {
        let config =
            PeerConfig { peer_as: peer_as.into(), router_id: [10, 0, 0, 2].into(), ..config() };
        let capabilities = vec![Capability::FourOctetAs(peer_as)];
        let theirs = Open { as_number: peer_as, capabilities, ..their_open() };
        let mut solo = both(config);
        solo.open(3 - stays, &theirs);
        solo.open(stays, &theirs);
        assert_eq!(solo.keepalive(stays), ["up"], "{peer_as}");
    }
}

#[test]
fn an_established_session_wins_over_a_newcomer() {
    // The outgoing one is up before the OPEN of the other comes.
    let mut solo = both(with_id([10, 0, 0, 1]));
    solo.open(1, &their_open());
    assert_eq!(solo.keepalive(1), ["up", "send 2 6/7", "close 2"]);
    assert_eq!(solo.state(), State::Established);
    // And who connects later is turned away at once.
    assert_eq!(solo.accept(), ["send 3 6/7", "close 3"]);
    // Likewise where the incoming one is up.
    let mut solo = both(with_id([10, 0, 0, 3]));
    solo.open(2, &their_open());
    assert_eq!(solo.keepalive(2), ["up", "send 1 6/7", "close 1"]);
    assert_eq!(solo.accept(), ["send 3 6/7", "close 3"]);
}

#[test]
fn a_connection_whose_open_never_comes_does_not_count() {
    let mut solo = both(with_id([10, 0, 0, 3]));
    // By the identifiers the outgoing one would stay, but it says nothing.
    assert_eq!(solo.open(2, &their_open()), ["send 2 KEEPALIVE"]);
    assert_eq!(solo.keepalive(2), ["up", "send 1 6/7", "close 1"]);
}

#[test]
fn an_attempt_is_given_up_once_the_peers_connection_is_as_good_as_there() {
    let mut solo = Solo::started(config());
    assert_eq!(solo.accept(), ["send 2 OPEN"]);
    assert_eq!(solo.open(2, &their_open()), ["send 2 KEEPALIVE", "close 1"]);
    let id = solo.id(1);
    assert_eq!(solo.event(Event::ConnectSucceeded(id)), [""; 0]);
    // Should that fail, it is made again.
    let id = solo.id(2);
    solo.event(Event::Closed(id, "connection reset".into()));
    assert_eq!(solo.timer().1, ["connect 3"]);
}

#[test]
fn a_second_connection_of_the_peer_takes_the_place_of_the_first() {
    let mut solo = Solo::new(PeerConfig { passive: true, ..config() });
    solo.event(Event::ManualStart);
    assert_eq!(solo.accept(), ["send 1 OPEN"]);
    assert_eq!(solo.accept(), ["send 1 6/7", "close 1", "send 2 OPEN"]);
    solo.open(2, &their_open());
    assert_eq!(solo.accept(), ["send 2 6/7", "close 2", "send 3 OPEN"]);
    solo.open(3, &their_open());
    assert_eq!(solo.keepalive(3), ["up"]);
}

#[test]
fn the_loser_of_a_collision_is_not_tried_again_while_the_winner_lives() {
    let mut solo = both(with_id([10, 0, 0, 1]));
    solo.open(2, &their_open());
    // The peer ends ours by its own collision detection.
    assert_eq!(solo.notify(1, 6, 7, b""), ["close 1"]);
    assert_eq!(solo.peer.last_error(), None);
    assert_eq!(solo.keepalive(2), ["up"]);
    let horizon = solo.now + super::seconds(80);
    while solo.peer.next_deadline().is_some_and(|deadline| deadline < horizon) {
        assert_eq!(solo.timer().1, ["send 2 KEEPALIVE"]);
    }
}
