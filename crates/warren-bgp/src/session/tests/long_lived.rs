//! Long-lived graceful restart (RFC 9494), one peer driven by hand.

use super::super::{Action, Event, GracefulRestart, PeerConfig, StaleTime};
use super::restart::{back, lost, open_with};
use super::{Solo, config, message, seconds};
use crate::codec::open;
use crate::message::{Capability, Family, GracefulRestart as Restart, LongLived, Open};

const FAMILY: Family = Family::Ipv4Unicast;

fn for_long() -> PeerConfig {
    let long_lived = StaleTime::from_secs(3600).unwrap();
    let graceful_restart = Some(GracefulRestart { long_lived, ..GracefulRestart::default() });
    PeerConfig { graceful_restart, ..config() }
}

/// The OPEN of a peer that wants its routes kept for 7 s and another 100 s.
fn theirs() -> Open {
    saying(|it| it.restart_time = 7, &[(true, 100)])
}

/// The same, with another capability 64, and these F bits and stale times of IPv4 in 71.
fn saying(change: impl Fn(&mut Restart), tuples: &[(bool, u32)]) -> Open {
    let mut open = open_with(change);
    let tuple =
        |&(forwarding, stale_time): &_| LongLived { family: FAMILY, forwarding, stale_time };
    let tuples = tuples.iter().map(tuple).collect();
    open.capabilities.push(Capability::LongLivedGracefulRestart(tuples));
    open
}

fn up(open: &Open) -> Solo {
    let mut solo = Solo::open_sent(for_long());
    solo.open(1, open);
    assert_eq!(solo.keepalive(1), ["up"]);
    solo
}

/// Lets time pass, with the peer away, until there is something to do with its routes.
fn wait(solo: &mut Solo) -> (u64, String) {
    let since = solo.now;
    loop {
        let (_, done) = solo.timer();
        let of_routes = |it: &&String| ["sweep", "long-lived"].contains(&it.as_str());
        if let Some(found) = done.iter().find(of_routes) {
            return ((solo.now - since).as_secs(), found.clone());
        }
        if done.iter().any(|it| it.starts_with("connect")) {
            let id = *solo.live.last().unwrap();
            solo.event(Event::ConnectFailed(id, "no route to host".into()));
        }
    }
}

fn end_of_rib() -> bytes::Bytes {
    message(2, &[0; 4])
}

/// Its connection is lost, and its restart time passes.
fn away(open: &Open) -> Solo {
    let mut solo = up(open);
    assert_eq!(lost(&mut solo, 1), ["down, kept"]);
    assert_eq!(wait(&mut solo), (7, "long-lived".to_owned()));
    solo
}

#[test]
fn beyond_the_restart_time_routes_are_kept_for_the_long_lived_stale_time() {
    let mut solo = away(&theirs());
    let until = solo.now + seconds(100);
    assert_eq!(solo.peer.long_lived_stale().collect::<Vec<_>>(), [(FAMILY, until)]);
    assert_eq!(wait(&mut solo), (100, "sweep".to_owned()));
    assert!(!solo.peer.has_stale());
    assert_eq!(solo.peer.long_lived_stale().count(), 0);
}

#[test]
fn they_are_not_kept_for_longer_than_this_side_asks_for() {
    let mut solo = away(&saying(|it| it.restart_time = 7, &[(true, 9999)]));
    assert_eq!(wait(&mut solo), (3600, "sweep".to_owned()));
}

#[test]
fn with_no_restart_time_or_one_that_is_not_of_the_family_they_are_kept_for_long_at_once() {
    let no_time = saying(|it| it.restart_time = 0, &[(true, 100)]);
    let no_family = saying(|it| it.families.clear(), &[(true, 100)]);
    for open in [no_time, no_family] {
        let mut solo = up(&open);
        assert_eq!(lost(&mut solo, 1), ["down, kept", "long-lived"]);
        assert_eq!(wait(&mut solo), (100, "sweep".to_owned()));
    }
}

#[test]
fn nothing_is_kept_for_long_unless_both_say_so_and_beside_graceful_restart() {
    let no_time = saying(|it| it.restart_time = 7, &[(true, 0)]);
    let no_family = saying(|it| it.restart_time = 7, &[]);
    let not_at_all = open_with(|it| it.restart_time = 7);
    for open in [no_time, no_family, not_at_all] {
        let mut solo = up(&open);
        lost(&mut solo, 1);
        assert_eq!(wait(&mut solo), (7, "sweep".to_owned()));
    }
    // This side does not.
    let mut solo = super::restart::up(&theirs());
    lost(&mut solo, 1);
    assert_eq!(wait(&mut solo), (7, "sweep".to_owned()));
    // RFC 9494, 4.1: without graceful restart it does not count.
    let mut alone = theirs();
    alone.capabilities.retain(|it| !matches!(it, Capability::GracefulRestart(_)));
    assert_eq!(lost(&mut up(&alone), 1), ["down"]);
    // One of a wrong length is as good as none.
    let mut malformed = open_with(|it| it.restart_time = 7);
    malformed.capabilities.push(Capability::Other { code: 71, value: vec![0, 1, 1, 0x80, 0, 0] });
    let mut solo = up(&malformed);
    lost(&mut solo, 1);
    assert_eq!(wait(&mut solo), (7, "sweep".to_owned()));
}

