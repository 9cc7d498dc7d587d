//! Routes: what peers announced, which of it is best, what peers are to be told (RFC 4271, 3.2).
//!
//! | RFC 4271 | here |
//! | --- | --- |
//! | Adj-RIB-In, before policy | the paths of each [`Rib`] entry, by peer and path identifier (RFC 7911) |
//! | Loc-RIB | the best path of each entry |
//! | Adj-RIB-Out | what each peer has been told, and where that is out of date |
//!
//! The cost of a change is that of the destinations it touches: an internal peer's route concerns
//! no other internal peer (9.2) but a reflector's clients, and a mesh has none, so that its peers
//! are not even looked at. What goes out is fetched when there is room for it: [`Rib::take_updates`] for a peer and
//! [`Rib::take_changes`] for the node's own routing table.

mod adj_out;
mod decision;
mod export;
mod interner;
mod judgement;
mod outcome;
mod restart;
mod session;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use crate::message::{Attributes, Family, Update};
use crate::policy::{Import, ImportPolicy, PeerPolicy, PrefixMap, Refusal, network};
use adj_out::AdjRibOut;
use decision::Path;
use export::Target;
use interner::Interner;
use judgement::{Announced, judge, policy_of};

use restart::Stale;

pub use outcome::{BestPath, Counts, FirstRefusal, PathChange};
pub use session::Session;

/// Values by destination. A peer chooses the destinations, but not the seed, which is drawn anew for each
/// map: docs/decisions/0010-a-fast-hasher-for-routes.md.
type ByPrefix<V> = foldhash::HashMap<IpNetwork, V>;

/// What tells a peer's paths apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Nlri {
    prefix: IpNetwork,
    /// The path identifier (RFC 7911, 3); 0 where the family has none.
    path_id: u32,
}

/// The routes of one speaker.
#[derive(Debug, Default)]
pub struct Rib {
    policy: ImportPolicy,
    import: Import,
    peer_policies: PrefixMap<Arc<PeerPolicy>>,
    graceful_shutdown: bool,
    originated: BTreeSet<IpNetwork>,
    routes: ByPrefix<Route>,
    /// The destinations whose best path the mesh hears of: all but what the mesh itself announces.
    for_mesh: BTreeSet<IpNetwork>,
    peers: BTreeMap<IpAddr, PeerRoutes>,
    refused: BTreeMap<IpAddr, BTreeMap<Refusal, u64>>,
    /// The peers of the mesh: internal ones that are no clients.
    mesh: BTreeSet<IpAddr>,
    /// The others, who hear of everything.
    others: BTreeSet<IpAddr>,
    /// The peers that are to be told something.
    out_of_date: BTreeSet<IpAddr>,
    /// The destinations whose best path may have changed, with the one that was reported last, in the
    /// order in which they changed: a peer tells of those with one next hop together, and so the kernel
    /// takes them fastest.
    changed: VecDeque<(IpNetwork, Option<BestPath>)>,
    first_refusals: Vec<FirstRefusal>,
    attributes: Interner,
    /// What is kept of sessions that have ended, by peer.
    stale: BTreeMap<IpAddr, Stale>,
    /// Whether route selection is deferred (RFC 4724, 4.1).
    deferred: bool,
}

/// What is kept of an Established session.
#[derive(Debug)]
struct PeerRoutes {
    session: Arc<Session>,
    policy: Arc<PeerPolicy>,
    /// What the peer announces.
    received: foldhash::HashSet<Nlri>,
    out: AdjRibOut,
}

/// What is known of one destination.
#[derive(Debug, Default)]
struct Route {
    paths: Vec<Path>,
    best: Best,
    /// Whether it is among [`Rib::changed`].
    is_unreported: bool,
}

/// What comes of another best path.
struct Selected {
    /// The best path of before, where the destination is to be reported and was not yet.
    to_report: Option<Option<BestPath>>,
    was_for_mesh: bool,
    is_for_mesh: bool,
}

