//! `agent cleanup` and `agent shutdown`, against the kernel and a true agent.

use std::path::Path;
use std::process::Command;

use warren_ipam::{Claim, Owner, Store};
use warren_types::node::NodeDescription;
use warren_types::run_dir::RunDir;
use warren_types::wishes::Wishes;

use crate::running::{Namespace, agent};

/// A node that does everything to it that an agent can do without ipip.
fn config(node: &Namespace) -> String {
    format!(
        "
node: {{name: node1, address: 192.168.0.176}}
cni: {{confDir: {}}}
stateDir: {}
pools:
- {{cidr: 172.16.0.0/16, encapsulation: None, natOutgoing: true}}
blocks: [172.16.52.128/26]
",
        node.path("net.d").display(),
        node.path("lib/warren").display(),
    )
}

fn output(node: &Namespace, program: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output =
        node.within(|| Command::new(program).args(arguments).output()).expect("it can be run");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The namespace and the files, as an operator would look at them.
fn picture(node: &Namespace) -> String {
    let directory = node.path("");
    let looks: [(&str, &[&str]); 6] = [
        ("ip", &["-details", "link", "show"]),
        ("ip", &["-4", "address", "show"]),
        ("ip", &["rule", "show"]),
        ("ip", &["-4", "route", "show", "table", "all"]),
        ("nft", &["list", "ruleset"]),
        (
            "find",
            &[
                directory.to_str().unwrap(),
                "-not",
                "-name",
                "*config.yaml",
                "-a",
                "-not",
                "-name",
                "log",
            ],
        ),
    ];
    looks.map(|(program, arguments)| output(node, program, arguments).1).join("\n")
}

fn cleanup(node: &Namespace, more: &[&str]) -> (Option<i32>, String) {
    let (run, bin) = (node.path("run"), node.path("bin"));
    let mut arguments = vec!["cleanup", "--run-dir", run.to_str().unwrap()];
    arguments.extend(["--cni-bin-dir", bin.to_str().unwrap()]);
    arguments.extend(more);
    output(node, agent(), &arguments)
}

fn install_plugin(node: &Namespace) {
    std::fs::write(node.path("plugin"), "warren 0.1.0 is a CNI plugin").unwrap();
    let (plugin, bin) = (node.path("plugin"), node.path("bin"));
    let arguments =
        ["install", "--cni-bin-dir", bin.to_str().unwrap(), "--plugin", plugin.to_str().unwrap()];
    let (code, said) = output(node, agent(), &arguments);
    assert_eq!(code, Some(0), "{said}");
    std::fs::remove_file(node.path("plugin")).unwrap();
}

/// A pod's record and host end, as the plugin leaves them.
fn connect_pod(node: &Namespace) {
    let run_dir = RunDir::new(node.path("run"));
    let claim = Claim {
        owner: Owner::new("c0ffee", "eth0").unwrap(),
        network: "k8s-pod-network".into(),
        netns: "/run/netns/pod".into(),
        pod: None,
        host_interface: "cali0123456789a".into(),
        mac: None,
        mtu: 1500,
        metric: 0,
        wishes: Wishes::default(),
    };
    let description = NodeDescription::read(&run_dir).unwrap();
    Store::new(&run_dir).allocate(&description, claim).unwrap();
    let link = ["link", "add", "cali0123456789a", "type", "veth", "peer", "name", "pod0"];
    assert_eq!(output(node, "ip", &link).0, Some(0));
}

fn exists(path: impl AsRef<Path>) -> bool {
    path.as_ref().exists()
}

#[test]
fn after_a_cleanup_the_node_is_as_it_was_before_the_installation() {
    let node = Namespace::new();
    for directory in ["net.d", "bin", "lib"] {
        std::fs::create_dir(node.path(directory)).unwrap();
    }
    std::fs::write(node.path("bin/portmap"), "another's").unwrap();
    std::fs::write(node.path("net.d/99-loopback.conf"), "another's").unwrap();
    let before = picture(&node);

    install_plugin(&node);
    let running = node.start(&config(&node));
    running.eventually("the block's route", |status| status["routes"]["programmed"] == 1);
    running.eventually("the conflist", |_| exists(node.path("net.d/10-warren.conflist")));
    // As the datastore keeps it for a start without an API server.
    std::fs::create_dir(node.path("lib/warren")).unwrap();
    std::fs::write(node.path("lib/warren/cluster.json"), "{}").unwrap();
    connect_pod(&node);
    assert_eq!(running.terminate().code(), Some(0));
    let installed = picture(&node);
    assert!(installed.contains("table ip warren"), "{installed}");

    let (code, said) = cleanup(&node, &["--force", "--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(picture(&node), installed, "a dry run touches nothing");
    for word in ["10-warren.conflist", "bin/warren", "172.16.52.128/26", "cali0123456789a"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("portmap") && !said.contains("loopback"), "{said}");

    let (code, removed) = cleanup(&node, &["--force"]);
    assert_eq!(code, Some(0), "{removed}");
    assert_eq!(removed, said.replace("would be removed", "removed"));
    assert_eq!(picture(&node), before);
    let (code, said) = cleanup(&node, &[]);
    assert_eq!((code, said.trim()), (Some(0), "There is nothing of Warren's on this node."));
}

#[test]
fn a_node_with_an_agent_or_with_connected_pods_is_not_cleaned_up() {
    let node = Namespace::new();
    let running = node.start(&config(&node));
    running.eventually("the block's route", |status| status["routes"]["programmed"] == 1);
    connect_pod(&node);
    let installed = picture(&node);
    let (code, said) = cleanup(&node, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the agent of node node1 runs"), "{said}");
    assert_eq!(running.terminate().code(), Some(0));
    let (code, said) = cleanup(&node, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("pods are still connected (1): 172.16.52.128"), "{said}");
    // Its sockets go with an agent.
    let sockets = ["run/agent.sock", "run/reports.sock"];
    let without = sockets.iter().fold(installed, |picture, socket| {
        picture.replace(&format!("{}\n", node.path(socket).display()), "")
    });
    assert_eq!(picture(&node), without);
}

#[test]
fn what_another_put_into_our_directories_stays_and_is_named() {
    let node = Namespace::new();
    std::fs::create_dir(node.path("run")).unwrap();
    std::fs::write(node.path("run/notes.txt"), "an operator's").unwrap();
    std::fs::write(node.path("run/node.json"), "{}").unwrap();
    let (code, said) = cleanup(&node, &["-o", "json"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("it has files of others"), "{said}");
    assert!(exists(node.path("run/notes.txt")) && !exists(node.path("run/node.json")));
}

#[test]
fn a_shutdown_returns_when_the_peers_are_told_and_the_agent_ends_at_sigterm() {
    let node = Namespace::new();
    let running = node.start(&config(&node));
    assert_eq!(running.ask(&["shutdown"]).0, Some(0));
    running.logged("shutting down");
    assert_eq!(running.terminate().code(), Some(0));
}
