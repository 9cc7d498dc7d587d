//! The thread with its sockets, in network namespaces.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod network;

use std::net::UdpSocket;
use std::num::NonZeroU8;
use std::time::Duration;

use network::{A, A6, B, B6, Namespace, Station, Wire, block_on, from, key, settings, wait_for};
use warren_bfd::packet::{Discard, Interval, State};
use warren_bfd::{Cause, Change, Hops, Settings, Timing};

/// Both ends with one session, Up.
fn up(wire: &Wire, hops: Hops) -> (Station, Station) {
    let (mut a, mut b) = (wire.a.bfd(), wire.b.bfd());
    a.bfd.set_sessions(vec![settings(B, hops)]);
    b.bfd.set_sessions(vec![settings(A, hops)]);
    a.expect_up(key(B, hops));
    b.expect_up(key(A, hops));
    (a, b)
}

#[test]
fn sessions_of_every_kind_come_up_beside_each_other_with_what_both_ends_want() {
    let wire = Wire::new();
    let kinds =
        [(A, B, Hops::Single), (A, B, Hops::Multi), (A6, B6, Hops::Single), (A6, B6, Hops::Multi)];
    let slow = Timing {
        desired_min_tx: Interval::from_millis(200),
        required_min_rx: Interval::from_millis(400),
        detect_mult: NonZeroU8::new(5).unwrap(),
    };
    let mut ends = [
        (wire.a.bfd(), kinds.map(|(a, b, hops)| from(a, settings(b, hops))).to_vec()),
        (
            wire.b.bfd(),
            kinds
                .map(|(a, b, hops)| Settings { timing: slow, ..from(b, settings(a, hops)) })
                .to_vec(),
        ),
    ];
    for (station, sessions) in &ends {
        station.bfd.set_sessions(sessions.clone());
    }
    for (station, sessions) in &mut ends {
        let mut left: Vec<_> = sessions.iter().map(|session| session.key).collect();
        while !left.is_empty() {
            let event = station.event();
            assert_eq!(event.change, Change::Up);
            left.retain(|key| *key != event.key);
        }
        for session in sessions {
            let is_slow = session.timing == slow;
            let agreed = if is_slow { (300, 1200) } else { (400, 1500) };
            let (interval, detection) = agreed;
            wait_for("agreement", || {
                let session = station.session(session.key);
                assert_eq!(session.problem, None);
                let agreed = (session.transmit_interval, session.detection_time);
                let wanted = (Duration::from_millis(interval), Duration::from_millis(detection));
                (agreed == (Some(wanted.0), Some(wanted.1))).then_some(())
            });
        }
    }
}

#[test]
fn a_cut_wire_is_noticed_at_both_ends_and_a_mended_one_too() {
    let wire = Wire::new();
    let (mut a, mut b) = up(&wire, Hops::Single);
    wire.cut();
    for (station, peer) in [(&mut a, B), (&mut b, A)] {
        let event = station.event();
        assert_eq!(event.key, key(peer, Hops::Single));
        assert_eq!(event.failure(), Some(Cause::DetectionTimeExpired));
    }
    wire.mend();
    a.expect_up(key(B, Hops::Single));
    b.expect_up(key(A, Hops::Single));
}

#[test]
fn an_interface_that_goes_down_is_noticed_at_both_ends_by_the_interface() {
    let wire = Wire::new();
    let (mut a, mut b) = up(&wire, Hops::Multi);
    wire.a.ip("link set wire down");
    assert_eq!(a.event().failure(), Some(Cause::PathDown));
    // Its carrier is lost; the kernel may tell of that only when silence has told already.
    let cause = b.event().failure();
    assert!(matches!(cause, Some(Cause::PathDown | Cause::DetectionTimeExpired)), "{cause:?}");
    wire.a.ip("link set wire up");
    a.expect_up(key(B, Hops::Multi));
    b.expect_up(key(A, Hops::Multi));
}

#[test]
fn an_end_that_shuts_down_takes_nothing_down() {
    let wire = Wire::new();
    let (a, mut b) = up(&wire, Hops::Single);
    block_on(a.bfd.shutdown());
    let event = b.event();
    assert_eq!(event.change, Change::Down(Cause::NeighborAdminDown));
    assert_eq!(event.failure(), None);
    // Its handle tells nobody any more, and waits for nobody.
    assert!(block_on(a.bfd.snapshot()).sessions.is_empty());
}

