use proptest::prelude::*;

use super::*;

/// A packet that BIRD 2.0.12 sent: Up, P, multiplier 5, 24 octets, both discriminators, 100 ms, 10 ms, no
/// echo.
const OF_BIRD: [u8; 24] = [
    0x20, 0xe0, 0x05, 0x18, 0x71, 0xaf, 0x46, 0x9c, 0x39, 0x81, 0xfe, 0x7a, 0x00, 0x01, 0x86, 0xa0,
    0x00, 0x00, 0x27, 0x10, 0x00, 0x00, 0x00, 0x00,
];

fn with(changes: &[(usize, u8)]) -> Vec<u8> {
    let mut octets = OF_BIRD.to_vec();
    for (index, octet) in changes {
        octets[*index] = *octet;
    }
    octets
}

/// A packet of a peer that has not heard this end.
pub(crate) fn packet(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        has_authentication: false,
        demand: false,
        detect_mult: NonZeroU8::new(3).unwrap(),
        my_discriminator: Discriminator::new(77).unwrap(),
        your_discriminator: None,
        desired_min_tx: Interval::from_millis(300),
        required_min_rx: Interval::from_millis(300),
        required_min_echo_rx: Interval::ZERO,
    }
}

#[test]
fn every_field_is_where_the_rfc_has_it() {
    let decoded = Packet::decode(&OF_BIRD).unwrap();
    let expected = Packet {
        poll: true,
        detect_mult: NonZeroU8::new(5).unwrap(),
        my_discriminator: Discriminator::new(0x71af_469c).unwrap(),
        your_discriminator: Discriminator::new(0x3981_fe7a),
        desired_min_tx: Interval::from_millis(100),
        required_min_rx: Interval::from_millis(10),
        ..packet(State::Up)
    };
    assert_eq!(decoded, expected);
    assert_eq!(expected.encode(), OF_BIRD);
}

#[test]
fn every_state_flag_and_diagnostic_is_told_apart() {
    for (bits, state) in [(0, State::AdminDown), (1, State::Down), (2, State::Init), (3, State::Up)]
    {
        assert_eq!(Packet::decode(&with(&[(1, bits << 6)])).unwrap().state, state);
    }
    let flags = |flags: u8| {
        let packet = Packet::decode(&[&with(&[(1, flags), (3, 26)]), &[0_u8; 2][..]].concat());
        let packet = packet.unwrap();
        [
            packet.poll,
            packet.is_final,
            packet.control_plane_independent,
            packet.has_authentication,
            packet.demand,
        ]
    };
    for (index, flag) in [0x20, 0x10, 0x08, 0x04, 0x02].into_iter().enumerate() {
        let mut expected = [false; 5];
        expected[index] = true;
        assert_eq!(flags(flag), expected);
    }
    for code in 0..32 {
        let packet = Packet::decode(&with(&[(0, 0x20 | code)])).unwrap();
        assert_eq!(packet.diagnostic.code(), code);
    }
    assert_eq!(Diagnostic::PATH_DOWN.to_string(), "path down");
    assert_eq!(Diagnostic::from_code(31).to_string(), "diagnostic 31");
}

#[test]
fn the_checks_are_made_in_the_order_of_6_8_6() {
    // Each packet fails one check and all those after it.
    let mut octets = with(&[(0, 0x00), (1, 0x01), (2, 0), (3, 0)]);
    octets[4..8].fill(0);
    let repairs: [(Discard, &[(usize, u8)]); 6] = [
        (Discard::Version, &[(0, 0x20)]),
        (Discard::LengthTooSmall, &[(3, 25)]),
        (Discard::LengthBeyondPayload, &[(3, 24)]),
        (Discard::DetectMultZero, &[(2, 1)]),
        (Discard::Multipoint, &[(1, 0x00)]),
        (Discard::MyDiscriminatorZero, &[(7, 1)]),
    ];
    for (expected, repair) in repairs {
        assert_eq!(Packet::decode(&octets), Err(expected));
        for (index, octet) in repair {
            octets[*index] = *octet;
        }
    }
    Packet::decode(&octets).unwrap();
}

#[test]
fn the_length_must_hold_what_the_flags_promise_and_be_there() {
    let short = |changes: &[(usize, u8)]| Packet::decode(&with(changes)).unwrap_err();
    assert_eq!(short(&[(3, 23)]), Discard::LengthTooSmall);
    assert_eq!(short(&[(1, 0xc4), (3, 25)]), Discard::LengthTooSmall, "26 with authentication");
    assert_eq!(short(&[(1, 0xc4), (3, 26)]), Discard::LengthBeyondPayload);
    for length in 0..4 {
        assert_eq!(Packet::decode(&OF_BIRD[..length]), Err(Discard::LengthTooSmall));
    }
    for length in 4..24 {
        assert_eq!(Packet::decode(&OF_BIRD[..length]), Err(Discard::LengthBeyondPayload));
    }
    // Octets after the packet are none of it.
    Packet::decode(&[&OF_BIRD[..], &[0xff; 40]].concat()).unwrap();
}

#[test]
fn intervals_are_microseconds() {
    assert_eq!(Interval::from_millis(300).as_duration(), Duration::from_millis(300));
    assert_eq!(Interval::from_millis(u32::MAX).as_micros(), u32::MAX);
}

proptest! {
    #[test]
    fn any_octets_are_taken_or_discarded(octets in prop::collection::vec(any::<u8>(), 0..64)) {
        // 26 in the fourth makes what passes more likely.
        for octets in [octets.clone(), octets.iter().enumerate().map(|(i, o)| match i {
            0 => 0x20 | o & 0x1f,
            3 => 24,
            _ => *o,
        }).collect()] {
            if let Ok(packet) = Packet::decode(&octets) {
                let again = Packet::decode(&packet.encode()).unwrap();
                prop_assert_eq!(again, Packet { has_authentication: false, ..packet });
            }
        }
    }
}
