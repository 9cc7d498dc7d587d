//! What there is: records, interfaces, routes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use warren_ipam::{Entry, Listing, Store};
use warren_net::pod::{self, Inventory};
use warren_types::node::NodeDescription;

/// The state of a node's addresses at one moment.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The node.
    pub node: NodeDescription,
    /// The records, but those that somebody works on.
    pub entries: Vec<Entry>,
    /// All host interfaces that are recorded, or were a moment ago.
    pub recorded: Vec<String>,
    /// What is wrong with the content of a record.
    pub damaged: BTreeMap<Entry, String>,
    /// Files that are no records.
    pub unknown: Vec<PathBuf>,
    /// What the kernel has.
    pub kernel: Inventory,
}

impl Picture {
    /// Looks at all of it. Pods come and go meanwhile: what is not there before and after the kernel is
    /// asked is left out, and so is what somebody works on.
    ///
    /// # Errors
    /// The run directory or the kernel does not tell.
    pub fn take(store: &Store, node: &NodeDescription) -> anyhow::Result<Self> {
        let before = store.list()?.entries;
        let kernel = pod::inventory()?;
        let Listing { entries: after, unknown } = store.list()?;
        let recorded =
            before.iter().chain(&after).map(|entry| entry.host_interface.clone()).collect();
        let mut entries = Vec::new();
        for entry in after.into_iter().filter(|entry| before.contains(entry)) {
            // What cannot be locked at all is damaged, and nobody works on it.
            if !matches!(store.hold_if_idle(&entry), Ok(None)) {
                entries.push(entry);
            }
        }
        let damage = |entry: &Entry| Some((entry.clone(), store.read(entry).err()?.to_string()));
        let damaged = entries.iter().filter_map(damage).collect();
        Ok(Self { node: node.clone(), entries, recorded, damaged, unknown, kernel })
    }
}
