//! The agent's configuration file.

mod bfd;
mod check;
mod dynamic;
pub mod filter;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer};
use warren_bgp::policy::NextHopMode;
use warren_speaker::{ConnectRetry, Password, RemoteAs, Role};
use warren_types::pool::Pool;

pub use bfd::BfdConfig;
pub use dynamic::PeerAddress;

/// What the file says. A key that is not here is an error that names it and its line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// This node, where it is not to be found out.
    #[serde(default)]
    pub node: NodeConfig,
    /// The run directory; default [`warren_types::run_dir::DEFAULT`].
    pub run_dir: Option<PathBuf>,
    /// Where `datastore: kubernetes` keeps what outlives a reboot; default `/var/lib/warren`.
    pub state_dir: Option<PathBuf>,
    /// Where blocks and peers come from.
    #[serde(default)]
    pub datastore: DatastoreKind,
    /// Where to put the network configuration by which the runtime finds the plugin; nowhere where
    /// this is missing.
    pub cni: Option<CniConfig>,
    /// This node's AS number.
    #[serde(default = "default_as_number")]
    pub as_number: u32,
    /// The BGP identifier; default the node's address.
    pub router_id: Option<Ipv4Addr>,
    /// The TCP port that this node listens at for BGP.
    #[serde(default = "default_port")]
    pub listen_port: u16,
    /// The hold time proposed to every peer that has none of its own, in seconds (RFC 4271, 4.2).
    #[serde(default = "default_hold_time")]
    pub hold_time_seconds: u16,
    /// Bidirectional Forwarding Detection.
    #[serde(default)]
    pub bfd: BfdConfig,
    /// How this node's restarts look to its peers, and theirs to it (RFC 4724).
    #[serde(default)]
    pub graceful_restart: GracefulRestart,
    /// Whether this node is about to go away, so that peers are to prefer any other path while it
    /// still carries packets (RFC 8326).
    #[serde(default)]
    pub graceful_shutdown: bool,
    /// The cluster that this node reflects routes for (RFC 4456, 7); default the BGP identifier.
    pub route_reflector_cluster_id: Option<Ipv4Addr>,
    /// The protocol number of the routes that the agent keeps.
    #[serde(default = "default_route_protocol")]
    pub route_protocol: u8,
    /// The pools that pod addresses come from. With `datastore: kubernetes` there may be none: then
    /// kubeadm's word is taken.
    #[serde(default)]
    pub pools: Vec<Pool>,
    /// This node's blocks, with `datastore: file`.
    #[serde(default)]
    pub blocks: Vec<IpNetwork>,
    /// The peers, with `datastore: file`.
    #[serde(default)]
    pub peers: Vec<PeerConfig>,
    /// Whether an external peer needs filters for any route to pass (RFC 8212).
    #[serde(default)]
    pub ebgp_requires_policy: bool,
    /// The filters that peers name.
    #[serde(default)]
    pub filters: Vec<filter::Filter>,
    /// How the blocks' addresses are given to pods.
    #[serde(default)]
    pub ipam: IpamConfig,
    /// Where to serve metrics; nowhere where this is missing.
    pub metrics: Option<MetricsConfig>,
}

/// What the file says of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsConfig {
    /// The address and TCP port at which they are served.
    pub listen: SocketAddr,
}

/// What the file says of the address management.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IpamConfig {
    /// For how long an address that a pod has given back is given to nobody, in seconds.
    pub cool_down_seconds: u64,
    /// What of the blocks no pod gets: addresses, or ranges of them.
    pub reserved: Vec<IpNetwork>,
    /// With fewer free addresses than this, of a family, another block is wanted.
    pub low_water: u64,
}

impl Default for IpamConfig {
    fn default() -> Self {
        Self { cool_down_seconds: 0, reserved: Vec::new(), low_water: 8 }
    }
}

/// What the file says of restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GracefulRestart {
    /// Whether peers are asked to keep this node's routes while its agent is away, and theirs are
    /// kept while they are.
    pub enabled: bool,
    /// How long the agent may be away, in seconds, at most 4095.
    pub restart_time_seconds: u16,
    /// Whether a NOTIFICATION and the hold timer count as a restart too (RFC 8538).
    pub notification: bool,
    /// How long an agent that has restarted waits at most, in seconds, for its peers to announce all
    /// their routes, before it selects routes and removes those of its former life that nobody
    /// announced. A peer that is not there keeps the others' routes waiting for 3 s only.
    pub selection_deferral_seconds: u16,
    /// For how long beyond the restart time, in seconds, at most 16777215, each side keeps the
    /// other's routes as the last resort (RFC 9494); 0: not at all.
    pub long_lived_stale_time_seconds: u32,
}