#[test]
fn a_peer_that_is_back_confirms_its_routes_and_the_time_runs_on_until_it_has() {
    let mut solo = away(&theirs());
    solo.now += seconds(10);
    assert_eq!(back(&mut solo, &theirs()), ["up"]);
    let number = solo.live.last().unwrap().0;
    assert_eq!(solo.peer.long_lived_stale().count(), 1);
    assert_eq!(solo.bytes(number, end_of_rib()), ["update", "sweep"]);
    assert!(!solo.peer.has_stale());
    assert_eq!(lost(&mut solo, number), ["down, kept"], "it begins anew");
    assert_eq!(wait(&mut solo), (7, "long-lived".to_owned()));
    assert_eq!(wait(&mut solo), (100, "sweep".to_owned()));
}

#[test]
fn a_peer_that_is_back_without_its_state_loses_its_routes_at_once() {
    let no_bit = saying(|_| {}, &[(false, 100)]);
    let no_family = saying(|_| {}, &[]);
    let no_capability = open_with(|_| {});
    let no_bit_of_64 = saying(|it| it.families = vec![(FAMILY, false)], &[(true, 100)]);
    for open in [no_bit, no_family, no_capability, no_bit_of_64, super::their_open()] {
        let mut solo = away(&theirs());
        assert_eq!(back(&mut solo, &open), ["up", "sweep"], "{open:?}");
        assert!(!solo.peer.has_stale());
    }
    // Within the restart time it is graceful restart that counts.
    let mut solo = up(&theirs());
    lost(&mut solo, 1);
    assert_eq!(back(&mut solo, &saying(|_| {}, &[(false, 100)])), ["up"]);
}

#[test]
fn a_second_restart_neither_takes_routes_away_nor_puts_the_end_off() {
    let mut solo = away(&theirs());
    solo.now += seconds(40);
    back(&mut solo, &theirs());
    let number = solo.live.last().unwrap().0;
    assert_eq!(lost(&mut solo, number), ["down, kept"], "what was stale stays");
    assert_eq!(wait(&mut solo), (7, "long-lived".to_owned()), "what is stale since then too");
    assert_eq!(wait(&mut solo), (53, "sweep".to_owned()));
    // Within the restart time as well; there the time has not begun.
    let mut solo = up(&theirs());
    lost(&mut solo, 1);
    back(&mut solo, &theirs());
    assert_eq!(lost(&mut solo, 2), ["down, kept"]);
    assert_eq!(wait(&mut solo), (7, "long-lived".to_owned()));
    assert_eq!(wait(&mut solo), (100, "sweep".to_owned()));
}

#[test]
fn when_the_time_is_over_before_all_is_announced_another_end_keeps_nothing() {
    let mut solo = away(&theirs());
    solo.now += seconds(90);
    back(&mut solo, &theirs());
    let number = solo.live.last().unwrap().0;
    assert_eq!(wait(&mut solo), (10, "sweep".to_owned()));
    assert_eq!(lost(&mut solo, number), ["down"]);
    assert!(!solo.peer.has_stale());
    // Unless all has been announced after that.
    back(&mut solo, &theirs());
    let number = solo.live.last().unwrap().0;
    assert_eq!(solo.bytes(number, end_of_rib()), ["update"]);
    assert_eq!(lost(&mut solo, number), ["down, kept"]);
}

#[test]
fn what_is_kept_for_long_goes_with_the_peer() {
    let mut solo = away(&theirs());
    assert_eq!(solo.event(Event::Deconfigured).last().unwrap(), "sweep");
    assert_eq!(solo.peer.next_deadline(), None);
}

#[test]
fn the_open_tells_of_it_with_the_bit_of_graceful_restart_and_only_where_it_is_configured() {
    let said = |solo: &Solo| -> Vec<LongLived> {
        let octets = solo.log.iter().rev().find_map(|action| match action {
            Action::Send(_, octets) if octets[18] == 1 => Some(octets.slice(19..)),
            _ => None,
        });
        let capabilities = open::decode(octets.unwrap()).unwrap().capabilities;
        let tuples = capabilities.into_iter().filter_map(|capability| match capability {
            Capability::LongLivedGracefulRestart(tuples) => Some(tuples),
            _ => None,
        });
        tuples.flatten().collect()
    };
    let tuple = |forwarding| LongLived { family: FAMILY, forwarding, stale_time: 3600 };
    let mut solo = up(&theirs());
    assert_eq!(said(&solo), [tuple(false)]);
    let capabilities = solo.peer.negotiated().unwrap().capabilities();
    assert!(capabilities.contains(&"long-lived graceful restart".to_owned()), "{capabilities:?}");
    lost(&mut solo, 1);
    solo.accept();
    assert_eq!(said(&solo), [tuple(true)], "it has gone on since");
    assert_eq!(said(&super::restart::up(&theirs())), [], "off by default");
}
