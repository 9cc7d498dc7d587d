//! Foreign programs call the plugin: containerd's `ctr` and podman, alone and among other plugins.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use nix::libc;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::lab::Lab;
use tests::lab::node::Node;
use tests::lab::wait::{SOON, eventually};
use tests::trial::trial;
use warren_ipam::Entry;

use crate::engines::{Containerd, Podman, ask, expect_no_answer, result};
use crate::runtime::{BLOCK, Runtime};
use crate::traced::{self, Fate};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "containerd's ctr connects a container, and disconnects it however it ends",
            containerd,
        ),
        trial("podman publishes a port through portmap behind the plugin, with bandwidth", podman),
        trial(
            "behind another plugin it hands on what that one did, and portmap finds the pod",
            behind,
        ),
        trial("no command starts a program or a thread", alone),
    ]
}

/// The plugin's part in a list of plugins.
fn warren(runtime: &Runtime) -> Value {
    json!({"type": "warren", "runDir": runtime.run_dir().path()})
}

fn portmap() -> Value {
    json!({"type": "portmap", "capabilities": {"portMappings": true}})
}

/// A second node, and the routes between it and the first one's pods.
fn neighbour(lab: &Lab, runtime: &Runtime) -> Result<Node> {
    let node2 = lab.node("node2", "192.168.0.146/24", "172.16.103.64/26")?;
    node2.ip(&format!("route add {BLOCK} via {}", runtime.node.address()))?;
    runtime.node.sysctl("net.ipv4.ip_forward", "1")?;
    Ok(node2)
}

/// The one record that there is.
fn only_entry(runtime: &Runtime) -> Result<Entry> {
    let entries = runtime.entries()?;
    ensure!(entries.len() == 1, "there are records: {entries:?}");
    entries.into_iter().next().context("there is no record")
}

fn containerd(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let node2 = neighbour(lab, &runtime)?;
    let containerd = Containerd::start(&runtime.node, &[warren(&runtime), portmap()])?;
    for id in ["asked", "killed", "asked"] {
        let mut ctr = containerd.run(id)?;
        let address = eventually("there is a record", SOON, || {
            ctr.check()?;
            Ok(only_entry(&runtime)?.address.to_string())
        })?;
        let answer = ask(&node2, &address, 80)?;
        ensure!(answer == [address.clone(), node2.address().to_string()], "{id}: {answer:?}");
        // The DEL comes with the path of a namespace that is gone, for its process has ended.
        if id == "killed" {
            containerd.ctr(&["task", "kill", "--signal", "KILL", id])?.ok()?;
        } else {
            ctr.signal(Signal::SIGTERM)?;
        }
        eventually("ctr has ended", SOON, || {
            ensure!(ctr.check().is_err(), "it runs");
            Ok(())
        })?;
        runtime.expect_nothing_left().with_context(|| format!("{id}: {}", ctr.output()))?;
    }
    Ok(())
}

fn podman(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let node2 = neighbour(lab, &runtime)?;
    // In bits a second, and bits.
    let bandwidth = json!({
        "type": "bandwidth", "ingressRate": 100_000_000, "ingressBurst": 8_000_000,
        "egressRate": 100_000_000, "egressBurst": 8_000_000,
    });
    let plugins = [warren(&runtime), portmap(), bandwidth];
    let podman = Podman::new(&runtime.node, "warren", &plugins)?;
    let before = runtime.node.ip("link show")?.lines().count();

    let id = podman.run("web", &["--network", "warren", "--publish", "8080:80"])?;
    let entry = only_entry(&runtime)?;
    ensure!(entry.owner.container_id() == id, "{entry:?} is not of {id}");
    let host = runtime.node.address().to_string();
    let expected = |from: &Node| [entry.address.to_string(), from.address().to_string()];
    for from in [&node2, &runtime.node] {
        let answer = ask(from, &host, 8080)?;
        ensure!(answer == expected(from), "from {}: {answer:?}", from.name());
    }
    let shaped = runtime.node.run("tc", &["qdisc", "show", "dev", &entry.host_interface])?.ok()?;
    ensure!(shaped.contains("tbf") && shaped.contains("100Mbit"), "there is: {shaped}");

    // The same container with a new namespace.
    podman.podman(&["restart", "--time", "0", "web"])?.ok()?;
    let entry = only_entry(&runtime)?;
    ensure!(entry.owner.container_id() == id, "{entry:?} is not of {id}");
    let answer = ask(&node2, &host, 8080)?;
    ensure!(answer == [entry.address.to_string(), node2.address().to_string()], "{answer:?}");

    podman.podman(&["rm", "--force", "--time", "0", "web"])?.ok()?;
    runtime.expect_nothing_left()?;
    let links = runtime.node.ip("link show")?;
    ensure!(links.lines().count() == before, "there are links: {links}");
    expect_no_answer(&node2, &host, 8080)
}