impl Default for GracefulRestart {
    fn default() -> Self {
        Self {
            enabled: true,
            restart_time_seconds: 120,
            notification: true,
            selection_deferral_seconds: 30,
            long_lived_stale_time_seconds: 0,
        }
    }
}

/// What the file says of this node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeConfig {
    /// The node's name; default the host name. `NODE_NAME` wins over it with
    /// `datastore: kubernetes`.
    pub name: Option<String>,
    /// The node's address; default the one that the kernel sends from, or the Node's InternalIP.
    pub address: Option<IpAddr>,
    /// Its IPv6 address, where that is another one: what peers are told as the next hop of IPv6
    /// routes. Default none, or the Node's IPv6 InternalIP.
    pub ipv6_address: Option<Ipv6Addr>,
}

/// Where blocks and peers come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DatastoreKind {
    /// The configuration file itself.
    #[default]
    File,
    /// The Kubernetes API server.
    Kubernetes,
}

impl DatastoreKind {
    /// The word in the configuration and in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// What the file says of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerConfig {
    /// Its address, or the prefix that it connects from.
    pub address: PeerAddress,
    /// Its name, for the status only.
    pub name: Option<String>,
    /// Its AS number, `internal` or `external`; default this node's own.
    #[serde(default, deserialize_with = "dynamic::remote_as")]
    pub as_number: Option<RemoteAs>,
    /// With a prefix, how many neighbours there are from it at most; default 100.
    pub limit: Option<NonZeroU32>,
    /// Its blocks, where it is a node whose blocks are known: nobody else's word is taken for them.
    #[serde(default)]
    pub blocks: Vec<IpNetwork>,
    /// The TCP port that it listens at.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Whether to wait for its connection instead of opening one.
    #[serde(default)]
    pub passive: bool,
    /// The hold time proposed to it, in seconds; default the node's `holdTimeSeconds`.
    pub hold_time_seconds: Option<u16>,
    /// How often it is sent a KEEPALIVE, in seconds; default, and at the least, thrice in a hold time.
    pub keepalive_seconds: Option<NonZeroU16>,
    /// How long to wait between the first attempt to connect and the second, in seconds; default 1.
    pub connect_retry_initial_seconds: Option<NonZeroU16>,
    /// How long to wait at most between attempts to connect, in seconds; default 16.
    pub connect_retry_seconds: Option<NonZeroU16>,
    /// How long it may take nothing of what is sent, in seconds (RFC 9687); default eight minutes, or
    /// two hold times if that is longer.
    pub send_hold_time_seconds: Option<NonZeroU16>,
    /// This node's address to connect from; default the node's, with a peer of the same family.
    pub source_address: Option<IpAddr>,
    /// The secret by which segments are signed (RFC 2385); a string of 1 to 80 octets.
    #[serde(default, deserialize_with = "password")]
    pub password: Option<Password>,
    /// How many hops away it is: what has come further is dropped (RFC 5082).
    pub ttl_security: Option<NonZeroU8>,
    /// How many hops away it is: what is sent gets no further.
    pub multihop: Option<NonZeroU8>,
    /// BFD with it, as far as it differs from the node's.
    pub bfd: Option<BfdConfig>,
    /// How many prefixes it may announce, refused ones included; default as many as there are.
    pub max_prefixes: Option<MaxPrefixesConfig>,
    /// If there is to be no session with it, why: it is told so (RFC 9003).
    pub shutdown: Option<String>,
    /// The filters that its routes and those for it go through, in this order.
    #[serde(default)]
    pub filters: Vec<String>,
    /// What it is told as NEXT_HOP.
    #[serde(default)]
    pub next_hop_mode: NextHopModeConfig,
    /// How often this node's AS number may be in AS_PATH of its routes.
    #[serde(default, rename = "numAllowedLocalASNumbers")]
    pub num_allowed_local_as_numbers: u8,
    /// This node's AS number towards it; default the node's own.
    #[serde(rename = "localASNumber")]
    pub local_as_number: Option<u32>,
    /// Whether this node reflects routes to it and its routes to others (RFC 4456).
    #[serde(default)]
    pub route_reflector_client: bool,
    /// For how long beyond the restart time each side keeps the other's routes, in seconds (RFC 9494);
    /// default the node's `gracefulRestart.longLivedStaleTimeSeconds`.
    pub long_lived_stale_time_seconds: Option<u32>,
    /// What this node is to it, a peer of another AS (RFC 9234).
    pub role: Option<RoleConfig>,
    /// Whether there is no session with it unless it says that it has the other role.
    #[serde(default)]
    pub strict_role: bool,
    /// Whether it may announce several paths to one destination (RFC 7911).
    #[serde(default)]
    pub add_path_receive: bool,
}

