//! What can go wrong, in the words that reach the operator.

use std::fmt;
use std::io;
use std::path::PathBuf;

use warren_types::status::IpamBlock;

use super::Entry;
use crate::record::RecordError;

/// The store could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What the kernel refused.
    #[error("cannot {operation} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file that may stand for an address in use, and does not say for which.
    #[error(
        "{path} is not the record of an address, so it is unknown which address it keeps in use; \
         move it out of the directory to have pods started again",
        path = path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// A record whose content cannot be used.
    #[error("{path} {source}", path = path.display())]
    Content {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        source: RecordError,
    },
}

impl StoreError {
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub enum AllocateError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The agent gave this node no IPv4 block.
    #[error("node {node} has no IPv4 block; see `agent status`")]
    NoBlock {
        /// The node's name.
        node: String,
    },
    /// The owner has an address already.
    #[error("{} has the address {} already", .0.owner, .0.address)]
    AlreadyAllocated(Entry),
    /// Another attachment names the same host interface: the leftover of the same pod, or another
    /// interface of the same container.
    #[error("{} has the host interface {} already", .0.owner, .0.host_interface)]
    HostInterfaceTaken(Entry),
    /// All addresses are in use.
    #[error("no free address in {}", Full(.0))]
    Exhausted(Vec<IpamBlock>),
}

struct Full<'a>(&'a [IpamBlock]);

impl fmt::Display for Full<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, IpamBlock { cidr, allocated, capacity }) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{cidr} ({allocated} of {capacity} in use)")?;
        }
        Ok(())
    }
}
