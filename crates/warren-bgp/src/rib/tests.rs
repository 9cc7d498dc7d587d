use std::net::Ipv4Addr;

use super::*;
use crate::message::RouteRefresh;

pub(super) const LOCAL: &str = "192.168.0.176";

/// An internal peer, 192.168.0.`last`.
pub(super) fn internal(last: u8) -> Session {
    external(last, 64512)
}

/// A peer of this AS, 192.168.0.`last`.
pub(super) fn external(last: u8, peer_as: u32) -> Session {
    let address = Ipv4Addr::new(192, 168, 0, last);
    Session {
        peer: address.into(),
        peer_as,
        peer_router_id: address,
        local_address: LOCAL.parse().unwrap(),
        other_address: None,
        local_as: 64512,
        local_router_id: LOCAL.parse().unwrap(),
        cluster_id: LOCAL.parse().unwrap(),
        is_client: false,
        families: vec![Family::Ipv4Unicast],
        enhanced_refresh: false,
        long_lived: false,
        role: None,
    }
}

pub(super) fn attributes(next_hop: &str) -> Attributes {
    Attributes::via(next_hop.parse().unwrap())
}

const POOL: &str = "172.16.0.0/16";
const BLOCK: &str = "172.16.103.64/26";

fn prefix(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn announce(prefixes: &[&str], attributes: Attributes) -> Update {
    Update {
        announced: prefixes.iter().map(|p| prefix(p)).collect(),
        attributes: Some(Arc::new(attributes)),
        ..Update::default()
    }
}

fn end_of_rib() -> Update {
    Update::end_of_rib(Family::Ipv4Unicast)
}

fn withdraw(prefixes: &[&str]) -> Update {
    Update { withdrawn: prefixes.iter().map(|p| prefix(p)).collect(), ..Update::default() }
}

fn pools() -> ImportPolicy {
    ImportPolicy { pools: vec![prefix(POOL)], ..ImportPolicy::default() }
}

/// A RIB that takes whatever lies in the pool, with these sessions up and told of nothing yet.
fn rib(sessions: &[Session]) -> Rib {
    let mut rib = Rib::default();
    rib.set_import_policy(pools());
    for session in sessions {
        rib.peer_up(session.clone());
        assert_eq!(rib.take_updates(session.peer, 10), [end_of_rib()], "End-of-RIB");
    }
    rib
}

fn change(of: &str, best: Option<u8>) -> PathChange {
    let best = best
        .map(|last| BestPath { next_hop: internal(last).peer, learned_from: internal(last).peer });
    PathChange { prefix: prefix(of), best }
}

fn via(last: u8) -> Attributes {
    attributes(&internal(last).peer.to_string())
}

fn out_of_date(rib: &Rib) -> Vec<IpAddr> {
    rib.out_of_date(None).collect()
}

#[test]
fn a_block_is_learned_changed_and_lost() {
    let mut rib = rib(&[internal(1), internal(2)]);
    rib.update(internal(2).peer, announce(&[BLOCK], via(2)));
    assert_eq!(rib.take_changes(10), [change(BLOCK, Some(2))]);
    rib.update(internal(1).peer, announce(&[BLOCK], via(1)));
    assert_eq!(rib.take_changes(10), [change(BLOCK, Some(1))]);
    // The other one's withdrawal changes nothing.
    rib.update(internal(2).peer, withdraw(&[BLOCK]));
    assert!(!rib.has_changes());
    rib.peer_down(internal(1).peer);
    assert_eq!(rib.take_changes(10), [change(BLOCK, None)]);
    assert!(rib.routes.is_empty(), "nothing is kept of a destination without paths");
}

#[test]
fn what_changes_back_before_it_is_reported_is_no_change() {
    let mut rib = rib(&[internal(1), external(3, 65000)]);
    rib.update(internal(1).peer, announce(&[BLOCK], via(1)));
    rib.update(internal(1).peer, withdraw(&[BLOCK]));
    assert_eq!(rib.take_changes(10), []);
    assert_eq!(rib.take_updates(external(3, 65000).peer, 10), []);
}

#[test]
fn changes_are_told_in_the_order_in_which_they_happened() {
    let mut rib = rib(&[internal(1), internal(2)]);
    let (last, first) = ("172.16.9.128/26", "172.16.9.0/26");
    rib.update(internal(2).peer, announce(&[last, BLOCK], via(2)));
    rib.update(internal(1).peer, announce(&[first], via(1)));
    // It keeps its place.
    rib.update(internal(1).peer, announce(&[last], via(1)));
    assert_eq!(rib.take_changes(2), [change(last, Some(1)), change(BLOCK, Some(2))]);
    assert_eq!(rib.take_changes(2), [change(first, Some(1))]);
    assert!(!rib.has_changes());
}

#[test]
fn new_attributes_with_the_old_next_hop_are_news_for_peers_only() {
    let mut rib = rib(&[internal(1), external(3, 65000)]);
    rib.update(internal(1).peer, announce(&[BLOCK], via(1)));
    rib.take_changes(10);
    rib.take_updates(external(3, 65000).peer, 10);
    rib.update(internal(1).peer, announce(&[BLOCK], Attributes { communities: vec![9], ..via(1) }));
    assert!(!rib.has_changes());
    let told = rib.take_updates(external(3, 65000).peer, 10);
    assert_eq!(told[0].attributes.as_ref().unwrap().communities, [9]);
}

#[test]
fn a_mesh_peers_route_concerns_no_other_mesh_peer() {
    let mut rib = rib(&[internal(1), internal(2)]);
    rib.update(internal(1).peer, announce(&[BLOCK], via(1)));
    assert!(out_of_date(&rib).is_empty());
    rib.peer_up(internal(4));
    assert_eq!(rib.take_updates(internal(4).peer, 10), [end_of_rib()]);
}

#[test]
fn own_blocks_are_told_to_everybody_and_never_reported() {
    let mut rib = rib(&[internal(1), external(3, 65000)]);
    rib.originate([prefix("172.16.52.128/26")]);
    assert!(!rib.has_changes());
    for peer in [internal(1).peer, external(3, 65000).peer] {
        let told = rib.take_updates(peer, 10);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].announced, [prefix("172.16.52.128/26")]);
        assert_eq!(rib.counts(peer).advertised, 1);
    }
    rib.originate([]);
    assert_eq!(rib.take_updates(internal(1).peer, 10), [withdraw(&["172.16.52.128/26"])]);
    assert_eq!(rib.counts(internal(1).peer).advertised, 0);
}

