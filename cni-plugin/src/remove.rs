//! Taking away what a record names: by `DEL`, by `GC`, by an `ADD` that failed or that finds a
//! leftover.

use std::net::IpAddr;

use warren_ipam::{Entry, Held, Store};
use warren_net::pod;

use crate::error::Failure;

/// Removes an attachment; `None` if someone else did while this waited for them.
pub fn attachment(store: &Store, entry: &Entry) -> Result<Option<Vec<IpAddr>>, Failure> {
    store.hold(entry)?.map(|record| held(store, record)).transpose()
}

/// Removes an attachment whose record is held. The veth pair goes first: an address whose route is
/// still there must not be given to another pod.
pub fn held(store: &Store, held: Held) -> Result<Vec<IpAddr>, Failure> {
    pod::delete(&held.entry().host_interface)?;
    Ok(store.release(held)?)
}
