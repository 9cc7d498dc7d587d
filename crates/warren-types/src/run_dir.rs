//! Where the run state of one node lies.

use std::io;
use std::path::{Path, PathBuf};

use crate::file;

/// The run directory where nothing else is configured. It is on a tmpfs, so that what it says of
/// pods dies with the pods at a reboot.
pub const DEFAULT: &str = "/run/warren";

/// The environment variable that selects another run directory.
pub const ENV: &str = "WARREN_RUN_DIR";

/// The run directory of one node. Two nodes on one machine have two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(PathBuf);

/// The run directory is something that cannot be relied on: what is in it may be anybody's.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the run directory {}: {source}", path.display())]
pub struct Unusable {
    path: PathBuf,
    source: io::Error,
}

impl RunDir {
    /// The run directory at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether it can be relied on, as far as it is there: a directory that only root can change.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn examine(&self) -> Result<(), Unusable> {
        let unusable = |source| Unusable { path: self.0.clone(), source };
        file::is_directory(&self.0).map(drop).map_err(unusable)
    }

    /// The [node description](crate::node::NodeDescription) that the agent writes for the plugin.
    pub fn node_description(&self) -> PathBuf {
        self.0.join("node.json")
    }

    /// Where a pod's [wishes](crate::wishes::Wishes) lie, if it has any. None: a pod of such a name
    /// has none, for Kubernetes has no such names.
    pub fn wishes(&self, namespace: &str, name: &str) -> Option<PathBuf> {
        let is_name = |text: &str, longest| {
            let plain =
                |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
            (1..=longest).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain)
        };
        // One directory per namespace: together the two names may be longer than a file's may be.
        let both = is_name(namespace, 63) && is_name(name, 253);
        both.then(|| self.0.join("wishes").join(namespace).join(name))
    }

    /// Where the plugin tells the agent what it did, and the agent listens while it runs.
    pub fn reports(&self) -> PathBuf {
        self.0.join("reports.sock")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_lie_inside_their_directory_whatever_the_pod_is_called() {
        let run_dir = RunDir::new("/run/warren");
        let path = run_dir.wishes("default", "web-0.a").unwrap();
        assert_eq!(path, Path::new("/run/warren/wishes/default/web-0.a"));
        let [namespace, name] = [63, 253].map(|length| "x".repeat(length));
        assert!(run_dir.wishes(&namespace, &name).is_some());
        for (namespace, name) in [
            ("", "a"),
            ("a", ""),
            ("a", "../../x"),
            ("..", "a"),
            ("a", ".."),
            ("a", "B"),
            (&format!("{namespace}x"), "a"),
            ("a", &format!("{name}x")),
        ] {
            assert_eq!(run_dir.wishes(namespace, name), None, "{namespace} {name}");
        }
    }
}
