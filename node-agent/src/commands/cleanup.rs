//! `agent cleanup`: takes away all that this project put on a node, and nothing else.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;
use warren_ipam::{Entry, Store};
use warren_net::dataplane::cleanup::{self, Owned, Removal};
use warren_net::netlink::Socket;
use warren_net::pod;
use warren_net::rules::{Keeper, Ruleset};
use warren_types::control::{Request, Response};
use warren_types::node::NodeDescription;
use warren_types::run_dir::RunDir;

use super::install::PLUGIN;
use crate::client::ask;
use crate::datastore::Leaving;
use crate::footprint::Footprint;
use crate::{conflist, durable};

/// The protocol number of the routes of an agent that left no word of its own.
const ROUTE_PROTOCOL: u8 = 12;

/// What to clean up, and how.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only show what would be removed.
    #[arg(long)]
    dry_run: bool,
    /// Disconnect the pods that still run.
    #[arg(long)]
    force: bool,
    /// The runtime's directory for network configurations; default what the agent used, else
    /// /etc/cni/net.d.
    #[arg(long, value_name = "DIR")]
    cni_conf_dir: Option<PathBuf>,
    /// The directory that the plugin is in.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    cni_bin_dir: PathBuf,
    /// The agent's lasting state; default what the agent used, else /var/lib/warren.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// What was found, and what became of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Whether nothing was touched.
    pub dry_run: bool,
    /// Why a true run would be refused, or why something stays.
    pub notes: Vec<String>,
    /// The things, in the order in which they go.
    pub items: Vec<Item>,
}

/// A thing of ours.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// What it is: `condition`, `file`, `directory`, `pod`, `route`, `address`, `link` or `rules`.
    pub kind: &'static str,
    /// Which.
    pub name: String,
    /// Whether it is gone now.
    pub removed: bool,
    /// Why not.
    pub error: Option<String>,
    #[serde(skip)]
    what: What,
    /// Whether it tells a later run what is ours.
    #[serde(skip)]
    tells: bool,
}

#[derive(Debug)]
enum What {
    /// A file.
    File(PathBuf),
    /// A directory with all that is in it.
    Tree(PathBuf),
    /// A directory, if it is empty by then.
    Directory(PathBuf),
    /// A pod's connection and record.
    Pod(Entry),
    /// A route, an address, the tunnel; none once it was tried.
    Kernel(Option<Removal>),
    /// The packet rules.
    Rules,
    /// The Node's condition; none where the API server did not say what it is.
    Condition(Option<Box<Leaving>>),
}

impl Item {
    fn new(kind: &'static str, name: impl Into<String>, what: What) -> Self {
        Self { kind, name: name.into(), removed: false, error: None, what, tells: false }
    }

    fn file(path: PathBuf) -> Self {
        Self::new("file", path.display().to_string(), What::File(path))
    }
}

/// Removes what is there, or shows it.
///
/// # Errors
/// An agent runs there, pods are still connected, or what is there cannot be found out. What could
/// not be removed is in the outcome, and does not keep the rest from being removed.
pub fn cleanup(run_dir: &RunDir, options: &Options) -> anyhow::Result<Outcome> {
    let mut notes = Vec::new();
    let mut refuse = |reason: String| match options.dry_run {
        true => {
            notes.push(format!("without --dry-run this is refused: {reason}"));
            Ok(())
        }
        false => bail!(reason),
    };
    if let Some(agent) = running(run_dir) {
        refuse(format!("{agent}; stop it first"))?;
    }
    let store = Store::new(run_dir);
    let pods = store.list()?.entries;
    if !pods.is_empty() && !options.force {
        let names: Vec<String> = pods.iter().map(|entry| pod_name(&store, entry)).collect();
        refuse(format!(
            "pods are still connected ({}): {}; drain the node, or use --force to cut them off",
            pods.len(),
            names.join(", ")
        ))?;
    }
    let mut socket = Socket::open()?;
    let footprint = Footprint::read(run_dir)?;
    let node = footprint.as_ref().and_then(|left| left.node.clone());
    let mut items: Vec<Item> = condition(node, &mut notes).into_iter().collect();
    items.extend(find(run_dir, footprint, options, &store, pods, &mut socket)?);
    if !options.dry_run {
        remove(&mut items, &store, &mut socket, &mut notes);
    }
    Ok(Outcome { dry_run: options.dry_run, notes, items })
}

