//! The task that owns all peers and all routes.
//!
//! Each turn of its loop does a bounded amount: some updates to peers, and then what comes first of
//! some events, the timers that are due and so on, chosen at random where several wait. So no peer,
//! however much it sends or is to be sent, keeps the others or the timers waiting.

mod deferral;
mod dynamic;
mod flow;
mod peer;
mod perform;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{sleep_until, timeout};
use warren_bgp::rib::{PathChange, Rib};
use warren_bgp::session::Event;

use crate::connection::{ConnectionKey, Happened, Outbox};
use crate::error_words;
use crate::handle::{DynamicNeighbors, Inputs, Request, Wanted};
use crate::listener;
use crate::rate_limit::RateLimit;
use crate::settings::{PeerSettings, PeerSnapshot, PeerTemplate, SpeakerConfig, StartError};
use crate::socket::Port;
use crate::transport::Password;
use deferral::Deferral;
use peer::Neighbor;

/// Places in the queue of events: enough that connections rarely wait for one another, and at 16 KiB
/// an event at most 1 MiB.
const EVENT_QUEUE: usize = 64;

/// Events of one turn: at most 256 KiB of messages.
const EVENTS_PER_TURN: usize = 16;

/// How long the peers may take to hear that the speaker ends.
const SHUTDOWN: Duration = Duration::from_secs(3);

struct Actor {
    config: SpeakerConfig,
    neighbors: BTreeMap<IpAddr, Neighbor>,
    templates: Arc<Vec<PeerTemplate>>,
    connections: HashMap<ConnectionKey, Connection>,
    next_key: u64,
    port: Port,
    rib: Rib,
    /// Route selection is put off.
    deferral: Option<Deferral>,
    /// When the machine of each peer wants to be woken.
    deadlines: BTreeSet<(Instant, IpAddr)>,
    /// The peer that was given routes last; the others come first.
    told_last: Option<IpAddr>,
    unknown_peers: RateLimit,
    malformed_updates: RateLimit,
    /// The dynamic neighbours that have had a session.
    dynamic: watch::Sender<DynamicNeighbors>,
    /// Whether snapshots may differ from those before this turn.
    has_news: bool,
    tasks: JoinSet<()>,
    events: mpsc::Sender<Happened>,
}

/// A connection that a peer's machine knows.
struct Connection {
    peer: IpAddr,
    stage: Stage,
}

enum Stage {
    Opening(AbortHandle),
    Open {
        /// This node's end.
        local: SocketAddr,
        outbox: Outbox,
        /// Octets in the outbox, those being written included.
        queued: usize,
    },
}

/// Runs the speaker until it is shut down or nobody has a handle of it any more.
pub(crate) async fn run(
    config: SpeakerConfig,
    port: Port,
    inputs: Inputs,
    changes: mpsc::Sender<Vec<PathChange>>,
) {
    let Inputs { mut wanted, initial: mut applied, mut requests, version, announced, dynamic } =
        inputs;
    let (events, mut happened) = mpsc::channel(EVENT_QUEUE);
    let deferral = config.restarted.and_then(|it| Deferral::new(Instant::now(), it));
    let mut rib = Rib::default();
    if deferral.is_some() {
        rib.defer();
    }
    let mut actor = Actor {
        config,
        neighbors: BTreeMap::new(),
        templates: Arc::default(),
        connections: HashMap::new(),
        next_key: 0,
        port,
        rib,
        deferral,
        deadlines: BTreeSet::new(),
        told_last: None,
        unknown_peers: RateLimit::default(),
        malformed_updates: RateLimit::default(),
        dynamic,
        has_news: false,
        tasks: JoinSet::new(),
        events,
    };
    let mut listening = JoinSet::new();

    let (ending, asked_by) = loop {
        actor.end_deferral(Instant::now());
        let has_more_to_tell = actor.tell_peers();
        actor.log_refusals();
        if std::mem::take(&mut actor.has_news) {
            if !*announced.borrow() && actor.all_is_announced() {
                announced.send_replace(true);
            }
            version.send_modify(|version| *version += 1);
        }
        let deadline = actor.deadline().map(tokio::time::Instant::from);
        tokio::select! {
            Some(first) = happened.recv() => {
                actor.take(first);
                actor.take_waiting(&mut happened, EVENTS_PER_TURN);
            }
            request = requests.recv() => match request {
                Some(Request::Listen(answer)) => {
                    // Who connects is to find the peers that were set before.
                    if wanted.has_changed().is_ok_and(|it| it) {
                        actor.take_wanted(&mut wanted, &mut applied);
                    }
                    drop(answer.send(actor.listen(&mut listening)));
                }
                Some(Request::Peers(answer)) => drop(answer.send(actor.snapshots())),
                Some(Request::BfdDown(peer, failure)) => {
                    actor.drive(peer.to_canonical(), Event::BfdDown(failure));
                }
                Some(Request::Shutdown(answer)) => break (Event::ManualStop, Some(answer)),
                Some(Request::HandOver(answer)) => break (Event::Handover, Some(answer)),
                // No handle is left.
                None => break (Event::ManualStop, None),
            },
            // An error means that no handle is left: the branch above sees that too.
            Ok(()) = wanted.changed() => actor.take_wanted(&mut wanted, &mut applied),
            place = changes.reserve(), if actor.rib.has_changes() => {
                flow::report(&mut actor.rib, place.ok());
                actor.has_news |= !actor.rib.has_changes();
            }
            () = sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)),
                if deadline.is_some() =>
            {
                // When the whole program was held up, the peers' KEEPALIVEs lie in the sockets: they
                // count before their silence does.
                for _ in 0..=actor.neighbors.len() / EVENT_QUEUE {
                    yield_now().await;
                    actor.take_waiting(&mut happened, EVENT_QUEUE);
                }
                actor.fire_timers();
            }
            Some(_) = actor.tasks.join_next() => {}
            () = yield_now(), if has_more_to_tell => {}
        }
    };
    // From here on nobody is let in, and what still arrives is of no interest.
    listening.shutdown().await;
    drop(happened);
    actor.shut_down(&ending, asked_by).await;
}

