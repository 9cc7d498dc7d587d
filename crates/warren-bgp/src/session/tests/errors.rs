//! Every error that a peer can make, and the NOTIFICATION that it gets.

use super::super::{Event, PeerConfig, State};
use super::{Solo, config, message, their_open};
use crate::message::{Capability, Family, Open};

/// Code, subcode, data and words for what ended the session.
fn ended(mut solo: Solo, octets: bytes::Bytes) -> (u8, u8, Vec<u8>, String) {
    let was_up = solo.state() == State::Established;
    let done = solo.bytes(1, octets);
    let told = solo.told();
    let mut expected = vec![format!("send 1 {}/{}", told.code, told.subcode), "close 1".to_owned()];
    if was_up {
        expected.push("down".to_owned());
    }
    assert_eq!(done, expected);
    assert_eq!(solo.state(), State::Idle);
    let wait = solo.peer.next_deadline().expect("it comes back") - solo.now;
    assert!(wait >= super::seconds(3) / 4, "damped");
    (told.code, told.subcode, told.data, solo.error().to_owned())
}

fn open_error(config: PeerConfig, open: Open) -> (u8, u8, Vec<u8>, String) {
    ended(Solo::open_sent(config), crate::codec::open::encode(&open).unwrap())
}

#[test]
fn another_as_number_is_a_bad_peer_as() {
    let capabilities = vec![Capability::FourOctetAs(64513)];
    let theirs = Open { as_number: 64513, capabilities, ..their_open() };
    let (code, subcode, data, words) = open_error(config(), theirs);
    assert_eq!((code, subcode, data), (2, 2, vec![]));
    assert_eq!(words, "peer has AS 64513, not 64512 (sent OPEN Message Error/Bad Peer AS)");
    // The number in the capability is the one that counts (RFC 6793, 4.1).
    let theirs = Open { capabilities: vec![Capability::FourOctetAs(64513)], ..their_open() };
    let (code, subcode, ..) = open_error(config(), theirs);
    assert_eq!((code, subcode), (2, 2));
}

#[test]
fn internal_and_external_peers_are_told_apart_by_their_as_number() {
    use super::super::RemoteAs::{External, Internal};
    let theirs = |as_number| {
        let capabilities = vec![
            Capability::FourOctetAs(as_number),
            Capability::Multiprotocol(Family::Ipv4Unicast),
        ];
        crate::codec::open::encode(&Open { as_number, capabilities, ..their_open() }).unwrap()
    };
    for (peer_as, number) in [(Internal, 64512), (External, 64513), (External, 4_200_000_001)] {
        let mut solo = Solo::open_sent(PeerConfig { peer_as, ..config() });
        solo.bytes(1, theirs(number));
        assert_eq!(solo.state(), State::OpenConfirm, "{peer_as} {number}");
        assert_eq!(solo.peer.config().is_internal(), peer_as == Internal);
    }
    for (peer_as, number, expected) in [
        (Internal, 64513, "peer has AS 64513, not 64512 as an internal peer (sent"),
        (External, 64512, "peer has AS 64512, as this speaker, and is no external peer (sent"),
        (External, 0, "peer has AS 0 (sent"),
    ] {
        let config = PeerConfig { peer_as, ..config() };
        let (code, subcode, _, words) = ended(Solo::open_sent(config), theirs(number));
        assert_eq!((code, subcode), (2, 2));
        assert!(words.starts_with(expected), "{words}");
    }
}

#[test]
fn as_zero_is_a_bad_peer_as_even_where_it_is_configured() {
    let theirs = Open { as_number: 0, capabilities: vec![], ..their_open() };
    let (code, subcode, ..) = open_error(PeerConfig { peer_as: 0.into(), ..config() }, theirs);
    assert_eq!((code, subcode), (2, 2));
}

