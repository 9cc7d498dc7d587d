//! Where the run state of one node lies.

use std::path::{Path, PathBuf};

/// The run directory where nothing else is configured. It is on a tmpfs, so that what it says of
/// pods dies with the pods at a reboot.
pub const DEFAULT: &str = "/run/warren";

/// The environment variable that selects another run directory.
pub const ENV: &str = "WARREN_RUN_DIR";

/// The run directory of one node. Two nodes on one machine have two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// The run directory at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The [node description](crate::node::NodeDescription) that the agent writes for the plugin.
    pub fn node_description(&self) -> PathBuf {
        self.0.join("node.json")
    }

    /// The directory of the address management's records.
    pub fn ipam(&self) -> PathBuf {
        self.0.join("ipam")
    }

    /// The socket at which the agent answers the operator.
    pub fn agent_socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }
}

impl Default for RunDir {
    fn default() -> Self {
        Self::new(DEFAULT)
    }
}