#[test]
fn an_own_route_wins_over_a_learned_one_and_gives_it_back() {
    let mut rib = rib(&[internal(1)]);
    rib.update(internal(1).peer, announce(&[BLOCK], via(1)));
    rib.take_changes(10);
    rib.originate([prefix(BLOCK)]);
    assert_eq!(rib.take_changes(10), [change(BLOCK, None)]);
    rib.originate([]);
    assert_eq!(rib.take_changes(10), [change(BLOCK, Some(1))]);
}

#[test]
fn a_new_peer_is_told_everything_then_end_of_rib() {
    let mut rib = rib(&[internal(1)]);
    rib.originate((0..8).map(|n| prefix(&format!("172.16.{n}.0/26"))));
    rib.update(internal(1).peer, announce(&[BLOCK], via(1)));
    rib.peer_up(external(3, 65000));
    let peer = external(3, 65000).peer;
    let mut told = Vec::new();
    while out_of_date(&rib).contains(&peer) {
        told.extend(rib.take_updates(peer, 3));
    }
    assert_eq!(told.pop(), Some(end_of_rib()), "End-of-RIB is the last");
    assert_eq!(told.iter().map(|update| update.announced.len()).sum::<usize>(), 9);
    assert!(!told.iter().any(|update| update.end_of_rib.is_some()));
}

#[test]
fn news_are_grouped_by_attributes_with_withdrawals_first() {
    let mut rib = rib(&[external(1, 65001), external(3, 65000)]);
    let peer = external(3, 65000).peer;
    let from = external(1, 65001).peer;
    let others = Attributes { communities: vec![9], ..via(1) };
    rib.update(from, announce(&["172.16.1.0/26", "172.16.3.0/26"], via(1)));
    rib.take_updates(peer, 10);
    rib.update(from, withdraw(&["172.16.3.0/26"]));
    rib.update(from, announce(&["172.16.4.0/26", "172.16.2.0/26"], others));
    rib.update(from, announce(&["172.16.5.0/26"], via(1)));
    let told = rib.take_updates(peer, 10);
    assert_eq!(told[0], withdraw(&["172.16.3.0/26"]));
    assert_eq!(told[1].announced, [prefix("172.16.2.0/26"), prefix("172.16.4.0/26")]);
    assert_eq!(told[2].announced, [prefix("172.16.5.0/26")]);
    assert_eq!(told.len(), 3);
}

