//! The systemd unit and the example configuration for machines without Kubernetes.

use std::fs::read_to_string;
use std::process::Command;

use super::repository;
use crate::running::{Namespace, agent};

const UNIT: &str = "deploy/warren-agent.service";

#[test]
fn systemd_has_nothing_to_say_against_the_unit() {
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("warren-agent.service");
    let text = read_to_string(repository(UNIT)).unwrap();
    // It wants what is to be started to be there.
    std::fs::write(&unit, text.replace("/usr/local/bin/agent", agent())).unwrap();
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&unit)
        .output()
        .expect("this test needs the command systemd-analyze: install systemd");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_agent_starts_with_the_example_configuration_as_the_unit_starts_it() {
    let unit = read_to_string(repository(UNIT)).unwrap();
    let start = "ExecStart=/usr/local/bin/agent run --config /etc/warren/agent.yaml";
    assert!(unit.lines().any(|line| line == start), "{unit}");
    let example = read_to_string(repository("deploy/agent.yaml")).unwrap();
    let namespace = Namespace::new();
    let running = namespace.start(&example);
    let status = running.status();
    assert_eq!(status["node"]["name"], "node1");
    assert_eq!(status["node"]["blocks"][0], "172.16.52.128/26");
    assert_eq!(status["peers"][0]["name"], "node2");
    assert_eq!(status["peers"][1]["name"], "node3");
}
