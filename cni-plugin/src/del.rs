//! `DEL`: removes what there is of an attachment, in whatever state the world is.

use warren_types::ifname;
use warren_types::report::Phase;

use crate::args::Attachment;
use crate::error::Failure;
use crate::log::Line;
use crate::netconf::NetConf;
use crate::{node, remove};

/// Carries it out. Neither the namespace nor the agent is needed; what is gone already is fine.
///
/// The name of a host interface depends on the pod and not on the container, so it may be that of
/// the pod's next sandbox: only what this container's record names is removed, or what no record
/// names at all.
pub fn del(conf: &NetConf, attachment: &Attachment, line: &mut Line) -> Result<(), Failure> {
    let store = node::store(conf)?;
    let mut failures = Vec::new();
    let mut removed = Vec::new();
    // Until there are none: an ADD that is under way may just have written the first of two records.
    while failures.is_empty() {
        let entries = store.find(&attachment.owner)?;
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            line.field("host", &entry.host_interface);
            match remove::attachment(&store, &entry, attachment.netns.as_deref()) {
                Ok(freed) => {
                    freed.iter().flatten().for_each(|address| line.field("address", address));
                }
                Err(failure) => failures.push(failure),
            }
            removed.push(entry.host_interface);
        }
    }
    line.phase(Phase::Remove);
    let mut names = unrecorded(conf, attachment);
    if removed.is_empty() {
        names.push(attachment.further_host_interface());
    }
    for name in names.into_iter().filter(|name| !removed.contains(name)) {
        let remove = || remove::connection(&name, || attachment.netns.clone());
        match store.while_unclaimed(&name, remove) {
            Ok(Some(Ok(true))) => line.warn("leftover", &name),
            // There is no such interface, or it is another attachment's.
            Ok(Some(Ok(false)) | None) => {}
            Ok(Some(Err(failure))) => failures.push(failure),
            Err(error) => failures.push(error.into()),
        }
    }
    line.phase(Phase::Search);
    Failure::all(failures)
}

/// What the attachment's host interface may be called where nothing is recorded of it.
fn unrecorded(conf: &NetConf, attachment: &Attachment) -> Vec<String> {
    let named = conf.prev_result.iter().flat_map(|answer| &answer.interfaces);
    let named = named.filter(|i| i.is_on_host() && i.name.starts_with(ifname::PREFIX));
    let mut names: Vec<_> = named.map(|interface| interface.name.clone()).collect();
    names.push(attachment.host_interface());
    names.sort_unstable();
    names.dedup();
    names
}