#[test]
fn an_end_whose_handle_is_dropped_takes_nothing_down_either() {
    let wire = Wire::new();
    let (a, mut b) = up(&wire, Hops::Single);
    drop(a);
    assert_eq!(b.event().change, Change::Down(Cause::NeighborAdminDown));
}

#[test]
fn a_peer_without_bfd_is_no_event_and_no_problem() {
    let wire = Wire::new();
    let mut a = wire.a.bfd();
    a.bfd.set_sessions(vec![settings(B, Hops::Single)]);
    // Its kernel answers that the port is closed.
    let session = wait_for("some packets", || {
        Some(a.session(key(B, Hops::Single))).filter(|session| session.sent >= 3)
    });
    assert_eq!((session.state, session.problem), (State::Down, None));
    assert!(a.events.try_recv().is_err());
}

#[test]
fn a_port_that_is_taken_is_named_and_had_once_it_is_free() {
    let wire = Wire::new();
    let other = wire.a.within(|| UdpSocket::bind("0.0.0.0:3784").unwrap());
    let (mut a, b) = (wire.a.bfd(), wire.b.bfd());
    a.bfd.set_sessions(vec![settings(B, Hops::Single)]);
    b.bfd.set_sessions(vec![settings(A, Hops::Single)]);
    let problem = wait_for("a problem", || a.session(key(B, Hops::Single)).problem);
    assert!(problem.contains("UDP port 3784") && problem.contains("in use"), "{problem}");
    drop(other);
    a.expect_up(key(B, Hops::Single));
    assert_eq!(a.session(key(B, Hops::Single)).problem, None);
}

#[test]
fn a_source_that_the_node_has_not_is_named_and_used_once_it_is_there() {
    let wire = Wire::new();
    let (mut a, b) = (wire.a.bfd(), wire.b.bfd());
    a.bfd.set_sessions(vec![from("192.0.2.7", settings(B, Hops::Single))]);
    b.bfd.set_sessions(vec![settings("192.0.2.7", Hops::Single)]);
    let problem = wait_for("a problem", || a.session(key(B, Hops::Single)).problem);
    assert!(problem.contains("from 192.0.2.7"), "{problem}");
    wire.a.ip("address add 192.0.2.7/24 dev wire");
    a.expect_up(key(B, Hops::Single));
}

#[test]
fn what_did_not_come_straight_from_the_peer_is_discarded() {
    let wire = Wire::new();
    let a = wire.a.bfd();
    a.bfd.set_sessions(vec![settings(B, Hops::Single)]);
    wait_for("the port", || (a.session(key(B, Hops::Single)).sent > 0).then_some(()));
    // A Down packet as it should be, but for the TTL.
    let packet =
        [0x20, 0x40, 3, 24, 0, 0, 0, 9, 0, 0, 0, 0, 0, 15, 66, 64, 0, 15, 66, 64, 0, 0, 0, 0];
    let socket = wire.b.within(|| UdpSocket::bind((B, 0)).unwrap());
    socket.set_ttl(254).unwrap();
    socket.send_to(&packet, (A, 3784)).unwrap();
    wait_for("the packet", || {
        block_on(a.bfd.snapshot()).discarded.contains_key(&Discard::TtlNot255).then_some(())
    });
    assert_eq!(a.session(key(B, Hops::Single)).state, State::Down);
    socket.set_ttl(255).unwrap();
    socket.send_to(&packet, (A, 3784)).unwrap();
    wait_for("Init", || (a.session(key(B, Hops::Single)).state == State::Init).then_some(()));
}

#[test]
fn a_port_is_let_go_when_no_session_needs_it() {
    let namespace = Namespace::new();
    let a = namespace.bfd();
    a.bfd.set_sessions(vec![settings("127.0.0.2", Hops::Single)]);
    wait_for("the port", || (a.session(key("127.0.0.2", Hops::Single)).sent > 0).then_some(()));
    let bind = || namespace.within(|| UdpSocket::bind("0.0.0.0:3784"));
    assert!(bind().is_err());
    a.bfd.set_sessions(vec![]);
    wait_for("the free port", || bind().ok());
}
