//! S8: agents' pods are replaced, and nobody notices.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use tests::cluster::installation::{AGENTS, AGENTS_LABEL, DAEMON_SET, NAMESPACE};
use tests::cluster::scenario::Shared;
use tests::cluster::workload::one_on;
use tests::cluster::{Cluster, PATIENCE};
use tests::lab::wait::eventually;

pub fn trials(cluster: &Shared) -> Vec<Trial> {
    vec![
        cluster.trial(
            "S8: an agent's pod is deleted: kubelet calls its hook, no route moves, no ping is lost",
            |cluster| undisturbed(cluster, deletion),
        ),
        cluster.trial(
            "S8: an upgrade replaces every agent's pod: no route moves, no ping is lost",
            |cluster| undisturbed(cluster, upgrade),
        ),
    ]
}

/// Pods of two nodes ping each other, a hundred times a second, while `change` is made.
fn undisturbed(cluster: &mut Cluster, change: fn(&Cluster) -> Result<()>) -> Result<()> {
    cluster.install()?;
    cluster.expect_full_mesh()?;
    let web = cluster.web()?;
    let (here, there) = (one_on(&web, "node1")?.address, one_on(&web, "node2")?.address);
    let (node1, node2) = (cluster.node(1)?, cluster.node(2)?);
    let traffic = [node1.start_pinging(here, there)?, node2.start_pinging(there, here)?];
    for pinging in &traffic {
        pinging.expect_more_answers()?;
    }
    let monitors = [node1.monitor_routes()?, node2.monitor_routes()?];

    change(cluster)?;
    cluster.kubectl.wait("condition=Ready", &["--namespace", NAMESPACE, "pod", AGENTS])?;
    cluster.expect_full_mesh()?;
    for (node, monitor) in cluster.nodes().iter().zip(monitors) {
        let told = monitor.finish()?;
        ensure!(told.is_empty(), "routes moved on {}: {}", node.name(), told.join("; "));
    }
    for pinging in traffic {
        pinging.expect_no_loss()?;
    }
    Ok(())
}

fn deletion(cluster: &Cluster) -> Result<()> {
    let old = cluster.agent_pod(1)?;
    let log = cluster.kubectl.follow_log(NAMESPACE, &old, "agent")?;
    cluster.kubectl.run(&["--namespace", NAMESPACE, "delete", "pod", &old, "--timeout=240s"])?;
    // kubelet's words may come after its deeds.
    let events = eventually("kubelet has told of the end", PATIENCE, || {
        let events = cluster.kubectl.events(NAMESPACE, &old)?;
        ensure!(events.contains("Stopping container agent"), "{events}");
        Ok(events)
    })?;
    ensure!(!events.contains("FailedPreStopHook"), "{events}");
    let said = log.output();
    ensure!(said.contains("shutting down") && said.contains("by=\"agent shutdown\""), "{said}");
    eventually("there is another one", PATIENCE, || {
        let agents = cluster.pods_in(NAMESPACE, AGENTS_LABEL)?;
        ensure!(one_on(&agents, "node1")?.name != old, "{agents:?}");
        Ok(())
    })
}

fn upgrade(cluster: &Cluster) -> Result<()> {
    let old = cluster.pods_in(NAMESPACE, AGENTS_LABEL)?;
    cluster.kubectl.apply(&cluster.next_manifest()?)?;
    cluster.kubectl.rolled_out(NAMESPACE, DAEMON_SET)?;
    let new = cluster.pods_in(NAMESPACE, AGENTS_LABEL)?;
    ensure!(new.iter().all(|pod| !old.contains(pod)), "before: {old:?}, after: {new:?}");
    Ok(())
}
