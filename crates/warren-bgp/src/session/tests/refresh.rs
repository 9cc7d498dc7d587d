//! Enhanced route refresh (RFC 7313), one peer driven by hand.

use super::super::{Event, GracefulRestart, PeerConfig, State};
use super::restart::{back, lost, open_with};
use super::{Solo, config, message, seconds, their_open};
use crate::message::{Capability, Family, Open};

const REQUEST: [u8; 4] = [0, 1, 0, 1];
const BEGIN: [u8; 4] = [0, 1, 1, 1];
const END: [u8; 4] = [0, 1, 2, 1];

fn enhanced(mut open: Open) -> Open {
    open.capabilities.push(Capability::EnhancedRouteRefresh);
    open
}

fn up(config: PeerConfig, open: Open) -> Solo {
    let mut solo = Solo::open_sent(config);
    solo.open(1, &enhanced(open));
    assert_eq!(solo.keepalive(1), ["up"]);
    solo
}

fn graceful() -> PeerConfig {
    PeerConfig { graceful_restart: Some(GracefulRestart::default()), ..config() }
}

/// Says that all was announced.
fn end_of_rib(solo: &mut Solo) {
    assert_eq!(solo.bytes(1, message(2, &[0; 4])), ["update"]);
}

fn refresh(solo: &mut Solo, body: [u8; 4]) -> Vec<String> {
    solo.bytes(1, message(5, &body))
}

#[test]
fn routes_are_stale_from_the_beginning_of_a_refresh_to_its_end() {
    let mut solo = up(config(), their_open());
    let capabilities = solo.peer.negotiated().unwrap().capabilities();
    assert!(capabilities.contains(&"enhanced route refresh".to_owned()), "{capabilities:?}");
    assert_eq!(refresh(&mut solo, END), [""; 0], "an end of nothing");
    assert_eq!(refresh(&mut solo, BEGIN), ["stale"]);
    assert_eq!(refresh(&mut solo, REQUEST), ["refresh"]);
    assert_eq!(refresh(&mut solo, BEGIN), ["stale"], "begun anew");
    assert_eq!(refresh(&mut solo, END), ["sweep"]);
    assert_eq!(refresh(&mut solo, END), [""; 0]);
    assert!(!solo.peer.has_stale());
    // Of a family that was not agreed on (RFC 2918, 4), and of a subtype of the future (5).
    assert_eq!(refresh(&mut solo, [0, 2, 1, 1]), [""; 0]);
    assert_eq!(refresh(&mut solo, [0, 1, 7, 1]), [""; 0]);
}

#[test]
fn without_the_capability_of_both_there_are_no_marks() {
    let mut solo = Solo::established(config());
    assert_eq!(refresh(&mut solo, BEGIN), ["refresh"]);
    assert_eq!(refresh(&mut solo, END), ["refresh"]);
}

#[test]
fn a_refresh_without_an_end_ends_by_itself() {
    let mut solo = up(config(), their_open());
    refresh(&mut solo, BEGIN);
    let begun = solo.now;
    loop {
        let (_, done) = solo.timer();
        if done.contains(&"sweep".to_owned()) {
            break;
        }
        solo.keepalive(1);
    }
    assert_eq!((solo.now - begun, solo.state()), (seconds(360), State::Established));
    assert_eq!(refresh(&mut solo, END), [""; 0]);
}

#[test]
fn a_peer_that_can_restart_refreshes_nothing_before_it_has_announced_all_once() {
    let mut solo = up(graceful(), open_with(|_| {}));
    assert_eq!(refresh(&mut solo, BEGIN), [""; 0]);
    assert_eq!(refresh(&mut solo, END), [""; 0]);
    end_of_rib(&mut solo);
    assert_eq!(refresh(&mut solo, BEGIN), ["stale"]);
    // The next session begins anew.
    lost(&mut solo, 1);
    back(&mut solo, &enhanced(open_with(|_| {})));
    assert_eq!(solo.bytes(2, message(5, &BEGIN)), [""; 0]);
}

#[test]
fn a_session_that_ends_within_a_refresh_loses_its_routes_only_where_they_are_not_kept() {
    let mut solo = up(graceful(), open_with(|_| {}));
    end_of_rib(&mut solo);
    refresh(&mut solo, BEGIN);
    assert_eq!(lost(&mut solo, 1), ["down, kept"]);
    assert!(solo.peer.has_stale());
    for config in [config(), graceful()] {
        let mut solo = up(config, their_open());
        refresh(&mut solo, BEGIN);
        assert_eq!(lost(&mut solo, 1), ["sweep", "down"]);
        assert!(!solo.peer.has_stale());
    }
    let mut solo = up(config(), their_open());
    refresh(&mut solo, BEGIN);
    let done = solo.event(Event::ManualStop);
    assert_eq!(done.iter().filter(|it| *it == "sweep").count(), 1, "{done:?}");
}

#[test]
fn a_mark_of_a_wrong_length_ends_the_session_with_the_whole_message() {
    let mut solo = up(config(), their_open());
    let octets = message(5, &[0, 1, 1, 1, 0]);
    let done = solo.bytes(1, octets.clone());
    assert_eq!(done, ["send 1 7/1", "close 1", "down"]);
    assert_eq!(solo.told().data, octets);
    assert!(solo.error().contains("ROUTE-REFRESH Message Error/Invalid Message Length"));
    // Not one without marks.
    let mut solo = Solo::established(config());
    assert_eq!(solo.bytes(1, octets), ["send 1 1/2", "close 1", "down"]);
}

#[test]
fn a_request_is_sent_as_before() {
    let mut solo = up(config(), their_open());
    let asked = solo.event(Event::RequestRefresh(Family::Ipv4Unicast));
    assert_eq!(asked, ["send 1 ROUTE-REFRESH"]);
}
