//! Graceful restart (RFC 4724) and its NOTIFICATIONs (RFC 8538), one peer driven by hand.

use super::super::{Action, Event, GracefulRestart, PeerConfig, State};
use super::{Solo, config, message, seconds, their_open};
use crate::codec::open;
use crate::message::{Capability, Family, GracefulRestart as Restart, Notification, Open};

fn graceful() -> PeerConfig {
    PeerConfig { graceful_restart: Some(GracefulRestart::default()), ..config() }
}

/// The OPEN of a peer that can restart, as `change` has it.
pub fn open_with(change: impl Fn(&mut Restart)) -> Open {
    let mut restart = Restart {
        restarting: false,
        notification: true,
        restart_time: 60,
        families: vec![(Family::Ipv4Unicast, true)],
    };
    change(&mut restart);
    let mut open = their_open();
    open.capabilities.push(Capability::GracefulRestart(restart));
    open
}

/// Established over connection 1 with a peer that says `open`.
pub fn up(open: &Open) -> Solo {
    let mut solo = Solo::open_sent(graceful());
    solo.open(1, open);
    assert_eq!(solo.keepalive(1), ["up"]);
    solo
}

/// The peer's connection is reset.
pub fn lost(solo: &mut Solo, number: u32) -> Vec<String> {
    let id = solo.id(number);
    solo.event(Event::Closed(id, "connection reset".into()))
}

/// The peer comes back and says `open`.
pub fn back(solo: &mut Solo, open: &Open) -> Vec<String> {
    solo.accept();
    let number = solo.live.last().unwrap().0;
    solo.open(number, open);
    solo.keepalive(number)
}

fn end_of_rib() -> bytes::Bytes {
    message(2, &[0; 4])
}

/// The capability in the OPEN that was sent last.
fn said(solo: &Solo) -> Restart {
    let octets = solo.log.iter().rev().find_map(|action| match action {
        Action::Send(_, octets) if octets[18] == 1 => Some(octets.slice(19..)),
        _ => None,
    });
    let capabilities = open::decode(octets.unwrap()).unwrap().capabilities;
    let said = capabilities.into_iter().find_map(|capability| match capability {
        Capability::GracefulRestart(restart) => Some(restart),
        _ => None,
    });
    said.unwrap()
}

#[test]
fn a_lost_connection_keeps_the_routes_until_the_peer_has_announced_all_again() {
    let mut solo = up(&open_with(|_| {}));
    assert_eq!(lost(&mut solo, 1), ["down, kept"]);
    assert!(solo.peer.has_stale());
    assert_eq!(back(&mut solo, &open_with(|it| it.restarting = true)), ["up"]);
    assert_eq!(solo.bytes(2, end_of_rib()), ["update", "sweep"]);
    assert_eq!(solo.log.last(), Some(&Action::Sweep(Family::Ipv4Unicast)));
    assert!(!solo.peer.has_stale());
    assert_eq!(solo.bytes(2, end_of_rib()), ["update"], "there is nothing left to sweep");
}

#[test]
fn a_peer_that_stays_away_for_its_restart_time_loses_its_routes() {
    let mut solo = up(&open_with(|it| it.restart_time = 7));
    lost(&mut solo, 1);
    let ended = solo.now;
    loop {
        let (_, done) = solo.timer();
        if done.contains(&"sweep".to_owned()) {
            break;
        }
        let id = *solo.live.last().unwrap();
        solo.event(Event::ConnectFailed(id, "no route to host".into()));
    }
    assert_eq!(solo.now - ended, seconds(7));
    assert!(!solo.peer.has_stale());
}

#[test]
fn a_peer_that_is_back_and_never_says_end_of_rib_loses_what_it_does_not_announce() {
    let mut solo = up(&open_with(|_| {}));
    lost(&mut solo, 1);
    back(&mut solo, &open_with(|_| {}));
    let returned = solo.now;
    while !solo.log.contains(&Action::Sweep(Family::Ipv4Unicast)) {
        solo.timer();
        solo.keepalive(2);
    }
    assert_eq!(solo.now - returned, seconds(360));
    assert_eq!(solo.state(), State::Established);
}