#[test]
fn as_trans_alone_is_not_the_number_that_it_stands_for() {
    let config = PeerConfig { peer_as: 4_200_000_001.into(), ..config() };
    let theirs = Open { as_number: 23456, capabilities: vec![], ..their_open() };
    let (code, subcode, ..) = open_error(config, theirs);
    assert_eq!((code, subcode), (2, 2));
}

#[test]
fn hold_times_of_one_and_two_seconds_are_unacceptable() {
    for hold_time in [1, 2] {
        let (code, subcode, data, words) = open_error(config(), Open { hold_time, ..their_open() });
        assert_eq!((code, subcode, data), (2, 6, vec![]));
        assert!(words.starts_with(&format!("peer proposes a hold time of {hold_time} s")));
    }
}

#[test]
fn a_bgp_identifier_of_zero_or_our_own_within_the_as_is_bad() {
    for router_id in [[0, 0, 0, 0], [10, 0, 0, 1]] {
        let theirs = Open { router_id: router_id.into(), ..their_open() };
        let (code, subcode, data, _) = open_error(config(), theirs);
        assert_eq!((code, subcode, data), (2, 3, vec![]));
    }
    // Another AS may have it too (RFC 6286, 2.1).
    let mut solo = Solo::open_sent(PeerConfig { peer_as: 65000.into(), ..config() });
    let capabilities = vec![Capability::FourOctetAs(65000)];
    let theirs =
        Open { as_number: 65000, router_id: [10, 0, 0, 1].into(), capabilities, ..their_open() };
    assert_eq!(solo.open(1, &theirs), ["send 1 KEEPALIVE"]);
}

#[test]
fn a_peer_with_other_families_only_is_told_which_one_is_missing() {
    for other in [
        Capability::Multiprotocol(Family::Ipv6Unicast),
        Capability::Other { code: 1, value: vec![0, 25, 0, 70] },
    ] {
        let theirs = Open { capabilities: vec![other], ..their_open() };
        let (code, subcode, data, _) = open_error(config(), theirs);
        assert_eq!((code, subcode, data), (2, 7, vec![1, 4, 0, 1, 0, 1]));
    }
}

#[test]
fn another_version_is_told_ours() {
    let mut octets = crate::codec::open::encode(&their_open()).unwrap().to_vec();
    octets[19] = 3;
    let (code, subcode, data, _) = ended(Solo::open_sent(config()), octets.into());
    assert_eq!((code, subcode, data), (2, 1, vec![0, 4]));
}

#[test]
fn messages_out_of_turn_are_named_in_the_notification() {
    let open = crate::codec::open::encode(&their_open()).unwrap();
    let keepalive = message(4, &[]);
    // Garbage within: what is in a message that may not come does not matter.
    let update = message(2, &[0xff; 9]);
    let refresh = message(5, &[0, 1, 0, 1]);
    let cases = [
        (Solo::open_sent(config()), &keepalive, 1, 4),
        (Solo::open_sent(config()), &update, 1, 2),
        (Solo::open_sent(config()), &refresh, 1, 5),
        (Solo::open_confirm(config()), &open, 2, 1),
        (Solo::open_confirm(config()), &update, 2, 2),
        (Solo::open_confirm(config()), &refresh, 2, 5),
        (Solo::established(config()), &open, 3, 1),
    ];
    for (solo, octets, subcode, kind) in cases {
        let state = solo.state();
        let (code, told, data, words) = ended(solo, octets.clone());
        assert_eq!((code, told, data), (5, subcode, vec![kind]), "{words}");
        assert_eq!(words.split(' ').next(), Some("unexpected"), "{state}");
    }
}

#[test]
fn header_errors_are_told_in_every_state() {
    let mut marker = message(4, &[]).to_vec();
    marker[3] = 0;
    let cases = [
        (marker, 1, vec![]),
        (message(4, &[1]).to_vec(), 2, vec![0, 20]),
        (message(77, &[]).to_vec(), 3, vec![77]),
    ];
    for (octets, subcode, data) in cases {
        for solo in
            [Solo::open_sent(config()), Solo::open_confirm(config()), Solo::established(config())]
        {
            let (code, told, with, _) = ended(solo, octets.clone().into());
            assert_eq!((code, told, with), (1, subcode, data.clone()));
        }
    }
}

