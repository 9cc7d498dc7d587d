//! An agent whose API server is not there, or does not let it in, or is told of the agent's end.

pub mod server;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::deploy::repository;
use crate::running::{Namespace, agent};
use server::{Server, node as member};

const POOLS: &str = "pools: [{cidr: 10.244.0.0/16, blockSize: 24, encapsulation: None}]\n";

/// A certificate that nobody uses. Without any the client wants those of the machine, and there may be
/// none.
pub const CERTIFICATE: &str = include_str!("ca.pem");

/// Where an API server would be.
const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://192.168.0.146:6443', certificate-authority: ca.pem}}]
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
    std::fs::write(namespace.path("ca.pem"), CERTIFICATE).unwrap();
    let state_dir = namespace.path("state");
    std::fs::create_dir(&state_dir).unwrap();
    let config = format!("datastore: kubernetes\n{POOLS}stateDir: {}\n", state_dir.display());
    (namespace, config)
}

/// The way to a [`Server`], for who brings this token. [`CERTIFICATE`] is to lie beside it as `ca.pem`.
pub fn kubeconfig(token: &str) -> String {
    KUBECONFIG.replace("https:", "http:").replace("token: t", token)
}

/// One that lets in who has the token in the file `token`.
fn node_with_server(server_token: &str) -> (Namespace, String, Server) {
    let (namespace, config) = node();
    let token = namespace.path("token");
    std::fs::write(&token, "one\n").unwrap();
    let kubeconfig = kubeconfig(&format!("tokenFile: {}", token.display()));
    std::fs::write(namespace.path("kubeconfig"), kubeconfig).unwrap();
    let nodes = vec![
        member("node1", "192.168.0.176", "10.244.0.0/24"),
        member("node2", "192.168.0.146", "10.244.1.0/24"),
    ];
    let server = Server::start(&namespace, server_token, nodes);
    (namespace, config, server)
}

#[test]
fn a_token_that_has_expired_is_replaced_by_the_one_that_the_file_has_by_then() {
    let (namespace, config, server) = node_with_server("one");
    let running = namespace.start(&config);
    running.eventually("contact", |status| status["datastore"]["inTouch"] == true);
    running.eventually("the block's route", |status| status["routes"]["programmed"] == 1);
    server.expect("two");
    running.eventually("a refusal", |status| {
        let problem = status["datastore"]["problem"].as_str().unwrap_or_default();
        problem.contains("Unauthorized (401)")
    });
    assert_eq!(running.status()["routes"]["programmed"], 1, "what was said last holds");
    std::fs::write(namespace.path("token"), "two\n").unwrap();
    running.eventually("contact again, and a new watch", |status| {
        let requests = server.requests();
        let watches = requests.iter().filter(|request| *request == "WATCH /api/v1/nodes").count();
        status["datastore"]["inTouch"] == true && watches >= 2
    });
}

/// What the manifest lets the agent do, or a request of it: the verb, the resource and, where it may be
/// one object only, its name.
type Right = (String, String, Option<String>);

fn rights(manifest: &str) -> BTreeSet<Right> {
    let text = std::fs::read_to_string(repository("deploy").join(manifest)).unwrap();
    let documents = text.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap());
    let words = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for role in documents.filter(|role: &Value| role["rules"].is_array()) {
        for rule in role["rules"].as_array().unwrap() {
            assert_eq!(rule["apiGroups"], json!([""]));
            let names = words(&rule["resourceNames"]);
            let name = names.first().map(|name| {
                assert_eq!(names.len(), 1);
                format!("{}/{name}", role["metadata"]["namespace"].as_str().unwrap())
            });
            for resource in words(&rule["resources"]) {
                let verbs = words(&rule["verbs"]).into_iter();
                rights.extend(verbs.map(|verb| (verb, resource.clone(), name.clone())));
            }
        }
    }
    rights
}

fn asked(request: &str) -> Right {
    let (method, path) = request.split_once(' ').unwrap();
    let place: Vec<&str> = path.strip_prefix("/api/v1/").unwrap().split('/').collect();
    let (verb, resource, name) = match (method, &place[..]) {
        ("GET", ["nodes"]) => ("list", "nodes".to_owned(), None),
        ("GET", ["namespaces", namespace, kind, name]) => {
            ("get", (*kind).to_owned(), Some(format!("{namespace}/{name}")))
        }
        ("GET", [kind, _]) => ("get", (*kind).to_owned(), None),
        ("PATCH", [kind, _, part]) => ("patch", format!("{kind}/{part}"), None),
        ("WATCH", [kind]) => ("watch", (*kind).to_owned(), None),
        _ => (method, path.to_owned(), None),
    };
    (verb.to_owned(), resource, name)
}

#[test]
fn the_service_accounts_may_do_what_is_asked_for_and_nothing_else() {
    let (namespace, config, server) = node_with_server("one");
    let running = namespace.start(&config.replace(POOLS, ""));
    running.eventually("the condition", |_| server.condition("node1")["status"] == "True");
    assert_eq!(running.terminate().code(), Some(0));
    let requests = server.requests();
    let asked_for: BTreeSet<_> = requests.iter().map(|request| asked(request)).collect();
    assert_eq!(asked_for, rights("warren.yaml"));

    let (code, said) = cleanup(&namespace, Some("kubeconfig"), &[]);
    assert_eq!(code, Some(0), "{said}");
    let asked_for: BTreeSet<_> =
        server.requests()[requests.len()..].iter().map(|request| asked(request)).collect();
    assert_eq!(asked_for, rights("cleanup.yaml"));
}

