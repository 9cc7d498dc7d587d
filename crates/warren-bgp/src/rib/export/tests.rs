use std::sync::Arc;

use super::*;
use crate::message::{AsPathSegment, ExtendedCommunity, Family, UnknownAttribute};
use crate::policy::{LLGR_STALE, Match, Operation, Rule};
use crate::rib::tests::{LOCAL, attributes, external, internal};

fn path(from: Session, change: impl FnOnce(&mut Attributes)) -> Path {
    let mut attributes = attributes(&from.peer.to_string());
    change(&mut attributes);
    let attributes = Arc::new(attributes);
    let (from, received) = (Arc::new(from), Arc::clone(&attributes));
    Path { from, path_id: 0, received, attributes, refusal: None }
}

fn target<'a>(to: &'a Session, policy: &'a PeerPolicy) -> Target<'a> {
    Target { to, policy, graceful_shutdown: false }
}

/// Let out without any rule.
fn passed(to: &Session) -> Passed {
    Passed { rule: None, own_address: to.local_address }
}

fn own(to: &Session) -> Attributes {
    target(to, &PeerPolicy::default()).own(passed(to))
}

fn learned(path: &Path, to: &Session) -> Option<Attributes> {
    target(to, &PeerPolicy::default()).learned(path, passed(to))
}

fn sequence(numbers: &[u32]) -> AsPathSegment {
    AsPathSegment::Sequence(numbers.to_vec())
}

#[test]
fn an_own_route_has_this_node_as_next_hop() {
    let told = own(&internal(1));
    assert_eq!(told.next_hop.to_string(), LOCAL);
    assert_eq!(told.as_path, []);
    assert_eq!(told.local_pref, Some(100));
    let told = own(&external(1, 65000));
    assert_eq!(told.next_hop.to_string(), LOCAL);
    assert_eq!(told.as_path, [sequence(&[64512])]);
    assert_eq!((told.local_pref, told.med), (None, None));
}

#[test]
fn what_is_kept_for_long_is_told_as_such_and_only_to_those_who_know_what_it_is() {
    let stale = path(internal(1), |a| a.communities = vec![7, LLGR_STALE]);
    for to in [external(3, 65000), Session { is_client: true, ..internal(3) }] {
        assert_eq!(learned(&stale, &to), None);
        let told = learned(&stale, &Session { long_lived: true, ..to });
        assert_eq!(told.unwrap().communities, [7, LLGR_STALE]);
    }
}

#[test]
fn a_session_carries_the_other_family_where_this_node_has_an_address_of_it() {
    let ipv6: IpNetwork = "fd10:0:0:7::/64".parse().unwrap();
    let families = vec![Family::Ipv4Unicast, Family::Ipv6Unicast];
    let without = Session { families, ..internal(1) };
    let policy = PeerPolicy::default();
    assert!(!target(&without, &policy).reaches(&ipv6), "there is no NEXT_HOP to tell");
    let other_address = Some("fd00::176".parse().unwrap());
    let to = Session { other_address, ..without };
    let target = target(&to, &policy);
    for (prefix, next_hop) in [("172.16.52.128/26", LOCAL), ("fd10:0:0:7::/64", "fd00::176")] {
        let prefix = prefix.parse().unwrap();
        assert!(target.reaches(&prefix));
        let told = target.own(target.pass(&prefix, None).unwrap());
        assert_eq!(told.next_hop.to_string(), next_hop);
        let external = Session { peer_as: 65000, ..to.clone() };
        let route = path(internal(2), |_| ());
        let target = Target { to: &external, ..target };
        let told = target.learned(&route, target.pass(&prefix, Some(&route)).unwrap()).unwrap();
        assert_eq!(told.next_hop.to_string(), next_hop);
    }
    let only_ipv4 = Session { families: vec![Family::Ipv4Unicast], ..to.clone() };
    assert!(!Target { to: &only_ipv4, ..target }.reaches(&ipv6), "it was not agreed on");
}