#[test]
fn a_peer_that_comes_back_without_its_forwarding_state_loses_its_routes_at_once() {
    let lost_it = open_with(|it| it.families = vec![(Family::Ipv4Unicast, false)]);
    let of_another_family = open_with(|it| it.families.clear());
    for open in [lost_it, of_another_family, their_open()] {
        let mut solo = up(&open_with(|_| {}));
        lost(&mut solo, 1);
        assert_eq!(back(&mut solo, &open), ["up", "sweep"]);
        assert!(!solo.peer.has_stale());
    }
}

#[test]
fn nothing_is_kept_for_a_peer_that_does_not_ask_for_it() {
    let no_time = open_with(|it| it.restart_time = 0);
    let no_family = open_with(|it| it.families.clear());
    for open in [no_time, no_family, their_open()] {
        assert_eq!(lost(&mut up(&open), 1), ["down"]);
    }
    let mut solo = Solo::open_sent(config());
    solo.open(1, &open_with(|_| {}));
    solo.keepalive(1);
    assert_eq!(lost(&mut solo, 1), ["down"], "this side is not configured for it");
}

#[test]
fn a_notification_counts_as_a_restart_only_where_both_have_the_n_bit_and_it_is_no_hard_reset() {
    let with = open_with(|_| {});
    let without = open_with(|it| it.notification = false);
    for (open, subcode, expected) in
        [(&with, 4, "down, kept"), (&with, 9, "down"), (&without, 4, "down")]
    {
        let mut solo = up(open);
        assert_eq!(solo.notify(1, 6, subcode, &[6, 2]), ["close 1", expected]);
    }
}

#[test]
fn the_hold_timer_and_an_error_count_as_a_restart_with_the_n_bit() {
    for (notification, expected) in [(true, "down, kept"), (false, "down")] {
        let open = open_with(|it| it.notification = notification);
        let mut solo = up(&open);
        while solo.state() == State::Established {
            solo.timer();
        }
        assert_eq!(solo.error(), "hold timer expired");
        let ended = solo.log.iter().rev().find(|action| matches!(action, Action::Down { .. }));
        assert_eq!(super::short(&[ended.unwrap().clone()]), [expected]);

        let mut solo = up(&open);
        assert_eq!(solo.bytes(1, vec![0; 19]), ["send 1 1/1", "close 1", expected]);
    }
}

#[test]
fn a_session_that_ends_for_good_is_a_hard_reset_that_says_why() {
    let mut solo = up(&open_with(|_| {}));
    assert_eq!(solo.event(Event::ManualStop), ["send 1 6/9", "close 1", "down"]);
    assert_eq!(solo.told().data, [6, 2]);
    assert_eq!(solo.told().to_string(), "Cease/Hard Reset (Cease/Administrative Shutdown)");
    // Who does not know of it is told in the old way.
    let mut solo = up(&open_with(|it| it.notification = false));
    assert_eq!(solo.event(Event::Deconfigured), ["send 1 6/3", "close 1", "down"]);
}

#[test]
fn a_hard_reset_within_a_hard_reset_is_not_followed() {
    let nested = Notification::new(6, 9).into_hard_reset();
    assert_eq!(nested.to_string(), "Cease/Hard Reset");
    assert_eq!(Notification::new(6, 9).to_string(), "Cease/Hard Reset");
}

#[test]
fn a_handover_is_silent_where_the_peer_keeps_the_routes() {
    let mut solo = up(&open_with(|_| {}));
    assert_eq!(solo.event(Event::Handover), ["close 1", "down"]);
    assert_eq!(solo.peer.next_deadline(), None);
    let mut solo = up(&their_open());
    assert_eq!(solo.event(Event::Handover), ["send 1 6/2", "close 1", "down"]);
}

#[test]
fn what_is_stale_goes_with_the_peer() {
    let mut solo = up(&open_with(|_| {}));
    lost(&mut solo, 1);
    assert_eq!(solo.event(Event::Deconfigured).last().unwrap(), "sweep");
    assert_eq!(solo.peer.next_deadline(), None);
}

