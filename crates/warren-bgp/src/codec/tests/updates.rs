use std::net::IpAddr;
use std::sync::Arc;

use super::super::update::{UpdateContext, decode, encode};
use super::super::{Consequence, Decoded};
use super::{body, message, told};
use crate::message::{
    AsPathSegment, Attributes, ExtendedCommunity, Family, LargeCommunity, Origin, UnknownAttribute,
    Update,
};

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 0];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 168, 0, 2];
const LOCAL_PREF: &[u8] = &[0x40, 5, 4, 0, 0, 0, 100];
/// 10.244.1.0/26.
const NLRI: &[u8] = &[26, 10, 244, 1, 0];

fn internal() -> UpdateContext {
    UpdateContext {
        four_octet_as: true,
        internal: true,
        families: vec![Family::Ipv4Unicast],
        extended_messages: false,
        loopback_next_hops: false,
    }
}

fn external() -> UpdateContext {
    UpdateContext { internal: false, ..internal() }
}

fn extended() -> UpdateContext {
    UpdateContext { extended_messages: true, ..internal() }
}

fn message_of(withdrawn: &[u8], attributes: &[&[u8]], nlri: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let mut octets = (withdrawn.len() as u16).to_be_bytes().to_vec();
    octets.extend(withdrawn);
    octets.extend((attributes.len() as u16).to_be_bytes());
    octets.extend(attributes);
    octets.extend(nlri);
    message(2, &octets)
}

fn read(context: &UpdateContext, attributes: &[&[u8]]) -> Decoded {
    decode(body(&message_of(&[], attributes, NLRI)), context).unwrap()
}

fn net(text: &str) -> ipnetwork::IpNetwork {
    text.parse().unwrap()
}

fn attributes() -> Attributes {
    Attributes { local_pref: Some(100), ..Attributes::via([192, 168, 0, 2].into()) }
}

fn announcement(attributes: Attributes) -> Update {
    Update {
        withdrawn: vec![],
        announced: vec![net("10.244.1.0/26")],
        attributes: Some(Arc::new(attributes)),
        ..Update::default()
    }
}

/// The attributes of the one update that was read without any error.
fn clean(context: &UpdateContext, attributes: &[&[u8]]) -> Attributes {
    let decoded = read(context, attributes);
    assert_eq!(decoded.malformed, []);
    let [update] = <[Update; 1]>::try_from(decoded.updates).unwrap();
    assert_eq!(update.announced, [net("10.244.1.0/26")]);
    Arc::unwrap_or_clone(update.attributes.unwrap())
}

/// What RFC 4271 would have had the peer be told of the error that made the routes withdrawn.
fn treated_as_withdraw(context: &UpdateContext, attributes: &[&[u8]]) -> (u8, u8, Vec<u8>) {
    let decoded = read(context, attributes);
    let update = Update { withdrawn: vec![net("10.244.1.0/26")], ..Update::default() };
    assert_eq!(decoded.updates, [update], "{:?}", decoded.malformed);
    let fault = decoded.malformed.iter().max_by_key(|fault| fault.consequence).unwrap();
    assert_eq!(fault.consequence, Consequence::TreatAsWithdraw);
    let it = &decoded
        .malformed
        .iter()
        .find(|fault| fault.consequence == Consequence::TreatAsWithdraw)
        .unwrap()
        .error
        .notification;
    (it.code, it.subcode, it.data.clone())
}

fn discarded(context: &UpdateContext, attributes: &[&[u8]]) -> Attributes {
    let decoded = read(context, attributes);
    let consequences: Vec<Consequence> =
        decoded.malformed.iter().map(|fault| fault.consequence).collect();
    assert_eq!(consequences, [Consequence::AttributeDiscard]);
    Arc::unwrap_or_clone(decoded.updates[0].attributes.clone().unwrap())
}

#[test]
fn a_route_of_the_mesh_has_these_octets() {
    let golden = message_of(&[], &[ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF], NLRI);
    let update = announcement(attributes());
    let read = decode(body(&golden), &internal()).unwrap();
    assert_eq!(encode(&update, &internal()), [golden]);
    assert_eq!(read.updates, [update]);
}

