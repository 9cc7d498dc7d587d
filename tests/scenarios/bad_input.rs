//! Bad input: a clear error each, and the agent still up.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use tests::environment::built;
use tests::lab::Lab;
use tests::lab::node::Node;
use tests::lab::wait::{SOON, eventually};
use tests::trial::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a typo in the configuration is named with its line, and changes nothing", typo),
        trial("a malformed BGP message is answered with its NOTIFICATION", malformed_message),
        trial("a peer is believed only what is its own, and the rest is counted", false_claims),
    ]
}

fn typo(lab: &Lab) -> Result<()> {
    let [node1, node2, _] = lab.three_nodes()?;
    let good = node1.agent_configuration();
    let bad = good.replace("\nasNumber: ", "\nasNumbr: ");
    ensure!(bad != good, "no typo was made in {good}");
    let line = bad.lines().position(|line| line.contains("asNumbr")).context("no such line")? + 1;

    let file = node1.directory().join("typo.yaml");
    fs::write(&file, &bad)?;
    let program = built("agent")?;
    let outcome = node1.run(&program, &["run", "--config", &file.display().to_string()])?;
    ensure!(!outcome.success(), "the agent ran with {bad}");
    for word in ["asNumbr", &format!("line {line}"), "typo.yaml"] {
        ensure!(outcome.stderr.contains(word), "no {word:?} in: {}", outcome.stderr);
    }
    ensure!(!node1.run_dir().exists(), "it left {}", node1.run_dir().display());
    ensure!(!node1.ip("address show tunl0")?.contains("172.16"), "it set the tunnel up");

    // An agent that runs goes on with what it had.
    for node in [&node1, &node2] {
        node.start_agent()?;
    }
    eventually("they know each other", SOON, || {
        node1.expect_routes(&[node1.tunnel_route(&node2)])
    })?;
    node1.reload_agent_with(&bad)?;
    eventually("the agent says what is wrong", SOON, || {
        let log = fs::read_to_string(node1.agent_log())?;
        ensure!(log.contains("asNumbr"), "it says: {log}");
        Ok(())
    })?;
    node1.expect_established(&[&node2])?;
    node1.expect_routes(&[node1.tunnel_route(&node2)])
}

fn false_claims(lab: &Lab) -> Result<()> {
    let [node1, node2, node3] = lab.three_nodes()?;
    let bird = lab.node("calico", "192.168.0.12/24", "172.16.9.0/26")?;
    let inside_own = format!("{}/32", node1.block().ip());
    bird.start_bird_that_claims(&[
        "0.0.0.0/0",
        "10.0.0.0/26",
        "172.16.0.0/12",
        &node1.block().to_string(),
        &inside_own,
        &node3.block().to_string(),
    ])?;
    for node in [&node1, &node2] {
        node.start_agent()?;
    }
    let truth = [node1.tunnel_route(&bird), node1.tunnel_route(&node2)];
    eventually("node1 has what is true", SOON, || node1.expect_routes(&truth))?;
    eventually("node1 has refused the rest", SOON, || {
        let entry = node1.peer(&bird)?;
        let expected = [
            ("default route", 1),
            ("outside the pools", 2),
            ("own block", 2),
            ("block of another node", 1),
        ];
        for (reason, count) in expected {
            ensure!(entry["prefixesRefused"][reason] == count, "{reason}: {entry}");
        }
        ensure!(entry["prefixesReceived"] == 7, "{entry}");
        Ok(())
    })?;
    let via_bird = format!("via {}", bird.address());
    let from_bird = node1.routes()?.iter().filter(|route| route.contains(&via_bird)).count();
    ensure!(from_bird == 1, "{:?}", node1.routes()?);
    node1.expect_no_route(node3.block())
}

fn malformed_message(lab: &Lab) -> Result<()> {
    let [node1, node2, node3] = lab.three_nodes()?;
    for node in [&node1, &node2] {
        node.start_agent()?;
    }
    eventually("they know each other", SOON, || node1.expect_established(&[&node2]))?;
    // RFC 4271, 6.1: the octets that are sent, the code, subcode and data of the answer.
    let ones = "\\xff".repeat(16);
    let cases = [
        ("a marker that is not all ones", "\\x00".repeat(19), vec![1, 1]),
        ("a length less than a header's", format!("{ones}\\x00\\x12\\x04"), vec![1, 2, 0, 0x12]),
        // Only an OPEN and a KEEPALIVE may not be longer (RFC 8654, 4).
        ("a length beyond the maximum", format!("{ones}\\x10\\x01\\x01"), vec![1, 2, 0x10, 1]),
        ("an unknown type", format!("{ones}\\x00\\x13\\x63"), vec![1, 3, 0x63]),
    ];
    for (what, octets, expected) in cases {
        let answer = notification(&node3, &node1, &octets).with_context(|| what.to_owned())?;
        ensure!(answer == expected, "{what} was answered with {answer:?}, not {expected:?}");
    }
    node1.expect_running()?;
    node1.expect_established(&[&node2])?;
    node1.expect_not_established(&node3)
}

/// What the NOTIFICATION says that comes back for these octets, sent by one node's address.
fn notification(from: &Node, to: &Node, octets: &str) -> Result<Vec<u8>> {
    let script = format!(
        "exec 3<>/dev/tcp/{}/179 && printf '{octets}' >&3 && timeout 30 cat <&3 | od -An -v -tu1",
        to.address()
    );
    let said = from.run("bash", &["-c", &script])?.ok()?;
    let bytes: Vec<u8> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let mut rest = bytes.as_slice();
    // RFC 4271, 4.1: 16 octets of marker, two of length, one of type; 3 is NOTIFICATION.
    while rest.len() >= 19 {
        let length = usize::from(u16::from_be_bytes([rest[16], rest[17]]));
        let message = rest.get(..length).context("the last message is cut off")?;
        if message[18] == 3 {
            return Ok(message[19..].to_vec());
        }
        rest = &rest[length..];
    }
    anyhow::bail!("no NOTIFICATION among {bytes:?}")
}
