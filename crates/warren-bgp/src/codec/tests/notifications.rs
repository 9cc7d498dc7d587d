use super::super::{notification, refresh};
use super::{body, message, told};
use crate::message::{Family, Notification, RouteRefresh};

fn with_data(code: u8, subcode: u8, data: &[u8]) -> Notification {
    Notification { code, subcode, data: data.to_vec() }
}

#[test]
fn a_notification_is_code_subcode_and_data() {
    let it = with_data(2, 1, &[0, 4]);
    let golden = message(3, &[2, 1, 0, 4]);
    assert_eq!(notification::encode(&it), golden);
    assert_eq!(notification::decode(body(&golden)).unwrap(), it);
}

#[test]
fn data_beyond_the_longest_message_is_cut_off() {
    let octets = notification::encode(&with_data(3, 5, &[7; 5000]));
    assert_eq!(octets.len(), 4096);
    assert_eq!(octets[16..18], [0x10, 0x00]);
}

#[test]
fn numbers_are_told_in_words() {
    let cases = [
        (with_data(6, 2, &[]), "Cease/Administrative Shutdown"),
        (with_data(6, 2, b"\x0cback at noon"), "Cease/Administrative Shutdown: back at noon"),
        (with_data(6, 4, b"\x04a\nb\x1b"), "Cease/Administrative Reset: ab"),
        (with_data(4, 0, &[]), "Hold Timer Expired"),
        (
            with_data(5, 1, &[2]),
            "Finite State Machine Error/Receive Unexpected Message in OpenSent State",
        ),
        (with_data(2, 2, &[]), "OPEN Message Error/Bad Peer AS"),
        (with_data(7, 1, &[]), "ROUTE-REFRESH Message Error/Invalid Message Length"),
        (with_data(6, 77, &[]), "Cease/subcode 77"),
        (with_data(99, 3, &[]), "error code 99/subcode 3"),
    ];
    for (notification, words) in cases {
        assert_eq!(notification.to_string(), words);
    }
}

#[test]
fn a_communication_that_cannot_be_read_is_left_out() {
    for data in [&b"\x05ab"[..], b"\x02\xff\xfe", b"\x00", b""] {
        assert_eq!(with_data(6, 2, data).communication(), None, "{data:?}");
    }
    // Only a shutdown and a reset carry one (RFC 9003, 2).
    assert_eq!(with_data(6, 3, b"\x02ab").communication(), None);
}

#[test]
fn a_route_refresh_names_its_family() {
    for (family, afi) in [(Family::Ipv4Unicast, 1), (Family::Ipv6Unicast, 2)] {
        for (meant, subtype) in [
            (RouteRefresh::Request(family), 0),
            (RouteRefresh::Begin(family), 1),
            (RouteRefresh::End(family), 2),
        ] {
            let golden = message(5, &[0, afi, subtype, 1]);
            assert_eq!(refresh::encode(meant), golden);
            assert_eq!(refresh::decode(&body(&golden), true).unwrap(), Some(meant));
            // Without RFC 7313 the octet is reserved, and to be ignored (RFC 2918, 3).
            let plain = Some(RouteRefresh::Request(family));
            assert_eq!(refresh::decode(&body(&golden), false).unwrap(), plain);
        }
    }
}

#[test]
fn a_route_refresh_that_asks_for_nothing_known_is_ignored() {
    // An unknown AFI, an unknown SAFI, a subtype of the future.
    for octets in [[0, 99, 0, 1], [0, 1, 0, 99], [0, 99, 1, 1], [0, 1, 9, 1]] {
        assert_eq!(refresh::decode(&body(&message(5, &octets)), true).unwrap(), None);
    }
}

#[test]
fn a_route_refresh_of_a_wrong_length_is_an_error_of_its_own_only_where_it_is_a_mark() {
    // The body, and whether it is a mark.
    let cases: [(&[u8], bool); 7] = [
        (&[], false),
        (&[0, 1], false),
        (&[0, 1, 1], true),
        (&[0, 1, 0, 1, 0], false),
        (&[0, 1, 1, 1, 0], true),
        (&[0, 1, 2, 1, 0, 0], true),
        (&[0, 1, 9, 1, 0], false),
    ];
    for (octets, is_mark) in cases {
        let whole = message(5, octets);
        let length = (1, 2, whole[16..18].to_vec());
        let expected = if is_mark { (7, 1, whole.clone()) } else { length.clone() };
        assert_eq!(told(refresh::decode(&body(&whole), true)), expected, "{octets:?}");
        assert_eq!(told(refresh::decode(&body(&whole), false)), length, "{octets:?}");
    }
}
