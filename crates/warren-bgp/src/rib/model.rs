//! Random histories against a model that keeps nothing but the facts and computes the rest anew.

use proptest::prelude::*;

use super::tests::{attributes, external, internal};
use super::*;
use crate::message::{AsPathSegment, LargeCommunity, Origin, RouteRefresh};
use crate::policy::{
    Action, Community, GRACEFUL_SHUTDOWN, LLGR_STALE, Match, MatchOperator, NO_EXPORT, NO_LLGR,
    NextHopMode, Operation, PrefixMatch, Rule,
};

/// What can happen. Peers, prefixes and attributes are numbers into small tables, so that
/// histories meet the same destination often.
#[derive(Debug, Clone)]
enum Step {
    Up(usize),
    Down(usize),
    Announce(usize, Vec<usize>, usize, Option<u32>),
    Withdraw(usize, Vec<usize>, Option<u32>),
    Originate(Vec<usize>),
    Policy(usize),
    PeerPolicy(usize, usize),
    GracefulShutdown(bool),
    Refresh(usize),
    MarkStale(usize),
    LongLived(usize),
    Sweep(usize),
    TakeUpdates(usize, usize),
    TakeChanges(usize),
}

const PEERS: usize = 5;
const PREFIXES: usize = 6;
const ATTRIBUTES: usize = 20;
const POLICIES: usize = 3;
const PEER_POLICIES: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    let prefixes = || proptest::collection::vec(0..PREFIXES, 1..4);
    let path_id = || prop_oneof![Just(None), (0..3u32).prop_map(Some)];
    prop_oneof![
        2 => (0..PEERS).prop_map(Step::Up),
        1 => (0..PEERS).prop_map(Step::Down),
        6 => (0..PEERS, prefixes(), 0..ATTRIBUTES, path_id())
            .prop_map(|(p, n, a, id)| Step::Announce(p, n, a, id)),
        3 => (0..PEERS, prefixes(), path_id()).prop_map(|(p, n, id)| Step::Withdraw(p, n, id)),
        1 => proptest::collection::vec(0..PREFIXES, 0..3).prop_map(Step::Originate),
        1 => (0..POLICIES).prop_map(Step::Policy),
        1 => (0..PEERS, 0..PEER_POLICIES).prop_map(|(p, policy)| Step::PeerPolicy(p, policy)),
        1 => any::<bool>().prop_map(Step::GracefulShutdown),
        1 => (0..PEERS).prop_map(Step::Refresh),
        1 => (0..PEERS).prop_map(Step::MarkStale),
        1 => (0..PEERS).prop_map(Step::LongLived),
        1 => (0..PEERS).prop_map(Step::Sweep),
        3 => (0..PEERS, 1..4usize).prop_map(|(p, limit)| Step::TakeUpdates(p, limit)),
        2 => (1..4usize).prop_map(Step::TakeChanges),
    ]
}

fn session(peer: usize) -> Session {
    match peer {
        0 => Session { enhanced_refresh: true, long_lived: true, ..internal(1) },
        1 => internal(2),
        2 => Session { is_client: true, long_lived: true, ..internal(3) },
        3 => Session { enhanced_refresh: true, ..external(4, 65001) },
        _ => Session { long_lived: true, ..external(5, 65002) },
    }
}

fn prefix(number: usize) -> IpNetwork {
    ["172.16.0.0/26", "172.16.0.64/26", "172.16.1.0/24", "172.16.1.0/26", "10.0.0.0/8", "0.0.0.0/0"]
        [number]
        .parse()
        .unwrap()
}