#[test]
fn internal_routes_go_to_external_peers_only_and_no_route_goes_back() {
    let of_internal = path(internal(1), |_| ());
    let of_external = path(external(2, 65000), |_| ());
    assert!(learned(&of_internal, &internal(3)).is_none());
    assert!(learned(&of_internal, &external(3, 65001)).is_some());
    assert!(learned(&of_external, &internal(3)).is_some());
    assert!(learned(&of_external, &external(3, 65001)).is_some());
    assert!(learned(&of_external, &external(2, 65000)).is_none());
}

#[test]
fn an_internal_peer_gets_the_route_as_it_is_with_this_nodes_preference() {
    let mark = UnknownAttribute { flags: 0xC0, code: 99, value: vec![1, 2] };
    let route = path(external(2, 65000), |a| {
        a.as_path = vec![sequence(&[65000, 65001])];
        a.med = Some(7);
        a.unknown = vec![mark.clone()];
    });
    let told = learned(&route, &internal(3)).unwrap();
    assert_eq!(told, Attributes { local_pref: Some(100), ..(*route.attributes).clone() });
    assert_eq!(told.unknown, [mark]);
}

#[test]
fn an_external_peer_gets_the_own_as_in_front_and_nothing_internal() {
    let route = path(internal(2), |a| {
        a.as_path = vec![sequence(&[65000])];
        a.med = Some(7);
        a.communities = vec![42];
        a.atomic_aggregate = true;
        a.aggregator = Some((65000, [10, 0, 0, 9].into()));
    });
    let told = learned(&route, &external(3, 65001)).unwrap();
    assert_eq!(told.as_path, [sequence(&[64512, 65000])]);
    assert_eq!(told.next_hop.to_string(), LOCAL);
    assert_eq!((told.med, told.local_pref), (None, None));
    assert_eq!(told.communities, [42]);
    assert!(told.atomic_aggregate && told.aggregator == route.attributes.aggregator);
}

#[test]
fn well_known_communities_keep_a_route_in() {
    for (community, to_internal, to_external) in [
        (NO_EXPORT, true, false),
        (NO_EXPORT_SUBCONFED, true, false),
        (NO_ADVERTISE, false, false),
        (42, true, true),
    ] {
        let route = path(external(2, 65000), |a| a.communities = vec![7, community]);
        assert_eq!(learned(&route, &internal(3)).is_some(), to_internal, "{community:x}");
        assert_eq!(learned(&route, &external(3, 65001)).is_some(), to_external, "{community:x}");
    }
}

#[test]
fn a_peer_is_not_told_that_it_is_its_own_next_hop() {
    let route = path(external(2, 65000), |a| a.next_hop = internal(3).peer);
    assert!(learned(&route, &internal(3)).is_none());
    assert!(learned(&route, &internal(4)).is_some());
}

#[test]
fn a_family_that_was_not_agreed_on_is_not_told() {
    let reaches = |prefix: &str| {
        target(&internal(1), &PeerPolicy::default()).reaches(&prefix.parse().unwrap())
    };
    assert!(reaches("10.0.0.0/8"));
    assert!(!reaches("fd00::/64"));
}

fn client(last: u8) -> Session {
    Session { is_client: true, ..internal(last) }
}

#[test]
fn a_reflector_tells_clients_of_everybody_and_everybody_of_clients() {
    for (from, to, is_told) in [
        (client(1), client(2), true),
        (client(1), internal(2), true),
        (internal(1), client(2), true),
        (internal(1), internal(2), false),
        (client(1), client(1), false),
        (client(1), external(2, 65000), true),
        (external(1, 65000), client(2), true),
    ] {
        let what = format!("{from:?} to {to:?}");
        assert_eq!(learned(&path(from, |_| ()), &to).is_some(), is_told, "{what}");
    }
}