#[test]
fn what_bird_sends_is_read_as_it_is_meant() {
    // BIRD 2.0.12 for 0.0.0.0/0, 10.244.1.0/26 and 10.244.9.0/24: octets that a reader which
    // guesses takes for other prefixes.
    let nlri = [0, 26, 10, 244, 1, 0, 24, 10, 244, 9];
    let octets = message_of(&[], &[ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF], &nlri);
    let decoded = decode(body(&octets), &internal()).unwrap();
    let expected = [net("0.0.0.0/0"), net("10.244.1.0/26"), net("10.244.9.0/24")];
    assert_eq!(decoded.updates[0].announced, expected);
}

#[test]
fn every_attribute_is_read_and_written_in_the_order_of_codes() {
    let list: [&[u8]; 12] = [
        &[0x40, 1, 1, 2],
        &[0x40, 2, 10, 2, 2, 0, 0, 0xfd, 0xe8, 0xfa, 0x56, 0xea, 0x01],
        NEXT_HOP,
        &[0x80, 4, 4, 0, 0, 0, 7],
        LOCAL_PREF,
        &[0x40, 6, 0],
        &[0xc0, 7, 8, 0, 0, 0xfd, 0xe8, 10, 0, 0, 9],
        &[0xc0, 8, 8, 0xff, 0xff, 0xff, 0x01, 0xfd, 0xe8, 0, 1],
        &[0x80, 9, 4, 10, 0, 0, 3],
        &[0x80, 10, 8, 10, 0, 0, 1, 10, 0, 0, 2],
        &[0xc0, 32, 12, 0, 0, 0xfd, 0xe8, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff],
        &[0xe0, 99, 2, 1, 2],
    ];
    let expected = Attributes {
        origin: Origin::Incomplete,
        as_path: vec![AsPathSegment::Sequence(vec![65000, 4_200_000_001])],
        med: Some(7),
        atomic_aggregate: true,
        aggregator: Some((65000, [10, 0, 0, 9].into())),
        communities: vec![0xffff_ff01, 0xfde8_0001],
        originator_id: Some([10, 0, 0, 3].into()),
        cluster_list: vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()],
        large_communities: vec![LargeCommunity(65000, 7, u32::MAX)],
        unknown: vec![UnknownAttribute { flags: 0xe0, code: 99, value: vec![1, 2] }],
        ..attributes()
    };
    assert_eq!(clean(&internal(), &list), expected);
    let written = encode(&announcement(expected), &internal());
    assert_eq!(written, [message_of(&[], &list, NLRI)]);
}

#[test]
fn what_a_reflector_adds_stays_within_the_as() {
    let reflected = Attributes {
        originator_id: Some([10, 0, 0, 3].into()),
        cluster_list: vec![[10, 0, 0, 1].into()],
        local_pref: None,
        ..attributes()
    };
    let plain = Attributes { local_pref: None, ..attributes() };
    let written = encode(&announcement(reflected), &external());
    assert_eq!(written, encode(&announcement(plain.clone()), &external()));
    let list: [&[u8]; 5] =
        [ORIGIN, AS_PATH, NEXT_HOP, &[0x80, 9, 4, 10, 0, 0, 3], &[0x80, 10, 4, 10, 0, 0, 1]];
    let decoded = decode(body(&message_of(&[], &list, NLRI)), &external()).unwrap();
    assert_eq!(decoded.updates, [announcement(plain)]);
}

#[test]
fn withdrawals_and_announcements_share_a_message() {
    let octets = message_of(&[24, 10, 1, 2], &[ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF], NLRI);
    let decoded = decode(body(&octets), &internal()).unwrap();
    let expected = Update { withdrawn: vec![net("10.1.2.0/24")], ..announcement(attributes()) };
    assert_eq!(decoded.updates, [expected]);
}

#[test]
fn bits_beyond_a_prefix_mean_nothing() {
    let octets = message_of(
        &[12, 10, 0xff],
        &[ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF],
        &[26, 10, 244, 1, 63],
    );
    let update = &decode(body(&octets), &internal()).unwrap().updates[0];
    assert_eq!(update.withdrawn, [net("10.240.0.0/12")]);
    assert_eq!(update.announced, [net("10.244.1.0/26")]);
}

#[test]
fn the_empty_update_is_the_end_of_rib_and_nothing_else_is() {
    let octets = message_of(&[], &[], &[]);
    let decoded = decode(body(&octets), &internal()).unwrap();
    let marker = Update::end_of_rib(Family::Ipv4Unicast);
    assert_eq!(encode(&marker, &internal()), [octets]);
    assert_eq!(decoded.updates, [marker]);
    let octets = message_of(&[], &[ORIGIN], &[]);
    assert_eq!(decode(body(&octets), &internal()).unwrap(), Decoded::default());
}