fn path(number: usize) -> Attributes {
    let as_path = |numbers: &[u32]| vec![AsPathSegment::Sequence(numbers.to_vec())];
    let plain = attributes("192.168.0.1");
    match number {
        0 => plain,
        1 => attributes("192.168.0.4"),
        2 => Attributes { local_pref: Some(200), ..plain },
        3 => Attributes { as_path: as_path(&[65001]), med: Some(5), ..plain },
        4 => Attributes { as_path: as_path(&[65001]), med: Some(1), ..plain },
        5 => Attributes { as_path: as_path(&[65002]), med: Some(3), ..plain },
        6 => Attributes { as_path: as_path(&[65002, 7]), ..plain },
        7 => Attributes { as_path: vec![AsPathSegment::Set(vec![65002, 7])], ..plain },
        8 => Attributes { origin: Origin::Incomplete, ..plain },
        9 => Attributes { communities: vec![NO_EXPORT], ..plain },
        10 => Attributes { as_path: as_path(&[64512]), ..plain },
        11 => Attributes { communities: vec![GRACEFUL_SHUTDOWN], ..plain },
        12 => Attributes { originator_id: Some([192, 168, 0, 2].into()), ..plain },
        13 => Attributes {
            originator_id: Some([192, 168, 0, 1].into()),
            cluster_list: vec![[10, 0, 0, 1].into()],
            ..plain
        },
        14 => Attributes { cluster_list: vec![[192, 168, 0, 176].into()], ..plain },
        15 => Attributes { large_communities: vec![LargeCommunity(1, 2, 3)], ..plain },
        16 => Attributes { communities: vec![NO_LLGR], ..plain },
        17 => Attributes { communities: vec![LLGR_STALE], local_pref: Some(300), ..plain },
        18 => Attributes { communities: vec![LLGR_STALE, NO_LLGR], ..plain },
        _ => attributes("192.168.0.2"),
    }
}

fn peer_policy(number: usize) -> PeerPolicy {
    let rule = |matches, action| Rule { family: Family::Ipv4Unicast, matches, action };
    let inside = |cidr: &str| Match {
        prefix: Some(PrefixMatch {
            operator: MatchOperator::In,
            cidr: cidr.parse().unwrap(),
            prefix_length: 0..=26,
        }),
        ..Match::default()
    };
    let mark = |number| vec![Operation::AddCommunity(Community::Standard(number))];
    match number {
        0 => PeerPolicy::default(),
        1 => PeerPolicy {
            import: vec![
                rule(inside("172.16.0.0/25"), Action::Reject),
                rule(
                    inside("172.16.1.0/24"),
                    Action::Accept(vec![Operation::SetLocalPreference(150)]),
                ),
            ],
            allow_own_as: 1,
            ..PeerPolicy::default()
        },
        2 => PeerPolicy {
            export: vec![
                rule(inside("172.16.0.64/26"), Action::Reject),
                rule(
                    Match { remote_peers: true, ..inside("172.16.0.0/16") },
                    Action::Accept(mark(7)),
                ),
            ],
            next_hop: NextHopMode::Own,
            ..PeerPolicy::default()
        },
        _ => PeerPolicy {
            import: vec![rule(Match::default(), Action::Accept(mark(9)))],
            export: vec![rule(
                Match { communities: vec![Community::Standard(9)], ..Match::default() },
                Action::Accept(mark(10)),
            )],
            next_hop: NextHopMode::Keep,
            ..PeerPolicy::default()
        },
    }
}

fn policy(number: usize) -> ImportPolicy {
    let pool = |text: &str| -> IpNetwork { text.parse().unwrap() };
    match number {
        0 => ImportPolicy { pools: vec![pool("172.16.0.0/16")], ..ImportPolicy::default() },
        1 => ImportPolicy {
            pools: vec![pool("172.16.0.0/16"), pool("10.0.0.0/8")],
            own_blocks: vec![prefix(0)],
            owners: vec![(prefix(2), internal(2).peer)],
        },
        _ => ImportPolicy::default(),
    }
}

/// The facts.
#[derive(Default)]
struct Model {
    up: BTreeMap<usize, BTreeMap<Nlri, Attributes>>,
    stale: BTreeMap<usize, BTreeSet<Nlri>>,
    own: BTreeSet<IpNetwork>,
    policy: ImportPolicy,
    peer_policies: BTreeMap<usize, usize>,
    graceful_shutdown: bool,
}