#[test]
fn a_refresh_repeats_what_was_told() {
    let mut rib = rib(&[internal(1)]);
    rib.originate([prefix("172.16.52.128/26"), prefix("172.16.60.0/26")]);
    let told = rib.take_updates(internal(1).peer, 10);
    rib.refresh(internal(1).peer, Family::Ipv6Unicast);
    assert!(out_of_date(&rib).is_empty());
    rib.refresh(internal(1).peer, Family::Ipv4Unicast);
    assert_eq!(rib.take_updates(internal(1).peer, 10), told);
    // A destination that goes meanwhile is still withdrawn.
    rib.refresh(internal(1).peer, Family::Ipv4Unicast);
    rib.originate([prefix("172.16.60.0/26")]);
    let told = rib.take_updates(internal(1).peer, 10);
    assert_eq!(told[0], withdraw(&["172.16.52.128/26"]));
    assert_eq!(told[1].announced, [prefix("172.16.60.0/26")]);
}

#[test]
fn refused_routes_are_counted_named_once_and_judged_again_by_a_new_policy() {
    let mut rib = rib(&[internal(1)]);
    let peer = internal(1).peer;
    rib.update(peer, announce(&["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", BLOCK], via(1)));
    assert_eq!(rib.take_changes(10), [change(BLOCK, Some(1))]);
    let counts = rib.counts(peer);
    assert_eq!(counts.received, 4);
    let expected = [(Refusal::DefaultRoute, 1), (Refusal::OutsidePools, 2)];
    assert_eq!(counts.refused, expected.into());
    let first: Vec<_> = rib.take_first_refusals().into_iter().map(|r| r.prefix).collect();
    assert_eq!(first, [prefix("0.0.0.0/0"), prefix("10.0.0.0/8")]);

    let mut policy = pools();
    policy.pools.push(prefix("10.0.0.0/12"));
    policy.own_blocks.push(prefix(BLOCK));
    rib.set_import_policy(policy);
    // In any order: all are judged at once.
    let mut changes = rib.take_changes(10);
    changes.sort_by_key(|change| change.prefix);
    assert_eq!(changes, [change("10.1.0.0/16", Some(1)), change(BLOCK, None)]);
    assert_eq!(rib.counts(peer).refused[&Refusal::OwnBlock], 1);
    assert_eq!(rib.take_first_refusals().len(), 1);
    // Counts outlive a session, not the peer.
    rib.peer_down(peer);
    assert!(!rib.counts(peer).refused.is_empty());
    rib.forget_peer(peer);
    assert_eq!(rib.counts(peer), Counts::default());
}

fn rejecting(cidr: &str) -> crate::policy::Rule {
    use crate::policy::{Action, Match, MatchOperator, PrefixMatch, Rule};
    let cidr = prefix(cidr);
    let wanted = PrefixMatch { operator: MatchOperator::In, cidr, prefix_length: 0..=32 };
    Rule {
        family: Family::Ipv4Unicast,
        matches: Match { prefix: Some(wanted), ..Match::default() },
        action: Action::Reject,
    }
}

#[test]
fn a_changed_filter_takes_effect_at_once_on_what_was_announced_before() {
    let mut rib = rib(&[internal(1), external(3, 65000)]);
    rib.update(internal(1).peer, announce(&[BLOCK], via(1)));
    rib.originate([prefix("172.16.52.128/26")]);
    rib.take_changes(10);
    assert_eq!(rib.take_updates(external(3, 65000).peer, 10)[0].announced.len(), 2);

    let import = PeerPolicy { import: vec![rejecting(BLOCK)], ..PeerPolicy::default() };
    let export = PeerPolicy { export: vec![rejecting("172.16.52.0/24")], ..PeerPolicy::default() };
    let policies = |one: &PeerPolicy, three: &PeerPolicy| {
        // A whole range of peers, and one of them.
        let range = prefix("192.168.0.0/24");
        [(range, Arc::new(one.clone())), (external(3, 65000).peer.into(), Arc::new(three.clone()))]
            .into_iter()
            .collect()
    };
    rib.set_peer_policies(policies(&import, &export));
    assert_eq!(rib.take_changes(10), [change(BLOCK, None)]);
    assert_eq!(rib.counts(internal(1).peer).refused, [(Refusal::Filter, 1)].into());
    let told = rib.take_updates(external(3, 65000).peer, 10);
    assert_eq!(told, [withdraw(&["172.16.52.128/26", BLOCK])]);

    rib.set_peer_policies(policies(&PeerPolicy::default(), &export));
    assert_eq!(rib.take_changes(10), [change(BLOCK, Some(1))]);
    let told = rib.take_updates(external(3, 65000).peer, 10);
    assert_eq!(
        told.iter().map(|update| &update.announced[..]).collect::<Vec<_>>(),
        [[prefix(BLOCK)]]
    );
    rib.take_updates(internal(1).peer, 10);
    rib.set_peer_policies(policies(&PeerPolicy::default(), &export));
    assert!(!rib.has_changes() && out_of_date(&rib).is_empty(), "nothing is new");
}

