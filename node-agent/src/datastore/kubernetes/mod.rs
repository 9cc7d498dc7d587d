//! The Kubernetes API server as the datastore.
//!
//! This node's `spec.podCIDRs` are its blocks, every other Node that has an agent is a peer of the mesh, and kubeadm's
//! ConfigMap names the pool where the configuration does not. [`watch`] lists the Nodes once and
//! then follows their changes; [`settle`] says what follows from them; [`saved`] keeps them on the
//! disk for a start without an API server; [`condition`] tells the cluster how this node is doing, and
//! [`removal`] that it is Warren's no more.

mod client;
mod cluster;
mod condition;
mod kubeadm;
pub mod removal;
mod saved;
mod settle;
#[cfg(test)]
mod tests;
mod watch;
mod words;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use tokio::sync::watch as channel;

use self::condition::Keeper;
use self::saved::Saved;
use self::watch::Watch;
use super::host_name::host_name;
use super::{Network, State};
use crate::config::Config;

/// Where the state is kept that outlives a reboot.
const STATE_DIR: &str = "/var/lib/warren";

/// Starts the tasks; the node's name, and what they yield.
///
/// # Errors
/// The node's name cannot be found out, or nothing says where the API server is.
pub async fn start(
    configs: channel::Receiver<Arc<Config>>,
    network: channel::Receiver<Option<Network>>,
) -> anyhow::Result<(String, channel::Receiver<Arc<State>>)> {
    let config = configs.borrow().clone();
    let name = node_name(&config)?;
    let (heard, hearing) = channel::channel(());
    let access = client::access().await?.context(
        "nothing says where the API server is: run as a pod with a service account, or set \
         KUBECONFIG",
    )?;
    let client = client::client(access, heard)?;
    let states = run(&name, client, hearing, configs, network);
    Ok((name, states))
}

/// The tasks around `client`, whose every successful answer is told by `heard`.
fn run(
    name: &str,
    client: Client,
    heard: channel::Receiver<()>,
    configs: channel::Receiver<Arc<Config>>,
    network: channel::Receiver<Option<Network>>,
) -> channel::Receiver<Arc<State>> {
    let config = configs.borrow().clone();
    let saved = Saved::new(config.state_dir.as_deref().unwrap_or(Path::new(STATE_DIR)), name);
    let (observed, _) = channel::channel(None);
    let (clusters, to_save) = channel::channel(None);
    let nodes: Api<Node> = Api::all(client.clone());
    let keeper = Keeper { name: name.to_owned(), nodes, network, observed: observed.clone() };
    let (watch, states) = Watch::new(name, saved.read(), configs, observed, clusters);
    tokio::spawn(keeper.run());
    tokio::spawn(saved.keep(to_save));
    tokio::spawn(watch.run(client, heard));
    states
}

/// The name by which the API server knows this node: as the DaemonSet says, as the configuration
/// says, or the host name in lower case, which is what kubelet registers.
fn node_name(config: &Config) -> anyhow::Result<String> {
    match given_name().or_else(|| config.node.name.clone()) {
        Some(name) => Ok(name),
        None => Ok(host_name()?.to_lowercase()),
    }
}

/// The node's name as the pod's manifest says it.
fn given_name() -> Option<String> {
    std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty())
}
