//! S7: a node is freed of Warren, and the whole cluster.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use tests::cluster::installation::NAMESPACE;
use tests::cluster::picture::Picture;
use tests::cluster::scenario::Shared;
use tests::cluster::{Cluster, PATIENCE};
use tests::environment::source_root;
use tests::lab::wait::eventually;

pub fn trials(cluster: &Shared) -> Vec<Trial> {
    vec![
        cluster.trial(
            "S7: a node that was cleaned up is what it was before the installation",
            one_node,
        ),
    ]
}

fn one_node(cluster: &mut Cluster) -> Result<()> {
    cluster.install()?;
    cluster.web()?;
    let with_it = Picture::of(cluster.node(1)?)?;
    ensure!(with_it.lines_with("warren").count() > 3, "nothing of it is seen: {with_it:?}");

    // As deploy/cleanup.yaml says.
    let file = source_root().join("deploy/cleanup.yaml");
    let job =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    cluster.remove_web()?;
    cluster.kubectl.run(&["drain", "node1", "--ignore-daemonsets", "--timeout=240s"])?;
    cluster.kubectl.run(&["label", "node", "node1", "warren.io/cleanup="])?;
    cluster.kubectl.apply(&job.replace("NODE", "node1"))?;
    let name = "job/warren-cleanup-node1";
    cluster
        .kubectl
        .wait("condition=complete", &["--namespace", NAMESPACE, name])
        .with_context(|| cleanup_log(cluster))?;
    let picture = || Picture::of(cluster.node(1)?)?.expect_same_as(&cluster.bare[0]);
    eventually("node1 is what it was", PATIENCE, picture).with_context(|| cleanup_log(cluster))?;
    cluster.node(2)?.expect_block_routes(&[])?;

    // And back.
    cluster.kubectl.run(&["--namespace", NAMESPACE, "delete", name])?;
    cluster.kubectl.run(&["label", "node", "node1", "warren.io/cleanup-"])?;
    cluster.kubectl.run(&["uncordon", "node1"])?;
    cluster.expect_condition(1, "Ready", "True")?;
    cluster.install()?;
    cluster.expect_full_mesh()
}

fn cleanup_log(cluster: &Cluster) -> String {
    let log = ["--namespace", NAMESPACE, "logs", "job/warren-cleanup-node1"];
    format!("the job said: {}", cluster.kubectl.run(&log).unwrap_or_else(|e| format!("{e:#}")))
}
