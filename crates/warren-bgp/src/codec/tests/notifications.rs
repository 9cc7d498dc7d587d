use super::super::{notification, refresh};
use super::{body, message};
use crate::message::{Family, Notification};

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
    let golden = message(5, &[0, 1, 0, 1]);
    assert_eq!(refresh::encode(Family::Ipv4Unicast), golden);
    assert_eq!(refresh::decode(body(&golden)).unwrap(), Some(Family::Ipv4Unicast));
    let golden = message(5, &[0, 2, 0, 1]);
    assert_eq!(refresh::encode(Family::Ipv6Unicast), golden);
    assert_eq!(refresh::decode(body(&golden)).unwrap(), Some(Family::Ipv6Unicast));
}

#[test]
fn a_route_refresh_that_asks_for_nothing_known_is_ignored() {
    // An unknown AFI, an unknown SAFI, the markers of RFC 7313, a subtype of the future.
    for octets in [[0, 99, 0, 1], [0, 1, 0, 99], [0, 1, 1, 1], [0, 1, 2, 1], [0, 1, 9, 1]] {
        assert_eq!(refresh::decode(body(&message(5, &octets))).unwrap(), None);
    }
}