#[test]
fn a_lone_mp_unreach_nlri_that_withdraws_nothing_is_the_end_of_rib_of_its_family() {
    let marker = Update::end_of_rib(Family::Ipv6Unicast);
    let both =
        UpdateContext { families: vec![Family::Ipv4Unicast, Family::Ipv6Unicast], ..internal() };
    let octets = message_of(&[], &[&[0x90, 15, 0, 3, 0, 2, 1]], &[]);
    assert_eq!(encode(&marker, &both), std::slice::from_ref(&octets));
    assert_eq!(decode(body(&octets), &both).unwrap().updates, [marker]);
    // Of a family that was not agreed on it says nothing, and not the end of another one.
    assert_eq!(decode(body(&octets), &internal()).unwrap(), Decoded::default());
}

#[test]
fn routes_of_ipv6_go_both_ways_in_mp_reach_and_mp_unreach() {
    let both =
        UpdateContext { families: vec![Family::Ipv4Unicast, Family::Ipv6Unicast], ..internal() };
    let next_hop = "2001:db8::2".parse().unwrap();
    let update = Update {
        withdrawn: vec![net("2001:db8:1::/64")],
        announced: vec![net("2001:db8:2::/64"), net("2001:db8:3::1/128")],
        attributes: Some(Arc::new(Attributes { next_hop, ..attributes() })),
        ..Update::default()
    };
    let messages = encode(&update, &both);
    let read: Vec<Update> = messages
        .iter()
        .flat_map(|message| {
            let decoded = decode(body(message), &both).unwrap();
            assert_eq!(decoded.malformed, []);
            decoded.updates
        })
        .collect();
    let (withdrawn, announced) = (read[0].clone(), read[1].clone());
    assert_eq!(withdrawn, Update { withdrawn: update.withdrawn.clone(), ..Update::default() });
    assert_eq!(announced, Update { withdrawn: vec![], ..update.clone() });
    // MP_REACH_NLRI is the first attribute (RFC 7606, 5.1), and there is no NEXT_HOP.
    assert_eq!(messages[1][23..25], [0x90, 14]);
    // Where the family was not agreed on, nothing is said.
    assert_eq!(encode(&update, &internal()), Vec::<bytes::Bytes>::new());
}

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
fn routes_whose_next_hop_is_of_the_other_family_are_withdrawn() {
    let both =
        UpdateContext { families: vec![Family::Ipv4Unicast, Family::Ipv6Unicast], ..internal() };
    for (prefix, next_hop) in [("2001:db8:2::/64", "192.0.2.1"), ("10.0.0.0/8", "2001:db8::1")] {
        let update = Update {
            announced: vec![net(prefix)],
            attributes: Some(Arc::new(Attributes {
                next_hop: next_hop.parse().unwrap(),
                ..attributes()
            })),
            ..Update::default()
        };
        let messages = encode(&update, &both);
        let read = decode(body(&messages[0]), &both).unwrap().updates;
        assert_eq!(read, [Update { withdrawn: vec![net(prefix)], ..Update::default() }]);
    }
}

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
fn an_external_route_needs_no_local_pref_and_one_that_comes_is_ignored() {
    let without = Attributes { local_pref: None, ..attributes() };
    assert_eq!(clean(&external(), &[ORIGIN, AS_PATH, NEXT_HOP]), without);
    assert_eq!(clean(&external(), &[ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF]), without);
    assert_eq!(discarded(&external(), &[ORIGIN, AS_PATH, NEXT_HOP, &[0x40, 5, 1, 9]]), without);
    for (missing, list) in
        [(1, [AS_PATH, NEXT_HOP]), (2, [ORIGIN, NEXT_HOP]), (3, [ORIGIN, AS_PATH])]
    {
        assert_eq!(treated_as_withdraw(&external(), &list), (3, 3, vec![missing]));
    }
}