#[test]
fn a_reflected_route_says_who_brought_it_and_which_way_it_went_and_is_else_the_same() {
    let change = |a: &mut Attributes| {
        a.local_pref = Some(7);
        a.med = Some(8);
        a.as_path = vec![sequence(&[65000])];
    };
    let to = Session { cluster_id: [10, 9, 9, 9].into(), ..client(2) };
    let route = path(internal(1), change);
    let told = learned(&route, &to).unwrap();
    assert_eq!(told.originator_id, Some([192, 168, 0, 1].into()));
    assert_eq!(told.cluster_list, [std::net::Ipv4Addr::new(10, 9, 9, 9)]);
    let plain = Attributes { originator_id: None, cluster_list: vec![], ..told };
    assert_eq!(plain, *route.attributes);

    let again = path(internal(1), |a| {
        change(a);
        a.originator_id = Some([10, 0, 0, 3].into());
        a.cluster_list = vec![[10, 0, 0, 4].into()];
    });
    let told = learned(&again, &to).unwrap();
    assert_eq!(told.originator_id, Some([10, 0, 0, 3].into()));
    let clusters: Vec<String> = told.cluster_list.iter().map(ToString::to_string).collect();
    assert_eq!(clusters, ["10.9.9.9", "10.0.0.4"]);
    // Not to whom it began with, and nothing of it outside.
    let originator = Session { peer_router_id: [10, 0, 0, 3].into(), ..client(5) };
    assert!(learned(&again, &originator).is_none());
    let outside = learned(&again, &external(6, 65001)).unwrap();
    assert_eq!((outside.originator_id, outside.cluster_list.len()), (None, 0));
}

#[test]
fn the_next_hop_is_as_the_peers_policy_says() {
    let from_outside = path(external(2, 65000), |_| ());
    let from_inside = path(client(3), |_| ());
    let (inside, outside) = (client(4), external(5, 65001));
    let own = LOCAL.to_owned();
    for (mode, route, to, expected) in [
        (NextHopMode::Auto, &from_outside, &inside, "192.168.0.2"),
        (NextHopMode::Auto, &from_outside, &outside, &own),
        (NextHopMode::Auto, &from_inside, &inside, "192.168.0.3"),
        (NextHopMode::Own, &from_outside, &inside, &own),
        (NextHopMode::Own, &from_inside, &inside, &own),
        (NextHopMode::Keep, &from_outside, &outside, "192.168.0.2"),
        (NextHopMode::Keep, &from_inside, &outside, "192.168.0.3"),
    ] {
        let policy = PeerPolicy { next_hop: mode, ..PeerPolicy::default() };
        let told = target(to, &policy).learned(route, passed(to)).unwrap();
        assert_eq!(told.next_hop.to_string(), *expected, "{mode:?}");
    }
}

#[test]
fn where_rules_are_required_an_external_peer_is_told_nothing_without_one() {
    let prefix = "172.16.0.0/26".parse().unwrap();
    let strict = PeerPolicy { requires_rules: true, ..PeerPolicy::default() };
    let (inside, outside) = (internal(6), external(5, 65001));
    assert_eq!(target(&outside, &strict).pass(&prefix, None), None);
    assert_eq!(target(&inside, &strict).pass(&prefix, None), Some(passed(&inside)));
    let with_rule = PeerPolicy { export: vec![marking(7)], ..strict };
    assert_eq!(target(&outside, &with_rule).pass(&prefix, None), Some(passed(&outside)));
}

fn marking(community: u32) -> Rule {
    Rule {
        family: Family::Ipv4Unicast,
        matches: Match { remote_peers: true, ..Match::default() },
        action: Action::Accept(vec![
            Operation::AddCommunity(Community::Standard(community)),
            Operation::PrependAsPath(vec![65100]),
            Operation::SetMed(3),
            Operation::SetLocalPreference(9),
        ]),
    }
}

