//! S4: what kubelet makes of the agent's probes.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use tests::cluster::installation::{AGENTS, AGENTS_LABEL, NAMESPACE};
use tests::cluster::scenario::Shared;
use tests::cluster::{Cluster, PATIENCE};
use tests::lab::wait::eventually;

pub fn trials(cluster: &Shared) -> Vec<Trial> {
    vec![cluster.trial(
        "S4: TCP 179 is dropped, kubelet says so in the agent's words, and all heals",
        blocked,
    )]
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
            let events = cluster.kubectl.events(NAMESPACE, &pod)?;
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
