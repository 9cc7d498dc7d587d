use super::*;

const PEER: &str = "192.168.0.146";
const OTHER: &str = "192.168.0.241";
const OWN: &str = "192.168.0.176";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cluster() -> ImportPolicy {
    ImportPolicy {
        pools: vec!["172.16.0.0/16".parse().unwrap()],
        own_blocks: vec!["172.16.52.128/26".parse().unwrap()],
        owners: vec![
            ("172.16.103.64/26".parse().unwrap(), address(PEER)),
            ("172.16.246.192/26".parse().unwrap(), address(OTHER)),
        ],
    }
}

fn path(next_hop: &str, as_path: Vec<AsPathSegment>) -> Attributes {
    Attributes { as_path, local_pref: Some(100), ..Attributes::via(address(next_hop)) }
}

fn arrival() -> Arrival {
    Arrival {
        local_as: 64512,
        local_addresses: [Some(address(OWN)), None],
        peer: address(PEER),
        peer_as: 64512,
        peer_type: PeerType::IBgp,
        role: None,
        router_id: [192, 168, 0, 176].into(),
        cluster_id: [10, 9, 9, 9].into(),
    }
}

fn check(prefix: &str, attributes: &Attributes) -> Result<(), Refusal> {
    Import::from(&cluster()).check(&arrival(), 0, &prefix.parse().unwrap(), attributes)
}

#[test]
fn each_reason_has_a_route_that_is_refused_for_it() {
    let plain = path(PEER, vec![]);
    let cases = [
        ("172.16.103.64/26", Ok(()), "the peer's own block"),
        ("172.16.103.70/32", Ok(()), "an address inside the peer's own block"),
        ("172.16.7.0/26", Ok(()), "a block whose owner is not known"),
        // No harm: the block itself wins by its length.
        ("172.16.246.0/24", Ok(()), "a prefix that covers a third node's block"),
        ("0.0.0.0/0", Err(Refusal::DefaultRoute), "the default route"),
        ("172.16.0.0/15", Err(Refusal::OutsidePools), "a prefix that covers the pool"),
        ("10.0.0.0/8", Err(Refusal::OutsidePools), "a foreign prefix"),
        ("172.16.52.128/26", Err(Refusal::OwnBlock), "this node's own block"),
        ("172.16.52.130/32", Err(Refusal::OwnBlock), "a pod of this node"),
        ("172.16.52.0/24", Err(Refusal::OwnBlock), "a prefix that covers this node's block"),
        ("172.16.0.0/16", Err(Refusal::OwnBlock), "the pool itself covers it too"),
        ("172.16.246.192/26", Err(Refusal::OthersBlock), "the block of a third node"),
        ("172.16.246.200/32", Err(Refusal::OthersBlock), "a pod of a third node"),
    ];
    for (prefix, expected, what) in cases {
        assert_eq!(check(prefix, &plain), expected, "{what}");
    }
}

#[test]
fn a_path_through_the_own_as_is_refused_wherever_the_number_stands() {
    for segment in
        [AsPathSegment::Sequence(vec![64513, 64512]), AsPathSegment::Set(vec![64512, 64514])]
    {
        let attributes = path(PEER, vec![AsPathSegment::Sequence(vec![65000]), segment]);
        assert_eq!(check("172.16.103.64/26", &attributes), Err(Refusal::AsLoop));
    }
    let others = path(PEER, vec![AsPathSegment::Sequence(vec![64513])]);
    assert_eq!(check("172.16.103.64/26", &others), Ok(()));
}

#[test]
fn a_route_back_to_this_node_is_refused() {
    assert_eq!(check("172.16.7.0/26", &path(OWN, vec![])), Err(Refusal::OwnNextHop));
    let (ipv6, import) = ("fd00::176", Import::from(&cluster()));
    let arrival =
        Arrival { local_addresses: [Some(address(OWN)), Some(address(ipv6))], ..arrival() };
    let judged = import.judge(
        &arrival,
        &PeerPolicy::default(),
        &"fd10::/64".parse().unwrap(),
        &path(ipv6, vec![]),
    );
    assert_eq!(judged, Err(Refusal::OwnNextHop), "by the session's other family");
}