impl Route {
    /// Phase 2 (RFC 4271, 9.1.2); none if the best path is the one of before.
    fn select(&mut self, is_own: bool) -> Option<Selected> {
        let best = if is_own {
            Best::Own
        } else {
            decision::best(&self.paths).cloned().map_or(Best::None, Best::Learned)
        };
        if self.best.is(&best) {
            return None;
        }
        let before = mem::replace(&mut self.best, best);
        let reported = before.reported();
        let to_report = !self.is_unreported && reported != self.best.reported();
        self.is_unreported |= to_report;
        Some(Selected {
            to_report: to_report.then_some(reported),
            was_for_mesh: before.is_for_mesh(),
            is_for_mesh: self.best.is_for_mesh(),
        })
    }

    /// Whether there is nothing to be kept of it.
    fn is_nothing(&self) -> bool {
        self.paths.is_empty() && matches!(self.best, Best::None) && !self.is_unreported
    }
}

/// The Loc-RIB's entry.
#[derive(Debug, Clone, Default)]
enum Best {
    /// No path that may be used.
    #[default]
    None,
    /// This node's own.
    Own,
    /// A peer's.
    Learned(Path),
}

impl Best {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) | (Self::Own, Self::Own) => true,
            (Self::Learned(one), Self::Learned(other)) => one.is(other),
            _ => false,
        }
    }

    /// Whether the mesh is told of it (RFC 4271, 9.2; RFC 4456, 6).
    fn is_for_mesh(&self) -> bool {
        match self {
            Self::None => false,
            Self::Own => true,
            Self::Learned(path) => !path.from.is_of_mesh(),
        }
    }

    fn reported(&self) -> Option<BestPath> {
        match self {
            Self::Learned(path) => {
                Some(BestPath { next_hop: path.attributes.next_hop, learned_from: path.from.peer })
            }
            Self::None | Self::Own => None,
        }
    }
}

impl Rib {
    /// A session is Established: its peer is to be told of all routes that concern it.
    pub fn peer_up(&mut self, session: Session) {
        let peer = session.peer;
        if self.peers.contains_key(&peer) {
            self.peer_down(peer);
        }
        let (group, prefixes): (_, Vec<IpNetwork>) = if session.is_of_mesh() {
            (&mut self.mesh, self.for_mesh.iter().copied().collect())
        } else {
            (&mut self.others, self.routes.keys().copied().collect())
        };
        group.insert(peer);
        let out = AdjRibOut::new(prefixes.into_iter(), &session);
        let policy = policy_of(&self.peer_policies, peer);
        let session = Arc::new(session);
        let routes = PeerRoutes { session, policy, received: Default::default(), out };
        self.peers.insert(peer, routes);
        self.out_of_date.insert(peer);
    }

    /// A session has ended: its peer's routes go.
    pub fn peer_down(&mut self, peer: IpAddr) {
        self.peer_restarting(peer, &[]);
        for family in [Family::Ipv4Unicast, Family::Ipv6Unicast] {
            self.sweep(peer, family);
        }
    }

    /// The peer is none any more: what was counted of it is forgotten too.
    pub fn forget_peer(&mut self, peer: IpAddr) {
        self.peer_down(peer);
        self.refused.remove(&peer);
    }

    /// The session's own part of a peer's end; what was received is left to the caller.
    fn end_session(&mut self, peer: IpAddr) -> Option<PeerRoutes> {
        let gone = self.peers.remove(&peer)?;
        self.mesh.remove(&peer);
        self.others.remove(&peer);
        self.out_of_date.remove(&peer);
        Some(gone)
    }

    /// Takes what a peer announced and withdrew. Without a session with it nothing happens.
    pub fn update(&mut self, peer: IpAddr, update: Update) {
        let path_id = update.path_id.unwrap_or(0);
        let nlri = |it: IpNetwork| Nlri { prefix: network(it.ip(), it.prefix()), path_id };
        for nlri in update.withdrawn.into_iter().map(nlri) {
            let Some(routes) = self.peers.get_mut(&peer) else { return };
            if routes.received.remove(&nlri) {
                let session = Arc::clone(&routes.session);
                self.remove_path(nlri, &session);
            } else {
                self.withdraw_stale(peer, nlri);
            }
        }
        let Some(attributes) = update.attributes else { return };
        let attributes = self.attributes.intern(attributes);
        for nlri in update.announced.into_iter().map(nlri) {
            self.refresh_stale(peer, &nlri);
            self.put_path(nlri, peer, Arc::clone(&attributes));
        }
    }

