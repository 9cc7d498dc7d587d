//! Following the Nodes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::fake::{Fake, Trouble, node};
use super::{LONG, POOLS, Running, config, eventually, pass};
use crate::datastore::{NodeAddress, State};

fn three() -> Fake {
    let fake = Fake::default();
    fake.put(node("node1", "10.77.0.11", "10.244.0.0/24"));
    fake.put(node("node2", "10.77.0.12", "10.244.1.0/24"));
    fake.put(node("node3", "10.77.0.13", "10.244.2.0/24"));
    fake
}

fn count(fake: &Fake, request: &str) -> usize {
    fake.requests().iter().filter(|made| *made == request).count()
}

const LIST: &str = "GET /api/v1/nodes";
const WATCH: &str = "GET /api/v1/nodes watch";
const KUBEADM: &str = "GET /api/v1/namespaces/kube-system/configmaps/kubeadm-config";

async fn watched(fake: &Fake, times: usize) {
    eventually("a watch", || count(fake, WATCH) >= times).await;
}

#[tokio::test(start_paused = true)]
async fn joins_changes_and_deletions_are_followed_with_one_list() {
    let fake = three();
    let running = Running::start(&fake, POOLS);
    let state = running.peers(&["node2", "node3"]).await;
    assert_eq!(state.snapshot.node_address, NodeAddress::Is([10, 77, 0, 11].into()));
    watched(&fake, 1).await;
    fake.put(node("node4", "10.77.0.14", "10.244.3.0/24"));
    running.peers(&["node2", "node3", "node4"]).await;
    fake.put(node("node2", "10.77.0.22", "10.244.1.0/24"));
    let moved = |state: &State| state.snapshot.peers[0].address == IpAddr::from([10, 77, 0, 22]);
    running.until("node2's new address", moved).await;
    fake.delete("node3");
    running.peers(&["node2", "node4"]).await;
    fake.delete("node1");
    let state = running.until("no node", |state| !state.snapshot.problems.is_empty()).await;
    assert!(state.snapshot.blocks.is_empty());
    assert_eq!(count(&fake, LIST), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_no_peer_for_as_long_as_its_label_keeps_agents_away() {
    let fake = three();
    let running = Running::start(&fake, POOLS);
    running.peers(&["node2", "node3"]).await;
    watched(&fake, 1).await;
    let mut left = node("node2", "10.77.0.12", "10.244.1.0/24");
    left["metadata"]["labels"] = json!({"warren.io/cleanup": ""});
    fake.put(left);
    running.peers(&["node3"]).await;
    fake.put(node("node2", "10.77.0.12", "10.244.1.0/24"));
    running.peers(&["node2", "node3"]).await;
    assert_eq!(count(&fake, LIST), 1);
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_from_the_last_bookmark() {
    let fake = three();
    let running = Running::start(&fake, POOLS);
    running.peers(&["node2", "node3"]).await;
    watched(&fake, 1).await;
    fake.bookmark();
    fake.bookmark();
    fake.disconnect();
    watched(&fake, 2).await;
    assert_eq!(fake.watched_from(), ["3", "5"]);
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_costs_another_watch_and_nothing_else() {
    let fake = three();
    let running = Running::start(&fake, POOLS);
    running.peers(&["node2", "node3"]).await;
    watched(&fake, 1).await;
    fake.disconnect();
    watched(&fake, 2).await;
    fake.delete("node3");
    running.peers(&["node2"]).await;
    assert_eq!(count(&fake, LIST), 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_after_410_gone_drops_what_was_deleted_unseen_and_at_no_time_anything_else() {
    for expire_while_watching in [true, false] {
        let fake = three();
        let running = Running::start(&fake, POOLS);
        running.peers(&["node2", "node3"]).await;
        watched(&fake, 1).await;
        let mut states = running.states.clone();
        let witness = tokio::spawn(async move {
            let mut seen = Vec::new();
            while states.changed().await.is_ok() {
                seen.push(states.borrow_and_update().snapshot.peers.len());
            }
            seen
        });
        fake.delete_unseen("node3");
        if expire_while_watching {
            fake.expire();
        } else {
            fake.set(Trouble::Forgot);
            fake.disconnect();
        }
        running.peers(&["node2"]).await;
        running.in_touch().await;
        assert_eq!(count(&fake, LIST), 2);
        drop(running);
        let seen = witness.await.unwrap();
        assert!(seen.iter().all(|peers| (1..=2).contains(peers)), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_list_after_410_gone_does_not_wait_for_as_long_as_the_server_was_away() {
    let fake = three();
    let running = Running::start(&fake, POOLS);
    running.peers(&["node2", "node3"]).await;
    watched(&fake, 1).await;
    fake.set(Trouble::Away);
    pass(LONG).await;
    fake.delete_unseen("node3");
    fake.set(Trouble::None);
    running.in_touch().await;
    let back = tokio::time::Instant::now();
    fake.expire();
    running.peers(&["node2"]).await;
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_goes_away_changes_nothing_but_the_contact() {
    let fake = three();
    let running = Running::start(&fake, POOLS);
    let before = running.in_touch().await;
    let before = if before.snapshot.peers.is_empty() {
        running.peers(&["node2", "node3"]).await
    } else {
        before
    };
    watched(&fake, 1).await;
    fake.set(Trouble::Away);
    let away = running.out_of_touch().await;
    assert_eq!(away.snapshot, before.snapshot);
    let problem = away.contact.problem.clone().unwrap();
    assert!(problem.contains("connection refused"), "{problem}");
    pass(6 * LONG).await;
    let asked = fake.requests().len();
    pass(LONG).await;
    let asked = fake.requests().len() - asked;
    assert!((10..=40).contains(&asked), "asked {asked} times in ten minutes");
    assert_eq!(running.states.borrow().snapshot, before.snapshot);
    fake.set(Trouble::None);
    // Nothing happens in the cluster, so the watch has nothing to say; it counts all the same.
    running.in_touch().await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_waited_out_like_any_other_trouble() {
    let fake = three();
    fake.set(Trouble::Refuses(401));
    let running = Running::start(&fake, POOLS);
    let refused = |state: &State| {
        state.contact.problem.as_ref().is_some_and(|problem| problem.contains("refused with 401"))
    };
    let state = running.until("a refusal", refused).await;
    assert!(state.snapshot.problems[0].contains("refused with 401"), "{state:?}");
    assert_eq!(state.snapshot.node_address, NodeAddress::Awaited);
    fake.set(Trouble::None);
    running.peers(&["node2", "node3"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_without_an_api_server_goes_by_what_was_saved() {
    let fake = three();
    fake.kubeadm("networking: {podSubnet: 10.244.0.0/16}");
    let running = Running::start(&fake, "");
    let complete = |state: &State| state.snapshot.problems.is_empty();
    let before = running.until("a pool", complete).await;
    let directory = Arc::clone(&running.state_dir);
    let file = directory.path().join("cluster.json");
    eventually("the file", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("10.244.0.0/16"))
    })
    .await;
    drop(running);

    fake.set(Trouble::Away);
    let running = Running::start_in(directory, &fake, "");
    assert_eq!(running.states.borrow().snapshot, before.snapshot);
    running.out_of_touch().await;
    pass(LONG).await;
    assert_eq!(running.states.borrow().snapshot, before.snapshot);
    fake.delete_unseen("node3");
    fake.set(Trouble::None);
    let after = running.peers(&["node2"]).await;
    assert_eq!(after.snapshot.pools, before.snapshot.pools);
}

#[tokio::test(start_paused = true)]
async fn without_a_server_and_without_a_file_the_node_waits_and_says_why() {
    let fake = three();
    fake.set(Trouble::Away);
    let running = Running::start(&fake, POOLS);
    let refused = |state: &State| {
        state.snapshot.problems.iter().any(|problem| problem.contains("connection refused"))
    };
    let state = running.until("a reason", refused).await;
    assert_eq!(state.snapshot.problems.len(), 1, "{state:?}");
    assert_eq!(state.snapshot.node_address, NodeAddress::Awaited);
    assert!(!running.state_dir.path().join("cluster.json").exists());
}

#[tokio::test(start_paused = true)]
async fn what_kubelet_writes_all_the_time_is_no_news() {
    let fake = three();
    let mut running = Running::start(&fake, POOLS);
    running.peers(&["node2", "node3"]).await;
    watched(&fake, 1).await;
    running.in_touch().await;
    running.states.mark_unchanged();
    for beat in 0..10 {
        let mut node2 = node("node2", "10.77.0.12", "10.244.1.0/24");
        node2["status"]["conditions"] = json!([{
            "type": "Ready", "status": "True", "reason": format!("beat {beat}"),
        }]);
        fake.put(node2);
        fake.bookmark();
    }
    pass(LONG).await;
    assert!(!running.states.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn kubeadm_is_asked_until_it_has_answered_once_and_only_where_no_pool_is_configured() {
    let fake = three();
    let running = Running::start(&fake, "");
    let nothing = |state: &State| {
        state.snapshot.problems.iter().any(|problem| problem.contains("names no podSubnet"))
    };
    running.until("no pool", nothing).await;
    fake.kubeadm("networking: {podSubnet: 10.244.0.0/99}");
    let named = |state: &State| {
        state.snapshot.problems.iter().any(|problem| problem.contains("10.244.0.0/99"))
    };
    running.until("the malformed subnet", named).await;
    fake.kubeadm("networking: {podSubnet: 10.244.0.0/16}");
    let complete = |state: &State| state.snapshot.problems.is_empty();
    let state = running.until("a pool", complete).await;
    assert_eq!(state.snapshot.blocks, ["10.244.0.0/24".parse().unwrap()]);
    let asked = count(&fake, KUBEADM);
    pass(LONG).await;
    assert_eq!(count(&fake, KUBEADM), asked);

    let other = three();
    let running = Running::start(&other, POOLS);
    running.peers(&["node2", "node3"]).await;
    pass(LONG).await;
    assert_eq!(count(&other, KUBEADM), 0);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_read_again_takes_effect_at_once() {
    let fake = three();
    let running = Running::start(&fake, "pools: [{cidr: 10.0.0.0/16}]");
    running
        .until("a stray block", |state| state.snapshot.problems[0].contains("lies in none"))
        .await;
    running.configs.send_replace(Arc::new(config(POOLS)));
    let state = running.until("a block", |state| !state.snapshot.blocks.is_empty()).await;
    assert!(state.snapshot.problems.is_empty(), "{state:?}");
}
