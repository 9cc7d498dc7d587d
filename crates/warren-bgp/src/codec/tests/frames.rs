use super::super::{Framer, KEEPALIVE, MessageType};
use super::{frame, message, told};

#[test]
fn a_keepalive_is_nineteen_octets() {
    let golden = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x00, 0x13, 0x04,
    ];
    assert_eq!(KEEPALIVE, golden);
    assert_eq!(frame(&golden).unwrap().unwrap().kind, MessageType::Keepalive);
}

#[test]
fn messages_are_found_however_the_stream_is_cut() {
    let mut stream = KEEPALIVE.to_vec();
    stream.extend(message(3, &[6, 2]));
    stream.extend(message(5, &[0, 1, 0, 1]));
    for size in 1..stream.len() {
        let mut framer = Framer::default();
        let mut kinds = Vec::new();
        for piece in stream.chunks(size) {
            framer.push(piece);
            while let Some(frame) = framer.next_frame().unwrap() {
                kinds.push((frame.kind, frame.body.len()));
            }
        }
        let expected = [
            (MessageType::Keepalive, 0),
            (MessageType::Notification, 2),
            (MessageType::RouteRefresh, 4),
        ];
        assert_eq!(kinds, expected, "in pieces of {size}");
    }
}

#[test]
fn a_marker_that_is_not_all_ones_is_not_synchronized() {
    for position in 0..16 {
        let mut octets = KEEPALIVE;
        octets[position] = 0xfe;
        assert_eq!(told(frame(&octets)), (1, 1, vec![]));
    }
}

#[test]
fn another_protocol_is_told_after_its_first_octet() {
    assert_eq!(told(frame(b"G")), (1, 1, vec![]));
}

#[test]
fn a_length_that_no_message_has_is_named_in_the_notification() {
    for length in [0_u16, 18, 4097, 0xffff] {
        let mut octets = KEEPALIVE;
        octets[16..18].copy_from_slice(&length.to_be_bytes());
        assert_eq!(told(frame(&octets)), (1, 2, length.to_be_bytes().to_vec()), "{length}");
    }
}

#[test]
fn a_length_that_its_type_cannot_have_is_named_in_the_notification() {
    // Type, length.
    let cases = [(1, 28), (2, 22), (3, 20), (4, 20)];
    for (kind, length) in cases {
        let octets = message(kind, &vec![0; length - 19]);
        assert_eq!(told(frame(&octets)), (1, 2, vec![0, length as u8]), "type {kind}");
    }
}

#[test]
fn the_bad_length_is_told_before_the_bad_type() {
    let mut octets = message(9, &[]);
    octets[16..18].copy_from_slice(&[0x10, 0x01]);
    assert_eq!(told(frame(&octets)), (1, 2, vec![0x10, 0x01]));
}

#[test]
fn a_type_that_does_not_exist_is_named_in_the_notification() {
    for kind in [0, 6, 255] {
        assert_eq!(told(frame(&message(kind, &[]))), (1, 3, vec![kind]));
    }
}

#[test]
fn the_longest_message_is_taken() {
    let octets = message(2, &[0; 4096 - 19]);
    assert_eq!(frame(&octets).unwrap().unwrap().body.len(), 4096 - 19);
}

#[test]
fn all_but_open_and_keepalive_may_be_longer_once_the_peer_was_told_so() {
    for kind in 1..=5 {
        for length in [4097_u16, 65535] {
            let octets = message(kind, &vec![0; usize::from(length) - 19]);
            let bad_length = (1, 2, length.to_be_bytes().to_vec());
            assert_eq!(told(frame(&octets)), bad_length, "type {kind}");
            let mut framer = Framer::default();
            framer.take_extended();
            framer.push(&octets);
            match kind {
                1 | 4 => assert_eq!(told(framer.next_frame()), bad_length, "type {kind}"),
                _ => {
                    let frame = framer.next_frame().unwrap().unwrap();
                    assert_eq!(frame.body.len(), octets.len() - 19);
                }
            }
        }
    }
}