impl Model {
    fn best(&self, prefix: &IpNetwork) -> Best {
        if self.own.contains(prefix) {
            return Best::Own;
        }
        let import = Import::from(&self.policy);
        let mut routes: Vec<Path> = Vec::new();
        for (peer, announced) in &self.up {
            let from = Arc::new(session(*peer));
            let policy = self.peer_policy(*peer);
            for (nlri, received) in announced.iter().filter(|(nlri, _)| nlri.prefix == *prefix) {
                let from = Arc::clone(&from);
                let Ok(changed) = import.judge(&from.arrival(), &policy, prefix, received) else {
                    continue;
                };
                let received = Arc::new(received.clone());
                let attributes = changed.map_or_else(|| Arc::clone(&received), Arc::new);
                let path_id = nlri.path_id;
                routes.push(Path { from, path_id, received, attributes, refusal: None });
            }
        }
        // RFC 4271, 9.1.2.2 as it is written: a route goes if a better one exists at that step.
        // The first step is RFC 9494, 4.4.
        let steps: [fn(&Path, &Path) -> bool; 10] = [
            |n, m| !is_stale(n) && is_stale(m),
            |n, m| preference(n) > preference(m),
            |n, m| hops(n) < hops(m),
            |n, m| n.attributes.origin < m.attributes.origin,
            |n, m| {
                neighbor(n) == neighbor(m)
                    && n.attributes.med.unwrap_or(0) < m.attributes.med.unwrap_or(0)
            },
            |n, m| !n.from.is_internal() && m.from.is_internal(),
            |n, m| originator(n) < originator(m),
            |n, m| n.attributes.cluster_list.len() < m.attributes.cluster_list.len(),
            |n, m| n.from.peer < m.from.peer,
            |n, m| n.path_id < m.path_id,
        ];
        for is_better in steps {
            let before = routes.clone();
            routes.retain(|m| !before.iter().any(|n| is_better(n, m)));
        }
        routes.pop().map_or(Best::None, Best::Learned)
    }

    fn peer_policy(&self, peer: usize) -> PeerPolicy {
        peer_policy(self.peer_policies.get(&peer).copied().unwrap_or_default())
    }

    /// What the node's table is to hold.
    fn table(&self) -> BTreeMap<IpNetwork, BestPath> {
        let all = (0..PREFIXES).map(prefix);
        all.filter_map(|p| Some((p, self.best(&p).reported()?))).collect()
    }

    /// What this peer is to have been told.
    fn told(&self, peer: usize) -> BTreeMap<IpNetwork, Attributes> {
        let to = session(peer);
        let policy = self.peer_policy(peer);
        let target = Target { to: &to, policy: &policy, graceful_shutdown: self.graceful_shutdown };
        let export = |p: &IpNetwork| match self.best(p) {
            Best::None => None,
            // RFC 9494, 4.3.
            Best::Learned(path) if is_stale(&path) && !to.long_lived => None,
            Best::Own => Some(target.own(target.pass(p, None)?)),
            Best::Learned(path) => target.learned(&path, target.pass(p, Some(&path))?),
        };
        (0..PREFIXES).map(prefix).filter_map(|p| Some((p, export(&p)?))).collect()
    }
}

fn preference(path: &Path) -> u32 {
    path.attributes.local_pref.unwrap_or(100)
}

fn is_stale(path: &Path) -> bool {
    path.attributes.communities.contains(&LLGR_STALE)
}

fn originator(path: &Path) -> std::net::Ipv4Addr {
    path.attributes.originator_id.unwrap_or(path.from.peer_router_id)
}

fn hops(path: &Path) -> usize {
    let count = |segment: &AsPathSegment| match segment {
        AsPathSegment::Sequence(numbers) => numbers.len(),
        AsPathSegment::Set(_) => 1,
    };
    path.attributes.as_path.iter().map(count).sum()
}

fn neighbor(path: &Path) -> u32 {
    match (path.from.is_internal(), path.attributes.as_path.first()) {
        (false, _) => path.from.peer_as,
        (true, Some(AsPathSegment::Sequence(numbers))) => numbers[0],
        (true, _) => 64512,
    }
}

/// The RIB, the model, and what the outside has been told by the RIB so far.
#[derive(Default)]
struct World {
    rib: Rib,
    model: Model,
    table: BTreeMap<IpNetwork, BestPath>,
    told: BTreeMap<usize, BTreeMap<IpNetwork, Attributes>>,
    refreshed: BTreeSet<usize>,
    /// What a peer that was told that a refresh begins has not been told again.
    unrefreshed: BTreeMap<usize, BTreeSet<IpNetwork>>,
}