fn cleanup(
    namespace: &Namespace,
    kubeconfig: Option<&str>,
    more: &[&str],
) -> (Option<i32>, String) {
    let output = namespace.within(|| {
        let mut command = std::process::Command::new(agent());
        command.args(["cleanup", "--run-dir"]).arg(namespace.path("run"));
        command.arg("--cni-bin-dir").arg(namespace.path("bin"));
        command.arg("--cni-conf-dir").arg(namespace.path("net.d")).args(more);
        if let Some(kubeconfig) = kubeconfig {
            command.env("KUBECONFIG", namespace.path(kubeconfig));
        }
        command.output().unwrap()
    });
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_node_that_warren_leaves_is_said_to_have_no_network_before_anything_goes() {
    let (namespace, config, server) = node_with_server("one");
    let running = namespace.start(&config);
    running.eventually("the condition", |_| server.condition("node1")["status"] == "False");
    assert_eq!(running.terminate().code(), Some(0));
    assert_eq!(server.condition("node1")["status"], "False", "an end is no removal");

    let (code, said) = cleanup(&namespace, Some("kubeconfig"), &["--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    let first = said.lines().nth(1).unwrap();
    assert!(first.contains("NetworkUnavailable of node node1 (set True)"), "{said}");
    assert_eq!(server.condition("node1")["status"], "False", "a dry run touches nothing");

    // A server that does not answer now may tomorrow: what tells the next run what is left stays.
    server.expect("two");
    let (code, said) = cleanup(&namespace, Some("kubeconfig"), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Unauthorized (401)"), "{said}");
    assert!(namespace.path("run/footprint.json").exists(), "{said}");
    assert!(said.contains("10.244.0.0/24") && said.contains("removed"), "{said}");

    server.expect("one");
    let (code, said) = cleanup(&namespace, Some("kubeconfig"), &[]);
    assert_eq!(code, Some(0), "{said}");
    let condition = server.condition("node1");
    assert_eq!(condition["status"], "True");
    assert_eq!(condition["reason"], "WarrenIsRemoved");
    assert!(!namespace.path("run").exists(), "{said}");
    let (code, said) = cleanup(&namespace, Some("kubeconfig"), &[]);
    assert_eq!((code, said.trim()), (Some(0), "There is nothing of Warren's on this node."));
}

#[test]
fn a_node_that_can_reach_no_api_server_any_more_is_cleaned_up_all_the_same() {
    let (namespace, config, server) = node_with_server("one");
    let running = namespace.start(&config);
    running.eventually("the condition", |_| server.condition("node1")["status"] == "False");
    assert_eq!(running.terminate().code(), Some(0));
    let (code, said) = cleanup(&namespace, None, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("node node1 keeps its condition") && said.contains("KUBECONFIG"),
        "{said}"
    );
    assert!(!namespace.path("run").exists(), "{said}");
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
fn the_runtime_finds_the_plugin_when_the_node_can_carry_pods_and_not_before() {
    let (namespace, config, server) = node_with_server("one");
    let config = format!("{config}cni: {{confDir: {}}}\n", namespace.path("net.d").display());
    let without_pools = config.replace(POOLS, "");
    let running = namespace.start(&without_pools);
    running.eventually("the condition", |_| server.condition("node1")["status"] == "True");
    let condition = server.condition("node1");
    assert_eq!(condition["reason"], "WarrenIsNotReady");
    assert!(condition["message"].as_str().unwrap().contains("no pool is known"), "{condition}");
    let conflist = namespace.path("net.d/10-warren.conflist");
    assert!(!conflist.exists());
    running.reload(&config);
    running.eventually("the other condition", |_| server.condition("node1")["status"] == "False");
    assert!(conflist.exists());
    assert!(namespace.path("run/node.json").exists());
}

#[test]
fn a_node_that_starts_without_its_api_server_goes_by_what_it_heard_last() {
    let (namespace, config) = node();
    std::fs::write(namespace.path("state/cluster.json"), SAVED).unwrap();
    let conflist = namespace.path("net.d/10-warren.conflist");
    let config = format!("{config}cni: {{confDir: {}}}\n", namespace.path("net.d").display());
    let running = namespace.start(&config);
    running.eventually("what the runtime needs for new pods", |_| conflist.exists());
    running.eventually("the block's route", |status| status["routes"]["programmed"] == 1);
    let status = running.status();
    assert_eq!(status["node"]["address"], "192.168.0.176");
    assert_eq!(status["node"]["blocks"][0], "10.244.0.0/24");
    assert_eq!(status["peers"][0]["name"], "node2");
    assert_eq!(status["datastore"]["inTouch"], false);
    // The peer is missing, and nothing but the peer.
    assert_eq!(status["reasons"], json!(["BGP not established with 192.168.0.146"]));
}
