//! `STATUS`: whether an `ADD` would find an address, and whether pods reach other nodes. Some small
//! reads and one question to the kernel, because runtimes ask every few seconds.

use warren_net::reach;

use crate::error::{Code, Failure};
use crate::netconf::NetConf;
use crate::node;

/// Carries it out.
pub fn status(conf: &NetConf) -> Result<(), Failure> {
    let unavailable = |failure: Failure| failure.with_code(Code::NotAvailable);
    let store = node::store(conf).map_err(unavailable)?;
    let (node, _) = node::read(conf).map_err(unavailable)?;
    let cut_off = reach::obstacles(node.address, node.tunnel.as_deref())?;
    let mut failures: Vec<_> =
        cut_off.iter().map(|what| Failure::new(Code::CutOff, what.to_string())).collect();
    if let Err(error) = store.has_room(&node) {
        failures.push(unavailable(error.into()));
    }
    Failure::all(failures)
}
