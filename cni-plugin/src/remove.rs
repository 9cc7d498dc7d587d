//! Taking away what a record names: by `DEL`, by `GC`, by an `ADD` that failed or that finds a
//! leftover.

use std::net::IpAddr;

use warren_ipam::{Entry, Held, Store};
use warren_net::namespace::Namespace;
use warren_net::pod;

use crate::error::Failure;

/// Removes an attachment; `None` if someone else did while this waited for them.
pub fn attachment(store: &Store, entry: &Entry) -> Result<Option<Vec<IpAddr>>, Failure> {
    store.hold(entry)?.map(|record| held(store, record)).transpose()
}

/// Removes an attachment whose record is held. The veth pair goes first: an address whose route is
/// still there must not be given to another pod.
pub fn held(store: &Store, held: Held) -> Result<Vec<IpAddr>, Failure> {
    let entry = held.entry();
    // A record that cannot be read leaves the pair to its namespace's end.
    let netns = || store.read(entry).ok().map(|record| record.netns);
    connection(&entry.host_interface, netns)?;
    Ok(store.release(held)?)
}

/// Removes a veth pair, by the end in the pod's namespace if its host end is not on the node; false
/// if there is none.
pub fn connection(
    host_interface: &str,
    netns: impl FnOnce() -> Option<String>,
) -> Result<bool, Failure> {
    if pod::delete(host_interface)? {
        return Ok(true);
    }
    match netns().map(Namespace::open) {
        Some(Ok(namespace)) => Ok(pod::delete_within(&namespace, host_interface)?),
        _ => Ok(false),
    }
}
