//! What is wrong in an UPDATE, and what it costs (RFC 7606).

use super::super::update::decode;
use super::updates::{
    AS_PATH, LOCAL_PREF, NEXT_HOP, NLRI, ORIGIN, attributes, discarded, internal, message_of, net,
    read, treated_as_withdraw, with,
};
use super::{body, told};

#[test]
fn an_internal_route_needs_all_four_attributes() {
    let all = [(1, ORIGIN), (2, AS_PATH), (3, NEXT_HOP), (5, LOCAL_PREF)];
    for (missing, _) in all {
        let rest: Vec<&[u8]> =
            all.iter().filter(|(code, _)| *code != missing).map(|(_, octets)| *octets).collect();
        assert_eq!(treated_as_withdraw(&internal(), &rest), (3, 3, vec![missing]));
    }
}

#[test]
fn a_next_hop_that_is_no_host_withdraws_the_routes() {
    for address in [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 5],
        [240, 0, 0, 1],
        [255, 255, 255, 255],
    ] {
        let next_hop = [&[0x40, 3, 4], &address[..]].concat();
        let list = [ORIGIN, AS_PATH, &next_hop, LOCAL_PREF];
        assert_eq!(treated_as_withdraw(&internal(), &list), (3, 8, address.to_vec()));
    }
}

#[test]
fn malformed_attributes_withdraw_the_routes_and_keep_the_session() {
    // The attribute, and the subcode of RFC 4271, 6.3.
    let cases: [(&[u8], u8); 17] = [
        (&[0x40, 1, 1, 3], 6),
        (&[0x40, 1, 2, 0, 0], 5),
        (&[0xc0, 1, 1, 0], 4),
        // A segment of a type that does not exist, one that is cut short, AS 0 (RFC 7607), a set
        // (RFC 9774).
        (&[0x40, 2, 6, 9, 1, 0, 0, 0xfd, 0xe8], 11),
        (&[0x40, 2, 6, 2, 2, 0, 0, 0xfd, 0xe8], 11),
        (&[0x40, 2, 6, 2, 1, 0, 0, 0, 0], 11),
        (&[0x40, 2, 6, 1, 1, 0, 0, 0xfd, 0xe8], 11),
        (&[0x80, 2, 0], 4),
        (&[0x40, 3, 3, 10, 0, 0], 5),
        (&[0x40, 5, 3, 0, 0, 1], 5),
        (&[0x80, 4, 2, 0, 1], 5),
        (&[0xc0, 4, 4, 0, 0, 0, 1], 4),
        (&[0x80, 6, 0], 4),
        (&[0xc0, 8, 3, 1, 2, 3], 5),
        (&[0xc0, 8, 0], 5),
        (&[0xc0, 32, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 5),
        // Claims to be well-known, and is not.
        (&[0x40, 99, 1, 7], 2),
    ];
    for (bad, subcode) in cases {
        let told = treated_as_withdraw(&internal(), &with(bad));
        assert_eq!(told, (3, subcode, bad.to_vec()), "{bad:?}");
    }
    assert_eq!(treated_as_withdraw(&internal(), &with(&[0x40, 2, 2, 2, 0])), (3, 11, vec![]));
}

#[test]
fn an_attribute_that_overruns_the_list_withdraws_the_routes() {
    for bad in [&[0x40][..], &[0x40, 8], &[0xd0, 8, 0], &[0xc0, 8, 9, 0]] {
        let mut list = vec![ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF];
        list.push(bad);
        assert_eq!(treated_as_withdraw(&internal(), &list), (3, 1, vec![]), "{bad:?}");
    }
}

#[test]
fn attributes_that_select_nothing_are_discarded_when_malformed() {
    assert_eq!(discarded(&internal(), &with(&[0x40, 6, 1, 0])), attributes());
    assert_eq!(discarded(&internal(), &with(&[0xc0, 7, 6, 1, 2, 3, 4, 5, 6])), attributes());
    // The second of two with the same code (RFC 7606, 3 (g)).
    let list = [ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF, &[0x40, 1, 1, 2]];
    assert_eq!(discarded(&internal(), &list), attributes());
}

#[test]
fn the_strongest_of_several_errors_counts() {
    let list = [ORIGIN, AS_PATH, NEXT_HOP, &[0x40, 5, 1, 0], &[0x40, 6, 1, 0]];
    let decoded = read(&internal(), &list);
    assert_eq!(decoded.updates[0].withdrawn, [net("10.244.1.0/26")]);
    assert!(decoded.malformed.len() >= 2);
}

#[test]
fn lengths_that_contradict_each_other_end_the_session() {
    let good = message_of(&[24, 10, 1, 2], &[ORIGIN], NLRI);
    // The withdrawn routes, then the attributes, claim more than there is.
    for (position, length) in [(20, 200), (20, 12), (26, 200)] {
        let mut octets = good.clone();
        octets[position] = length;
        assert_eq!(told(decode(body(&octets), &internal())), (3, 1, vec![]));
    }
}

#[test]
fn prefixes_that_cannot_be_read_end_the_session() {
    let list = [ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF];
    for bad in [&[33, 10, 0, 0, 0, 0][..], &[24, 10, 0], &[26, 10, 244, 1, 0, 8]] {
        let announced = decode(body(&message_of(&[], &list, bad)), &internal());
        assert_eq!(told(announced).1, 10, "{bad:?}");
        let withdrawn = decode(body(&message_of(bad, &[], &[])), &internal());
        let (code, subcode, data) = told(withdrawn);
        assert_eq!((code, subcode), (3, 10), "{bad:?}");
        assert!(bad.ends_with(&data) || bad.starts_with(&data), "{data:?}");
    }
}

#[test]
fn an_error_in_attributes_without_prefixes_ends_the_session() {
    // RFC 7606, 5.2: perhaps it is the prefixes that were lost.
    let octets = message_of(&[24, 10, 1, 2], &[&[0x40, 1, 1, 3]], &[]);
    assert_eq!(told(decode(body(&octets), &internal())), (3, 6, vec![0x40, 1, 1, 3]));
    // Not so where the attribute alone is lost.
    let octets = message_of(&[24, 10, 1, 2], &[&[0x40, 6, 1, 3]], &[]);
    let decoded = decode(body(&octets), &internal()).unwrap();
    assert_eq!(decoded.updates[0].withdrawn, [net("10.1.2.0/24")]);
}

#[test]
fn a_malformed_multiprotocol_attribute_ends_the_session() {
    // A next hop of three octets; a prefix that is cut short; the same attribute twice.
    let short = &[0x80, 14, 9, 0, 1, 1, 3, 1, 2, 3, 0, 0][..];
    let cut = &[0x80, 14, 11, 0, 1, 1, 4, 192, 168, 0, 9, 0, 16, 10][..];
    for bad in [short, cut] {
        let octets = message_of(&[], &[ORIGIN, AS_PATH, LOCAL_PREF, bad], &[]);
        assert_eq!(told(decode(body(&octets), &internal())), (3, 9, bad.to_vec()));
    }
    let good = &[0x80, 14, 12, 0, 1, 1, 4, 192, 168, 0, 9, 0, 16, 10, 5][..];
    let octets = message_of(&[], &[ORIGIN, AS_PATH, LOCAL_PREF, good, good], &[]);
    assert_eq!(told(decode(body(&octets), &internal())), (3, 1, vec![]));
}