#[test]
fn requiring_rules_takes_effect_at_once_on_external_peers_only() {
    let external = external(3, 65000);
    let mut rib = rib(&[internal(1), external.clone()]);
    rib.originate([prefix("172.16.52.128/26")]);
    rib.update(external.peer, announce(&[BLOCK], via(3)));
    rib.take_changes(10);
    for peer in [internal(1).peer, external.peer] {
        rib.take_updates(peer, 10);
    }
    let everybody = |policy: &PeerPolicy| {
        [(prefix("0.0.0.0/0"), Arc::new(policy.clone()))].into_iter().collect()
    };
    let strict = PeerPolicy { requires_rules: true, ..PeerPolicy::default() };
    rib.set_peer_policies(everybody(&strict));
    assert_eq!(rib.take_changes(10), [change(BLOCK, None)]);
    assert_eq!(rib.counts(external.peer).refused, [(Refusal::NoRules, 1)].into());
    assert_eq!(rib.take_updates(external.peer, 10), [withdraw(&["172.16.52.128/26"])]);
    assert_eq!(rib.take_updates(internal(1).peer, 10), [withdraw(&[BLOCK])]);
    rib.set_peer_policies(everybody(&PeerPolicy::default()));
    assert_eq!(rib.take_changes(10), [change(BLOCK, Some(3))]);
    let told = rib.take_updates(external.peer, 10);
    assert_eq!(told[0].announced, [prefix("172.16.52.128/26")]);
}

#[test]
fn before_it_goes_away_a_node_tells_everybody_again() {
    let mut rib = rib(&[internal(1)]);
    rib.originate([prefix(BLOCK)]);
    let told = |rib: &mut Rib| {
        let update = rib.take_updates(internal(1).peer, 10).remove(0);
        let attributes = update.attributes.unwrap();
        (attributes.communities.clone(), attributes.local_pref)
    };
    assert_eq!(told(&mut rib), (vec![], Some(100)));
    rib.set_graceful_shutdown(true);
    assert_eq!(told(&mut rib), (vec![0xFFFF_0000], Some(0)));
    rib.set_graceful_shutdown(true);
    assert!(out_of_date(&rib).is_empty());
    rib.set_graceful_shutdown(false);
    assert_eq!(told(&mut rib), (vec![], Some(100)));
}

#[test]
fn a_refresh_has_a_beginning_and_an_end_for_those_who_know_them() {
    let mark = |mark: fn(Family) -> RouteRefresh| Update::refresh(mark(Family::Ipv4Unicast));
    let [begin, end] = [mark(RouteRefresh::Begin), mark(RouteRefresh::End)];
    let one = internal(1).peer;
    let mut rib = rib(&[]);
    rib.originate([prefix("172.16.52.128/26"), prefix("172.16.60.0/26")]);
    rib.peer_up(Session { enhanced_refresh: true, ..internal(1) });
    // Asked for before all was told once: that comes first.
    assert_eq!(rib.take_updates(one, 1).len(), 1);
    rib.refresh(one, Family::Ipv4Unicast);
    assert_eq!(rib.take_updates(one, 10)[1..], [end_of_rib()]);
    let again = rib.take_updates(one, 1);
    assert_eq!(again[0], begin);
    assert_eq!((again.len(), again[1].announced.len()), (2, 1));
    // Asked for once more meanwhile, and a destination goes.
    rib.refresh(one, Family::Ipv4Unicast);
    rib.originate([prefix("172.16.52.128/26")]);
    assert_eq!(rib.take_updates(one, 10), [withdraw(&["172.16.60.0/26"]), end.clone()]);
    let again = rib.take_updates(one, 10);
    assert_eq!((&again[0], again[1].announced.len(), &again[2]), (&begin, 1, &end));
    assert!(out_of_date(&rib).is_empty());
    // Of nothing there is a refresh too.
    rib.originate([]);
    assert_eq!(rib.take_updates(one, 10).len(), 1);
    rib.refresh(one, Family::Ipv4Unicast);
    assert_eq!(rib.take_updates(one, 10), [begin, end]);
    assert!(out_of_date(&rib).is_empty());
}