#[test]
fn where_rules_are_required_an_external_peers_route_needs_one_of_its_family() {
    let import = Import::from(&cluster());
    let prefix = "172.16.7.0/26".parse().unwrap();
    let rule =
        |family| Rule { family, matches: Match::default(), action: Action::Accept(Vec::new()) };
    let (ipv4, ipv6) = (rule(Family::Ipv4Unicast), rule(Family::Ipv6Unicast));
    for (requires_rules, peer_type, rules, expected) in [
        (true, PeerType::EBgp, vec![], Err(Refusal::NoRules)),
        (true, PeerType::EBgp, vec![ipv6.clone()], Err(Refusal::NoRules)),
        (true, PeerType::EBgp, vec![ipv4.clone(), ipv6], Ok(())),
        (true, PeerType::IBgp, vec![], Ok(())),
        (false, PeerType::EBgp, vec![], Ok(())),
    ] {
        let arrival = Arrival { peer_type, ..arrival() };
        let policy = PeerPolicy { import: rules, requires_rules, ..PeerPolicy::default() };
        let judged = import.judge(&arrival, &policy, &prefix, &path(PEER, vec![])).map(|_| ());
        assert_eq!(judged, expected, "{policy:?}");
    }
}

#[test]
fn a_reflected_route_is_taken_for_its_next_hop() {
    assert_eq!(check("172.16.246.192/26", &path(OTHER, vec![])), Ok(()));
}

#[test]
fn a_policy_that_knows_nothing_refuses_everything() {
    let prefix = "172.16.103.64/26".parse().unwrap();
    let refused = Import::default().check(&arrival(), 0, &prefix, &path(PEER, vec![]));
    assert_eq!(refused, Err(Refusal::OutsidePools));
}

#[test]
fn the_longest_known_block_decides_who_owns_a_prefix() {
    let policy = ImportPolicy {
        owners: vec![
            ("172.16.0.0/20".parse().unwrap(), address(OTHER)),
            ("172.16.1.0/26".parse().unwrap(), address(PEER)),
        ],
        ..cluster()
    };
    let import = Import::from(&policy);
    let check =
        |prefix: &str| import.check(&arrival(), 0, &prefix.parse().unwrap(), &path(PEER, vec![]));
    assert_eq!(check("172.16.1.0/26"), Ok(()));
    assert_eq!(check("172.16.1.64/26"), Err(Refusal::OthersBlock));
}

#[test]
fn a_route_may_come_through_the_own_as_as_often_as_it_is_allowed() {
    let route = path(PEER, vec![AsPathSegment::Sequence(vec![64512, 65000, 64512])]);
    let import = Import::from(&cluster());
    let prefix = "172.16.103.64/26".parse().unwrap();
    for (allowed, expected) in
        [(0, Err(Refusal::AsLoop)), (1, Err(Refusal::AsLoop)), (2, Ok(())), (9, Ok(()))]
    {
        assert_eq!(import.check(&arrival(), allowed, &prefix, &route), expected, "{allowed}");
    }
}

#[test]
fn a_reflected_route_that_comes_back_is_refused() {
    let plain = || path(OTHER, vec![]);
    let block = "172.16.246.192/26";
    let own = Attributes { originator_id: Some([192, 168, 0, 176].into()), ..plain() };
    assert_eq!(check(block, &own), Err(Refusal::OwnOriginator));
    let round =
        Attributes { cluster_list: vec![[10, 0, 0, 1].into(), [10, 9, 9, 9].into()], ..plain() };
    assert_eq!(check(block, &round), Err(Refusal::ClusterLoop));
    let others = Attributes {
        originator_id: Some([192, 168, 0, 241].into()),
        cluster_list: vec![[10, 0, 0, 1].into()],
        ..plain()
    };
    assert_eq!(check(block, &others), Ok(()));
}

fn judge(policy: &PeerPolicy, prefix: &str, route: &Attributes) -> Result<Attributes, Refusal> {
    let import = Import::from(&cluster());
    let changed = import.judge(&arrival(), policy, &prefix.parse().unwrap(), route)?;
    Ok(changed.unwrap_or_else(|| route.clone()))
}

