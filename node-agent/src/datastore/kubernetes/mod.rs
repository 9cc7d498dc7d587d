//! The Kubernetes API server as the datastore.
//!
//! This node's `spec.podCIDRs` are its blocks, every other Node is a peer of the mesh, and kubeadm's
//! ConfigMap names the pool where the configuration does not. [`watch`] lists the Nodes once and
//! then follows their changes; [`settle`] says what follows from them; [`saved`] keeps them on the
//! disk for a start without an API server; [`condition`] tells the cluster how this node is doing.

mod cluster;
mod condition;
mod kubeadm;
mod saved;
mod settle;
#[cfg(test)]
mod tests;
mod watch;
mod words;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use kube::client::ClientBuilder;
use kube::config::KubeConfigOptions;
use kube::{Api, Client};
use tokio::sync::watch as channel;
use tower::util::MapResponseLayer;

use self::condition::Keeper;
use self::saved::Saved;
use self::watch::Watch;
use super::host_name::host_name;
use super::{Network, State};
use crate::config::Config;

/// Where the state is kept that outlives a reboot.
const STATE_DIR: &str = "/var/lib/warren";

/// How long a connection may be silent while an answer is awaited. It is above a watch's own time,
/// which the server ends with an answer.
const SILENCE: Duration = Duration::from_secs(watch::TIMEOUT_SECONDS as u64 + 15);

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
    let client = client(heard).await?;
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
    match (std::env::var("NODE_NAME"), &config.node.name) {
        (Ok(name), _) if !name.is_empty() => Ok(name),
        (_, Some(name)) => Ok(name.clone()),
        _ => Ok(host_name()?.to_lowercase()),
    }
}

async fn client(heard: channel::Sender<()>) -> anyhow::Result<Client> {
    let mut config = if std::env::var_os("KUBECONFIG").is_some() {
        kube::Config::from_kubeconfig(&KubeConfigOptions::default())
            .await
            .context("cannot use the file that KUBECONFIG names")?
    } else {
        kube::Config::incluster().context(
            "nothing says where the API server is: run as a pod with a service account, or set \
             KUBECONFIG",
        )?
    };
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    // The watch has a patience of its own, and the status should say what it waits for.
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).context("cannot set up TLS")?;
    Ok(builder.with_layer(&MapResponseLayer::new(hearing(heard))).build())
}

/// Tells of every successful answer: a watch that goes on after a disconnect has no event for it.
fn hearing<B>(
    heard: channel::Sender<()>,
) -> impl Fn(http::Response<B>) -> http::Response<B> + Clone + Send + 'static {
    let heard = Arc::new(heard);
    move |response| {
        if response.status().is_success() {
            heard.send_replace(());
        }
        response
    }
}