    /// The peer wants all routes of the family again (RFC 2918, 4); between two marks if it knows
    /// them (RFC 7313, 4).
    pub fn refresh(&mut self, peer: IpAddr, family: Family) {
        if let Some(routes) = self.peers.get_mut(&peer) {
            routes.out.refresh(family);
            if !routes.out.is_up_to_date() {
                self.out_of_date.insert(peer);
            }
        }
    }

    /// The destinations that this node announces as its own, in place of those before.
    pub fn originate(&mut self, prefixes: impl IntoIterator<Item = IpNetwork>) {
        let wanted: BTreeSet<IpNetwork> =
            prefixes.into_iter().map(|prefix| network(prefix.ip(), prefix.prefix())).collect();
        let before = mem::replace(&mut self.originated, wanted);
        let changed: Vec<IpNetwork> =
            before.symmetric_difference(&self.originated).copied().collect();
        for prefix in changed {
            self.select(prefix);
        }
    }

    /// The peers that [`take_updates`](Self::take_updates) has something for, those after `after`
    /// first.
    pub fn out_of_date(&self, after: Option<IpAddr>) -> impl Iterator<Item = IpAddr> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let (first, second) = match after {
            Some(after) => ((Excluded(after), Unbounded), Some((Unbounded, Included(after)))),
            None => ((Unbounded, Unbounded), None),
        };
        let wrapped = second.into_iter().flat_map(|range| self.out_of_date.range(range));
        self.out_of_date.range(first).chain(wrapped).copied()
    }

    /// The news of at most `limit` destinations for a peer: withdrawals first, then an update for
    /// each set of equal attributes; after the last one of a new session, End-of-RIB.
    pub fn take_updates(&mut self, peer: IpAddr, limit: usize) -> Vec<Update> {
        let Some(PeerRoutes { session, policy, out, .. }) = self.peers.get_mut(&peer) else {
            return Vec::new();
        };
        let target = Target { to: session, policy, graceful_shutdown: self.graceful_shutdown };
        let (known, interner) = (&self.routes, &mut self.attributes);
        // Of many routes with the same attributes only the first costs more than a look-up.
        type Source = Option<(*const Session, *const Attributes)>;
        let mut exported: HashMap<(Source, export::Passed), Option<Arc<Attributes>>> =
            HashMap::new();
        let complete = !self.deferred;
        let updates = out.take(limit, complete, |prefix| {
            if !target.reaches(prefix) {
                return None;
            }
            let path = match &known.get(prefix)?.best {
                Best::None => return None,
                // Not selected yet (RFC 4724, 4.1).
                Best::Learned(_) if !complete => return None,
                Best::Own => None,
                Best::Learned(path) => Some(path),
            };
            let passed = target.pass(prefix, path)?;
            let source = path.map(|path| (Arc::as_ptr(&path.from), Arc::as_ptr(&path.attributes)));
            exported
                .entry((source, passed))
                .or_insert_with(|| {
                    let attributes = match path {
                        None => target.own(passed),
                        Some(path) => target.learned(path, passed)?,
                    };
                    Some(interner.intern(Arc::new(attributes)))
                })
                .clone()
        });
        if out.is_up_to_date() || (!complete && updates.is_empty()) {
            self.out_of_date.remove(&peer);
        }
        updates
    }

    /// Whether [`take_changes`](Self::take_changes) may have something.
    pub fn has_changes(&self) -> bool {
        !self.deferred && !self.changed.is_empty()
    }

    /// At most `limit` of the destinations whose best path is not what was reported last, in the order
    /// in which they changed.
    pub fn take_changes(&mut self, limit: usize) -> Vec<PathChange> {
        let limit = if self.deferred { 0 } else { limit.min(self.changed.len()) };
        let mut changes = Vec::with_capacity(limit);
        for (prefix, reported) in self.changed.drain(..limit) {
            let Entry::Occupied(mut entry) = self.routes.entry(prefix) else { continue };
            let route = entry.get_mut();
            route.is_unreported = false;
            let best = route.best.reported();
            if best != reported {
                changes.push(PathChange { prefix, best });
            }
            if route.is_nothing() {
                entry.remove();
            }
        }
        changes
    }

    /// The refusals since the last call that were the first of their peer and reason.
    pub fn take_first_refusals(&mut self) -> Vec<FirstRefusal> {
        mem::take(&mut self.first_refusals)
    }

    /// How many prefixes a peer announces now, refused ones included, each as often as it has paths.
    pub fn received(&self, peer: IpAddr) -> usize {
        self.peers.get(&peer).map_or(0, |routes| routes.received.len())
    }

    /// The counts of a peer.
    pub fn counts(&self, peer: IpAddr) -> Counts {
        let routes = self.peers.get(&peer);
        Counts {
            received: routes.map_or(0, |routes| routes.received.len()),
            advertised: routes.map_or(0, |routes| routes.out.advertised()),
            stale: self.stale.get(&peer).map_or(0, Stale::len),
            refused: self.refused.get(&peer).cloned().unwrap_or_default(),
        }
    }

    fn put_path(&mut self, nlri: Nlri, peer: IpAddr, received: Arc<Attributes>) {
        let Some(routes) = self.peers.get_mut(&peer) else { return };
        routes.received.insert(nlri);
        let Nlri { prefix, path_id } = nlri;
        let announced = Announced { from: Arc::clone(&routes.session), path_id, received };
        let path = judge(&self.import, &mut self.attributes, &routes.policy, &prefix, announced);
        if let Some(refusal) = path.refusal {
            self.count_refusal(FirstRefusal { peer, prefix, refusal });
        }
        let route = self.routes.entry(prefix).or_default();
        match route.paths.iter_mut().find(|known| known.is_replaced_by(&path)) {
            Some(known) => *known = path,
            None => {
                // Most destinations have one path: no room for more until there is a second one.
                route.paths.reserve_exact(1);
                route.paths.push(path);
            }
        }
        let selected = route.select(self.originated.contains(&prefix));
        self.tell(prefix, selected);
    }

    fn remove_path(&mut self, Nlri { prefix, path_id }: Nlri, from: &Arc<Session>) {
        if let Some(route) = self.routes.get_mut(&prefix) {
            route.paths.retain(|it| it.path_id != path_id || !Arc::ptr_eq(&it.from, from));
            let selected = route.select(self.originated.contains(&prefix));
            if route.is_nothing() {
                self.routes.remove(&prefix);
            }
            self.tell(prefix, selected);
        }
    }

    /// Phase 2 (RFC 4271, 9.1.2) for one destination, and who is to hear of the outcome.
    fn select(&mut self, prefix: IpNetwork) {
        let route = self.routes.entry(prefix).or_default();
        let selected = route.select(self.originated.contains(&prefix));
        if route.is_nothing() {
            self.routes.remove(&prefix);
        }
        self.tell(prefix, selected);
    }

    /// Takes note of who is to hear of another best path.
    fn tell(&mut self, prefix: IpNetwork, selected: Option<Selected>) {
        let Some(Selected { to_report, was_for_mesh, is_for_mesh }) = selected else { return };
        self.changed.extend(to_report.map(|reported| (prefix, reported)));
        if is_for_mesh {
            self.for_mesh.insert(prefix);
        } else {
            self.for_mesh.remove(&prefix);
        }
        let mesh = (is_for_mesh || was_for_mesh).then_some(&self.mesh);
        for peer in self.others.iter().chain(mesh.into_iter().flatten()) {
            if let Some(routes) = self.peers.get_mut(peer) {
                routes.out.changed(prefix);
                self.out_of_date.insert(*peer);
            }
        }
    }

    fn count_refusal(&mut self, refused: FirstRefusal) {
        let count =
            self.refused.entry(refused.peer).or_default().entry(refused.refusal).or_default();
        *count += 1;
        if *count == 1 {
            self.first_refusals.push(refused);
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod restart_tests;
#[cfg(test)]
mod tests;
