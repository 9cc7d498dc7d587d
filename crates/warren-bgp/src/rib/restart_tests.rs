//! Routes that outlive their session, and selection that waits.

use super::tests::{attributes, external, internal};
use super::*;
use crate::policy::{Action, Community, LLGR_STALE, Match, NO_LLGR, Operation, Rule};

const BLOCK: &str = "172.16.103.64/26";
const OTHER: &str = "172.16.103.128/26";

fn prefix(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn announce(prefixes: &[&str], last: u8) -> Update {
    Update {
        announced: prefixes.iter().map(|it| prefix(it)).collect(),
        attributes: Some(Arc::new(attributes(&format!("192.168.0.{last}")))),
        ..Update::default()
    }
}

/// With internal peer 1, which has announced two blocks, and external peer 3, which knows.
fn rib() -> Rib {
    let mut rib = Rib::default();
    let pools = vec![prefix("172.16.0.0/16")];
    rib.set_import_policy(ImportPolicy { pools, ..ImportPolicy::default() });
    rib.peer_up(internal(1));
    rib.peer_up(external(3, 65000));
    rib.update(internal(1).peer, announce(&[BLOCK, OTHER], 1));
    assert_eq!(rib.take_changes(10).len(), 2);
    tell(&mut rib, 3);
    rib
}

/// What the peer is told until there is nothing more.
fn tell(rib: &mut Rib, last: u8) -> Vec<Update> {
    let peer = internal(last).peer;
    let mut told = Vec::new();
    while rib.out_of_date(None).any(|it| it == peer) {
        told.extend(rib.take_updates(peer, 100));
    }
    told
}

#[test]
fn a_restart_is_noticed_by_nobody() {
    let mut rib = rib();
    let one = internal(1).peer;
    rib.peer_restarting(one, &[Family::Ipv4Unicast]);
    assert_eq!((rib.counts(one).received, rib.counts(one).stale), (0, 2));
    rib.peer_up(internal(1));
    rib.update(one, announce(&[BLOCK, OTHER], 1));
    rib.sweep(one, Family::Ipv4Unicast);
    assert_eq!((rib.counts(one).received, rib.counts(one).stale), (2, 0));
    assert_eq!(rib.take_changes(10), []);
    assert_eq!(tell(&mut rib, 3), []);
}

#[test]
fn what_was_not_announced_again_goes_when_it_is_swept() {
    let mut rib = rib();
    let one = internal(1).peer;
    rib.peer_restarting(one, &[Family::Ipv4Unicast]);
    rib.peer_up(internal(1));
    rib.update(one, announce(&[BLOCK], 1));
    rib.sweep(one, Family::Ipv6Unicast);
    assert_eq!(rib.take_changes(10), [], "the other family's end");
    rib.sweep(one, Family::Ipv4Unicast);
    assert_eq!(rib.take_changes(10), [PathChange { prefix: prefix(OTHER), best: None }]);
    assert_eq!(tell(&mut rib, 3)[0].withdrawn, [prefix(OTHER)]);
}

#[test]
fn a_route_of_before_can_be_withdrawn_or_replaced() {
    let mut rib = rib();
    let one = internal(1).peer;
    rib.peer_restarting(one, &[Family::Ipv4Unicast]);
    rib.peer_up(internal(1));
    rib.update(one, Update { withdrawn: vec![prefix(OTHER)], ..Update::default() });
    assert_eq!(rib.take_changes(10), [PathChange { prefix: prefix(OTHER), best: None }]);
    rib.update(one, announce(&[BLOCK], 9));
    let best = Some(BestPath { next_hop: "192.168.0.9".parse().unwrap(), learned_from: one });
    assert_eq!(rib.take_changes(10), [PathChange { prefix: prefix(BLOCK), best }]);
    rib.sweep(one, Family::Ipv4Unicast);
    assert_eq!(rib.take_changes(10), [], "what is new is not swept");
}

#[test]
fn only_the_families_that_are_kept_stay() {
    let mut rib = rib();
    let one = internal(1).peer;
    rib.peer_restarting(one, &[Family::Ipv6Unicast]);
    assert_eq!(rib.take_changes(10).len(), 2);
}

#[test]
fn what_is_stale_stays_so_through_another_session_until_it_is_swept() {
    let mut rib = rib();
    let one = internal(1).peer;
    rib.peer_restarting(one, &[Family::Ipv4Unicast]);
    rib.peer_up(internal(1));
    rib.update(one, announce(&[BLOCK], 1));
    rib.peer_restarting(one, &[Family::Ipv4Unicast]);
    assert_eq!((rib.take_changes(10), rib.counts(one).stale), (vec![], 2));
    rib.peer_up(internal(1));
    rib.update(one, announce(&[OTHER], 1));
    rib.sweep(one, Family::Ipv4Unicast);
    assert_eq!(rib.take_changes(10), [PathChange { prefix: prefix(BLOCK), best: None }]);
    rib.peer_restarting(one, &[Family::Ipv4Unicast]);
    rib.forget_peer(one);
    assert_eq!(rib.take_changes(10), [PathChange { prefix: prefix(OTHER), best: None }]);
}

#[test]
fn what_a_refresh_does_not_announce_again_goes_and_the_rest_does_not_move() {
    let mut rib = rib();
    let one = internal(1).peer;
    rib.mark_stale(one, Family::Ipv6Unicast);
    assert_eq!(rib.counts(one).stale, 0, "the other family");
    rib.mark_stale(one, Family::Ipv4Unicast);
    assert_eq!((rib.counts(one).received, rib.counts(one).stale), (0, 2));
    rib.update(one, announce(&[BLOCK], 1));
    assert_eq!((rib.counts(one).received, rib.counts(one).stale), (1, 1));
    assert_eq!((rib.take_changes(10), tell(&mut rib, 3)), (vec![], vec![]));
    rib.sweep(one, Family::Ipv4Unicast);
    assert_eq!(rib.take_changes(10), [PathChange { prefix: prefix(OTHER), best: None }]);
    assert_eq!(tell(&mut rib, 3)[0].withdrawn, [prefix(OTHER)]);
    // Begun and interrupted by a restart: all that was announced before is kept.
    rib.mark_stale(one, Family::Ipv4Unicast);
    rib.peer_restarting(one, &[Family::Ipv4Unicast]);
    assert_eq!((rib.counts(one).received, rib.counts(one).stale), (0, 1));
    rib.peer_up(internal(1));
    rib.update(one, announce(&[BLOCK], 1));
    rib.sweep(one, Family::Ipv4Unicast);
    assert_eq!(rib.take_changes(10), []);
}

/// What a peer was told of one prefix, in the latest of these updates.
fn communities(told: &[Update], of: &str) -> Vec<u32> {
    let update = told.iter().rev().find(|it| it.announced.contains(&prefix(of)));
    update.unwrap().attributes.as_ref().unwrap().communities.clone()
}

#[test]
fn what_is_kept_for_long_is_marked_stays_the_last_resort_and_is_told_to_those_who_know_it() {
    let mut rib = rib();
    let one = internal(1).peer;
    rib.peer_up(Session { long_lived: true, ..external(4, 65001) });
    tell(&mut rib, 4);
    rib.peer_restarting(one, &[Family::Ipv4Unicast]);
    rib.long_lived(one, Family::Ipv6Unicast);
    assert_eq!((tell(&mut rib, 3), tell(&mut rib, 4)), (vec![], vec![]), "the other family");
    rib.long_lived(one, Family::Ipv4Unicast);
    assert_eq!((rib.counts(one).stale, rib.stale(one, Family::Ipv4Unicast)), (2, 2));
    assert_eq!(rib.take_changes(10), [], "it is the best there is");
    let told = tell(&mut rib, 3);
    assert_eq!(told[0].withdrawn.len(), 2, "{told:?}");
    assert_eq!(communities(&tell(&mut rib, 4), BLOCK), [LLGR_STALE]);
    // Anything else is better.
    rib.peer_up(internal(2));
    let worse = Attributes { local_pref: Some(1), ..attributes("192.168.0.2") };
    let attributes = Some(Arc::new(worse));
    let update = Update { announced: vec![prefix(BLOCK)], attributes, ..Update::default() };
    rib.update(internal(2).peer, update);
    let best = |last| {
        let peer = internal(last).peer;
        Some(BestPath { next_hop: peer, learned_from: peer })
    };
    assert_eq!(rib.take_changes(10), [PathChange { prefix: prefix(BLOCK), best: best(2) }]);
    // It is back, and all is as it was.
    rib.peer_up(internal(1));
    rib.update(one, announce(&[BLOCK, OTHER], 1));
    rib.sweep(one, Family::Ipv4Unicast);
    assert_eq!(rib.take_changes(10), [PathChange { prefix: prefix(BLOCK), best: best(1) }]);
    assert_eq!(tell(&mut rib, 3)[0].announced.len(), 2);
    assert_eq!(communities(&tell(&mut rib, 4), OTHER), []);
}

#[test]
fn what_is_not_to_be_kept_for_long_goes_whether_the_peer_or_a_filter_says_so() {
    let mark = |prefix: &str| Rule {
        family: Family::Ipv4Unicast,
        matches: Match {
            prefix: Some(crate::policy::PrefixMatch {
                operator: crate::policy::MatchOperator::Equal,
                cidr: prefix.parse().unwrap(),
                prefix_length: 0..=32,
            }),
            ..Match::default()
        },
        action: Action::Accept(vec![Operation::AddCommunity(Community::Standard(NO_LLGR))]),
    };
    let mut rib = rib();
    let one = internal(1).peer;
    let policy = PeerPolicy { import: vec![mark(OTHER)], ..PeerPolicy::default() };
    rib.set_peer_policies([(one.into(), Arc::new(policy))].into_iter().collect());
    const THIRD: &str = "172.16.103.192/26";
    let marked = Attributes { communities: vec![NO_LLGR], ..attributes("192.168.0.1") };
    let announced = vec![prefix(THIRD)];
    let update = Update { announced, attributes: Some(Arc::new(marked)), ..Update::default() };
    rib.update(one, update);
    assert_eq!(rib.take_changes(10).len(), 1);
    rib.peer_restarting(one, &[Family::Ipv4Unicast]);
    assert_eq!(rib.take_changes(10), []);
    rib.long_lived(one, Family::Ipv4Unicast);
    let gone = |text| PathChange { prefix: prefix(text), best: None };
    let mut changes = rib.take_changes(10);
    changes.sort_by_key(|it| it.prefix);
    assert_eq!(changes, [gone(OTHER), gone(THIRD)]);
    assert_eq!(rib.counts(one).stale, 1);
}

#[test]
fn policy_is_for_stale_routes_too() {
    let mut rib = rib();
    let one = internal(1).peer;
    rib.peer_restarting(one, &[Family::Ipv4Unicast]);
    let all =
        Rule { family: Family::Ipv4Unicast, matches: Match::default(), action: Action::Reject };
    let refuses = PeerPolicy { import: vec![all], ..PeerPolicy::default() };
    rib.set_peer_policies([(one.into(), Arc::new(refuses))].into_iter().collect());
    assert_eq!(rib.take_changes(10).len(), 2);
}

#[test]
fn while_selection_is_deferred_only_own_routes_are_told_and_no_end() {
    let mut rib = Rib::default();
    let pools = vec![prefix("172.16.0.0/16")];
    rib.set_import_policy(ImportPolicy { pools, ..ImportPolicy::default() });
    rib.defer();
    rib.originate([prefix("172.16.1.0/26")]);
    rib.peer_up(internal(1));
    rib.peer_up(external(3, 65000));
    rib.update(internal(1).peer, announce(&[BLOCK], 1));
    assert!(!rib.has_changes());
    assert_eq!(rib.take_changes(10), []);
    for peer in [1, 3] {
        let told = tell(&mut rib, peer);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].announced, [prefix("172.16.1.0/26")]);
    }

    rib.resume();
    assert_eq!(rib.take_changes(10).len(), 1);
    let end = Update::end_of_rib(Family::Ipv4Unicast);
    assert_eq!(tell(&mut rib, 1), std::slice::from_ref(&end));
    let told = tell(&mut rib, 3);
    assert_eq!(told[0].announced, [prefix(BLOCK)]);
    assert_eq!(told[1..], [end]);
}