#[test]
fn what_a_rule_does_comes_before_what_the_protocol_does() {
    let policy = PeerPolicy { export: vec![marking(7)], ..PeerPolicy::default() };
    let prefix = "172.16.0.0/26".parse().unwrap();
    let route = path(external(2, 65000), |a| {
        a.as_path = vec![sequence(&[65000])];
        a.med = Some(50);
    });
    let to = external(5, 65001);
    let target = target(&to, &policy);
    let by_first = target.pass(&prefix, Some(&route)).unwrap();
    assert_eq!(by_first.rule, Some(0));
    let told = target.learned(&route, by_first).unwrap();
    assert_eq!(told.as_path, [sequence(&[64512, 65100, 65000])]);
    assert_eq!((told.communities, told.med, told.local_pref), (vec![7], Some(3), None));
    // The rule is about routes of remote peers only.
    assert_eq!(target.pass(&prefix, None), Some(passed(&to)));
    let inside = internal(6);
    let told = Target { to: &inside, ..target }.learned(&route, by_first).unwrap();
    assert_eq!((told.med, told.local_pref), (Some(3), Some(9)));

    let all = Rule { matches: Match::default(), action: Action::Reject, ..marking(7) };
    let policy = PeerPolicy { export: vec![marking(7), all], ..PeerPolicy::default() };
    let target = Target { policy: &policy, ..target };
    assert_eq!(target.pass(&prefix, None), None, "rejected");
    assert_eq!(target.pass(&prefix, Some(&route)), Some(by_first));
}

#[test]
fn before_it_goes_away_a_node_marks_all_that_it_tells() {
    let policy = PeerPolicy { export: vec![marking(7)], ..PeerPolicy::default() };
    let route = path(external(2, 65000), |_| ());
    let (inside, outside) = (internal(3), external(4, 65001));
    let leaving = |to| Target { to, policy: &policy, graceful_shutdown: true };
    let by_first = Passed { rule: Some(0), ..passed(&inside) };
    let told = leaving(&inside).learned(&route, by_first).unwrap();
    assert_eq!((told.communities, told.local_pref), (vec![7, GRACEFUL_SHUTDOWN], Some(0)));
    let told = leaving(&outside).learned(&route, by_first).unwrap();
    assert_eq!((told.communities, told.local_pref), (vec![7, GRACEFUL_SHUTDOWN], None));
    let told = leaving(&inside).own(passed(&inside));
    assert_eq!((told.communities, told.local_pref), (vec![GRACEFUL_SHUTDOWN], Some(0)));
}

#[test]
fn what_may_go_to_customers_only_goes_there_marked_and_to_nobody_above() {
    let marked = path(external(2, 65002), |it| it.otc = Some(65002));
    let plain = path(external(2, 65002), |_| ());
    // The role; what is told of the marked route, of another one, and of an own one.
    let cases = [
        (None, [Some(Some(65002)), Some(None), Some(None)]),
        (Some(Role::Provider), [Some(Some(65002)), Some(Some(64512)), Some(Some(64512))]),
        (Some(Role::RouteServer), [Some(Some(65002)), Some(Some(64512)), Some(Some(64512))]),
        (Some(Role::RouteServerClient), [None, Some(None), Some(None)]),
        (Some(Role::Customer), [None, Some(None), Some(None)]),
        (Some(Role::Peer), [None, Some(Some(64512)), Some(Some(64512))]),
    ];
    for (role, expected) in cases {
        let to = Session { role, ..external(1, 65001) };
        let told = [learned(&marked, &to), learned(&plain, &to), Some(own(&to))];
        assert_eq!(told.map(|told| told.map(|it| it.otc)), expected, "{role:?}");
    }
    // Within the AS it stays as it is.
    assert_eq!(learned(&marked, &internal(1)).unwrap().otc, Some(65002));
    assert_eq!(learned(&plain, &internal(1)).unwrap().otc, None);
}

#[test]
fn extended_communities_leave_the_as_only_where_they_are_transitive() {
    let [target, color, state] =
        [0x0002_fc00_0000_0007, 0x030b_0000_0000_0001, 0x4300_0000_0000_0002]
            .map(ExtendedCommunity);
    let route = path(external(2, 65002), |it| {
        it.extended_communities = vec![target, state, color];
    });
    let told = |to: Session| learned(&route, &to).unwrap().extended_communities;
    assert_eq!(told(external(1, 65001)), [target, color]);
    assert_eq!(told(internal(1)), [target, state, color]);
}
