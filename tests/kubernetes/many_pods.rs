//! Fifty pods at once on one node.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use tests::cluster::scenario::Shared;
use tests::cluster::{Cluster, PATIENCE};
use tests::lab::wait::eventually;

pub fn trials(cluster: &Shared) -> Vec<Trial> {
    vec![
        cluster.trial(
            "fifty pods at once get an address each, and ask the API server for nothing",
            fifty,
        ),
    ]
}

const MANIFEST: &str = r##"
apiVersion: apps/v1
kind: Deployment
metadata: {name: fifty}
spec:
  replicas: 50
  selector: {matchLabels: {app: fifty}}
  template:
    metadata: {labels: {app: fifty}}
    spec:
      nodeName: node1
      terminationGracePeriodSeconds: 1
      containers:
      - {name: it, image: "warren.test/busybox:1", command: [sleep, infinity]}
"##;

/// How many requests an agent may make in the meantime: its watch ends and begins every two minutes,
/// and what it says of its node may change once. A pod has no part in any of it.
const FEW: usize = 10;

fn fifty(cluster: &mut Cluster) -> Result<()> {
    cluster.install()?;
    let node = cluster.node(1)?;
    let before = connected(cluster)?;
    let asked_before = cluster.control_plane.audit().requests()?.len();

    cluster.kubectl.apply(MANIFEST)?;
    cluster.kubectl.rolled_out("default", "deployment/fifty")?;
    let pods = cluster.pods("app=fifty")?;
    let addresses: BTreeSet<_> = pods.iter().map(|pod| pod.address).collect();
    ensure!(pods.len() == 50 && addresses.len() == 50, "addresses: {addresses:?}");
    let restarts: u64 = pods.iter().map(|pod| pod.restarts).sum();
    ensure!(restarts == 0, "{restarts} restarts");
    let all = connected(cluster)?;
    ensure!(all.len() == before.len() + 50, "{} pods are connected on {}", all.len(), node.name());

    cluster.kubectl.delete("deployment", "fifty")?;
    // The API server forgets pods before the runtime has ended them: the node is what counts.
    eventually("none of the fifty is left on the node", PATIENCE, || {
        let left: Vec<_> = connected(cluster)?.difference(&before).cloned().collect();
        ensure!(left.is_empty(), "{left:?}");
        let records = cluster.agent(1, &["ipam"])?;
        let left: Vec<_> = addresses
            .iter()
            .map(ToString::to_string)
            .filter(|address| records.split_whitespace().any(|word| word == address))
            .collect();
        ensure!(left.is_empty(), "recorded: {left:?}");
        Ok(())
    })?;

    let asked = cluster.control_plane.audit().requests()?.split_off(asked_before);
    ensure!(asked.len() <= FEW, "{} requests: {asked:#?}", asked.len());
    let of_pods: Vec<_> = asked.iter().filter(|request| request.contains("pods")).collect();
    ensure!(of_pods.is_empty(), "{of_pods:#?}");
    Ok(())
}

/// The routes to the first node's own pods.
fn connected(cluster: &Cluster) -> Result<BTreeSet<String>> {
    Ok(cluster.node(1)?.pod_routes()?.into_iter().collect())
}
