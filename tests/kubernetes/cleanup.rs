//! S7: Warren is taken off again.

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
        cluster.trial("S7: a node that was cleaned up is what it was before the installation", one),
        cluster
            .trial("S7: after the last node and the manifest nothing is left in the cluster", all),
    ]
}

fn one(cluster: &mut Cluster) -> Result<()> {
    cluster.install()?;
    cluster.web()?;
    let with_it = Picture::of(cluster.node(1)?)?;
    ensure!(with_it.lines_with("warren").count() > 3, "nothing of it is seen: {with_it:?}");
    cluster.remove_web()?;
    clean_up(cluster, 1)?;
    cluster.node(2)?.expect_block_routes(&[])
}

fn all(cluster: &mut Cluster) -> Result<()> {
    cluster.install()?;
    cluster.remove_web()?;
    for number in [1, 2] {
        clean_up(cluster, number)?;
    }
    cluster.uninstall()?;
    let everything = "all,configmap,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding";
    eventually("no name of Warren is left at the API server", PATIENCE, || {
        let names =
            cluster.kubectl.run(&["get", everything, "--all-namespaces", "--output=name"])?;
        let left: Vec<_> = names.lines().filter(|name| name.contains("warren")).collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })?;
    for number in [1, 2] {
        expect_as_before(cluster, number)?;
    }
    Ok(())
}

/// As `deploy/cleanup.yaml` says; nothing where it has been done.
fn clean_up(cluster: &Cluster, number: u8) -> Result<()> {
    let (file, node) = (source_root().join("deploy/cleanup.yaml"), format!("node{number}"));
    let job =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let job = job.replace("NODE", &node);
    let name = format!("job/warren-cleanup-{node}");
    let kubectl = &cluster.kubectl;
    kubectl.run(&["drain", &node, "--ignore-daemonsets", "--timeout=240s"])?;
    kubectl.run(&["label", "--overwrite", "node", &node, "warren.io/cleanup="])?;
    kubectl.apply(&job)?;
    let said = || {
        let log = kubectl.run(&["--namespace", NAMESPACE, "logs", &name]);
        format!("the job said: {}", log.unwrap_or_else(|error| format!("{error:#}")))
    };
    kubectl.wait("condition=complete", &["--namespace", NAMESPACE, &name]).with_context(said)?;
    let said = said();
    kubectl.delete_manifest(&job)?;
    expect_as_before(cluster, number).context(said)
}

fn expect_as_before(cluster: &Cluster, number: u8) -> Result<()> {
    let before = &cluster.bare[usize::from(number) - 1];
    eventually(&format!("node{number} is what it was"), PATIENCE, || {
        Picture::of(cluster.node(number)?)?.expect_same_as(before)
    })
}
