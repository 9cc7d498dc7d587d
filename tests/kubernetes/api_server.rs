//! S8, S11: the node goes on without the API server.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use tests::cluster::installation::AGENTS_LABEL;
use tests::cluster::node::Node;
use tests::cluster::scenario::Shared;
use tests::cluster::workload::{Pod, one_on};
use tests::cluster::{Cluster, PATIENCE};
use tests::lab::wait::eventually;

pub fn trials(cluster: &Shared) -> Vec<Trial> {
    vec![cluster.trial("pods come and go while the API server is away for a minute", away)]
}

/// How long it is away, at least.
const MINUTE: Duration = Duration::from_secs(60);

/// Where kubelet finds pods that no API server tells it of.
const STATIC_POD: &str = "/etc/kubernetes/manifests/static.yaml";

const MANIFEST: &str = r##"
apiVersion: v1
kind: Pod
metadata: {name: static}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: it, image: "warren.test/busybox:1", command: [sleep, infinity]}
"##;

fn away(cluster: &mut Cluster) -> Result<()> {
    cluster.install()?;
    let web = cluster.web()?;
    let agents = cluster.pods_in("kube-system", AGENTS_LABEL)?;
    let (here, there) = (one_on(&web, "node1")?, one_on(&web, "node2")?);
    let pinging = cluster.node(1)?.start_pinging(here.address, there.address)?;
    pinging.expect_more_answers()?;

    cluster.control_plane.stop_api_server()?;
    let since = Instant::now();
    let node = cluster.node(1)?;
    let mut rounds = 0;
    while rounds == 0 || since.elapsed() < MINUTE {
        let address = create_static_pod(node)?;
        let pings = cluster.node(2)?.ping_from(there.address, address, 2)?;
        ensure!(pings.all_answered(), "the pod that came meanwhile: {pings:?}");
        delete_static_pod(node, address)?;
        rounds += 1;
    }
    cluster.control_plane.start_api_server()?;

    pinging.expect_no_loss()?;
    // The controller manager has taken all nodes for dead meanwhile.
    cluster.expect_all_ready()?;
    same(&web, &cluster.web()?)?;
    same(&agents, &cluster.pods_in("kube-system", AGENTS_LABEL)?)
}

/// Has kubelet start a pod; its address, once it is connected.
fn create_static_pod(node: &Node) -> Result<Ipv4Addr> {
    let before = addresses(node)?;
    node.write(STATIC_POD, MANIFEST)?;
    eventually("a pod is connected without the API server", PATIENCE, || {
        let new = addresses(node)?.difference(&before).next().copied();
        new.context("none is new")
    })
}

fn delete_static_pod(node: &Node, address: Ipv4Addr) -> Result<()> {
    node.run(&["rm", STATIC_POD])?;
    eventually("a pod is gone without the API server", PATIENCE, || {
        ensure!(!addresses(node)?.contains(&address), "{address} is still connected");
        Ok(())
    })
}

/// Those of the pods that are connected.
fn addresses(node: &Node) -> Result<BTreeSet<Ipv4Addr>> {
    let routes = node.pod_routes()?;
    routes
        .iter()
        .filter_map(|route| route.split(' ').next())
        .map(|address| address.parse().with_context(|| format!("no address: {address}")))
        .collect()
}

/// Nobody has come, gone or been started again.
fn same(before: &[Pod], after: &[Pod]) -> Result<()> {
    let key = |pods: &[Pod]| pods.iter().cloned().collect::<BTreeSet<_>>();
    ensure!(key(before) == key(after), "before: {before:#?}\nafter: {after:#?}");
    Ok(())
}