impl Actor {
    /// Has connections taken from now on.
    fn listen(&self, tasks: &mut JoinSet<()>) -> Result<(), StartError> {
        if tasks.is_empty() {
            let listener =
                self.port.listen().map_err(|error| StartError::at(self.port.address(), &error))?;
            tasks.spawn(listener::run(listener, self.events.clone()));
            tracing::info!(
                address = %self.port.address(), as_number = self.config.local_as,
                router_id = %self.config.router_id, "listening for BGP peers"
            );
        }
        Ok(())
    }

    /// Brings about what the handles ask for by now; `applied` is what they asked for before.
    fn take_wanted(&mut self, wanted: &mut watch::Receiver<Wanted>, applied: &mut Wanted) {
        let next = wanted.borrow_and_update().clone();
        self.apply(applied, &next);
        *applied = next;
    }

    /// Brings about what the handles ask for, as far as it has changed. The policy and the blocks
    /// come before the peers, so that the first routes of a new peer meet them.
    fn apply(&mut self, before: &Wanted, now: &Wanted) {
        if !Arc::ptr_eq(&before.policy, &now.policy) {
            self.rib.set_import_policy((*now.policy).clone());
        }
        if !Arc::ptr_eq(&before.peer_policies, &now.peer_policies) {
            let policies = now.peer_policies.iter();
            self.rib.set_peer_policies(
                policies.map(|(at, policy)| (*at, Arc::clone(policy))).collect(),
            );
        }
        self.rib.set_graceful_shutdown(now.graceful_shutdown);
        if !Arc::ptr_eq(&before.originated, &now.originated) {
            self.rib.originate(now.originated.iter().copied());
        }
        if !Arc::ptr_eq(&before.templates, &now.templates) {
            self.set_templates(Arc::clone(&now.templates));
        }
        if !Arc::ptr_eq(&before.peers, &now.peers) {
            self.set_peers(&now.peers);
            if let Some(deferral) = &mut self.deferral {
                deferral.begin(Instant::now());
            }
        }
        self.has_news = true;
    }