#[test]
fn without_a_session_nothing_is_believed() {
    let mut rib = rib(&[]);
    rib.update(internal(1).peer, announce(&[BLOCK], via(1)));
    rib.refresh(internal(1).peer, Family::Ipv4Unicast);
    assert!(rib.routes.is_empty() && !rib.has_changes());
    assert_eq!(rib.take_updates(internal(1).peer, 10), []);
}

#[test]
fn peers_take_turns_from_the_one_after_the_last() {
    let mut rib = rib(&[internal(1), internal(2), internal(3)]);
    rib.originate([prefix(BLOCK)]);
    let turn = |after: u8| -> Vec<IpAddr> { rib.out_of_date(Some(internal(after).peer)).collect() };
    assert_eq!(turn(1), [internal(2).peer, internal(3).peer, internal(1).peer]);
    assert_eq!(turn(3), [internal(1).peer, internal(2).peer, internal(3).peer]);
}

#[test]
fn a_prefix_with_host_bits_is_the_same_destination() {
    let mut rib = rib(&[internal(1)]);
    rib.update(internal(1).peer, announce(&["172.16.103.65/26"], via(1)));
    assert_eq!(rib.take_changes(10), [change(BLOCK, Some(1))]);
    rib.update(internal(1).peer, withdraw(&["172.16.103.66/26"]));
    assert_eq!(rib.take_changes(10), [change(BLOCK, None)]);
}

#[test]
fn several_paths_of_a_peer_come_and_go_each_by_itself() {
    let mut rib = rib(&[internal(1)]);
    let peer = internal(1).peer;
    let by = |path_id, update| Update { path_id: Some(path_id), ..update };
    let via = |last, preference| Attributes { local_pref: Some(preference), ..via(last) };
    let best = |last: u8| PathChange {
        prefix: prefix(BLOCK),
        best: Some(BestPath { next_hop: internal(last).peer, learned_from: peer }),
    };
    rib.update(peer, by(7, announce(&[BLOCK], via(7, 100))));
    assert_eq!(rib.take_changes(10), [best(7)]);
    rib.update(peer, by(8, announce(&[BLOCK], via(8, 200))));
    assert_eq!(rib.take_changes(10), [best(8)]);
    // Of equal ones the lowest identifier, whenever it came.
    rib.update(peer, by(6, announce(&[BLOCK], via(6, 200))));
    assert_eq!(rib.take_changes(10), [best(6)]);
    assert_eq!(rib.counts(peer).received, 3);
    // It takes the place of the path with its identifier only.
    rib.update(peer, by(6, announce(&[BLOCK], via(5, 50))));
    assert_eq!(rib.take_changes(10), [best(8)]);
    rib.update(peer, by(8, withdraw(&[BLOCK])));
    assert_eq!(rib.take_changes(10), [best(7)]);
    rib.update(peer, by(8, withdraw(&[BLOCK])));
    assert_eq!((rib.has_changes(), rib.counts(peer).received), (false, 2));
    rib.peer_down(peer);
    assert_eq!(rib.take_changes(10), [change(BLOCK, None)]);
    assert!(rib.routes.is_empty());
}

#[test]
fn the_interner_makes_equal_attributes_of_two_messages_one() {
    let mut rib = rib(&[internal(1)]);
    rib.update(internal(1).peer, announce(&["172.16.1.0/26"], via(1)));
    rib.update(internal(1).peer, announce(&["172.16.2.0/26"], via(1)));
    let mut paths = rib.routes.values().map(|route| &route.paths[0].attributes);
    assert!(Arc::ptr_eq(paths.next().unwrap(), paths.next().unwrap()));
}

#[test]
fn a_path_costs_little_memory() {
    assert!(size_of::<Path>() <= 32);
    assert!(size_of::<Route>() <= 64);
}
