use super::super::open::{decode, encode, encode_capabilities};
use super::{body, message, told};
use crate::message::{AddPath, Capability, Family, GracefulRestart, LongLived, Open};

/// Version, AS 64512, hold time 90, 10.0.0.1, then the parameters with their length.
fn open(parameters: &[u8]) -> Vec<u8> {
    let mut octets = vec![4, 0xfc, 0x00, 0, 90, 10, 0, 0, 1, parameters.len() as u8];
    octets.extend(parameters);
    message(1, &octets)
}

#[test]
fn an_open_with_the_capabilities_that_are_used() {
    let it = Open {
        as_number: 64512,
        hold_time: 90,
        router_id: [10, 0, 0, 1].into(),
        capabilities: vec![
            Capability::Multiprotocol(Family::Ipv4Unicast),
            Capability::RouteRefresh,
            Capability::FourOctetAs(64512),
        ],
    };
    let golden = open(&[2, 14, 1, 4, 0, 1, 0, 1, 2, 0, 65, 4, 0x00, 0x00, 0xfc, 0x00]);
    assert_eq!(encode(&it).unwrap(), golden);
    assert_eq!(decode(body(&golden)).unwrap(), it);
}

#[test]
fn an_as_number_of_four_octets_travels_in_the_capability() {
    let it = Open {
        as_number: 4_200_000_001,
        hold_time: 0,
        router_id: [10, 0, 0, 1].into(),
        capabilities: vec![Capability::FourOctetAs(4_200_000_001)],
    };
    let octets = encode(&it).unwrap();
    assert_eq!(octets[20..22], 23456_u16.to_be_bytes());
    assert_eq!(decode(body(&octets)).unwrap(), it);
}

#[test]
fn an_open_without_parameters_is_fine() {
    let it = decode(body(&open(&[]))).unwrap();
    assert_eq!((it.as_number, it.hold_time, it.capabilities), (64512, 90, vec![]));
}

#[test]
fn capabilities_in_parameters_of_their_own_are_found() {
    let it = decode(body(&open(&[2, 2, 2, 0, 2, 6, 65, 4, 0, 0, 0xfc, 0]))).unwrap();
    let expected = [Capability::RouteRefresh, Capability::FourOctetAs(64512)];
    assert_eq!(it.capabilities, expected);
}

#[test]
fn parameters_in_the_form_for_many_of_them_are_read() {
    // RFC 9072: 255, 255, a length of two octets, and so has the parameter.
    let mut octets = vec![4, 0xfc, 0x00, 0, 90, 10, 0, 0, 1, 255, 255, 0, 5, 2, 0, 2, 2, 0];
    octets = message(1, &octets);
    assert_eq!(decode(body(&octets)).unwrap().capabilities, [Capability::RouteRefresh]);
}

#[test]
fn graceful_restart_is_read_and_written() {
    // Restarted, with the N bit, 300 s; IPv4 went on, IPv6 did not, labels are not ours.
    let octets = [64, 14, 0xc1, 0x2c, 0, 1, 1, 0x80, 0, 2, 1, 0, 0, 1, 4, 0x80];
    let mut parameters = vec![2, octets.len() as u8];
    parameters.extend(octets);
    let families = vec![(Family::Ipv4Unicast, true), (Family::Ipv6Unicast, false)];
    let restart =
        GracefulRestart { restarting: true, notification: true, restart_time: 300, families };
    let expected = [Capability::GracefulRestart(restart)];
    let read = decode(body(&open(&parameters))).unwrap();
    assert_eq!(read.capabilities, expected);
    assert_eq!(decode(body(&encode(&read).unwrap())).unwrap().capabilities, expected);
}

#[test]
fn long_lived_graceful_restart_is_read_and_written() {
    // IPv4 went on, an hour; IPv6 did not, as long as can be; a family that is not ours, and one of nobody;
    // the bits that are reserved mean nothing.
    let octets = [
        [0, 1, 1, 0x80, 0x00, 0x0e, 0x10],
        [0, 2, 1, 0x7f, 0xff, 0xff, 0xff],
        [0, 25, 70, 0x80, 0, 0, 1],
        [0x33, 0x33, 9, 0x80, 0, 0, 1],
    ]
    .concat();
    let parameters = [&[2, 30, 71, 28][..], &octets].concat();
    let tuple = |family, forwarding, stale_time| LongLived { family, forwarding, stale_time };
    let expected = [Capability::LongLivedGracefulRestart(vec![
        tuple(Family::Ipv4Unicast, true, 3600),
        tuple(Family::Ipv6Unicast, false, 0xff_ffff),
    ])];
    let read = decode(body(&open(&parameters))).unwrap();
    assert_eq!(read.capabilities, expected);
    let written = encode(&read).unwrap();
    assert_eq!(written[31..33], [71, 14]);
    assert_eq!(written[33..40], octets[..7]);
    assert_eq!(decode(body(&written)).unwrap().capabilities, expected);
    // One that keeps the routes of others only, as BIRD does.
    let read = decode(body(&open(&[2, 2, 71, 0]))).unwrap();
    assert_eq!(read.capabilities, [Capability::LongLivedGracefulRestart(vec![])]);
}