#[test]
fn an_update_that_cannot_be_read_ends_the_session() {
    // A prefix of 33 bits.
    let octets = message(2, &[0, 2, 33, 10, 0, 0]);
    let (code, subcode, _, words) = ended(Solo::established(config()), octets);
    assert_eq!((code, subcode), (3, 10));
    assert!(words.contains("33"), "{words}");
}

#[test]
fn an_update_with_a_malformed_attribute_withdraws_its_routes_and_is_counted() {
    let mut solo = Solo::established(config());
    // ORIGIN 3, and no other attribute, for 10.0.0.0/8.
    let octets = message(2, &[0, 0, 0, 4, 0x40, 1, 1, 3, 8, 10]);
    assert_eq!(solo.bytes(1, octets), ["update"]);
    assert_eq!(solo.state(), State::Established);
    let Some(super::super::Action::Update(update)) = solo.log.last() else { panic!() };
    assert_eq!(update.withdrawn, ["10.0.0.0/8".parse().unwrap()]);
    let errors = solo.peer.update_errors();
    assert!(errors.withdrawn > 0 && errors.discarded == 0);
    assert!(errors.last.is_some());
}

#[test]
fn what_is_malformed_is_counted_by_attribute_and_reason_however_often_it_comes() {
    let mut solo = Solo::established(config());
    // ORIGIN 3 again and again, without any other attribute, for 10.0.0.0/8.
    for _ in 0..3 {
        solo.bytes(1, message(2, &[0, 0, 0, 4, 0x40, 1, 1, 3, 8, 10]));
    }
    let kinds: Vec<(String, &str, u64)> = (solo.peer.update_errors().kinds.iter())
        .map(|(kind, count)| (kind.attribute_name(), kind.reason, *count))
        .collect();
    let missing = "Missing Well-known Attribute";
    assert_eq!(
        kinds,
        [
            ("ORIGIN".to_owned(), "Invalid ORIGIN Attribute", 3),
            ("ORIGIN".to_owned(), missing, 3),
            ("AS_PATH".to_owned(), missing, 3),
            ("NEXT_HOP".to_owned(), missing, 3),
            ("LOCAL_PREF".to_owned(), missing, 3),
        ]
    );
    // Each attribute that there is, with wrong flags: a well-known one that nobody knows.
    for _ in 0..2 {
        for code in 40..=255 {
            solo.bytes(1, message(2, &[0, 0, 0, 3, 0x40, code, 0, 8, 10]));
        }
    }
    assert_eq!(solo.state(), State::Established);
    let errors = solo.peer.update_errors();
    assert!(errors.kinds.len() <= 5 + 2 * 256, "{}", errors.kinds.len());
    assert_eq!(errors.kinds.values().sum::<u64>(), errors.withdrawn + errors.discarded);
}

#[test]
fn nothing_after_the_error_is_read() {
    let mut solo = Solo::established(config());
    let stream = [message(77, &[]), message(5, &[0, 1, 0, 1])].concat();
    assert_eq!(solo.bytes(1, stream), ["send 1 1/3", "close 1", "down"]);
}

#[test]
fn errors_are_damped_more_and_more() {
    let mut solo = Solo::started(config());
    for number in 1..9 {
        let id = solo.id(number);
        solo.event(Event::ConnectSucceeded(id));
        solo.notify(number, 2, 2, b"");
        assert_eq!(solo.state(), State::Idle);
        let (waited, done) = solo.timer();
        let longest = super::seconds(1 << (number - 1).min(4));
        assert!((longest * 3 / 4..=longest).contains(&waited), "{number}: {waited:?}");
        assert_eq!(done, [format!("connect {}", number + 1)]);
    }
}
