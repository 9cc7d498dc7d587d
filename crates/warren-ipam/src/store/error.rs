//! What can go wrong, in the words that reach the operator.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnetwork::IpNetwork;
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
    /// The agent gave this node no block.
    #[error("node {node} has no block; see `agent status`")]
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
    /// All addresses of a family are in use, or were until a moment ago.
    #[error("no free address in {}{}", Blocks(blocks), Cooling(blocks))]
    Exhausted {
        /// The node's blocks of that family.
        blocks: Vec<IpamBlock>,
    },
    /// The pod asks for several addresses of one family.
    #[error("{0} is asked for besides another address of its family; one of each can be given")]
    TwoOfAFamily(IpAddr),
    /// The pod asks for an address that is not this node's to give.
    #[error("{address} is asked for and is in none of this node's blocks: {}", Cidrs(blocks))]
    Elsewhere {
        /// The address.
        address: IpAddr,
        /// The node's blocks.
        blocks: Vec<IpNetwork>,
    },
    /// The pod asks for an address that no pod gets.
    #[error("{0} is asked for and is reserved on this node")]
    Reserved(IpAddr),
    /// The pod asks for an address that another one has.
    #[error("{} is asked for and is in use by {}", .0.address, .0.owner)]
    InUse(Entry),
    /// The pod asks for addresses of pools that this node has no block of.
    #[error("none of this node's blocks is in what is asked for, {}", Cidrs(.0))]
    NoBlockInPools(Vec<IpNetwork>),
}

struct Blocks<'a>(&'a [IpamBlock]);

impl fmt::Display for Blocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, IpamBlock { cidr, allocated, capacity, .. }) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{cidr} ({allocated} of {capacity} in use)")?;
        }
        Ok(())
    }
}

struct Cooling<'a>(&'a [IpamBlock]);

impl fmt::Display for Cooling<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.iter().map(|block| block.cooling).sum::<u64>() {
            0 => Ok(()),
            count => write!(f, "; {count} became free too short a while ago"),
        }
    }
}

struct Cidrs<'a>(&'a [IpNetwork]);

impl fmt::Display for Cidrs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}
