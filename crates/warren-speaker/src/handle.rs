//! How the rest of the program talks to the speaker.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnetwork::IpNetwork;
use tokio::sync::{mpsc, oneshot, watch};
use warren_bgp::policy::{ImportPolicy, PeerPolicy};
use warren_bgp::rib::PathChange;
use warren_bgp::session::BfdDown;

use crate::settings::{DynamicNeighbor, PeerSettings, PeerSnapshot, PeerTemplate, StartError};

/// The changes of best paths, in batches, each destination's in order. While nobody receives they
/// add up to the latest state rather than to a queue.
pub type PathChanges = mpsc::Receiver<Vec<PathChange>>;

/// The dynamic neighbours that have had a session and are not forgotten.
pub type DynamicNeighbors = BTreeMap<IpAddr, DynamicNeighbor>;

/// A running speaker. Cheap to clone; when the last one is dropped the speaker ends its sessions as
/// [`shutdown`](Self::shutdown) does.
#[derive(Debug, Clone)]
pub struct Speaker {
    wanted: watch::Sender<Wanted>,
    requests: mpsc::Sender<Request>,
    version: watch::Receiver<u64>,
    announced: watch::Receiver<bool>,
    dynamic: watch::Receiver<DynamicNeighbors>,
    listening: SocketAddr,
}

/// What the actor is to bring about. A part that was not set again is the same `Arc`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) peers: Arc<Vec<PeerSettings>>,
    pub(crate) templates: Arc<Vec<PeerTemplate>>,
    pub(crate) originated: Arc<BTreeSet<IpNetwork>>,
    pub(crate) policy: Arc<ImportPolicy>,
    pub(crate) peer_policies: Arc<BTreeMap<IpNetwork, Arc<PeerPolicy>>>,
    pub(crate) graceful_shutdown: bool,
}

/// What the actor is asked.
#[derive(Debug)]
pub(crate) enum Request {
    Listen(oneshot::Sender<Result<(), StartError>>),
    Peers(oneshot::Sender<Vec<PeerSnapshot>>),
    Shutdown(oneshot::Sender<()>),
    BfdDown(IpAddr, BfdDown),
    HandOver(oneshot::Sender<()>),
}

/// The actor's ends.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) wanted: watch::Receiver<Wanted>,
    /// What `wanted` began with: of this nothing was set by anybody.
    pub(crate) initial: Wanted,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) version: watch::Sender<u64>,
    pub(crate) announced: watch::Sender<bool>,
    pub(crate) dynamic: watch::Sender<DynamicNeighbors>,
}

pub(crate) fn new(listening: SocketAddr) -> (Speaker, Inputs) {
    let initial = Wanted::default();
    let (wanted, wanted_receiver) = watch::channel(initial.clone());
    // Who asks waits for the answer, so that there are as many places as may ask at once.
    let (requests, requests_receiver) = mpsc::channel(8);
    let (version_sender, version) = watch::channel(0);
    let (announced_sender, announced) = watch::channel(false);
    let (dynamic_sender, dynamic) = watch::channel(DynamicNeighbors::new());
    let inputs = Inputs {
        wanted: wanted_receiver,
        initial,
        requests: requests_receiver,
        version: version_sender,
        announced: announced_sender,
        dynamic: dynamic_sender,
    };
    (Speaker { wanted, requests, version, announced, dynamic, listening }, inputs)
}

impl Speaker {
    /// The address that peers can connect to.
    pub fn listening(&self) -> SocketAddr {
        self.listening
    }

    /// Takes connections from now on. Until then they are refused by the kernel, and whoever tries
    /// does so again: so that no peer is taken for a stranger, and none gets by without its password,
    /// this comes after the first [`set_peers`](Self::set_peers).
    ///
    /// # Errors
    /// Somebody else listens there.
    pub async fn listen(&self) -> Result<(), StartError> {
        let (answer, answered) = oneshot::channel();
        // An error means that the speaker has ended, of which whoever ended it knows.
        let _ = self.requests.send(Request::Listen(answer)).await;
        answered.await.unwrap_or(Ok(()))
    }

