//! S4, S8: what kubelet makes of the agent's probes, and of its preStop hook.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use tests::cluster::installation::{AGENTS, AGENTS_LABEL, DAEMON_SET, NAMESPACE};
use tests::cluster::scenario::Shared;
use tests::cluster::{Cluster, PATIENCE};
use tests::lab::wait::eventually;

pub fn trials(cluster: &Shared) -> Vec<Trial> {
    vec![
        cluster.trial(
            "S4: TCP 179 is dropped, kubelet says so in the agent's words, and all heals",
            blocked,
        ),
        cluster.trial(
            "S8: kubelet runs the preStop hook, and the peer hears an orderly goodbye",
            pre_stop,
        ),
    ]
}

const FIREWALL: &str = "table inet no_bgp {
    chain in { type filter hook input priority -10; tcp dport 179 drop; tcp sport 179 drop; }
    chain out { type filter hook output priority -10; tcp dport 179 drop; tcp sport 179 drop; }
}";

fn blocked(cluster: &mut Cluster) -> Result<()> {
    cluster.install()?;
    cluster.expect_full_mesh()?;
    let agents = cluster.pods_in(NAMESPACE, AGENTS_LABEL)?;
    cluster.node(1)?.run(&["nft", FIREWALL])?;

    let pods = ["--namespace", NAMESPACE, "pod", AGENTS];
    cluster.kubectl.wait("condition=Ready=false", &pods)?;
    for (number, peer) in [(1, 2), (2, 1)] {
        let sentence = format!("BGP not established with {}", cluster.node(peer)?.address());
        let pod = cluster.agent_pod(number)?;
        eventually("kubelet's event has the sentence", PATIENCE, || {
            let events = events_of(cluster, &pod)?;
            let said = events.contains("Readiness probe failed") && events.contains(&sentence);
            ensure!(said, "no {sentence:?}: {events}");
            Ok(())
        })?;
        cluster.node(number)?.expect_block_routes(&[])?;
    }

    cluster.node(1)?.run(&["nft", "delete table inet no_bgp"])?;
    cluster.kubectl.wait("condition=Ready", &pods)?;
    cluster.expect_full_mesh()?;
    let healed = cluster.pods_in(NAMESPACE, AGENTS_LABEL)?;
    ensure!(agents == healed, "started again: {agents:?} {healed:?}");
    Ok(())
}

fn pre_stop(cluster: &mut Cluster) -> Result<()> {
    cluster.install()?;
    let (old, peer) = (cluster.agent_pod(1)?, cluster.agent_pod(2)?);
    let log = |pod: &str| {
        cluster.kubectl.run(&["--namespace", NAMESPACE, "logs", pod, "--container=agent"])
    };
    let before = log(&peer)?.lines().count();
    cluster.kubectl.run(&["--namespace", NAMESPACE, "delete", "pod", &old, "--timeout=240s"])?;
    let events = events_of(cluster, &old)?;
    ensure!(events.contains("Stopping container agent"), "{events}");
    ensure!(!events.contains("PreStop"), "the hook failed: {events}");
    let said: Vec<_> = log(&peer)?.lines().skip(before).map(str::to_owned).collect();
    let goodbye = said.iter().find(|line| line.contains("Administrative Shutdown"));
    goodbye.with_context(|| format!("the peer heard no goodbye: {said:#?}"))?;
    cluster.kubectl.rolled_out(NAMESPACE, DAEMON_SET)?;
    cluster.expect_full_mesh()
}

/// What kubelet has told of a pod.
fn events_of(cluster: &Cluster, pod: &str) -> Result<String> {
    let of = format!("--field-selector=involvedObject.name={pod}");
    let columns = "--output=custom-columns=REASON:.reason,MESSAGE:.message";
    cluster.kubectl.run(&["--namespace", NAMESPACE, "get", "events", &of, columns])
}
