//! `agent ipam`: who has which address, whether records, interfaces and routes agree, and mending it.
//!
//! It reads what the plugin reads and asks the kernel, so it works while the agent is away.

mod compare;
mod picture;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;
use warren_ipam::{Entry, Record, Space, Store};
use warren_net::pod;
use warren_types::node::NodeDescription;
use warren_types::run_dir::RunDir;
use warren_types::status::IpamBlock;

use self::compare::{Difference, Mend, differences};
use self::picture::Picture;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Action {
    /// Show the blocks, how much of them is in use, and who has which address. The default.
    Show,
    /// Compare records, interfaces and routes; exit 1 if they differ.
    Check,
    /// Mend what differs.
    Repair {
        /// Only show what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Also disconnect pods of which nothing is recorded, or nothing that can be read.
        #[arg(long)]
        force: bool,
    },
}

/// What `agent ipam` shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// The blocks.
    pub blocks: Vec<IpamBlock>,
    /// The addresses in use, in order.
    pub addresses: Vec<Holder>,
    /// What else differs, a sentence each.
    pub problems: Vec<String>,
}

/// Who has an address.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The address.
    pub address: IpAddr,
    /// The pod, as `namespace/name`, where that is known.
    pub pod: Option<String>,
    /// The container's ID.
    pub container_id: String,
    /// The interface in the pod.
    pub ifname: String,
    /// The interface on the node.
    pub host_interface: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// What differs, as `leaked: …`.
    pub problem: Option<String>,
}

/// What `agent ipam check` and `repair` found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Findings {
    /// The differences.
    pub differences: Vec<Finding>,
}

/// A difference, and what became of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What differs, in one word.
    pub kind: &'static str,
    /// The same as a sentence.
    pub problem: String,
    /// What mends it, or what to do by hand.
    pub remedy: String,
    /// What became of it.
    pub state: State,
    /// Why mending it failed.
    pub error: Option<String>,
}

/// What became of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It can be mended, and nobody has tried.
    Mendable,
    /// It is mended.
    Mended,
    /// It was not so any more, or somebody worked on it.
    Changed,
    /// Mending it failed.
    Failed,
    /// It is not for this command to mend.
    Stays,
}

impl Finding {
    fn new(difference: &Difference) -> Self {
        Self {
            kind: difference.kind(),
            problem: difference.to_string(),
            remedy: difference.remedy(),
            state: match difference.mend() {
                Some(_) if !difference.cuts_off() => State::Mendable,
                _ => State::Stays,
            },
            error: None,
        }
    }
}

/// The records of a run directory that can be relied on, and what they are compared with.
fn open(run_dir: &RunDir) -> anyhow::Result<(Store, NodeDescription)> {
    run_dir.examine()?;
    Ok((Store::new(run_dir), NodeDescription::read(run_dir)?))
}

/// Who has what.
///
/// # Errors
/// The node is not described, or the run directory or the kernel does not tell.
pub fn show(run_dir: &RunDir) -> anyhow::Result<Shown> {
    let (store, node) = open(run_dir)?;
    let picture = Picture::take(&store, &node)?;
    let differences = differences(&picture);
    let space = Space { blocks: &node.blocks, reserved: &node.reserved };
    let holder = |entry: &Entry, record: Option<Record>| {
        let problem = differences.iter().find(|difference| difference.entry() == Some(entry));
        Holder {
            address: entry.address,
            pod: record
                .as_ref()
                .and_then(|record| record.pod.as_ref())
                .map(|pod| format!("{}/{}", pod.namespace, pod.name)),
            container_id: entry.owner.container_id().to_owned(),
            ifname: entry.owner.ifname().to_owned(),
            host_interface: entry.host_interface.clone(),
            since: record.map(|record| record.created),
            problem: problem.map(|difference| difference.in_short()),
        }
    };
    let others = differences.iter().filter(|difference| difference.entry().is_none());
    Ok(Shown {
        blocks: store.usage(space, Duration::from_secs(node.cool_down_seconds))?,
        addresses: store.list()?.entries.iter().map(|e| holder(e, store.read(e).ok())).collect(),
        problems: others.map(ToString::to_string).collect(),
    })
}

/// What differs.
///
/// # Errors
/// As [`show`].
pub fn check(run_dir: &RunDir) -> anyhow::Result<Findings> {
    let (store, node) = open(run_dir)?;
    let found = differences(&Picture::take(&store, &node)?);
    Ok(Findings { differences: found.iter().map(Finding::new).collect() })
}

/// Mends what differs, or says how. What cannot be mended does not keep the rest from it.
///
/// # Errors
/// As [`show`].
pub fn repair(run_dir: &RunDir, dry_run: bool, force: bool) -> anyhow::Result<Findings> {
    let (store, node) = open(run_dir)?;
    let mut findings = Findings { differences: Vec::new() };
    for difference in differences(&Picture::take(&store, &node)?) {
        let mut finding = Finding::new(&difference);
        match difference.mend() {
            None => {}
            Some(_) if difference.cuts_off() && !force => {}
            Some(_) if dry_run => finding.state = State::Mendable,
            Some(mend) => match carry_out(&store, &mend) {
                Ok(true) => finding.state = State::Mended,
                Ok(false) => finding.state = State::Changed,
                Err(error) => {
                    finding.state = State::Failed;
                    finding.error = Some(format!("{error:#}"));
                }
            },
        }
        findings.differences.push(finding);
    }
    Ok(findings)
}

/// False: somebody works on it just now, or it is not so any more.
fn carry_out(store: &Store, mend: &Mend) -> anyhow::Result<bool> {
    match mend {
        Mend::Release(entry) => {
            let Some(held) = store.hold_if_idle(entry)? else { return Ok(false) };
            // It may have come since. Whoever holds a record may remove what it names.
            pod::delete(&entry.host_interface)?;
            store.release(held)?;
            Ok(true)
        }
        Mend::Route(entry) => {
            let Some(_held) = store.hold_if_idle(entry)? else { return Ok(false) };
            Ok(pod::restore_route(entry.address, &entry.host_interface)?)
        }
        Mend::RemoveRoute { address, interface } => Ok(pod::remove_route(*address, interface)?),
        Mend::Disconnect { interface } => {
            let removed = store.while_unclaimed(interface, || pod::delete(interface))?;
            removed.transpose().map(|removed| removed == Some(true)).context("cannot remove it")
        }
    }
}
