//! What the manifests say of their pods, field by field, and that the programs take what they are called
//! with. What of it was not needed is the subject of `confined`, what it amounts to that of `resources`.

use std::process::Command;

use serde_json::{Value, json};

use super::document;
use crate::running::agent;

const DAEMON_SET: &str = "warren.yaml";
const JOB: &str = "cleanup.yaml";

const AGENT: &str = "/spec/template/spec/containers/0";

/// A field, what it has to be, and why.
type Field = (&'static str, Value, &'static str);

/// Compares all fields and tells all differences.
#[track_caller]
fn expect(file: &str, fields: &[Field]) {
    let object = document(file);
    let differs =
        |(pointer, wanted, _): &&Field| object.pointer(pointer).unwrap_or(&Value::Null) != wanted;
    let differences: Vec<_> = fields.iter().filter(differs).collect();
    assert!(differences.is_empty(), "{file}: {differences:#?} in {object:#}");
}

fn in_agent(field: &str) -> String {
    format!("{AGENT}/{field}")
}

#[test]
fn the_daemon_set_runs_on_every_node_before_the_node_has_a_network() {
    expect(
        DAEMON_SET,
        &[
            ("/kind", json!("DaemonSet"), "one for each node"),
            (
                "/spec/template/spec/hostNetwork",
                json!(true),
                "routes are the node's, and no pod has a network yet",
            ),
            (
                "/spec/template/spec/tolerations",
                json!([{"operator": "Exists"}]),
                "a NotReady node waits for it",
            ),
            (
                "/spec/template/spec/priorityClassName",
                json!("system-node-critical"),
                "no pod runs without it",
            ),
            (
                "/spec/updateStrategy/rollingUpdate/maxUnavailable",
                json!("10%"),
                "an update is a few nodes at a time",
            ),
            ("/spec/updateStrategy/type", Value::Null, "RollingUpdate is the default"),
            ("/spec/template/spec/hostPID", Value::Null, "it needs no process of the host's"),
            ("/spec/template/spec/hostIPC", Value::Null, "nor its memory"),
        ],
    );
}

#[test]
fn a_node_is_left_alone_that_warren_is_taken_off() {
    let terms = "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let expressions = json!([
        {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
        {"key": "warren.io/cleanup", "operator": "DoesNotExist"},
    ]);
    expect(DAEMON_SET, &[(terms, json!([{"matchExpressions": expressions}]), "the Job's label")]);
    expect(
        JOB,
        &[
            ("/kind", json!("Job"), "it ends"),
            ("/spec/template/spec/hostNetwork", json!(true), "what it removes is the node's"),
            (
                "/spec/template/spec/tolerations",
                json!([{"operator": "Exists"}]),
                "the node is drained",
            ),
            ("/spec/template/spec/nodeName", json!("NODE"), "of one node"),
        ],
    );
}

#[test]
fn the_probes_and_the_hook_are_the_agents_own_commands() {
    let live = json!({"command": ["/agent", "live"]});
    let ready = json!({"command": ["/agent", "ready"]});
    let shutdown = json!({"command": ["/agent", "shutdown"]});
    let object = document(DAEMON_SET);
    for (field, wanted) in [
        ("startupProbe/exec", &live),
        ("livenessProbe/exec", &live),
        ("readinessProbe/exec", &ready),
        ("lifecycle/preStop/exec", &shutdown),
    ] {
        assert_eq!(object.pointer(&in_agent(field)), Some(wanted), "{field}");
    }
    let seconds = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).unwrap();
    // An agent that starts is not killed for being slow, but by the startup probe's patience.
    let patience = seconds(&in_agent("startupProbe/periodSeconds"))
        * seconds(&in_agent("startupProbe/failureThreshold"));
    assert!(patience >= 60, "{patience}");
    // One unanswered probe is no reason to restart it: its pods' sessions would notice.
    assert!(seconds(&in_agent("livenessProbe/failureThreshold")) >= 3);
    assert!(seconds("/spec/template/spec/terminationGracePeriodSeconds") >= 10);
}

#[test]
fn no_container_may_more_than_its_capabilities_and_none_can_write_to_its_root() {
    for file in [DAEMON_SET, JOB] {
        let object = document(file);
        let pod = &object["spec"]["template"]["spec"];
        let containers = ["initContainers", "containers"].map(|list| pod[list].as_array());
        let containers: Vec<_> = containers.into_iter().flatten().flatten().collect();
        assert!(!containers.is_empty(), "{file}");
        for container in containers {
            let context = &container["securityContext"];
            let name = &container["name"];
            assert_eq!(context["privileged"], Value::Null, "{file}: {name}");
            assert_eq!(context["allowPrivilegeEscalation"], false, "{file}: {name}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{file}: {name}");
            assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{file}: {name}");
            assert!(container["resources"]["requests"]["cpu"].is_string(), "{file}: {name}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{file}: {name}");
        }
    }
}

#[test]
fn the_agent_takes_all_that_the_manifests_call_it_with() {
    let mut calls = Vec::new();
    for file in [DAEMON_SET, JOB] {
        let object = document(file);
        collect(&object, &mut calls);
    }
    assert_eq!(calls.len(), 7, "{calls:?}");
    for call in calls {
        let output = Command::new(agent()).args(&call).arg("--help").output().unwrap();
        assert!(output.status.success(), "{call:?}: {output:?}");
        // Its own help and not that of all commands: the first word is one of them.
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&format!("Usage: agent {}", call[0])), "{call:?}: {said}");
    }
}

/// What the program of the image is called with, wherever it stands.
fn collect(value: &Value, calls: &mut Vec<Vec<String>>) {
    let words = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "args" => calls.push(words(field)),
                    "command" => {
                        let mut words = words(field);
                        assert_eq!(words.remove(0), "/agent", "there is nothing else in the image");
                        calls.push(words);
                    }
                    _ => collect(field, calls),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|one| collect(one, calls)),
        _ => {}
    }
}
