//! What the API server said last, on the disk: a node that starts while the API server is away goes
//! by it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{error, warn};

use super::cluster::Cluster;
use crate::durable;

/// The version of the format; another one is not read.
const FORMAT_VERSION: u32 = 1;

/// How long to wait after a disk has refused.
const RETRY: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    format_version: u32,
    /// Whose it is: the disk may be a copy of another node's.
    node: String,
    cluster: Cluster,
}

/// The file of the node called `node`.
#[derive(Debug, Clone)]
pub struct Saved {
    path: PathBuf,
    node: String,
}

impl Saved {
    /// The file in the directory `state_dir`, which need not exist yet.
    pub fn new(state_dir: &Path, node: &str) -> Self {
        Self { path: state_dir.join("cluster.json"), node: node.to_owned() }
    }

    /// What was saved; none if nothing was, or nothing that can be used: the API server will say it
    /// again.
    pub fn read(&self) -> Option<Cluster> {
        let path = self.path.display();
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(%path, %error, "what the API server said last cannot be read");
                return None;
            }
        };
        match serde_json::from_slice::<Content>(&text) {
            Ok(content)
                if content.format_version == FORMAT_VERSION && content.node == self.node =>
            {
                Some(content.cluster)
            }
            Ok(content) => {
                warn!(
                    %path, node = content.node, version = content.format_version,
                    "what was saved is another node's or another version's, and not used"
                );
                None
            }
            Err(error) => {
                warn!(%path, %error, "what was saved is not understood, and not used");
                None
            }
        }
    }

    /// Writes `cluster` so that the file is the old one or the new one, whole, even after a power
    /// cut.
    ///
    /// # Errors
    /// Any I/O error, with the path in its text.
    fn write(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let content = Content {
            format_version: FORMAT_VERSION,
            node: self.node.clone(),
            cluster: cluster.clone(),
        };
        durable::replace(&self.path, &serde_json::to_vec(&content)?, 0o600)
    }

    /// Writes whatever comes, the latest only: a slow disk holds nobody up. It ends with its source.
    pub async fn keep(self, mut clusters: watch::Receiver<Option<Arc<Cluster>>>) {
        while clusters.changed().await.is_ok() {
            while let Err(error) = self.write_latest(&mut clusters).await {
                error!(error = format!("{error:#}"), "a restart would not know the nodes");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn write_latest(
        &self,
        clusters: &mut watch::Receiver<Option<Arc<Cluster>>>,
    ) -> anyhow::Result<()> {
        let Some(cluster) = clusters.borrow_and_update().clone() else { return Ok(()) };
        let saved = self.clone();
        tokio::task::spawn_blocking(move || saved.write(&cluster)).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datastore::kubernetes::cluster::Member;

    fn cluster() -> Cluster {
        let member = Member {
            address: Some([10, 77, 0, 11].into()),
            ipv6_address: Some("fd00::11".parse().unwrap()),
            blocks: vec!["10.244.0.0/24".parse().unwrap(), "fd00:1::/64".parse().unwrap()],
            agentless: true,
        };
        Cluster {
            nodes: [("node1".to_owned(), member)].into(),
            pod_subnets: vec!["10.244.0.0/16".parse().unwrap()],
        }
    }

    #[test]
    fn what_was_written_is_read_and_nothing_lies_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let saved = Saved::new(&dir.path().join("warren"), "node1");
        assert_eq!(saved.read(), None);
        saved.write(&Cluster::default()).unwrap();
        saved.write(&cluster()).unwrap();
        assert_eq!(saved.read(), Some(cluster()));
        assert_eq!(fs::read_dir(dir.path().join("warren")).unwrap().count(), 1);
    }

    #[test]
    fn another_nodes_file_and_a_torn_one_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        Saved::new(dir.path(), "node1").write(&cluster()).unwrap();
        let other = Saved::new(dir.path(), "node2");
        assert_eq!(other.read(), None);
        fs::write(dir.path().join("cluster.json"), r#"{"formatVersion": 1, "#).unwrap();
        assert_eq!(other.read(), None);
    }

    #[test]
    fn a_disk_that_refuses_is_named() {
        let error = Saved::new(Path::new("/proc/nowhere"), "node1").write(&cluster()).unwrap_err();
        assert!(format!("{error:#}").contains("/proc/nowhere/cluster.json"), "{error:#}");
    }
}
