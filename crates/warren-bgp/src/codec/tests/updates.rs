use std::net::IpAddr;
use std::sync::Arc;

use super::super::update::{UpdateContext, decode, encode};
use super::super::{Consequence, Decoded};
use super::{body, message};
use crate::message::{
    AsPathSegment, Attributes, ExtendedCommunity, Family, LargeCommunity, Origin, PathIds,
    UnknownAttribute, Update,
};

pub(super) const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
pub(super) const AS_PATH: &[u8] = &[0x40, 2, 0];
pub(super) const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 168, 0, 2];
pub(super) const LOCAL_PREF: &[u8] = &[0x40, 5, 4, 0, 0, 0, 100];
/// 10.244.1.0/26.
pub(super) const NLRI: &[u8] = &[26, 10, 244, 1, 0];

pub(super) fn internal() -> UpdateContext {
    UpdateContext {
        four_octet_as: true,
        internal: true,
        families: vec![Family::Ipv4Unicast],
        extended_messages: false,
        path_ids: PathIds::default(),
        loopback_next_hops: false,
    }
}

pub(super) fn external() -> UpdateContext {
    UpdateContext { internal: false, ..internal() }
}

pub(super) fn extended() -> UpdateContext {
    UpdateContext { extended_messages: true, ..internal() }
}

pub(super) fn message_of(withdrawn: &[u8], attributes: &[&[u8]], nlri: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let mut octets = (withdrawn.len() as u16).to_be_bytes().to_vec();
    octets.extend(withdrawn);
    octets.extend((attributes.len() as u16).to_be_bytes());
    octets.extend(attributes);
    octets.extend(nlri);
    message(2, &octets)
}

pub(super) fn read(context: &UpdateContext, attributes: &[&[u8]]) -> Decoded {
    decode(body(&message_of(&[], attributes, NLRI)), context).unwrap()
}

pub(super) fn net(text: &str) -> ipnetwork::IpNetwork {
    text.parse().unwrap()
}

pub(super) fn attributes() -> Attributes {
    Attributes { local_pref: Some(100), ..Attributes::via([192, 168, 0, 2].into()) }
}

pub(super) fn announcement(attributes: Attributes) -> Update {
    Update {
        withdrawn: vec![],
        announced: vec![net("10.244.1.0/26")],
        attributes: Some(Arc::new(attributes)),
        ..Update::default()
    }
}

/// The attributes of the one update that was read without any error.
pub(super) fn clean(context: &UpdateContext, attributes: &[&[u8]]) -> Attributes {
    let decoded = read(context, attributes);
    assert_eq!(decoded.malformed, []);
    let [update] = <[Update; 1]>::try_from(decoded.updates).unwrap();
    assert_eq!(update.announced, [net("10.244.1.0/26")]);
    Arc::unwrap_or_clone(update.attributes.unwrap())
}

