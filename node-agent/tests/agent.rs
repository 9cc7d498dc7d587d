//! The executable as an operator meets it: what it answers to bad input, and that a peer's garbage
//! does not end it. Each agent runs in a network namespace of its own.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod addresses;
mod bfd;
mod cleanup;
mod deploy;
mod doctor;
mod dynamic;
mod kubernetes;
mod running;

use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use running::config::node1;
use running::{Namespace, agent};

const CONFIG: &str = node1!(
    "listenPort: 179
peers:
- {address: 192.168.0.146, name: node2, passive: true}
"
);

#[test]
fn a_typo_in_the_configuration_is_named_with_its_line_and_ends_the_start() {
    let namespace = Namespace::new();
    let output = namespace.refused(&CONFIG.replace("listenPort", "listenprt"));
    assert!(output.contains("listenprt") && output.contains("line 5"), "{output}");
}

#[test]
fn a_block_outside_the_pools_ends_the_start_with_what_to_do() {
    let namespace = Namespace::new();
    let output = namespace.refused(&CONFIG.replace("172.16.52.128", "10.0.0.0"));
    assert!(output.contains("10.0.0.0/26 lies in none of the pools"), "{output}");
}

#[test]
fn asking_an_agent_that_is_not_there_says_where_it_was_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    for command in ["status", "ready", "live"] {
        let output = Command::new(agent())
            .args([command, "--run-dir"])
            .arg(directory.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("no agent answers at"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn a_second_agent_of_the_same_run_directory_is_refused() {
    let namespace = Namespace::new();
    let running = namespace.start(CONFIG);
    let output = namespace.refused(CONFIG);
    assert!(output.contains("another agent runs there"), "{output}");
    assert_eq!(running.ask(&["live"]).0, Some(0));
}

#[test]
fn the_status_has_the_documented_fields() {
    let namespace = Namespace::new();
    let running = namespace.start(CONFIG);
    running.eventually("the block's route", |status| status["routes"]["programmed"] == 1);
    let status = running.status();
    assert_eq!(status["node"]["name"], "node1");
    assert_eq!(status["node"]["address"], "192.168.0.176");
    assert_eq!(status["node"]["asNumber"], 64512);
    assert_eq!(status["node"]["routerId"], "192.168.0.176");
    assert_eq!(status["node"]["blocks"][0], "172.16.52.128/26");
    assert_eq!(status["node"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["node"]["uptimeSeconds"].is_u64());
    assert_eq!(status["ready"], false);
    assert_eq!(status["reasons"][0], "BGP not established with 192.168.0.146");
    let peer = &status["peers"][0];
    assert_eq!(peer["type"], "node-to-node mesh");
    assert_eq!(peer["state"], "Active");
    assert!(peer["lastError"].is_string(), "{peer}");
    assert!(peer["since"].as_str().unwrap().ends_with('Z'), "{peer}");
    assert!(peer.get("bfd").is_some());
    assert_eq!(status["ipam"]["blocks"][0]["capacity"], 64);
}

#[test]
fn a_peer_that_calls_while_the_agent_starts_is_let_in_and_a_start_is_nothing_to_warn_of() {
    let namespace = Namespace::new();
    let running = std::thread::scope(|scope| {
        // It calls without a pause until the first time that somebody is there.
        let caller = scope.spawn(|| {
            namespace.within(|| {
                let call = || running::call([192, 168, 0, 146], [192, 168, 0, 176]).ok();
                let mut stream = None;
                running::wait("a listener", String::new, || {
                    stream = call();
                    stream.is_some()
                });
                let mut header = [0; 19];
                stream.unwrap().read_exact(&mut header).map(|()| header[18])
            })
        });
        let running = namespace.start(CONFIG);
        assert_eq!(caller.join().unwrap().expect("an answer"), 1, "an OPEN");
        running
    });
    running.eventually("the block's route", |status| status["routes"]["programmed"] == 1);
    let log = running.log();
    // Whether the caller finds the moment in between is up to luck.
    let said = |text| log.find(text).unwrap_or_else(|| panic!("no {text:?}: {log}"));
    assert!(said("BGP peer added") < said("listening for BGP peers"), "{log}");
    for word in ["WARN", "ERROR", "have not been looked at"] {
        assert!(!log.contains(word), "{log}");
    }
}

#[test]
fn a_malformed_message_is_answered_with_a_notification_and_the_agent_stays_up() {
    let namespace = Namespace::new();
    let running = namespace.start(CONFIG);
    // RFC 4271, 6.1: the marker is not all ones: Message Header Error, Connection Not Synchronized.
    let answer = namespace.within(|| {
        let mut peer = running::connect_from([192, 168, 0, 146], [192, 168, 0, 176]);
        peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        peer.write_all(&[0; 19]).unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        answer
    });
    let notification = answer
        .windows(21)
        .find(|bytes| bytes[..16] == [0xff; 16] && bytes[18] == 3)
        .unwrap_or_else(|| panic!("no NOTIFICATION in {answer:x?}"));
    assert_eq!(&notification[19..], [1, 1]);
    assert_eq!(running.ask(&["live"]), (Some(0), "live\n".into()));
    let error = running.status()["peers"][0]["lastError"].as_str().unwrap().to_lowercase();
    assert!(error.contains("connection not synchronized"), "{error}");
}

#[test]
fn sighup_reads_the_configuration_again_and_a_broken_one_changes_nothing() {
    let namespace = Namespace::new();
    let running = namespace.start(CONFIG);
    running.reload(&format!("{CONFIG}- {{address: 192.168.0.241}}\n"));
    running
        .eventually("the second peer", |status| status["peers"][1]["address"] == "192.168.0.241");
    running.reload("peers: [");
    running.logged("the configuration stays as it was");
    assert_eq!(running.status()["peers"].as_array().unwrap().len(), 2);
}

#[test]
fn at_sigterm_the_agent_ends_by_itself_and_leaves_its_routes() {
    let namespace = Namespace::new();
    let running = namespace.start(CONFIG);
    running.eventually("the block's route", |status| status["routes"]["programmed"] == 1);
    assert_eq!(running.terminate().code(), Some(0));
    let routes = namespace.within(|| Command::new("ip").args(["route"]).output().unwrap().stdout);
    let routes = String::from_utf8_lossy(&routes).into_owned();
    assert!(routes.contains("blackhole 172.16.52.128/26 proto bird"), "{routes}");
}