    /// The peers to have, in place of those before. One that is not in the list any more is told
    /// Cease, Peer De-configured; one whose settings changed is restarted; the others do not
    /// notice. Of two with one address the last counts.
    pub fn set_peers(&self, peers: Vec<PeerSettings>) {
        self.wanted.send_modify(|wanted| wanted.peers = Arc::new(peers));
    }

    /// The templates of dynamic neighbours, in place of those before. Neighbours of one that has
    /// changed or is not there any more are told Cease, Peer De-configured; the others do not
    /// notice. A peer of [`set_peers`](Self::set_peers) comes before any template.
    pub fn set_templates(&self, templates: Vec<PeerTemplate>) {
        self.wanted.send_if_modified(|wanted| {
            let is_new = *wanted.templates != templates;
            if is_new {
                wanted.templates = Arc::new(templates);
            }
            is_new
        });
    }

    /// The blocks to announce, in place of those before.
    pub fn originate(&self, blocks: BTreeSet<IpNetwork>) {
        self.wanted.send_modify(|wanted| wanted.originated = Arc::new(blocks));
    }

    /// Which routes to believe from now on; those already here are judged again.
    pub fn set_import_policy(&self, policy: ImportPolicy) {
        self.wanted.send_modify(|wanted| wanted.policy = Arc::new(policy));
    }

    /// What operators have settled for peers, by their addresses, in place of what was before: the
    /// longest prefix counts. It takes effect without restarting a session.
    pub fn set_peer_policies(&self, policies: BTreeMap<IpNetwork, Arc<PeerPolicy>>) {
        self.wanted.send_modify(|wanted| wanted.peer_policies = Arc::new(policies));
    }

    /// Whether this node is about to go away, so that peers are to prefer any other path while it
    /// still carries packets (RFC 8326).
    pub fn set_graceful_shutdown(&self, is_on: bool) {
        self.wanted.send_modify(|wanted| wanted.graceful_shutdown = is_on);
    }

    /// How each peer is doing, by address; empty when the speaker has ended.
    pub async fn peers(&self) -> Vec<PeerSnapshot> {
        let (answer, answered) = oneshot::channel();
        if self.requests.send(Request::Peers(answer)).await.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }

    /// Tells that a BFD session has failed: the session with the peer ends and its routes go, as
    /// [`BfdDown`] says.
    pub async fn bfd_down(&self, peer: IpAddr, failure: BfdDown) {
        // An error means that the speaker has ended.
        let _ = self.requests.send(Request::BfdDown(peer, failure)).await;
    }

    /// A number that grows whenever [`peers`](Self::peers) may have something new to tell.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.clone()
    }

    /// Becomes true once every peer has announced all its routes (RFC 4724, 2) and what follows from
    /// them has been put among the [`PathChanges`]; it stays so. Never without peers, nor with templates.
    pub fn announced(&self) -> watch::Receiver<bool> {
        self.announced.clone()
    }

    /// The dynamic neighbours: each is there from its first session on until it is forgotten.
    pub fn dynamic_neighbors(&self) -> watch::Receiver<DynamicNeighbors> {
        self.dynamic.clone()
    }

    /// Ends every session with Cease, Administrative Shutdown, and the speaker; returns when the
    /// peers have been told, or after a few seconds if one does not listen.
    pub async fn shutdown(&self) {
        self.end(Request::Shutdown).await;
    }

    /// Ends the speaker so that another one takes over: peers that can do graceful restart hear
    /// nothing but the end of the connection, whereupon they keep this node's routes for its
    /// restart time (RFC 4724, 4.2); the others are told as by [`shutdown`](Self::shutdown).
    pub async fn hand_over(&self) {
        self.end(Request::HandOver).await;
    }

    async fn end(&self, request: impl FnOnce(oneshot::Sender<()>) -> Request) {
        let (answer, answered) = oneshot::channel();
        if self.requests.send(request(answer)).await.is_ok() {
            // An error means that the speaker has ended: that is what was asked for.
            let _ = answered.await;
        }
    }
}
