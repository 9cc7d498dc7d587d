//! An agent whose API server is not there.

use crate::running::Namespace;

const CONFIG: &str = "
datastore: kubernetes
pools: [{cidr: 10.244.0.0/16, blockSize: 24, encapsulation: None}]
";

/// Nobody listens there.
const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://192.168.0.146:6443'}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
users: [{name: u, user: {token: t}}]
";

/// What the API server said before the node went down.
const SAVED: &str = r#"{"formatVersion": 1, "node": "node1", "cluster": {"podSubnets": [], "nodes": {
    "node1": {"address": "192.168.0.176", "blocks": ["10.244.0.0/24"]},
    "node2": {"address": "192.168.0.146", "blocks": ["10.244.1.0/24"]}
}}}"#;

fn node() -> (Namespace, String) {
    let namespace = Namespace::new();
    std::fs::write(namespace.path("kubeconfig"), KUBECONFIG).unwrap();
    let state_dir = namespace.path("state");
    std::fs::create_dir(&state_dir).unwrap();
    let config = format!("{CONFIG}stateDir: {}\n", state_dir.display());
    (namespace, config)
}

#[test]
fn an_agent_that_has_never_heard_of_the_cluster_says_what_it_waits_for_and_ends_when_told() {
    let (namespace, config) = node();
    let running = namespace.start(&config);
    running.eventually("a reason", |status| {
        status["reasons"][0].as_str().is_some_and(|reason| reason.contains("onnection refused"))
    });
    let status = running.status();
    assert_eq!(status["ready"], false);
    assert_eq!(status["node"]["name"], "node1");
    assert!(status["node"]["address"].is_null());
    assert_eq!(status["datastore"]["kind"], "kubernetes");
    assert_eq!(status["datastore"]["inTouch"], false);
    assert_eq!(running.ask(&["live"]), (Some(0), "live\n".into()));
    assert_eq!(running.terminate().code(), Some(0));
}

#[test]
fn a_node_that_starts_without_its_api_server_goes_by_what_it_heard_last() {
    let (namespace, config) = node();
    std::fs::write(namespace.path("state/cluster.json"), SAVED).unwrap();
    let running = namespace.start(&config);
    running.eventually("the block's route", |status| status["routes"]["programmed"] == 1);
    let status = running.status();
    assert_eq!(status["node"]["address"], "192.168.0.176");
    assert_eq!(status["node"]["blocks"][0], "10.244.0.0/24");
    assert_eq!(status["peers"][0]["name"], "node2");
    assert_eq!(status["datastore"]["inTouch"], false);
    // The peer is missing, and nothing but the peer.
    assert_eq!(status["reasons"], serde_json::json!(["BGP not established with 192.168.0.146"]));
}