    fn set_peers(&mut self, settings: &[PeerSettings]) {
        let mut wanted: BTreeMap<IpAddr, PeerSettings> = settings
            .iter()
            .map(|peer| (peer.address.to_canonical(), peer.clone()))
            .map(|(address, peer)| (address, PeerSettings { address, ..peer }))
            .collect();
        // A dynamic neighbour stays unless there is a peer of its own for it now.
        let concerned = self.neighbors.iter().filter(|(address, neighbor)| {
            neighbor.template.is_none() || wanted.contains_key(address)
        });
        let known: Vec<IpAddr> = concerned.map(|(address, _)| *address).collect();
        for address in known {
            let next = wanted.get(&address);
            let is_the_same = self
                .neighbors
                .get(&address)
                .is_some_and(|it| it.template.is_none() && next == Some(&it.settings));
            if is_the_same {
                wanted.remove(&address);
                continue;
            }
            let what = if next.is_some() { "changed" } else { "removed" };
            tracing::info!(peer = %address, "BGP peer {what}");
            if let Some(text) = next.and_then(|it| it.shutdown.clone()) {
                self.drive(address, Event::Shutdown(text));
            }
            self.remove_peer(address);
        }
        for (address, settings) in wanted {
            let (as_number, shutdown) = (settings.as_number, settings.shutdown.clone());
            tracing::info!(peer = %address, %as_number, passive = settings.passive, "BGP peer added");
            if settings.password.is_some() {
                self.set_key(address.into(), settings.password.as_ref());
            }
            self.neighbors
                .insert(address, Neighbor::new(&self.config, settings, self.deferral.is_some()));
            let event = shutdown.map_or(Event::ManualStart, Event::Shutdown);
            self.drive(address, event);
        }
    }

    /// Has connections of these peers taken only if they are signed so.
    fn set_key(&self, peers: IpNetwork, password: Option<&Password>) {
        if let Err(error) = self.port.set_key(peers, password) {
            let reason = error_words::of(&error);
            tracing::error!(peer = %peers, reason, "cannot set the password of a BGP peer");
        }
    }

    fn remove_peer(&mut self, address: IpAddr) {
        self.drive(address, Event::Deconfigured);
        self.rib.forget_peer(address);
        let Some(neighbor) = self.neighbors.remove(&address) else { return };
        self.dynamic.send_if_modified(|known| known.remove(&address).is_some());
        // The password of a dynamic neighbour is its template's.
        if neighbor.settings.password.is_some() && neighbor.template.is_none() {
            self.set_key(address.into(), None);
        }
        for (_, key) in neighbor.connections {
            self.close(key);
        }
        if let Some(at) = neighbor.deadline {
            self.deadlines.remove(&(at, address));
        }
    }

    /// Whether every peer has announced all its routes and what follows from them has been handed
    /// over. Of dynamic neighbours nobody can say: those that there were may still be on their way.
    /// Nor can it be said without peers: who is told of none may hear of them yet.
    fn all_is_announced(&self) -> bool {
        !self.neighbors.is_empty()
            && self.templates.is_empty()
            && self.deferral.is_none()
            && !self.rib.has_changes()
            && self.neighbors.values().all(Neighbor::has_announced_all)
    }

    /// Takes events that are there already.
    fn take_waiting(&mut self, happened: &mut mpsc::Receiver<Happened>, limit: usize) {
        for _ in 0..limit {
            let Ok(next) = happened.try_recv() else { return };
            self.take(next);
        }
    }

    fn snapshots(&self) -> Vec<PeerSnapshot> {
        self.neighbors
            .iter()
            .map(|(address, neighbor)| neighbor.snapshot(*address, &self.rib))
            .collect()
    }

    /// When there is something to do although nothing happens.
    fn deadline(&self) -> Option<Instant> {
        let deferral = self.deferral.map(|it| it.deadline(Instant::now()));
        self.deadlines.first().map(|(at, _)| *at).into_iter().chain(deferral).min()
    }

    /// Wakes the machines whose time has come, each at most once.
    fn fire_timers(&mut self) {
        let now = Instant::now();
        let due: Vec<IpAddr> = self
            .deadlines
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, address)| *address)
            .collect();
        for address in due {
            self.drive(address, Event::Timer);
            self.dismiss_if_due(address, now);
        }
    }

    async fn shut_down(mut self, ending: &Event, asked_by: Option<oneshot::Sender<()>>) {
        let peers: Vec<IpAddr> = self.neighbors.keys().copied().collect();
        for address in peers {
            self.drive(address, ending.clone());
        }
        // What the machines have not closed is closed here; attempts to connect are given up.
        let keys: Vec<ConnectionKey> = self.connections.keys().copied().collect();
        for key in keys {
            self.close(key);
        }
        let told = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(SHUTDOWN, told).await.is_err() {
            tracing::warn!("some BGP peers did not hear that the speaker ends");
        }
        self.tasks.shutdown().await;
        tracing::info!("BGP speaker has ended");
        // The handle may be gone as well.
        if let Some(answer) = asked_by {
            let _ = answer.send(());
        }
    }
}
