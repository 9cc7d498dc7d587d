//! One peer, driven by hand.

use std::sync::Arc;

use super::super::{Action, Event, HoldTime, PeerConfig, State, TooManyPrefixes};
use super::{Solo, config, message, seconds, their_open};
use crate::message::{Attributes, Capability, Family, Notification, Open, Update};

#[test]
fn a_session_comes_up_and_says_what_was_agreed_on() {
    let mut solo = Solo::new(config());
    assert_eq!((solo.state(), solo.peer.since()), (State::Idle, None));
    let start = solo.now;
    assert_eq!(solo.event(Event::ManualStart), ["connect 1"]);
    assert_eq!((solo.state(), solo.peer.since()), (State::Connect, Some(start)));
    solo.now += seconds(1) / 2;
    let id = solo.id(1);
    assert_eq!(solo.event(Event::ConnectSucceeded(id)), ["send 1 OPEN"]);
    assert_eq!(solo.state(), State::OpenSent);
    let theirs = Open { hold_time: 30, ..their_open() };
    assert_eq!(solo.open(1, &theirs), ["send 1 KEEPALIVE"]);
    assert_eq!(solo.state(), State::OpenConfirm);
    assert_eq!(solo.peer.negotiated(), None);
    assert_eq!(solo.keepalive(1), ["up"]);
    assert_eq!((solo.state(), solo.peer.since()), (State::Established, Some(solo.now)));
    let negotiated = solo.peer.negotiated().unwrap();
    assert_eq!(negotiated.hold_time, seconds(30));
    assert_eq!(negotiated.keepalive, seconds(10));
    assert_eq!(negotiated.families, [Family::Ipv4Unicast]);
    assert!(negotiated.four_octet_as && negotiated.route_refresh);
    assert_eq!(solo.peer.established_connection(), Some(id));
    assert_eq!(solo.peer.last_error(), None);
}

#[test]
fn an_open_and_its_answer_may_come_in_one_piece_or_octet_by_octet() {
    let stream = [crate::codec::open::encode(&their_open()).unwrap(), message(4, &[])].concat();
    for size in [1, 7, stream.len()] {
        let mut solo = Solo::open_sent(config());
        let done: Vec<String> =
            stream.chunks(size).flat_map(|piece| solo.bytes(1, piece.to_vec())).collect();
        assert_eq!(done, ["send 1 KEEPALIVE", "up"], "in pieces of {size}");
    }
}

#[test]
fn the_hold_timer_waits_four_minutes_for_the_open() {
    let mut solo = Solo::open_sent(config());
    assert_eq!(solo.timer(), (seconds(240), vec!["send 1 4/0".to_owned(), "close 1".into()]));
    assert_eq!(solo.error(), "hold timer expired");
}

#[test]
fn keepalives_go_out_a_little_before_a_third_of_the_hold_time() {
    let mut solo = Solo::established(config());
    let mut distances = Vec::new();
    for _ in 0..200 {
        let (waited, done) = solo.timer();
        assert_eq!(done, ["send 1 KEEPALIVE"]);
        distances.push(waited);
        solo.keepalive(1);
    }
    // RFC 4271, 10: anywhere between three quarters of the time and all of it.
    let (shortest, longest) = (distances.iter().min().unwrap(), distances.iter().max().unwrap());
    assert!((seconds(22)..seconds(24)).contains(shortest), "{shortest:?}");
    assert!((seconds(29)..=seconds(30)).contains(longest), "{longest:?}");
}

#[test]
fn silence_ends_the_session_after_the_hold_time() {
    let mut solo = Solo::established(config());
    let start = solo.now;
    while solo.state() == State::Established {
        solo.timer();
    }
    assert_eq!(solo.now - start, seconds(90));
    assert_eq!(solo.error(), "hold timer expired");
    let told = solo.told();
    assert_eq!((told.code, told.subcode, told.data), (4, 0, vec![]));
    assert!(solo.log.contains(&Action::Down { reason: "hold timer expired".into(), kept: vec![] }));
}

#[test]
fn a_hold_time_of_zero_means_no_timers() {
    let off = HoldTime::from_secs(0).unwrap();
    let solo = Solo::established(PeerConfig { hold_time: off, ..config() });
    assert_eq!(solo.peer.next_deadline(), None);
}