/// What RFC 4271 would have had the peer be told of the error that made the routes withdrawn.
pub(super) fn treated_as_withdraw(
    context: &UpdateContext,
    attributes: &[&[u8]],
) -> (u8, u8, Vec<u8>) {
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

pub(super) fn discarded(context: &UpdateContext, attributes: &[&[u8]]) -> Attributes {
    let decoded = read(context, attributes);
    let consequences: Vec<Consequence> =
        decoded.malformed.iter().map(|fault| fault.consequence).collect();
    assert_eq!(consequences, [Consequence::AttributeDiscard]);
    Arc::unwrap_or_clone(decoded.updates[0].attributes.clone().unwrap())
}

/// The malformed attribute in place of the good one with the same code.
pub(super) fn with(bad: &[u8]) -> Vec<&[u8]> {
    let mut list = vec![ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF];
    list.retain(|good| good[1] != bad[1]);
    list.push(bad);
    list
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
fn a_loopback_next_hop_is_taken_where_the_session_runs_over_loopback() {
    let context = UpdateContext { loopback_next_hops: true, ..internal() };
    let list = [ORIGIN, AS_PATH, &[0x40, 3, 4, 127, 0, 0, 2], LOCAL_PREF];
    assert_eq!(clean(&context, &list).next_hop, IpAddr::from([127, 0, 0, 2]));
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

/// With path identifiers in both families, both ways.
fn several_paths() -> UpdateContext {
    let families = vec![Family::Ipv4Unicast, Family::Ipv6Unicast];
    let path_ids = PathIds { received: families.clone(), sent: families.clone() };
    UpdateContext { families, path_ids, ..internal() }
}

#[test]
fn prefixes_come_with_the_identifiers_of_their_paths() {
    let nlri = [&[0, 0, 0, 7][..], NLRI, &[0xff, 0, 0, 1], NLRI].concat();
    let withdrawn = [&[0, 0, 0, 7][..], &[24, 10, 244, 2], &[0, 0, 0, 9], &[0]].concat();
    let mandatory = [ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF];
    let octets = message_of(&withdrawn, &mandatory, &nlri);
    let decoded = decode(body(&octets), &several_paths()).unwrap();
    assert_eq!(decoded.malformed, []);
    let said: Vec<_> = decoded.updates.iter().map(|it| (it.path_id, &*it.withdrawn)).collect();
    let expected: [(_, &[_]); 3] = [
        (Some(7), &[net("10.244.2.0/24")]),
        (Some(0xff00_0001), &[]),
        (Some(9), &[net("0.0.0.0/0")]),
    ];
    assert_eq!(said, expected);
    for update in &decoded.updates[..2] {
        assert_eq!(update.announced, [net("10.244.1.0/26")]);
        assert_eq!(update.attributes.as_deref(), Some(&attributes()));
    }
    // Without the capability the same octets are other prefixes, and here none at all.
    assert!(decode(body(&octets), &internal()).is_err());
    // An error costs the routes of each path.
    let octets = message_of(&[], &[ORIGIN, AS_PATH, LOCAL_PREF], &nlri);
    let decoded = decode(body(&octets), &several_paths()).unwrap();
    let said: Vec<_> = decoded.updates.iter().map(|it| (it.path_id, &*it.withdrawn)).collect();
    let prefixes: &[_] = &[net("10.244.1.0/26")];
    assert_eq!(said, [(Some(7), prefixes), (Some(0xff00_0001), prefixes)]);
    // An identifier and no prefix.
    assert!(decode(body(&message_of(&[], &mandatory, &[0, 0, 0, 7])), &several_paths()).is_err());
}

#[test]
fn prefixes_of_either_family_go_out_with_the_identifier_of_their_path() {
    let context = several_paths();
    for (prefix, next_hop) in [("10.244.1.0/26", "192.168.0.2"), ("fd00:1::/64", "fd00::2")] {
        let via = Attributes::via(next_hop.parse().unwrap());
        let attributes = Some(Arc::new(Attributes { local_pref: Some(100), ..via }));
        let announced = Update {
            announced: vec![net(prefix)],
            attributes,
            path_id: Some(7),
            ..Update::default()
        };
        let withdrawn =
            Update { withdrawn: vec![net(prefix)], path_id: Some(8), ..Update::default() };
        for update in [announced, withdrawn] {
            let messages = encode(&update, &context);
            assert_eq!(messages.len(), 1);
            assert_eq!(decode(body(&messages[0]), &context).unwrap().updates, [update]);
        }
    }
    // Each family by itself.
    let ipv6 = PathIds { sent: vec![Family::Ipv6Unicast], ..PathIds::default() };
    let update = Update { path_id: Some(7), ..announcement(attributes()) };
    let messages = encode(&update, &UpdateContext { path_ids: ipv6, ..several_paths() });
    assert!(messages[0].ends_with(NLRI) && !messages[0].ends_with(&[&[7], NLRI].concat()));
}