impl World {
    fn step(&mut self, step: Step) {
        match step {
            Step::Up(peer) => {
                self.rib.peer_up(session(peer));
                self.model.up.insert(peer, BTreeMap::new());
                self.model.stale.remove(&peer);
                self.unrefreshed.remove(&peer);
                self.told.insert(peer, BTreeMap::new());
            }
            Step::Down(peer) => {
                self.rib.peer_down(session(peer).peer);
                self.model.up.remove(&peer);
                self.model.stale.remove(&peer);
                self.unrefreshed.remove(&peer);
                self.told.remove(&peer);
            }
            Step::Announce(peer, prefixes, attributes, path_id) => {
                let announced: Vec<_> = prefixes.into_iter().map(prefix).collect();
                let nlri = |p: &IpNetwork| Nlri { prefix: *p, path_id: path_id.unwrap_or(0) };
                if let Some(stale) = self.model.stale.get_mut(&peer) {
                    stale.retain(|it| !announced.iter().map(nlri).any(|p| p == *it));
                }
                if let Some(known) = self.model.up.get_mut(&peer) {
                    known.extend(announced.iter().map(|p| (nlri(p), path(attributes))));
                }
                let attributes = Some(Arc::new(path(attributes)));
                let update = Update { announced, path_id, attributes, ..Update::default() };
                self.rib.update(session(peer).peer, update);
            }
            Step::Withdraw(peer, prefixes, path_id) => {
                let withdrawn: Vec<_> = prefixes.into_iter().map(prefix).collect();
                let is_gone = |it: &Nlri| {
                    withdrawn.contains(&it.prefix) && it.path_id == path_id.unwrap_or(0)
                };
                if let Some(stale) = self.model.stale.get_mut(&peer) {
                    stale.retain(|it| !is_gone(it));
                }
                if let Some(known) = self.model.up.get_mut(&peer) {
                    known.retain(|it, _| !is_gone(it));
                }
                let update = Update { withdrawn, path_id, ..Update::default() };
                self.rib.update(session(peer).peer, update);
            }
            Step::Originate(prefixes) => {
                self.model.own = prefixes.into_iter().map(prefix).collect();
                self.rib.originate(self.model.own.iter().copied());
            }
            Step::Policy(number) => {
                self.model.policy = policy(number);
                self.rib.set_import_policy(policy(number));
            }
            Step::PeerPolicy(peer, number) => {
                self.model.peer_policies.insert(peer, number);
                let policies = self.model.peer_policies.iter();
                self.rib.set_peer_policies(
                    policies
                        .map(|(p, n)| (session(*p).peer.into(), Arc::new(peer_policy(*n))))
                        .collect(),
                );
            }
            Step::GracefulShutdown(is_on) => {
                self.model.graceful_shutdown = is_on;
                self.rib.set_graceful_shutdown(is_on);
            }
            Step::Refresh(peer) => {
                self.rib.refresh(session(peer).peer, Family::Ipv4Unicast);
                self.refreshed.insert(peer);
            }
            Step::MarkStale(peer) => {
                self.rib.mark_stale(session(peer).peer, Family::Ipv4Unicast);
                let known = self.model.up.get(&peer).into_iter().flat_map(BTreeMap::keys).copied();
                self.model.stale.insert(peer, known.collect());
            }
            Step::LongLived(peer) => {
                self.rib.long_lived(session(peer).peer, Family::Ipv4Unicast);
                let Some(stale) = self.model.stale.get_mut(&peer) else { return };
                let Some(known) = self.model.up.get_mut(&peer) else { return };
                // No policy here adds NO_LLGR.
                let is_kept = |it: &Attributes| !it.communities.contains(&NO_LLGR);
                known.retain(|p, it| !stale.contains(p) || is_kept(it));
                stale.retain(|p| known.contains_key(p));
                for (_, attributes) in known.iter_mut().filter(|(p, _)| stale.contains(p)) {
                    Community::Standard(LLGR_STALE).add_to(attributes);
                }
            }
            Step::Sweep(peer) => {
                self.rib.sweep(session(peer).peer, Family::Ipv4Unicast);
                let stale = self.model.stale.remove(&peer).unwrap_or_default();
                if let Some(known) = self.model.up.get_mut(&peer) {
                    known.retain(|p, _| !stale.contains(p));
                }
            }
            Step::TakeUpdates(peer, limit) => self.take_updates(peer, limit),
            Step::TakeChanges(limit) => self.take_changes(limit),
        }
    }