/// What this node is to a peer of another AS (RFC 9234, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoleConfig {
    /// Its provider.
    Provider,
    /// Its route server.
    Rs,
    /// A client of the route server that it is.
    RsClient,
    /// Its customer.
    Customer,
    /// Neither is the other's customer.
    Peer,
}

impl From<RoleConfig> for Role {
    fn from(role: RoleConfig) -> Self {
        match role {
            RoleConfig::Provider => Self::Provider,
            RoleConfig::Rs => Self::RouteServer,
            RoleConfig::RsClient => Self::RouteServerClient,
            RoleConfig::Customer => Self::Customer,
            RoleConfig::Peer => Self::Peer,
        }
    }
}

impl PeerConfig {
    /// How often to try to connect.
    pub fn connect_retry(&self) -> ConnectRetry {
        let default = ConnectRetry::default();
        ConnectRetry {
            initial: self.connect_retry_initial_seconds.map_or(default.initial, seconds),
            max: self.connect_retry_seconds.map_or(default.max, seconds),
        }
    }
}

/// A number of seconds that is not zero, as a duration.
pub fn seconds(number: NonZeroU16) -> Duration {
    Duration::from_secs(number.get().into())
}

/// How many prefixes a peer may announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MaxPrefixesConfig {
    /// At most; one more ends the session.
    pub limit: u32,
    /// From how many per cent of them on the log warns.
    #[serde(default = "default_warning")]
    pub warning_percent: u8,
    /// How long the peer is left alone then, in seconds.
    #[serde(default = "default_idle")]
    pub idle_seconds: u16,
}

fn default_warning() -> u8 {
    75
}

fn default_idle() -> u16 {
    300
}

fn password<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Password>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    text.map(|text| Password::new(text).map_err(serde::de::Error::custom)).transpose()
}

/// What a peer is told as NEXT_HOP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum NextHopModeConfig {
    /// An external peer this node's address, an internal one what came with the route.
    #[default]
    Auto,
    /// This node's address.
    #[serde(rename = "Self")]
    Own,
    /// What came with the route.
    Keep,
}

impl From<NextHopModeConfig> for NextHopMode {
    fn from(mode: NextHopModeConfig) -> Self {
        match mode {
            NextHopModeConfig::Auto => Self::Auto,
            NextHopModeConfig::Own => Self::Own,
            NextHopModeConfig::Keep => Self::Keep,
        }
    }
}

fn default_as_number() -> u32 {
    64512
}

fn default_port() -> u16 {
    179
}

fn default_hold_time() -> u16 {
    90
}

fn default_route_protocol() -> u8 {
    12
}

/// What the configuration says of the network configuration that the runtime reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CniConfig {
    /// The runtime's directory for network configurations.
    pub conf_dir: PathBuf,
    /// A file whose content to use instead of the one that comes with the agent.
    pub conflist: Option<PathBuf>,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration file {path}")]
    Read {
        /// The file.
        path: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It is no YAML, or has a key or value that does not belong there.
    #[error("{path}: {message}")]
    Parse {
        /// The file.
        path: String,
        /// What is wrong and at which line.
        message: String,
    },
    /// It can be read but makes no sense.
    #[error("{path}: {message}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong and what to do about it.
        message: String,
    },
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// See [`ConfigError`]; the text names the file, the key, and the line where there is one.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_text(&text, file),
            Err(source) => Err(ConfigError::Read { path: file, source }),
        }
    }

    /// Checks what was read from the file `path`.
    ///
    /// # Errors
    /// See [`read`](Self::read).
    pub fn from_text(text: &str, path: String) -> Result<Self, ConfigError> {
        let config = match Self::parse(text) {
            Ok(config) => config,
            Err(message) => return Err(ConfigError::Parse { path, message }),
        };
        match check::check(&config) {
            Ok(()) => Ok(config),
            Err(message) => Err(ConfigError::Invalid { path, message }),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|e| e.to_string())
    }
}