fn behind(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let node2 = neighbour(lab, &runtime)?;
    // loopback answers with an interface and an address of its own.
    let plugins = [
        json!({"type": "loopback"}),
        warren(&runtime),
        json!({"type": "tuning", "mtu": 1400}),
        portmap(),
    ];
    let podman = Podman::new(&runtime.node, "behind", &plugins)?;
    let id = podman.run("web", &["--network", "behind", "--publish", "8080:80"])?;
    let entry = only_entry(&runtime)?;
    let address = entry.address.to_string();
    let result = result("behind", &id)?;
    for (address, name) in [("127.0.0.1/8", "lo"), (&format!("{address}/32"), "eth0")] {
        let mut ips = result["ips"].as_array().into_iter().flatten();
        let ip = ips.find(|ip| ip["address"] == address);
        let index = ip.and_then(|ip| ip["interface"].as_u64()).unwrap_or(u64::MAX);
        ensure!(result["interfaces"][index as usize]["name"] == name, "{address}: {result}");
    }
    // tuning has found the pod's interface in that, and portmap the address.
    let inside = podman.podman(&["exec", "web", "ip", "address", "show", "eth0"])?.ok()?;
    ensure!(inside.contains("mtu 1400") && inside.contains(&address), "there is: {inside}");
    let answer = ask(&node2, &runtime.node.address().to_string(), 8080)?;
    ensure!(answer == [address, node2.address().to_string()], "{answer:?}");
    podman.podman(&["rm", "--force", "--time", "0", "web"])?.ok()?;
    runtime.expect_nothing_left()
}

fn alone(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let pod = runtime.sandbox("nginx")?;
    let mut answer = Value::Null;
    for verb in ["STATUS", "ADD", "CHECK", "GC", "DEL", "VERSION"] {
        let mut calls = BTreeSet::new();
        let command = runtime.command(verb, &pod)?;
        let mut netconf = runtime.netconf(&answer);
        // The first version that has them all.
        netconf["cniVersion"] = "1.1.0".into();
        netconf["cni.dev/valid-attachments"] =
            json!([{"containerID": pod.container, "ifname": "eth0"}]);
        let outcome = traced::run(&command, &netconf.to_string(), |call| {
            calls.insert(call.number);
            Fate::Happens
        })?;
        let said = outcome.ok()?;
        if verb == "ADD" {
            answer = serde_json::from_str(&said)?;
        }
        ensure!(calls.contains(&libc::SYS_exit_group), "{verb}: not all was seen: {calls:?}");
        let mut starts =
            vec![libc::SYS_execve, libc::SYS_execveat, libc::SYS_clone, libc::SYS_clone3];
        #[cfg(target_arch = "x86_64")]
        starts.extend([libc::SYS_fork, libc::SYS_vfork]);
        starts.retain(|call| calls.contains(call));
        ensure!(starts.is_empty(), "{verb} makes the system calls {starts:?}");
    }
    runtime.expect_nothing_left()
}
