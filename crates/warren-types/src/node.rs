//! What this node is, as the agent describes it for the plugin.

use std::io;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::file;
use crate::run_dir::RunDir;

/// The version of the format; a reader refuses a greater one.
pub const FORMAT_VERSION: u32 = 1;

/// All that the plugin needs to know to start a pod, so that it asks nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeDescription {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// The node's name.
    pub name: String,
    /// The node's own address, the outer address of its tunnel packets.
    pub address: IpAddr,
    /// The blocks that pods of this node get their addresses from, in the order of use.
    pub blocks: Vec<IpNetwork>,
    /// What of the blocks no pod may get: the tunnel's own addresses, and what the configuration
    /// reserves.
    pub reserved: Vec<IpNetwork>,
    /// The MTU of a pod's interface, in bytes: the NIC's less the encapsulation's header.
    pub pod_mtu: u32,
    /// For how long an address that a pod has given back is given to nobody, in seconds.
    #[serde(default)]
    pub cool_down_seconds: u64,
    /// The tunnel device that pods' packets to other nodes go through, where there is one.
    #[serde(default)]
    pub tunnel: Option<String>,
}

/// Why the node description could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No agent has written one yet.
    #[error("no agent has described this node yet: {path} does not exist; is the agent running?")]
    Missing {
        /// Where it was looked for.
        path: String,
    },
    /// The file is there but cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is not a node description.
    #[error(
        "{path} is not a node description: {source}; restart the agent to have it written anew"
    )]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong in it.
        source: serde_json::Error,
    },
    /// The agent is newer than this program.
    #[error(
        "{path} has format version {found}, this program reads up to {FORMAT_VERSION}; \
         install the plugin that came with the agent"
    )]
    TooNew {
        /// The file.
        path: String,
        /// Its version.
        found: u32,
    },
}

impl NodeDescription {
    /// Reads the description of the node whose run directory this is.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(run_dir: &RunDir) -> Result<Self, ReadError> {
        let description = run_dir.node_description();
        let path = description.display().to_string();
        let text = match file::read(&description) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(ReadError::Missing { path });
            }
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            format_version: u32,
        }
        // The version first: a newer format may differ in everything else.
        match serde_json::from_slice::<Version>(&text) {
            Ok(v) if v.format_version > FORMAT_VERSION => {
                Err(ReadError::TooNew { path, found: v.format_version })
            }
            _ => serde_json::from_slice(&text)
                .map_err(|source| ReadError::Malformed { path, source }),
        }
    }

    /// Writes the description so that a reader sees the old one or the new one, whole.
    ///
    /// # Errors
    /// Any I/O error, with the path in its text.
    pub fn write(&self, run_dir: &RunDir) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        file::replace(&run_dir.node_description(), &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> NodeDescription {
        NodeDescription {
            format_version: FORMAT_VERSION,
            name: "node1".into(),
            address: "192.168.0.176".parse().unwrap(),
            blocks: vec!["172.16.52.128/26".parse().unwrap()],
            reserved: vec!["172.16.52.128".parse().unwrap()],
            pod_mtu: 1480,
            cool_down_seconds: 30,
            tunnel: Some("tunl0".into()),
        }
    }

    #[test]
    fn is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(dir.path());
        assert!(matches!(NodeDescription::read(&run_dir), Err(ReadError::Missing { .. })));
        description().write(&run_dir).unwrap();
        assert_eq!(NodeDescription::read(&run_dir).unwrap(), description());
    }

    #[test]
    fn what_an_older_agent_wrote_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(dir.path());
        let text = r#"{"formatVersion":1,"name":"node1","address":"192.168.0.176",
            "blocks":["172.16.52.128/26"],"reserved":["172.16.52.128"],"podMtu":1480}"#;
        std::fs::write(run_dir.node_description(), text).unwrap();
        let expected = NodeDescription { cool_down_seconds: 0, tunnel: None, ..description() };
        assert_eq!(NodeDescription::read(&run_dir).unwrap(), expected);
    }

    #[test]
    fn a_torn_or_newer_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(dir.path());
        let path = run_dir.node_description();
        std::fs::write(&path, r#"{"formatVersion": 1, "na"#).unwrap();
        assert!(matches!(NodeDescription::read(&run_dir), Err(ReadError::Malformed { .. })));
        std::fs::write(&path, r#"{"formatVersion": 2, "other": []}"#).unwrap();
        let error = NodeDescription::read(&run_dir).unwrap_err().to_string();
        assert!(error.contains("format version 2"), "{error}");
    }
}