/// The agent that answers there, in words.
fn running(run_dir: &RunDir) -> Option<String> {
    let socket = run_dir.agent_socket();
    UnixStream::connect(&socket).ok()?;
    let node = match ask(run_dir, Request::Status) {
        Ok(Response::Status(status)) => format!(" of node {}", status.node.name),
        _ => String::new(),
    };
    Some(format!("the agent{node} runs, with its socket at {}", socket.display()))
}

fn pod_name(store: &Store, entry: &Entry) -> String {
    match store.read(entry).ok().and_then(|record| record.pod) {
        Some(pod) => format!("{}/{} ({})", pod.namespace, pod.name, entry.address),
        None => entry.address.to_string(),
    }
}

/// What the cluster is told, before anything goes: the scheduler is to send no pod here any more. A
/// node whose cluster is gone, as after `kubeadm reset`, has nobody to tell.
fn condition(node: Option<String>, notes: &mut Vec<String>) -> Option<Item> {
    let leaving = match Leaving::new(node.clone()) {
        Ok(Some(leaving)) => leaving,
        Ok(None) => {
            notes.extend(node.map(|node| {
                format!(
                    "node {node} keeps its condition at the API server: nothing says where that \
                     is; set KUBECONFIG, or use deploy/cleanup.yaml"
                )
            }));
            return None;
        }
        Err(error) => return Some(unheard(&error)),
    };
    match leaving.due() {
        Ok(due) => {
            due.map(|due| Item::new("condition", due, What::Condition(Some(leaving.into()))))
        }
        Err(error) => Some(unheard(&error)),
    }
}

fn unheard(error: &anyhow::Error) -> Item {
    let mut item = Item::new("condition", "NetworkUnavailable", What::Condition(None));
    item.error = Some(format!("{error:#}"));
    item
}

/// What is there, in the order in which it goes: first what has the runtime start pods, last what
/// tells a later run, should this one be interrupted, what is ours.
fn find(
    run_dir: &RunDir,
    footprint: Option<Footprint>,
    options: &Options,
    store: &Store,
    pods: Vec<Entry>,
    socket: &mut Socket,
) -> anyhow::Result<Vec<Item>> {
    let mut items = Vec::new();

    let kept = footprint.as_ref().and_then(|footprint| footprint.conflist.clone());
    let conflist = match &options.cni_conf_dir {
        Some(directory) => directory.join(conflist::NAME),
        None => kept.unwrap_or_else(|| Path::new("/etc/cni/net.d").join(conflist::NAME)),
    };
    if std::fs::read(&conflist).is_ok_and(|content| conflist::is_ours(&content)) {
        items.push(Item::file(conflist.clone()));
    }
    let plugin = options.cni_bin_dir.join(PLUGIN);
    items.extend(plugin.exists().then(|| Item::file(plugin)));
    for directory in [conflist.parent(), Some(options.cni_bin_dir.as_path())].into_iter().flatten()
    {
        items.extend(durable::leftovers(directory).unwrap_or_default().into_iter().map(Item::file));
    }

    items.extend(pods.into_iter().map(|entry| {
        let name = format!("{} dev {}", pod_name(store, &entry), entry.host_interface);
        Item::new("pod", name, What::Pod(entry))
    }));
    let removals = cleanup::find(socket, &owned(run_dir, footprint.as_ref()))?;
    items.extend(
        removals.into_iter().map(|removal| {
            Item::new(removal.kind, removal.name.clone(), What::Kernel(Some(removal)))
        }),
    );
    if Keeper::default().is_anything_ours()? {
        items.push(Item::new("rules", "table ip warren, and rules \"warren: pods\"", What::Rules));
    }

    let state_dir = options.state_dir.clone().or_else(|| footprint.and_then(|left| left.state_dir));
    let state_dir = state_dir.unwrap_or_else(|| "/var/lib/warren".into());
    items.extend(directory(&state_dir, &["cluster.json"], &[]));
    items.extend(directory(
        run_dir.path(),
        &["agent.sock", "reports.sock", "node.json", "footprint.json"],
        &[run_dir.ipam()],
    ));
    Ok(items)
}

