//! `agent doctor`: what it says of a node, and of what is between it and its peer.

use std::process::Command;

use crate::running::config::node1;
use crate::running::{Namespace, agent};

/// The peer's address is at the other end of the cable, in the same namespace: whoever connects there
/// reaches the agent itself.
const CONFIG: &str = node1!(
    "peers:
- {address: 192.168.0.146, name: node2, passive: true}
"
);

fn doctor(namespace: &Namespace, more: &[&str]) -> (Option<i32>, String) {
    let output = namespace.within(|| {
        Command::new(agent())
            .args(["doctor", "--run-dir"])
            .arg(namespace.path("run"))
            .arg("--cni-bin-dir")
            .arg(namespace.path("bin"))
            .args(more)
            .output()
            .unwrap()
    });
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn run(namespace: &Namespace, line: &str) {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    assert!(namespace.within(|| command.args(words).status().unwrap().success()), "{line}");
}

#[test]
fn without_an_agent_it_says_so_and_looks_at_the_node_all_the_same() {
    let namespace = Namespace::new();
    run(&namespace, "nft add table inet firewalld");
    run(
        &namespace,
        "nft add chain inet firewalld forward { type filter hook forward priority 10 ; policy drop ; }",
    );
    let (code, said) = doctor(&namespace, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no agent answers at"), "{said}");
    assert!(said.contains("net.ipv4.ip_forward is"), "{said}");
    assert!(said.contains("nft list chain inet firewalld forward"), "{said}");
}

#[test]
fn a_session_that_is_not_up_is_told_apart_by_what_the_peers_port_answers() {
    let namespace = Namespace::new();
    let running = namespace.start(CONFIG);
    running.eventually("the block's route", |status| status["routes"]["programmed"] == 1);
    let (code, said) = doctor(&namespace, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("BGP not established with 192.168.0.146"), "{said}");
    assert!(said.contains("node2 (192.168.0.146): Active, though TCP port 179 is open"), "{said}");

    let (_, said) = doctor(&namespace, &["--port", "7"]);
    assert!(said.contains("nobody listens at TCP port 7 there"), "{said}");

    run(&namespace, "nft add table ip wall");
    run(&namespace, "nft add chain ip wall in { type filter hook input priority 0 ; }");
    run(&namespace, "nft add rule ip wall in tcp dport 179 drop");
    let (_, said) = doctor(&namespace, &[]);
    assert!(said.contains("TCP port 179 gets no answer"), "{said}");
    assert!(said.contains("-> let TCP port 179 through"), "{said}");

    let (code, said) = doctor(&namespace, &["-o", "json"]);
    let findings: serde_json::Value = serde_json::from_str(&said).unwrap();
    let bgp = findings.as_array().unwrap().iter().find(|found| found["subject"] == "BGP").unwrap();
    assert_eq!((code, &bgp["verdict"]), (Some(1), &"problem".into()));
}

#[test]
fn a_node_without_peers_that_is_as_it_should_be_has_no_problem() {
    let namespace = Namespace::new();
    let (config, _) = CONFIG.split_once("peers:").unwrap();
    let cni = format!("cni: {{confDir: {}}}\n", namespace.path("net.d").display());
    let running = namespace.start(&format!("{config}{cni}"));
    running.eventually("readiness", |status| status["ready"] == true);
    running.eventually("the conflist", |_| namespace.path("net.d/10-warren.conflist").exists());
    let (code, said) = doctor(&namespace, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("WARNING") && said.contains("10-warren.conflist"), "{said}");
}
