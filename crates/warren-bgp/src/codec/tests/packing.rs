//! How routes are put into messages of bounded length.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::update::{UpdateContext, decode, encode};
use super::body;
use super::updates::{NLRI, announcement, attributes, extended, internal, message_of, net};
use crate::message::{AsPathSegment, Attributes, Family, UnknownAttribute, Update};

#[test]
fn many_routes_of_ipv6_are_packed_into_full_messages() {
    let both = UpdateContext { families: vec![Family::Ipv6Unicast], ..internal() };
    let announced: Vec<ipnetwork::IpNetwork> =
        (0..2000_u32).map(|i| net(&format!("2001:db8:{i:x}::/64"))).collect();
    let next_hop = "2001:db8::2".parse().unwrap();
    let update = Update {
        announced: announced.clone(),
        attributes: Some(Arc::new(Attributes { next_hop, ..attributes() })),
        ..Update::default()
    };
    let messages = encode(&update, &both);
    assert!(messages.iter().all(|message| message.len() <= 4096));
    assert_eq!(messages.len(), 5, "as few as they need");
    let read: Vec<_> = messages
        .iter()
        .flat_map(|message| decode(body(message), &both).unwrap().updates)
        .flat_map(|update| update.announced)
        .collect();
    assert_eq!(read, announced);
}

#[test]
fn many_routes_are_packed_into_full_messages() {
    let prefixes: Vec<ipnetwork::IpNetwork> = (0..3000_u32)
        .map(|i| ipnetwork::Ipv4Network::new((0x0a00_0000 + (i << 6)).into(), 26).unwrap().into())
        .collect();
    let update = Update {
        withdrawn: prefixes.clone(),
        announced: prefixes.clone(),
        attributes: Some(Arc::new(attributes())),
        ..Update::default()
    };
    let messages = encode(&update, &internal());
    let mut withdrawn = Vec::new();
    let mut announced = Vec::new();
    for message in &messages {
        assert!(message.len() <= 4096);
        for update in decode(body(message), &internal()).unwrap().updates {
            assert!(update.withdrawn.is_empty() || announced.is_empty(), "withdrawals first");
            withdrawn.extend(update.withdrawn);
            announced.extend(update.announced);
        }
    }
    assert_eq!((&withdrawn, &announced), (&prefixes, &prefixes));
    // 814 withdrawn fit into 4096 - 23 octets at 5 each, 810 announced beside 21 of attributes.
    assert_eq!(messages.len(), 4 + 4);
}

#[test]
fn routes_whose_attributes_cannot_be_sent_are_withdrawn_instead() {
    let expected = message_of(NLRI, &[], &[]);
    let too_long = vec![UnknownAttribute { flags: 0xc0, code: 99, value: vec![0; 4050] }];
    let unsendable = [
        Attributes { unknown: too_long, ..attributes() },
        Attributes { as_path: vec![AsPathSegment::Set(vec![65000])], ..attributes() },
        Attributes { next_hop: IpAddr::V6([0x20; 16].into()), ..attributes() },
    ];
    for attributes in unsendable {
        assert_eq!(encode(&announcement(attributes), &internal()), std::slice::from_ref(&expected));
    }
}

#[test]
fn attributes_that_fill_the_message_leave_room_for_one_prefix() {
    // 21 octets of others and 4 of its own header: 4096 - 23 - 21 - 4 - 5 are left.
    for (length, fits) in [(4043, true), (4044, false)] {
        let unknown = vec![UnknownAttribute { flags: 0xc0, code: 99, value: vec![0; length] }];
        let messages = encode(&announcement(Attributes { unknown, ..attributes() }), &internal());
        assert_eq!(messages[0].len() == 4096, fits, "{length}");
    }
}

#[test]
fn only_attributes_that_need_it_make_a_message_longer_than_others_can_take() {
    let announced: Vec<_> =
        (0..2000_u32).map(|n| net(&format!("10.{}.{}.0/24", n >> 8, n & 255))).collect();
    let of = |length: usize| {
        let unknown = vec![UnknownAttribute { flags: 0xe0, code: 99, value: vec![0; length] }];
        let attributes = Some(Arc::new(Attributes { unknown, ..attributes() }));
        Update { announced: announced.clone(), attributes, ..Update::default() }
    };
    for (length, longest) in [(3000, 4096), (4096, 65535), (65000, 65535), (66000, 4096)] {
        let messages = encode(&of(length), &extended());
        assert!(messages.iter().all(|it| it.len() <= longest), "{length}");
        let read: Vec<Update> = messages
            .iter()
            .flat_map(|it| decode(it.slice(19..), &extended()).unwrap().updates)
            .collect();
        let announced = read.iter().map(|it| it.announced.len()).sum::<usize>();
        let withdrawn = read.iter().map(|it| it.withdrawn.len()).sum::<usize>();
        // What does not fit even so takes the routes away from the peer.
        let expected = if length < 66000 { (2000, 0) } else { (0, 2000) };
        assert_eq!((announced, withdrawn), expected, "{length}");
        let fits_others = encode(&of(length), &internal());
        assert!(fits_others.iter().all(|it| it.len() <= 4096), "{length}");
    }
    // Without attributes nothing is long.
    let withdrawn = Update { withdrawn: announced.clone(), ..Update::default() };
    assert!(encode(&withdrawn, &extended()).iter().all(|it| it.len() <= 4096));
}