/// By what the routes of the agent are known: by its own word; where there is none, by the blocks
/// that it told the plugin, and by the tunnel.
fn owned(run_dir: &RunDir, footprint: Option<&Footprint>) -> Owned {
    match footprint {
        Some(left) => Owned { protocol: left.route_protocol, networks: left.networks.clone() },
        None => Owned {
            protocol: ROUTE_PROTOCOL,
            networks: NodeDescription::read(run_dir).map(|node| node.blocks).unwrap_or_default(),
        },
    }
}

/// What is ours in a directory, and the directory itself.
fn directory(path: &Path, files: &[&str], trees: &[PathBuf]) -> Vec<Item> {
    let Ok(there) = std::fs::read_dir(path) else { return Vec::new() };
    let mut items: Vec<Item> = trees
        .iter()
        .filter(|tree| tree.exists())
        .map(|tree| Item::new("directory", tree.display().to_string(), What::Tree(tree.clone())))
        .collect();
    // What a writer that was killed left.
    let torn = there.flatten().map(|entry| entry.path()).filter(|path| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".new-"))
    });
    items.extend(torn.map(Item::file));
    let files = files.iter().map(|name| path.join(name));
    items.extend(files.filter(|file| file.symlink_metadata().is_ok()).map(Item::file));
    let name = path.display().to_string();
    items.push(Item::new("directory", name, What::Directory(path.to_owned())));
    for item in &mut items {
        item.tells = true;
    }
    items
}

fn remove(items: &mut [Item], store: &Store, socket: &mut Socket, notes: &mut Vec<String>) {
    let mut failed = false;
    for item in items {
        // Without it the next run would not know what there is left to do.
        if failed && item.tells {
            notes.push(format!("{} stays until all else is gone", item.name));
            continue;
        }
        match take_away(&mut item.what, store, socket) {
            Ok(Removed::Yes) => item.removed = true,
            Ok(Removed::Failed) => failed = true,
            Ok(Removed::No(why)) => notes.push(format!("{} stays: {why}", item.name)),
            Err(error) => {
                failed = true;
                item.error = Some(format!("{error:#}"));
            }
        }
    }
}

enum Removed {
    Yes,
    /// It is known already why not.
    Failed,
    No(&'static str),
}

fn take_away(what: &mut What, store: &Store, socket: &mut Socket) -> anyhow::Result<Removed> {
    match what {
        What::File(path) => gone(std::fs::remove_file(path))?,
        What::Tree(path) => gone(std::fs::remove_dir_all(path))?,
        What::Directory(path) => match std::fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                return Ok(Removed::No("it has files of others"));
            }
            outcome => gone(outcome)?,
        },
        What::Pod(entry) => {
            if let Some(held) = store.hold(entry)? {
                pod::delete(&held.entry().host_interface)?;
                store.release(held)?;
            }
        }
        What::Kernel(removal) => {
            if let Some(removal) = removal.take() {
                cleanup::remove(socket, removal)?;
            }
        }
        What::Condition(None) => return Ok(Removed::Failed),
        What::Condition(Some(leaving)) => leaving.tell()?,
        What::Rules => {
            Keeper::default()
                .bring(&Ruleset::default(), true)
                .context("cannot remove the rules")?;
        }
    }
    Ok(Removed::Yes)
}

/// What went by itself meanwhile is gone too.
fn gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
