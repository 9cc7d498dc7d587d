//! What is written down of an attachment.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::mac::MacAddress;

/// The version of the format; a reader refuses a greater one.
pub const FORMAT_VERSION: u32 = 1;

/// An address: to whom it went, and what was made for it. An attachment with addresses of both
/// families has two records, which differ in the address only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// The pod's address.
    pub address: IpAddr,
    /// The CNI network's name.
    pub network: String,
    /// The container's ID.
    pub container_id: String,
    /// The interface's name in the pod.
    pub ifname: String,
    /// The path of the pod's network namespace.
    pub netns: String,
    /// The pod's names, where the runtime gave them.
    #[serde(flatten)]
    pub pod: Option<Pod>,
    /// The name of the veth pair's end on the host.
    pub host_interface: String,
    /// The hardware address of the pod's interface.
    pub mac: MacAddress,
    /// The MTU of the pod's interface, in bytes.
    pub mtu: u32,
    /// The metric of the pod's routes by this interface; 0 for the pod's first interface.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub metric: u32,
    /// When the address was given.
    pub created: Timestamp,
}

fn is_zero(metric: &u32) -> bool {
    *metric == 0
}

/// A pod as Kubernetes names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its namespace.
    #[serde(rename = "podNamespace")]
    pub namespace: String,
    /// Its name.
    #[serde(rename = "podName")]
    pub name: String,
}

/// Why a record's content cannot be used. Its name still reserves the address.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The content is not a record.
    #[error("is not a record: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The writer was newer than this program.
    #[error("has format version {0}, this program reads up to {FORMAT_VERSION}")]
    TooNew(u32),
}

impl Record {
    /// Reads a record's content.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn parse(content: &[u8]) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            format_version: u32,
        }
        // The version first: a newer format may differ in everything else.
        let Version { format_version } = serde_json::from_slice(content)?;
        if format_version > FORMAT_VERSION {
            return Err(RecordError::TooNew(format_version));
        }
        Ok(serde_json::from_slice(content)?)
    }
}