#[test]
fn one_and_two_seconds_are_no_hold_times() {
    for seconds in [1, 2] {
        assert!(HoldTime::from_secs(seconds).is_err());
    }
    for seconds in [0, 3, u16::MAX] {
        assert_eq!(HoldTime::from_secs(seconds).unwrap().as_secs(), seconds);
    }
}

#[test]
fn refused_attempts_come_at_growing_distances_up_to_the_longest() {
    let mut solo = Solo::started(config());
    for number in 1..12 {
        let id = solo.id(number);
        assert_eq!(solo.event(Event::ConnectFailed(id, "connection refused".into())), [""; 0]);
        assert_eq!((solo.state(), solo.error()), (State::Active, "connection refused"));
        let (waited, done) = solo.timer();
        let longest = seconds(1 << (number - 1).min(4));
        assert!((longest * 3 / 4..=longest).contains(&waited), "{number}: {waited:?}");
        assert_eq!(done, [format!("connect {}", number + 1)]);
    }
}

#[test]
fn an_attempt_that_hangs_is_given_up_for_a_new_one() {
    let mut solo = Solo::started(config());
    let (waited, done) = solo.timer();
    assert!(waited <= seconds(1));
    assert_eq!(done, ["close 1", "connect 2"]);
    assert_eq!(
        (solo.state(), solo.error()),
        (State::Connect, "connecting timed out: is the peer up and its BGP port open?")
    );
    let (_, done) = solo.timer();
    assert_eq!(done, ["close 2", "connect 3"]);
}

#[test]
fn after_a_session_the_distances_are_short_again() {
    let mut solo = Solo::started(config());
    for number in 1..9 {
        let id = solo.id(number);
        solo.event(Event::ConnectFailed(id, "connection refused".into()));
        solo.timer();
    }
    let id = solo.id(9);
    solo.event(Event::ConnectSucceeded(id));
    solo.open(9, &their_open());
    solo.keepalive(9);
    assert_eq!(solo.event(Event::Closed(id, "connection reset".into())), ["down"]);
    assert_eq!((solo.state(), solo.error()), (State::Idle, "connection reset"));
    let (waited, done) = solo.timer();
    assert!(waited <= seconds(1), "{waited:?}");
    assert_eq!(done, ["connect 10"]);
}

#[test]
fn a_peer_that_closes_before_its_open_is_tried_again() {
    let mut solo = Solo::open_sent(config());
    let id = solo.id(1);
    assert_eq!(solo.event(Event::Closed(id, "peer closed the connection".into())), [""; 0]);
    assert_eq!((solo.state(), solo.error()), (State::Active, "peer closed the connection"));
    assert_eq!(solo.timer().1, ["connect 2"]);
}

#[test]
fn a_passive_peer_waits() {
    let mut solo = Solo::new(PeerConfig { passive: true, ..config() });
    assert_eq!(solo.event(Event::ManualStart), [""; 0]);
    assert_eq!((solo.state(), solo.peer.next_deadline()), (State::Active, None));
    assert_eq!(solo.accept(), ["send 1 OPEN"]);
    solo.open(1, &their_open());
    assert_eq!(solo.keepalive(1), ["up"]);
    let id = solo.id(1);
    assert_eq!(solo.event(Event::Closed(id, "connection reset".into())), ["down"]);
    // Waits out its damping, then waits for the peer again; one that comes earlier is welcome.
    assert_eq!(solo.state(), State::Idle);
    assert_eq!(solo.timer().1, [""; 0]);
    assert_eq!(solo.state(), State::Active);
    assert_eq!(solo.accept(), ["send 2 OPEN"]);
}