#[test]
fn local_pref_is_never_sent_to_an_external_peer() {
    let golden = message_of(&[], &[ORIGIN, AS_PATH, NEXT_HOP], NLRI);
    assert_eq!(encode(&announcement(attributes()), &external()), [golden]);
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
fn a_loopback_next_hop_is_taken_where_the_session_runs_over_loopback() {
    let context = UpdateContext { loopback_next_hops: true, ..internal() };
    let list = [ORIGIN, AS_PATH, &[0x40, 3, 4, 127, 0, 0, 2], LOCAL_PREF];
    assert_eq!(clean(&context, &list).next_hop, IpAddr::from([127, 0, 0, 2]));
}

/// The malformed attribute in place of the good one with the same code.
fn with(bad: &[u8]) -> Vec<&[u8]> {
    let mut list = vec![ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF];
    list.retain(|good| good[1] != bad[1]);
    list.push(bad);
    list
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
fn ipv4_routes_in_multiprotocol_attributes_are_read() {
    // MP_REACH_NLRI: next hop 192.168.0.9, 10.5.0.0/16; MP_UNREACH_NLRI: 10.6.0.0/16.
    let reach = &[0x80, 14, 12, 0, 1, 1, 4, 192, 168, 0, 9, 0, 16, 10, 5][..];
    let unreach = &[0x80, 15, 6, 0, 1, 1, 16, 10, 6][..];
    let reach_and_body =
        message_of(&[24, 10, 1, 2], &[ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF, reach, unreach], NLRI);
    let decoded = decode(body(&reach_and_body), &internal()).unwrap();
    let [first, second] = <[Update; 2]>::try_from(decoded.updates).unwrap();
    assert_eq!(first.withdrawn, [net("10.1.2.0/24"), net("10.6.0.0/16")]);
    assert_eq!(first.announced, [net("10.244.1.0/26")]);
    assert_eq!(second.announced, [net("10.5.0.0/16")]);
    assert_eq!(second.attributes.unwrap().next_hop, IpAddr::from([192, 168, 0, 9]));
    // Without the field of its own, NEXT_HOP is not needed.
    let octets = message_of(&[], &[ORIGIN, AS_PATH, LOCAL_PREF, reach], &[]);
    assert_eq!(decode(body(&octets), &internal()).unwrap().malformed, []);
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

#[test]
fn routes_of_families_that_were_not_agreed_on_are_ignored() {
    // IPv6 unicast, and a family that nobody knows.
    let ipv6 =
        [&[0x80, 14, 26, 0, 2, 1, 16][..], &[0x20; 16], &[0, 32, 0x20, 1, 0x0d, 0xb8]].concat();
    let unknown = [0x80, 14, 8, 0x33, 0x33, 1, 2, 1, 2, 0, 0];
    for foreign in [&ipv6[..], &unknown] {
        let list = [ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF, foreign];
        assert_eq!(clean(&internal(), &list), attributes());
    }
    let both =
        UpdateContext { families: vec![Family::Ipv4Unicast, Family::Ipv6Unicast], ..internal() };
    let octets = message_of(&[], &[ORIGIN, AS_PATH, LOCAL_PREF, &ipv6], &[]);
    let decoded = decode(body(&octets), &both).unwrap();
    assert_eq!(decoded.updates[0].announced, [net("2001:db8::/32")]);
}

#[test]
fn with_two_octet_numbers_as4_path_and_as4_aggregator_are_merged_in() {
    let context = UpdateContext { four_octet_as: false, ..external() };
    // RFC 6793, 4.2.3: AS_PATH 65000 23456 23456, AS4_PATH 4200000001 4200000002.
    let list = [
        ORIGIN,
        &[0x40, 2, 8, 2, 3, 0xfd, 0xe8, 0x5b, 0xa0, 0x5b, 0xa0][..],
        NEXT_HOP,
        &[0xc0, 7, 6, 0x5b, 0xa0, 10, 0, 0, 9],
        &[0xc0, 17, 10, 2, 2, 0xfa, 0x56, 0xea, 0x01, 0xfa, 0x56, 0xea, 0x02],
        &[0xc0, 18, 8, 0xfa, 0x56, 0xea, 0x02, 10, 0, 0, 9],
    ];
    let read = clean(&context, &list);
    let path = vec![65000, 4_200_000_001, 4_200_000_002];
    assert_eq!(read.as_path, [AsPathSegment::Sequence(path.clone())]);
    assert_eq!(read.aggregator, Some((4_200_000_002, [10, 0, 0, 9].into())));
    assert_eq!(read.unknown, []);
    // And back: the crate writes AS_TRANS and the two compatibility attributes.
    let written = encode(&announcement(read.clone()), &context);
    assert_eq!(decode(body(&written[0]), &context).unwrap().updates, [announcement(read)]);
    assert!(written[0].windows(8).any(|w| w == [2, 3, 0xfd, 0xe8, 0x5b, 0xa0, 0x5b, 0xa0]));
}

#[test]
fn transitive_attributes_that_are_not_used_are_passed_on_with_the_partial_bit() {
    // Communities of IPv6 addresses, which the package knows; one that nobody knows.
    let of_ipv6 = [&[0xc0, 25, 20, 0, 2][..], &[0x20; 16], &[0, 7]].concat();
    let list: [&[u8]; 2] = [&of_ipv6, &[0xd0, 99, 0, 1, 7]];
    let mut all = vec![ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF];
    all.extend(list);
    let read = clean(&internal(), &all);
    let codes: Vec<u8> = read.unknown.iter().map(|attribute| attribute.code).collect();
    assert_eq!(codes, [25, 99]);
    let written = encode(&announcement(read), &internal());
    for attribute in list {
        let mut partial = attribute.to_vec();
        partial[0] |= 0x20;
        assert!(written[0].windows(partial.len()).any(|window| window == partial));
    }
}

#[test]
fn attributes_that_are_not_transitive_and_not_used_end_here() {
    // AIGP, and one that nobody knows.
    let list = [
        ORIGIN,
        AS_PATH,
        NEXT_HOP,
        LOCAL_PREF,
        &[0x80, 26, 11, 1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0x80, 99, 1, 1],
    ];
    assert_eq!(clean(&internal(), &list), attributes());
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

#[test]
fn only_to_customer_is_read_and_told_and_costs_the_routes_where_it_is_malformed() {
    const OTC: &[u8] = &[0xc0, 35, 4, 0, 0, 0xfd, 0xe9];
    let base = [ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF];
    let with = |otc| [&base[..], &[otc]].concat();
    let read = clean(&internal(), &with(OTC));
    assert_eq!((read.otc, &read.unknown[..]), (Some(65001), &[][..]));
    let told = encode(&announcement(read), &internal());
    assert_eq!(told, [message_of(&[], &with(OTC), NLRI)]);
    // RFC 9234, 5: an OTC of another length than 4.
    for malformed in [&[0xc0, 35, 0][..], &[0xc0, 35, 3, 0, 0, 1], &[0xc0, 35, 5, 0, 0, 0, 0, 1]] {
        let (code, subcode, _) = treated_as_withdraw(&internal(), &with(malformed));
        assert_eq!((code, subcode), (3, 5), "{malformed:?}");
    }
}

#[test]
fn extended_communities_are_read_and_told_and_cost_the_routes_where_they_are_malformed() {
    // A route target of AS 64512, and an origin validation state, which is not transitive.
    const BOTH: &[u8] = &[0xc0, 16, 16, 0, 2, 0xfc, 0, 0, 0, 0, 7, 0x43, 0, 0, 0, 0, 0, 0, 2];
    let base = [ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF];
    let with = |extended| [&base[..], &[extended]].concat();
    let both = [0x0002_fc00_0000_0007, 0x4300_0000_0000_0002].map(ExtendedCommunity);
    assert_eq!(both.map(ExtendedCommunity::is_transitive), [true, false]);
    let read = clean(&internal(), &with(BOTH));
    assert_eq!((&read.extended_communities[..], &read.unknown[..]), (&both[..], &[][..]));
    // Within the AS as they came; beyond it (RFC 4360, 6) not the one that stays there.
    assert_eq!(
        encode(&announcement(read.clone()), &internal()),
        [message_of(&[], &with(BOTH), NLRI)]
    );
    let beyond = encode(&announcement(read), &external());
    let one = [&[0xc0, 16, 8][..], &BOTH[3..11]].concat();
    assert_eq!(beyond, [message_of(&[], &[ORIGIN, AS_PATH, NEXT_HOP, &one], NLRI)]);
    // Only such ones: the attribute is left out.
    let mut staying = attributes();
    staying.extended_communities = vec![both[1]];
    let beyond = encode(&announcement(staying), &external());
    assert_eq!(beyond, [message_of(&[], &[ORIGIN, AS_PATH, NEXT_HOP], NLRI)]);
    // RFC 7606, 7.14: a length that is no multiple of 8, or 0.
    for malformed in [&[0xc0, 16, 0][..], &[0xc0, 16, 7, 0, 2, 0, 0, 0, 0, 0]] {
        let (code, subcode, _) = treated_as_withdraw(&internal(), &with(malformed));
        assert_eq!((code, subcode), (3, 5), "{malformed:?}");
    }
}