    fn take_updates(&mut self, peer: usize, limit: usize) {
        let updates = self.rib.take_updates(session(peer).peer, limit);
        let Some(told) = self.told.get_mut(&peer) else {
            assert_eq!(updates, [], "nothing is told without a session");
            return;
        };
        assert!(
            updates.iter().map(|u| u.announced.len() + u.withdrawn.len()).sum::<usize>() <= limit
        );
        let unrefreshed = &mut self.unrefreshed;
        for update in updates {
            match update.refresh {
                Some(RouteRefresh::Begin(_)) => {
                    let before = unrefreshed.insert(peer, told.keys().copied().collect());
                    assert_eq!(before, None, "begun twice");
                }
                Some(RouteRefresh::End(_)) => {
                    assert_eq!(unrefreshed.remove(&peer), Some(BTreeSet::new()), "not all told");
                }
                _ => {}
            }
            if let Some(left) = unrefreshed.get_mut(&peer) {
                let told = [&update.withdrawn, &update.announced].map(|it| it.iter());
                left.retain(|prefix| !told.clone().into_iter().flatten().any(|it| it == prefix));
            }
            for prefix in update.withdrawn {
                assert!(told.remove(&prefix).is_some(), "withdrawn without having been told");
            }
            for prefix in update.announced {
                let attributes = update.attributes.as_deref().cloned().unwrap();
                let before = told.insert(prefix, attributes.clone());
                assert!(before != Some(attributes) || self.refreshed.contains(&peer), "told twice");
            }
        }
    }

    fn take_changes(&mut self, limit: usize) {
        for PathChange { prefix, best } in self.rib.take_changes(limit) {
            let before = match best {
                Some(best) => self.table.insert(prefix, best),
                None => self.table.remove(&prefix),
            };
            assert_ne!(before, best, "a change that changes nothing");
        }
    }

    /// Fetches all that is left and compares.
    fn check(&mut self) {
        while self.rib.has_changes() {
            self.take_changes(2);
        }
        assert_eq!(self.table, self.model.table());
        for peer in 0..PEERS {
            while self.rib.out_of_date(None).any(|p| p == session(peer).peer) {
                self.take_updates(peer, 2);
            }
            let Some(announced) = self.model.up.get(&peer) else { continue };
            assert_eq!(self.told[&peer], self.model.told(peer), "told to {peer}");
            let counts = self.rib.counts(session(peer).peer);
            let stale = self.model.stale.get(&peer).map_or(0, BTreeSet::len);
            assert_eq!((counts.received, counts.stale), (announced.len() - stale, stale));
            assert!(!self.unrefreshed.contains_key(&peer), "a refresh has no end");
            assert_eq!(counts.advertised, self.told[&peer].len());
        }
        // The indexes say what the entries say, and no entry is without use.
        for (prefix, route) in &self.rib.routes {
            assert!(!route.paths.is_empty() || !matches!(route.best, Best::None));
            assert_eq!(self.rib.for_mesh.contains(prefix), route.best.is_for_mesh());
        }
        assert!(self.rib.changed.is_empty());
        assert!(self.rib.for_mesh.iter().all(|p| self.rib.routes.contains_key(p)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn after_any_history_everybody_has_what_the_facts_say(
        histories in proptest::collection::vec(proptest::collection::vec(step(), 1..40), 1..4),
    ) {
        let mut world = World::default();
        world.step(Step::Policy(0));
        for history in histories {
            history.into_iter().for_each(|step| world.step(step));
            world.check();
        }
        // And when all is gone, nothing is kept.
        (0..PEERS).for_each(|peer| world.step(Step::Down(peer)));
        world.step(Step::Originate(vec![]));
        world.check();
        prop_assert!(world.rib.routes.is_empty() && world.table.is_empty());
    }
}