#[test]
fn the_open_tells_of_a_restart_until_routes_are_selected_and_of_forwarding_ever_after() {
    let mut solo = Solo::new(graceful());
    solo.peer.restarted();
    solo.event(Event::ManualStart);
    solo.event(Event::ConnectSucceeded(solo.id(1)));
    let first = said(&solo);
    assert!(first.restarting && first.notification);
    assert_eq!(first.restart_time, 120);
    let families =
        |forwarding| graceful().families.into_iter().map(|it| (it, forwarding)).collect::<Vec<_>>();
    assert_eq!(first.families, families(true));
    solo.open(1, &open_with(|_| {}));
    solo.keepalive(1);
    solo.peer.selected();
    lost(&mut solo, 1);
    solo.accept();
    assert_eq!(said(&solo), Restart { restarting: false, ..first });

    // A speaker that starts for the first time has nothing to forward with, and later has.
    let mut solo = up(&open_with(|_| {}));
    assert_eq!(said(&solo).families, families(false));
    assert!(!said(&solo).restarting);
    lost(&mut solo, 1);
    solo.accept();
    assert_eq!(said(&solo).families, families(true));
}

#[test]
fn a_peer_that_has_forgotten_the_session_takes_its_place_with_its_open() {
    let mut solo = up(&open_with(|_| {}));
    solo.now += seconds(10);
    assert_eq!(solo.accept(), ["send 2 OPEN"]);
    assert_eq!(solo.state(), State::Established, "a connection alone says nothing");
    let done = solo.open(2, &open_with(|it| it.restarting = true));
    assert_eq!(done, ["close 1", "down, kept", "send 2 KEEPALIVE"]);
    assert_eq!(solo.keepalive(2), ["up"]);
    assert_eq!(solo.error(), "peer has restarted");
    // And once more, now that the session is on a connection of the peer.
    solo.now += seconds(10);
    assert_eq!(solo.accept(), ["send 3 OPEN"]);
    let done = solo.open(3, &open_with(|_| {}));
    assert_eq!(done, ["close 2", "sweep", "down, kept", "send 3 KEEPALIVE"]);
    assert_eq!(solo.keepalive(3), ["up"]);
}

#[test]
fn a_second_connection_soon_after_the_first_is_a_collision() {
    let mut solo = up(&open_with(|_| {}));
    solo.now += seconds(4);
    assert_eq!(solo.accept(), ["send 2 6/7", "close 2"]);
    // So it is at any time with a peer that cannot restart.
    let mut solo = up(&their_open());
    solo.now += seconds(60);
    assert_eq!(solo.accept(), ["send 2 6/7", "close 2"]);
}

#[test]
fn a_newcomer_that_says_nothing_or_nonsense_leaves_the_session_alone() {
    let mut solo = up(&open_with(|_| {}));
    solo.now += seconds(10);
    solo.accept();
    assert_eq!(solo.bytes(2, vec![0; 19]), ["send 2 1/1", "close 2"]);
    solo.accept();
    assert_eq!(lost(&mut solo, 3), Vec::<String>::new());
    solo.accept();
    assert_eq!(solo.accept(), ["send 4 6/7", "close 4", "send 5 OPEN"], "the latest counts");
    assert_eq!(solo.state(), State::Established);
    assert_eq!(solo.peer.last_error(), None);
    assert_eq!(solo.peer.established_connection(), Some(solo.id(1)));
    // The old session ends by itself: the newcomer is an ordinary connection from now on.
    assert_eq!(lost(&mut solo, 1), ["down, kept"]);
    assert_eq!(solo.open(5, &open_with(|_| {})), ["send 5 KEEPALIVE"]);
    assert_eq!(solo.keepalive(5), ["up"]);
}

#[test]
fn a_peer_that_has_answered_is_there_though_both_connections_collide() {
    let mut solo = Solo::open_sent(graceful());
    solo.accept();
    assert!(!solo.peer.has_answered());
    solo.open(1, &open_with(|_| {}));
    assert_eq!(solo.notify(1, 6, 7, b""), ["close 1"]);
    assert_eq!(solo.state(), State::OpenSent, "of the other one nothing has come yet");
    assert!(solo.peer.has_answered());
}