#[test]
fn a_rule_can_refuse_and_change_but_not_let_in_what_no_node_takes() {
    let accept_all = Rule {
        family: Family::Ipv4Unicast,
        matches: Match::default(),
        action: Action::Accept(vec![Operation::SetLocalPreference(200)]),
    };
    let policy = PeerPolicy { import: vec![accept_all.clone()], ..PeerPolicy::default() };
    let route = path(PEER, vec![]);
    let judged = judge(&policy, "172.16.103.64/26", &route).unwrap();
    assert_eq!(judged, Attributes { local_pref: Some(200), ..route.clone() });
    for (prefix, expected) in [
        ("0.0.0.0/0", Refusal::DefaultRoute),
        ("10.0.0.0/8", Refusal::OutsidePools),
        ("172.16.52.128/26", Refusal::OwnBlock),
        ("172.16.246.192/26", Refusal::OthersBlock),
    ] {
        assert_eq!(judge(&policy, prefix, &route), Err(expected));
    }
    let reject_all = Rule { action: Action::Reject, ..accept_all };
    let policy = PeerPolicy { import: vec![reject_all], ..PeerPolicy::default() };
    assert_eq!(judge(&policy, "172.16.103.64/26", &route), Err(Refusal::Filter));
    assert_eq!(judge(&policy, "0.0.0.0/0", &route), Err(Refusal::DefaultRoute));
}

#[test]
fn a_path_that_goes_away_soon_is_the_last_choice_unless_a_rule_says_otherwise() {
    let leaving = Attributes { communities: vec![GRACEFUL_SHUTDOWN], ..path(PEER, vec![]) };
    let block = "172.16.103.64/26";
    let judged = judge(&PeerPolicy::default(), block, &leaving).unwrap();
    assert_eq!(judged, Attributes { local_pref: Some(0), ..leaving.clone() });
    let rule = Rule {
        family: Family::Ipv4Unicast,
        matches: Match {
            communities: vec![Community::Standard(GRACEFUL_SHUTDOWN)],
            ..Match::default()
        },
        action: Action::Accept(vec![Operation::SetLocalPreference(50)]),
    };
    let policy = PeerPolicy { import: vec![rule], ..PeerPolicy::default() };
    assert_eq!(judge(&policy, block, &leaving).unwrap().local_pref, Some(50));
}

#[test]
fn an_external_peer_cannot_set_local_pref() {
    let import = Import::from(&cluster());
    let arrival = Arrival { peer_type: PeerType::EBgp, ..arrival() };
    let route = path(PEER, vec![]);
    let prefix = "172.16.103.64/26".parse().unwrap();
    let judged = import.judge(&arrival, &PeerPolicy::default(), &prefix, &route);
    assert_eq!(judged, Ok(Some(Attributes { local_pref: None, ..route })));
}

#[test]
fn a_leaked_route_is_refused_and_one_from_above_is_marked() {
    let import = Import::from(&cluster());
    let judge = |role, otc| {
        let arrival = Arrival { peer_as: 65001, peer_type: PeerType::EBgp, role, ..arrival() };
        let received = Attributes { otc, local_pref: None, ..path(PEER, vec![]) };
        let prefix = "172.16.7.0/26".parse().unwrap();
        let judged = import.judge(&arrival, &PeerPolicy::default(), &prefix, &received)?;
        Ok(judged.unwrap_or(received).otc)
    };
    let leak = Err(Refusal::RouteLeak);
    // The role; OTC afterwards where there was none, where it was the peer's, and another's.
    let cases = [
        (None, [Ok(None), Ok(Some(65001)), Ok(Some(7))]),
        (Some(Role::Provider), [Ok(None), leak, leak]),
        (Some(Role::RouteServer), [Ok(None), leak, leak]),
        (Some(Role::RouteServerClient), [Ok(Some(65001)), Ok(Some(65001)), Ok(Some(7))]),
        (Some(Role::Customer), [Ok(Some(65001)), Ok(Some(65001)), Ok(Some(7))]),
        (Some(Role::Peer), [Ok(Some(65001)), Ok(Some(65001)), leak]),
    ];
    for (role, expected) in cases {
        assert_eq!([None, Some(65001), Some(7)].map(|otc| judge(role, otc)), expected, "{role:?}");
    }
}
