//! What the failure of a BFD session does (RFC 5882, RFC 9384), one peer driven by hand.

use std::time::Instant;

use super::super::{BfdDown, Event, State};
use super::restart::{back, lost, open_with, up};
use super::{Solo, config, seconds};

/// BFD knew of no fault until `last_up`.
fn down(last_up: Instant) -> Event {
    let reason = "silence".into();
    Event::BfdDown(BfdDown { reason, last_up, control_plane_independent: false })
}

#[test]
fn a_peer_that_bfd_cannot_reach_loses_its_session_and_may_come_back() {
    let mut solo = Solo::established(config());
    assert_eq!(solo.event(down(solo.now)), ["send 1 6/10", "close 1", "down"]);
    assert_eq!(solo.told().to_string(), "Cease/BFD Down");
    assert_eq!(solo.error(), "BFD down: silence");
    assert_eq!(solo.event(down(solo.now)), [""; 0], "there is no session to end");
    assert_eq!(solo.timer().1, ["connect 2"]);
}

#[test]
fn bfd_ends_no_session_that_came_up_after_it_last_up_the_peer() {
    let mut solo = Solo::open_confirm(config());
    let last_up = solo.now;
    solo.now += seconds(1);
    solo.keepalive(1);
    assert_eq!(solo.event(down(last_up)), [""; 0]);
    assert_eq!(solo.state(), State::Established);
}

#[test]
fn bfd_ends_no_session_that_is_not_established() {
    for mut solo in
        [Solo::started(config()), Solo::open_sent(config()), Solo::open_confirm(config())]
    {
        assert_eq!(solo.event(down(solo.now)), [""; 0]);
    }
}

#[test]
fn bfd_ends_a_session_for_good_even_where_its_routes_could_be_kept() {
    for control_plane_independent in [false, true] {
        let mut solo = up(&open_with(|_| {}));
        let reason = "silence".into();
        let failure = BfdDown { reason, last_up: solo.now, control_plane_independent };
        assert_eq!(solo.event(Event::BfdDown(failure)), ["send 1 6/9", "close 1", "down"]);
        assert_eq!(solo.told().to_string(), "Cease/Hard Reset (Cease/BFD Down)");
        assert!(!solo.peer.has_stale());
    }
}

#[test]
fn what_is_kept_for_a_restart_survives_bfd_unless_that_does_not_restart_with_bgp() {
    for (control_plane_independent, expected) in [(false, [].as_slice()), (true, &["sweep"])] {
        let mut solo = up(&open_with(|_| {}));
        let last_up = solo.now;
        assert_eq!(lost(&mut solo, 1), ["down, kept"]);
        solo.now += seconds(1);
        let failure = BfdDown { reason: "silence".into(), last_up, control_plane_independent };
        assert_eq!(solo.event(Event::BfdDown(failure)), expected);
        assert_eq!(solo.peer.has_stale(), !control_plane_independent);
    }
}

#[test]
fn old_news_of_bfd_disturbs_no_peer_that_is_back() {
    for control_plane_independent in [false, true] {
        let mut solo = up(&open_with(|_| {}));
        let last_up = solo.now;
        lost(&mut solo, 1);
        solo.now += seconds(1);
        assert_eq!(back(&mut solo, &open_with(|it| it.restarting = true)), ["up"]);
        let failure = BfdDown { reason: "silence".into(), last_up, control_plane_independent };
        assert_eq!(solo.event(Event::BfdDown(failure)), [""; 0]);
        assert!(solo.peer.has_stale());
    }
}