#[test]
fn what_is_done_with_several_paths_is_read_and_written() {
    // IPv4 is received, IPv6 sent and received; one that is not ours is sent, and one of nobody.
    let octets = [69, 16, 0, 1, 1, 1, 0, 2, 1, 3, 0, 25, 70, 2, 0x33, 0x33, 9, 2];
    let parameters = [&[2, octets.len() as u8][..], &octets].concat();
    let families =
        vec![(Family::Ipv4Unicast, AddPath::Receive), (Family::Ipv6Unicast, AddPath::Both)];
    let expected = [Capability::AddPath(families)];
    let read = decode(body(&open(&parameters))).unwrap();
    assert_eq!(read.capabilities, expected);
    let written = encode(&read).unwrap();
    assert_eq!(written[31..], [69, 8, 0, 1, 1, 1, 0, 2, 1, 3]);
    assert_eq!(decode(body(&written)).unwrap().capabilities, expected);
}

#[test]
fn a_capability_that_is_not_used_keeps_its_value() {
    let cases: [(&[u8], Capability); 9] = [
        // No direction of RFC 7911, 4, and lengths that it cannot have.
        (&[69, 4, 0, 1, 1, 4], Capability::Other { code: 69, value: vec![0, 1, 1, 4] }),
        (&[69, 3, 0, 1, 1], Capability::Other { code: 69, value: vec![0, 1, 1] }),
        (&[69, 5, 0, 1, 1, 1, 0], Capability::Other { code: 69, value: vec![0, 1, 1, 1, 0] }),
        // Link-local next hops, which the package knows.
        (&[77, 0], Capability::Other { code: 77, value: vec![] }),
        // A family that this speaker does not know, and one that nobody knows.
        (&[1, 4, 0, 25, 0, 70], Capability::Other { code: 1, value: vec![0, 25, 0, 70] }),
        (&[1, 4, 0x33, 0x33, 0, 9], Capability::Other { code: 1, value: vec![0x33, 0x33, 0, 9] }),
        // A length that it cannot have.
        (&[65, 2, 1, 2], Capability::Other { code: 65, value: vec![1, 2] }),
        (&[71, 1, 0], Capability::Other { code: 71, value: vec![0] }),
        (
            &[71, 8, 0, 1, 1, 0x80, 0, 0, 9, 0],
            Capability::Other { code: 71, value: vec![0, 1, 1, 0x80, 0, 0, 9, 0] },
        ),
    ];
    for (octets, capability) in cases {
        let mut parameters = vec![2, octets.len() as u8];
        parameters.extend(octets);
        assert_eq!(decode(body(&open(&parameters))).unwrap().capabilities, [capability]);
    }
}

#[test]
fn another_version_is_told_which_one_is_spoken() {
    for version in [0, 3, 5, 255] {
        let mut octets = open(&[]);
        octets[19] = version;
        assert_eq!(told(decode(body(&octets))), (2, 1, vec![0, 4]));
    }
}

#[test]
fn a_parameter_that_is_no_capability_is_unsupported() {
    assert_eq!(told(decode(body(&open(&[1, 1, 0])))), (2, 4, vec![]));
}

#[test]
fn parameters_that_cannot_be_read_are_an_unspecific_error() {
    let cases: [&[u8]; 4] = [
        // Cut within the parameter's header, its value, a capability's header, its value.
        &[2],
        &[2, 4, 2, 0],
        &[2, 1, 65],
        &[2, 4, 65, 4, 0, 0],
    ];
    for parameters in cases {
        assert_eq!(told(decode(body(&open(parameters)))), (2, 0, vec![]), "{parameters:?}");
    }
    // More octets than the length says, and fewer.
    for length in [0, 9] {
        let mut octets = open(&[2, 2, 2, 0]);
        octets[28] = length;
        assert_eq!(told(decode(body(&octets))), (2, 0, vec![]), "length {length}");
    }
}

#[test]
fn the_capability_that_is_missing_is_spelled_out() {
    let missing = [Capability::Multiprotocol(Family::Ipv4Unicast)];
    assert_eq!(encode_capabilities(&missing), [1, 4, 0, 1, 0, 1]);
}
