//! Taking away what a record names: by `DEL`, by `GC`, by an `ADD` that failed or that finds a
//! leftover.

use std::net::IpAddr;

use warren_ipam::{Entry, Held, Store};
use warren_net::namespace::Namespace;
use warren_net::pod;

use crate::error::Failure;

/// Removes an attachment; `None` if someone else did while this waited for them. `netns` is the pod's
/// namespace for a record that cannot be read.
pub fn attachment(
    store: &Store,
    entry: &Entry,
    netns: Option<&str>,
) -> Result<Option<Vec<IpAddr>>, Failure> {
    store.hold(entry)?.map(|record| held(store, record, netns)).transpose()
}

/// Removes an attachment whose record is held. The veth pair goes first: an address whose route is
/// still there must not be given to another pod.
pub fn held(store: &Store, held: Held, netns: Option<&str>) -> Result<Vec<IpAddr>, Failure> {
    let entry = held.entry();
    let recorded = || store.read(entry).ok().map(|record| record.netns);
    // If nobody knows the namespace, the pair is left to its end.
    let netns = || recorded().or_else(|| netns.map(str::to_owned));
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