#[test]
fn stopping_sends_an_administrative_shutdown_and_stays_stopped() {
    for state in [State::Connect, State::OpenSent, State::OpenConfirm, State::Established] {
        let mut solo = match state {
            State::Connect => Solo::started(config()),
            State::OpenSent => Solo::open_sent(config()),
            State::OpenConfirm => Solo::open_confirm(config()),
            _ => Solo::established(config()),
        };
        let mut expected = vec!["send 1 6/2", "close 1", "down"];
        if state == State::Connect {
            expected.remove(0);
        }
        if state != State::Established {
            expected.pop();
        }
        assert_eq!(solo.event(Event::ManualStop), expected, "{state}");
        assert_eq!((solo.state(), solo.peer.next_deadline()), (State::Idle, None));
        assert_eq!(solo.error(), "administratively shut down");
        // Who connects now is told so (RFC 4486, 4).
        assert_eq!(solo.accept(), ["send 2 6/5", "close 2"]);
        assert_eq!(solo.event(Event::ManualStart), ["connect 3"]);
    }
}

#[test]
fn a_second_start_changes_nothing() {
    for mut solo in [Solo::started(config()), Solo::established(config())] {
        assert_eq!(solo.event(Event::ManualStart), [""; 0]);
    }
}

#[test]
fn a_peer_that_is_removed_is_told_so() {
    let mut solo = Solo::established(config());
    assert_eq!(solo.event(Event::Deconfigured), ["send 1 6/3", "close 1", "down"]);
    assert_eq!(solo.peer.next_deadline(), None);
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_and_comes_back() {
    let mut solo = Solo::established(config());
    let done = solo.event(Event::SendHoldTimerExpires(seconds(480)));
    assert_eq!(done, ["send 1 8/0", "close 1", "down"]);
    assert_eq!(solo.error(), "peer has taken nothing that was sent for 480 s");
    assert_eq!(solo.timer().1, ["connect 2"]);
}

#[test]
fn a_peer_that_announces_too_much_is_left_alone_for_a_while() {
    let too_many = TooManyPrefixes { family: Family::Ipv6Unicast, limit: 258, idle: seconds(300) };
    let mut solo = Solo::established(config());
    let done = solo.event(Event::TooManyPrefixes(too_many));
    assert_eq!(done, ["send 1 6/1", "close 1", "down"]);
    let sent = solo.log.iter().find_map(|action| match action {
        Action::Send(_, octets) if octets[18] == 3 => Some(octets.slice(21..)),
        _ => None,
    });
    assert_eq!(sent.as_deref(), Some([0, 2, 1, 0, 0, 1, 2].as_slice()));
    assert_eq!(
        solo.error(),
        "peer has announced more than 258 prefixes; it is left alone for 300 s"
    );
    assert_eq!(solo.accept(), ["send 2 6/5", "close 2"]);
    let ended = solo.now;
    assert_eq!(solo.timer().1, ["connect 3"]);
    assert_eq!(solo.now - ended, seconds(300));
    assert_eq!(solo.accept(), ["send 4 OPEN"]);
    // An operator need not wait.
    let mut solo = Solo::established(config());
    solo.event(Event::TooManyPrefixes(too_many));
    solo.event(Event::ManualStop);
    assert_eq!(solo.event(Event::ManualStart), ["connect 2"]);
}

#[test]
fn an_operator_who_stops_a_session_can_say_why() {
    let mut solo = Solo::established(config());
    assert_eq!(
        solo.event(Event::Shutdown("back at noon".into())),
        ["send 1 6/2", "close 1", "down"]
    );
    assert_eq!(solo.error(), "administratively shut down: back at noon");
    let data = |text: &str| Notification::shutdown(text).data;
    assert_eq!(data("back"), b"\x04back");
    // What is too long ends between two characters.
    let long = data(&format!("{}\u{e9}", "x".repeat(254)));
    assert_eq!((long.len(), long[0]), (255, 254));
    assert_eq!(Notification::shutdown(&"x".repeat(300)).communication().unwrap().len(), 255);
}

#[test]
fn what_the_peer_says_at_the_end_is_the_last_error() {
    let mut solo = Solo::established(config());
    assert_eq!(solo.notify(1, 6, 2, b"\x0cback at noon"), ["close 1", "down"]);
    assert_eq!(solo.error(), "peer sent Cease/Administrative Shutdown: back at noon");
    let mut solo = Solo::open_sent(config());
    assert_eq!(solo.notify(1, 2, 2, b""), ["close 1"]);
    assert_eq!(solo.error(), "peer sent OPEN Message Error/Bad Peer AS");
    assert_eq!(solo.state(), State::Idle);
}

#[test]
fn events_of_connections_that_are_gone_are_ignored() {
    let mut solo = Solo::established(config());
    let (id, stranger) = (solo.id(1), solo.id(77));
    solo.event(Event::Closed(id, "connection reset".into()));
    for id in [id, stranger] {
        assert_eq!(solo.event(Event::ConnectSucceeded(id)), [""; 0]);
        assert_eq!(solo.event(Event::ConnectFailed(id, "late".into())), [""; 0]);
        assert_eq!(solo.event(Event::Closed(id, "late".into())), [""; 0]);
        assert_eq!(solo.event(Event::Bytes(id, message(4, &[]))), [""; 0]);
    }
    assert_eq!(solo.error(), "connection reset");
}

#[test]
fn routes_go_both_ways_only_while_established() {
    let update = Update {
        withdrawn: vec![],
        announced: vec!["10.244.1.0/26".parse().unwrap()],
        attributes: Some(Arc::new(Attributes {
            local_pref: Some(100),
            ..Attributes::via([192, 168, 0, 1].into())
        })),
        ..Update::default()
    };
    assert!(Solo::open_confirm(config()).peer.encode_update(&update).is_empty());
    let mut solo = Solo::established(config());
    let octets = solo.peer.encode_update(&update);
    assert_eq!(solo.bytes(1, octets[0].clone()), ["update"]);
    assert_eq!(solo.log.last(), Some(&Action::Update(update)));
}

#[test]
fn routes_are_asked_for_again_only_where_the_peer_can_be_asked() {
    let mut solo = Solo::established(config());
    let ask = |solo: &mut Solo, family| solo.event(Event::RequestRefresh(family));
    assert_eq!(ask(&mut solo, Family::Ipv4Unicast), ["send 1 ROUTE-REFRESH"]);
    assert_eq!(ask(&mut solo, Family::Ipv6Unicast), [""; 0]);
    assert_eq!(solo.bytes(1, message(5, &[0, 1, 0, 1])), ["refresh"]);
    // Not of a family that was not agreed on (RFC 2918, 4).
    assert_eq!(solo.bytes(1, message(5, &[0, 2, 0, 1])), [""; 0]);

    let mut solo = Solo::open_sent(config());
    assert_eq!(ask(&mut solo, Family::Ipv4Unicast), [""; 0]);
    let theirs = Open { capabilities: vec![Capability::FourOctetAs(64512)], ..their_open() };
    solo.open(1, &theirs);
    solo.keepalive(1);
    assert_eq!(ask(&mut solo, Family::Ipv4Unicast), [""; 0]);
}

#[test]
fn a_peer_without_capabilities_speaks_ipv4_and_two_octet_numbers() {
    let mut solo = Solo::open_sent(config());
    solo.open(1, &Open { capabilities: vec![], ..their_open() });
    assert_eq!(solo.keepalive(1), ["up"]);
    let negotiated = solo.peer.negotiated().unwrap();
    assert_eq!(negotiated.families, [Family::Ipv4Unicast]);
    assert!(!negotiated.four_octet_as && !negotiated.route_refresh);
}

#[test]
fn a_peer_that_does_not_know_capabilities_is_offered_none_the_next_time() {
    let mut solo = Solo::open_sent(config());
    solo.notify(1, 2, 4, b"");
    assert_eq!(solo.timer().1, ["connect 2"]);
    let id = solo.id(2);
    solo.event(Event::ConnectSucceeded(id));
    let Some(Action::Send(_, octets)) = solo.log.last() else { panic!("no OPEN") };
    assert_eq!((octets.len(), octets[28]), (29, 0));
    solo.open(2, &their_open());
    solo.keepalive(2);
    // What was not offered does not count, though the peer has it.
    assert!(!solo.peer.negotiated().unwrap().four_octet_as);
    // The session after that one tries them again.
    solo.event(Event::Closed(id, "connection reset".into()));
    solo.timer();
    let id = solo.id(3);
    solo.event(Event::ConnectSucceeded(id));
    let Some(Action::Send(_, octets)) = solo.log.last() else { panic!("no OPEN") };
    assert!(octets.len() > 29);
}
