//! `GC`: removes what the runtime has forgotten.

use warren_ipam::{Entry, Store};

use crate::error::{Code, Failure};
use crate::log::Line;
use crate::netconf::{NetConf, ValidAttachment};
use crate::{node, remove};

/// Carries it out: every attachment of this network that is not named as valid goes. Interfaces
/// without a record may be other people's, or a valid attachment's whose record was lost, and stay.
pub fn gc(conf: &NetConf, line: &mut Line) -> Result<(), Failure> {
    let Some(valid) = &conf.valid_attachments else {
        // Its absence must not be taken for "nothing is valid".
        return Err(Failure::new(
            Code::InvalidNetConf,
            "the network configuration's key cni.dev/valid-attachments is missing, which GC needs",
        ));
    };
    let store = node::store(conf)?;
    let mut failures = Vec::new();
    for entry in store.list()?.entries.iter().filter(|entry| !is_valid(entry, valid)) {
        match collect(conf, &store, entry) {
            Ok(true) => line.warn("removed", &entry.owner),
            Ok(false) => {}
            Err(failure) => failures.push(failure),
        }
    }
    Failure::all(failures)
}

fn is_valid(entry: &Entry, valid: &[ValidAttachment]) -> bool {
    valid.iter().any(|valid| {
        valid.container_id == entry.owner.container_id() && valid.ifname == entry.owner.ifname()
    })
}

/// Removes one attachment; false if it is another network's, or not idle: its `ADD` or `DEL` runs.
fn collect(conf: &NetConf, store: &Store, entry: &Entry) -> Result<bool, Failure> {
    let Some(held) = store.hold_if_idle(entry)? else { return Ok(false) };
    // What cannot be read may be another network's, or a newer program's: its address stays in use.
    let kept = |error| format!("{error}; its address stays in use, see `agent ipam check`");
    let record = store.read(entry).map_err(|error| Failure::new(Code::State, kept(error)))?;
    if record.network != conf.name {
        return Ok(false);
    }
    remove::held(store, held, None)?;
    Ok(true)
}
