//! Where the agent learns its blocks and its peers.
//!
//! A datastore is a task that yields [`State`]s: the first one at the start, another one whenever
//! something changed. The agent compares nothing itself; what it drives takes a whole new set and
//! finds the difference. There are two: the [configuration file](file) and the
//! [Kubernetes API server](kubernetes).

mod bfd;
mod file;
mod host_name;
mod kubernetes;

pub use bfd::Bfd;
pub use kubernetes::removal::Leaving;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use jiff::Timestamp;
use tokio::sync::watch;
use warren_bgp::policy::PeerPolicy;
use warren_speaker::{
    ConnectRetry, Distance, HoldTime, LocalRole, MaxPrefixes, Password, RemoteAs, StaleTime,
};
use warren_types::pool::Pool;
use warren_types::status::{self, PeerKind};

use crate::config::{Config, DatastoreKind};

/// What a datastore has to say at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What it knows.
    pub snapshot: Snapshot,
    /// How it is doing itself.
    pub contact: Contact,
}

/// All that a datastore knows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// This node's address.
    pub node_address: NodeAddress,
    /// This node's IPv6 address, if it has one.
    pub ipv6_address: Option<Ipv6Addr>,
    /// The pools.
    pub pools: Vec<Pool>,
    /// This node's own blocks, in the order of use.
    pub blocks: Vec<IpNetwork>,
    /// The peers.
    pub peers: Vec<Peer>,
    /// What becomes of those that connect without being peers.
    pub templates: Vec<Template>,
    /// The other nodes' blocks, as far as they are known, each with its node's address.
    pub owners: Vec<(IpNetwork, IpAddr)>,
    /// Why the node cannot carry pods with this, a sentence each.
    pub problems: Vec<String>,
}

/// What a datastore knows of this node's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeAddress {
    /// It is this.
    Is(IpAddr),
    /// It is the one that the kernel sends from.
    AsKernelSends,
    /// The datastore will tell it and has not yet.
    Awaited,
}

/// A peer, with everything settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its TCP port.
    pub port: u16,
    /// Its name, where one is known.
    pub name: Option<String>,
    /// Its AS number.
    pub as_number: RemoteAs,
    /// Why it is a peer.
    pub kind: PeerKind,
    /// Whether to wait for its connection.
    pub passive: bool,
    /// How long its silence is borne, and how often to be heard and to try, where settled.
    pub timers: Timers,
    /// This node's address to connect from, where settled.
    pub source: Option<IpAddr>,
    /// The secret by which segments are signed.
    pub password: Option<Password>,
    /// How many hops away it may be.
    pub distance: Distance,
    /// How BFD runs with it, if it does.
    pub bfd: Option<Bfd>,
    /// How many prefixes it may announce.
    pub max_prefixes: Option<MaxPrefixes>,
    /// If there is to be no session with it, why.
    pub shutdown: Option<String>,
    /// This node's AS number towards it, where that is another one.
    pub local_as: Option<u32>,
    /// Whether this node reflects routes for it.
    pub route_reflector_client: bool,
    /// For how long beyond the restart time each side keeps the other's routes (RFC 9494), where that
    /// is not as long as with others.
    pub long_lived: Option<StaleTime>,
    /// What this node is to it, if it is an external peer (RFC 9234).
    pub role: Option<LocalRole>,
    /// Whether it may announce several paths to one destination (RFC 7911).
    pub add_path: bool,
    /// What operators have settled for its routes.
    pub policy: Arc<PeerPolicy>,
}

/// What those that connect from a prefix have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// The prefix.
    pub range: IpNetwork,
    /// How many of them there are at most.
    pub limit: u32,
    /// All else; its address is that of the prefix.
    pub peer: Peer,
}

/// The timers of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timers {
    /// The hold time to propose.
    pub hold_time: HoldTime,
    /// How often to send a KEEPALIVE.
    pub keepalive: Option<Duration>,
    /// How often to try to connect.
    pub connect_retry: ConnectRetry,
    /// How long the peer may take nothing of what is sent.
    pub send_hold: Option<Duration>,
}

impl Timers {
    /// With this hold time in seconds, which was checked, and the defaults for the others.
    pub fn holding(seconds: u16) -> Self {
        let hold_time = HoldTime::from_secs(seconds).unwrap_or_default();
        Self { hold_time, ..Self::default() }
    }
}

/// Whether a datastore hears from its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Since when it is so.
    pub since: Timestamp,
    /// Why it does not hear from its source; none when it does.
    pub problem: Option<String>,
}

/// Whether this node can carry pods, else why not, in words.
pub type Network = Result<(), String>;

/// A running datastore.
pub struct Datastore {
    kind: DatastoreKind,
    name: String,
    states: watch::Receiver<Arc<State>>,
    config: watch::Sender<Arc<Config>>,
    network: watch::Sender<Option<Network>>,
}

impl Datastore {
    /// Starts the one that `config` asks for.
    ///
    /// # Errors
    /// The node's name cannot be found out, or how to reach the API server is not known.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let kind = config.datastore;
        let (config, configs) = watch::channel(Arc::new(config));
        let (network, networks) = watch::channel(None);
        let (name, states) = match kind {
            DatastoreKind::File => file::start(configs)?,
            DatastoreKind::Kubernetes => kubernetes::start(configs, networks).await?,
        };
        Ok(Self { kind, name, states, config, network })
    }

    /// This node's name, by which the datastore knows it.
    pub fn node_name(&self) -> &str {
        &self.name
    }

    /// What it says now.
    pub fn state(&self) -> Arc<State> {
        self.states.borrow().clone()
    }

    /// Waits until it says something else. Cancel safe.
    ///
    /// # Errors
    /// Its task has ended, which it does not do by itself.
    pub async fn changed(&mut self) -> anyhow::Result<Arc<State>> {
        self.states
            .changed()
            .await
            .map_err(|_| anyhow::anyhow!("the datastore's task has ended; see the log"))?;
        Ok(self.states.borrow_and_update().clone())
    }

    /// Takes a configuration that was read again; what follows from it comes as a new [`State`].
    pub fn configure(&self, config: Config) {
        self.config.send_replace(Arc::new(config));
    }

    /// Tells the datastore whether the node can carry pods, so that it can tell others.
    pub fn report(&self, network: Network) {
        self.network.send_if_modified(|known| {
            let network = Some(network);
            let changed = *known != network;
            *known = network;
            changed
        });
    }

    /// What the status says of it.
    pub fn status(&self) -> status::Datastore {
        let contact = self.states.borrow().contact.clone();
        status::Datastore {
            kind: self.kind.as_str().into(),
            in_touch: contact.problem.is_none(),
            since: contact.since,
            problem: contact.problem,
        }
    }
}
