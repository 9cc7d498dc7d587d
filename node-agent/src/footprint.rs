//! What an agent leaves on its node beside the run directory's own files, written down by it so that
//! `agent cleanup` needs neither its configuration nor its datastore.

use std::io;
use std::path::PathBuf;

use anyhow::Context;
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use warren_types::file;
use warren_types::run_dir::RunDir;

/// By what things of this agent are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Footprint {
    /// The protocol number of its routes.
    pub route_protocol: u8,
    /// Its pools and blocks: routes and addresses inside are its own.
    pub networks: Vec<IpNetwork>,
    /// The network configuration that it keeps.
    pub conflist: Option<PathBuf>,
    /// The node's name at the API server, where it has told that of its condition.
    #[serde(default)]
    pub node: Option<String>,
    /// Where it keeps what outlives a reboot, if not where all do.
    pub state_dir: Option<PathBuf>,
}

impl Footprint {
    /// Where it is written down.
    pub fn path(run_dir: &RunDir) -> PathBuf {
        run_dir.path().join("footprint.json")
    }

    /// What the last agent of this run directory wrote down; none if there was none since the
    /// reboot.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn read(run_dir: &RunDir) -> anyhow::Result<Option<Self>> {
        let path = Self::path(run_dir);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .with_context(|| format!("{} is damaged", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes it down.
    ///
    /// # Errors
    /// Any I/O error, with the path in its text.
    pub fn write(&self, run_dir: &RunDir) -> anyhow::Result<()> {
        file::replace(&Self::path(run_dir), &serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}
