//! The agent's configuration file.

mod bfd;
mod check;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use serde::Deserialize;
use warren_types::pool::Pool;

pub use bfd::BfdConfig;

use crate::conflist::CniConfig;

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
    /// Its address.
    pub address: IpAddr,
    /// Its name, for the status only.
    pub name: Option<String>,
    /// Its AS number; default this node's own.
    pub as_number: Option<u32>,
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
    /// BFD with it, as far as it differs from the node's.
    pub bfd: Option<BfdConfig>,
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
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: file.clone(), source })?;
        let config = Self::parse(&text)
            .map_err(|message| ConfigError::Parse { path: file.clone(), message })?;
        check::check(&config).map_err(|message| ConfigError::Invalid { path: file, message })?;
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|e| e.to_string())
    }
}
