use super::*;

fn prefix(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn rule(matches: Match, action: Action) -> Rule {
    Rule { family: Family::Ipv4Unicast, matches, action }
}

fn attributes() -> Attributes {
    Attributes::via([192, 168, 0, 146].into())
}

fn sequence(numbers: &[u32]) -> AsPathSegment {
    AsPathSegment::Sequence(numbers.to_vec())
}

fn is_matched(matches: &Match, to: &str, peer_type: PeerType, attributes: &Attributes) -> bool {
    let rules = [rule(matches.clone(), Action::Reject)];
    let prefix = prefix(to);
    let route = Passing { prefix: &prefix, peer_type, is_learned: true, attributes };
    first_match(&rules, &route).is_some()
}

#[test]
fn operators_and_lengths_choose_destinations() {
    use MatchOperator::{Equal, In, NotEqual, NotIn};
    let cases = [
        (Equal, 8..=32, "10.0.0.0/8", true),
        (Equal, 8..=32, "10.0.0.0/9", false),
        (Equal, 9..=32, "10.0.0.0/8", false),
        (NotEqual, 8..=32, "10.0.0.0/8", false),
        (NotEqual, 8..=32, "10.0.0.0/9", true),
        (In, 8..=32, "10.0.0.0/8", true),
        (In, 8..=32, "10.1.0.0/16", true),
        (In, 8..=32, "11.0.0.0/16", false),
        (In, 8..=32, "0.0.0.0/0", false),
        (In, 8..=32, "10.0.0.0/7", false),
        (In, 24..=26, "10.1.2.0/23", false),
        (In, 24..=26, "10.1.2.0/24", true),
        (In, 24..=26, "10.1.2.0/26", true),
        (In, 24..=26, "10.1.2.0/27", false),
        (NotIn, 24..=26, "10.1.2.0/24", false),
        (NotIn, 24..=26, "10.1.2.0/27", true),
        (NotIn, 8..=32, "11.0.0.0/16", true),
    ];
    for (operator, prefix_length, to, expected) in cases {
        let what = format!("{to} {operator:?} {prefix_length:?}");
        let wanted = PrefixMatch { operator, cidr: prefix("10.0.0.0/8"), prefix_length };
        let matches = Match { prefix: Some(wanted), ..Match::default() };
        assert_eq!(is_matched(&matches, to, PeerType::IBgp, &attributes()), expected, "{what}");
    }
}

#[test]
fn a_rule_is_about_one_family() {
    let matches = Match::default();
    assert!(is_matched(&matches, "10.0.0.0/8", PeerType::IBgp, &attributes()));
    assert!(!is_matched(&matches, "fd00::/8", PeerType::IBgp, &attributes()));
}

#[test]
fn everything_that_is_asked_must_hold() {
    let marked = Attributes {
        communities: vec![1, 2],
        as_path: vec![sequence(&[65001, 65002]), sequence(&[65003])],
        local_pref: Some(200),
        ..attributes()
    };
    let communities =
        |values: &[u32]| values.iter().map(|value| Community::Standard(*value)).collect();
    let cases = [
        (Match { peer_type: Some(PeerType::EBgp), ..Match::default() }, true),
        (Match { peer_type: Some(PeerType::IBgp), ..Match::default() }, false),
        (Match { communities: communities(&[2, 1]), ..Match::default() }, true),
        (Match { communities: communities(&[2, 3]), ..Match::default() }, false),
        (Match { as_path_prefix: vec![65001], ..Match::default() }, true),
        (Match { as_path_prefix: vec![65001, 65002, 65003], ..Match::default() }, true),
        (Match { as_path_prefix: vec![65002], ..Match::default() }, false),
        (Match { as_path_prefix: vec![65001, 65002, 65003, 1], ..Match::default() }, false),
        (Match { priority: Some(2_147_483_447), ..Match::default() }, true),
        (Match { priority: Some(200), ..Match::default() }, false),
        (
            Match {
                communities: communities(&[1]),
                as_path_prefix: vec![65002],
                ..Match::default()
            },
            false,
        ),
    ];
    for (matches, expected) in cases {
        let is = is_matched(&matches, "10.0.0.0/8", PeerType::EBgp, &marked);
        assert_eq!(is, expected, "{matches:?}");
    }
}

#[test]
fn the_numbers_of_a_set_have_no_order_to_begin_with() {
    let of_set = Attributes { as_path: vec![AsPathSegment::Set(vec![65001])], ..attributes() };
    let matches = Match { as_path_prefix: vec![65001], ..Match::default() };
    assert!(!is_matched(&matches, "10.0.0.0/8", PeerType::EBgp, &of_set));
}

#[test]
fn an_own_route_is_not_of_a_remote_peer() {
    let rules =
        [rule(Match { remote_peers: true, ..Match::default() }, Action::Accept(Vec::new()))];
    let (prefix, attributes) = (prefix("10.0.0.0/8"), attributes());
    let route = |is_learned| Passing {
        prefix: &prefix,
        peer_type: PeerType::EBgp,
        is_learned,
        attributes: &attributes,
    };
    assert!(first_match(&rules, &route(true)).is_some());
    assert!(first_match(&rules, &route(false)).is_none());
}

#[test]
fn the_first_rule_that_matches_decides() {
    let only = |cidr: &str| Match {
        prefix: Some(PrefixMatch {
            operator: MatchOperator::In,
            cidr: prefix(cidr),
            prefix_length: 0..=32,
        }),
        ..Match::default()
    };
    let rules = [
        rule(only("10.1.0.0/16"), Action::Accept(Vec::new())),
        rule(only("10.0.0.0/8"), Action::Reject),
        rule(only("10.2.0.0/16"), Action::Accept(Vec::new())),
    ];
    let decides = |to: &str| {
        let (prefix, attributes) = (prefix(to), attributes());
        let route = Passing {
            prefix: &prefix,
            peer_type: PeerType::IBgp,
            is_learned: true,
            attributes: &attributes,
        };
        first_match(&rules, &route).map(|(index, _)| index)
    };
    assert_eq!(decides("10.1.2.0/24"), Some(0));
    assert_eq!(decides("10.2.0.0/24"), Some(1));
    assert_eq!(decides("11.0.0.0/24"), None);
}

#[test]
fn operations_change_a_route_in_order() {
    let mut route = Attributes { as_path: vec![sequence(&[1])], ..attributes() };
    for operation in [
        Operation::AddCommunity(Community::Standard(7)),
        Operation::PrependAsPath(vec![65000, 65001]),
        Operation::SetMed(5),
        Operation::SetLocalPreference(9),
    ] {
        operation.apply(&mut route);
    }
    assert_eq!(route.communities, [7]);
    assert_eq!(route.as_path, [sequence(&[65000, 65001, 1])]);
    assert_eq!((route.med, route.local_pref), (Some(5), Some(9)));
    Operation::SetPriority(1024).apply(&mut route);
    assert_eq!(route.local_pref, Some(2_147_482_623));
}

#[test]
fn a_number_in_front_never_makes_a_sequence_too_long_nor_joins_a_set() {
    let prepended = |mut path: Vec<AsPathSegment>| {
        prepend(1, &mut path);
        path
    };
    let full = sequence(&[65000; 255]);
    assert_eq!(prepended(vec![full.clone()]), [sequence(&[1]), full]);
    let set = AsPathSegment::Set(vec![65000]);
    assert_eq!(prepended(vec![set.clone()]), [sequence(&[1]), set]);
    assert_eq!(prepended(vec![]), [sequence(&[1])]);
}
