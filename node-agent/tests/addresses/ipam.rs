//! `agent ipam` against the kernel, while no agent runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use warren_ipam::{Entry, Store};
use warren_net::pod::{self, PodInterface};
use warren_types::node::{FORMAT_VERSION, NodeDescription};
use warren_types::run_dir::RunDir;

use super::allocate;
use crate::running::{Namespace, agent};

/// A node with pods, as its plugin and its agent left it.
struct Node {
    namespace: Namespace,
    run_dir: RunDir,
    sandboxes: Vec<File>,
}

impl Node {
    fn new() -> Self {
        let namespace = Namespace::new();
        let run_dir = RunDir::new(namespace.path("run"));
        let node = Self { namespace, run_dir, sandboxes: Vec::new() };
        node.describe(&[]);
        node
    }

    fn describe(&self, reserved: &[&str]) {
        let node = NodeDescription {
            format_version: FORMAT_VERSION,
            name: "node1".into(),
            address: "192.168.0.176".parse().unwrap(),
            blocks: vec!["172.16.52.128/26".parse().unwrap()],
            reserved: reserved.iter().map(|address| address.parse().unwrap()).collect(),
            pod_mtu: 1480,
            cool_down_seconds: 0,
            tunnel: None,
        };
        node.write(&self.run_dir).unwrap();
    }

    /// A network namespace that is not this node's, by a path that lasts as long as the node.
    fn sandbox(&mut self) -> PathBuf {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let sandbox = made.join().unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), sandbox.as_raw_fd());
        self.sandboxes.push(sandbox);
        path.into()
    }

    /// Connects a pod, as the plugin does; its host interface.
    fn connect(&mut self, container: &str) -> String {
        let sandbox = self.sandbox();
        let record = allocate(&self.run_dir, container).remove(0);
        let interface = PodInterface {
            host_name: record.host_interface.clone(),
            pod_name: record.ifname,
            addresses: vec![record.address],
            mtu: record.mtu,
            pod_mac: Some(record.mac.0),
            metric: 0,
        };
        self.namespace.within(|| {
            let sandbox = warren_net::namespace::Namespace::open(sandbox).unwrap();
            pod::create(&sandbox, &interface).unwrap();
        });
        record.host_interface
    }

    fn entry(&self, container: &str) -> Entry {
        let entries = Store::new(&self.run_dir).list().unwrap().entries;
        entries.into_iter().find(|entry| entry.owner.container_id() == container).unwrap()
    }

    fn record(&self, container: &str) -> PathBuf {
        Store::new(&self.run_dir).path_of(&self.entry(container))
    }

    fn ip(&self, words: &str) -> String {
        let run = || Command::new("ip").args(words.split(' ')).output().unwrap();
        let output = self.namespace.within(run);
        assert!(output.status.success(), "ip {words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn ipam(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(agent());
        command.args(["ipam", "--run-dir"]).arg(self.run_dir.path()).args(arguments);
        let output = self.namespace.within(|| command.output().unwrap());
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    /// What differs, by the word for it and by what becomes of it.
    fn differences(&self, arguments: &[&str]) -> (Option<i32>, BTreeMap<String, String>) {
        let (code, text) = self.ipam(&[arguments, &["-o", "json"]].concat());
        let found: Value = serde_json::from_str(&text).unwrap();
        let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        let differences = found["differences"].as_array().unwrap().iter();
        (code, differences.map(|one| (word(one, "kind"), word(one, "state"))).collect())
    }

    /// All that a repair could change.
    fn picture(&self) -> String {
        let records = Store::new(&self.run_dir).list().unwrap();
        format!("{records:?}\n{}\n{}", self.ip("-o link"), self.ip("route"))
    }
}

#[test]
fn it_shows_who_has_which_address_since_when_and_what_leaked() {
    let mut node = Node::new();
    assert!(node.ipam(&[]).1.starts_with("BLOCK"), "{:?}", node.ipam(&[]));
    let interface = node.connect("web-0");
    let gone = node.connect("web-1");
    node.ip(&format!("link del {gone}"));
    let (code, text) = node.ipam(&[]);
    assert_eq!(code, Some(0), "{text}");
    for words in [
        "172.16.52.128/26",
        "172.16.52.128 ",
        "default/web-0",
        "eth0 of web-0",
        &interface,
        "leaked",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    let (_, text) = node.ipam(&["show", "-o", "json"]);
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&shown["blocks"][0]["allocated"], &shown["blocks"][0]["capacity"]),
        (&2.into(), &64.into())
    );
    assert_eq!(shown["addresses"][0]["pod"], "default/web-0");
    assert!(shown["addresses"][0]["since"].as_str().unwrap().ends_with('Z'), "{text}");
    assert_eq!(shown["addresses"][0]["problem"], Value::Null);
    assert_eq!(shown["addresses"][1]["problem"], "leaked: its interface is gone");

    fs::remove_file(node.run_dir.node_description()).unwrap();
    let (code, text) = node.ipam(&[]);
    assert!(code == Some(1) && text.contains("no agent has described this node yet"), "{text}");
}

#[test]
fn each_difference_is_named_and_what_can_be_mended_is() {
    let mut node = Node::new();
    let [leaked, route, stray, renamed, unrecorded] =
        ["leaked", "route", "stray", "renamed", "unrecorded"]
            .map(|container| node.connect(container));
    for container in ["doubled", "damaged", "outside"] {
        node.connect(container);
    }
    assert_eq!(node.ipam(&["check"]), (Some(0), "Records, interfaces and routes agree.\n".into()));

    node.ip(&format!("link del {leaked}"));
    let address = node.entry("route").address;
    node.ip(&format!("route replace {address} dev {stray} scope link"));
    node.ip(&format!("route add 172.16.52.180 dev {stray} scope link"));
    node.ip(&format!("link set {renamed} name elsewhere"));
    fs::remove_file(node.record("unrecorded")).unwrap();
    let mut twin = node.entry("doubled");
    twin.owner = warren_ipam::Owner::new("twin", "eth0").unwrap();
    fs::copy(node.record("doubled"), Store::new(&node.run_dir).path_of(&twin)).unwrap();
    fs::write(node.record("damaged"), "{").unwrap();
    node.describe(&[&node.entry("outside").address.to_string()]);
    fs::write(node.run_dir.ipam().join("addresses/notes"), "").unwrap();
    // Another plugin's pair, with such a name and an address of ours.
    let sandbox = node.sandbox();
    node.ip(&format!(
        "link add cali0123456789a up type veth peer name eth0 netns {}",
        sandbox.display()
    ));
    node.ip("route add 172.16.52.181 dev cali0123456789a scope link");

    let mendable = ["leaked", "route", "stray"];
    let forced = ["damaged", "unrecorded"];
    let others = ["doubled", "foreign", "outside", "renamed", "unknown"];
    let with = |state: &str, if_forced: &str| -> BTreeMap<String, String> {
        let mended = mendable.map(|kind| (kind, state));
        let stay = others.map(|kind| (kind, "stays"));
        let all = mended.into_iter().chain(stay).chain(forced.map(|kind| (kind, if_forced)));
        all.map(|(kind, state)| (kind.to_owned(), state.to_owned())).collect()
    };
    let before = node.picture();
    let (code, found) = node.differences(&["check"]);
    assert_eq!((code, found), (Some(1), with("mendable", "stays")));
    let (code, found) = node.differences(&["repair", "--dry-run"]);
    assert_eq!((code, found), (Some(0), with("mendable", "stays")));
    let (_, found) = node.differences(&["repair", "--dry-run", "--force"]);
    assert_eq!(found, with("mendable", "mendable"));
    assert_eq!(node.picture(), before, "nothing was to be touched");
    let (_, text) = node.ipam(&["check"]);
    for sentence in [
        format!("is recorded for eth0 of container leaked, whose interface {leaked} is gone"),
        format!("the route to {address} leads to {stray} instead of {route}"),
        format!("the route to 172.16.52.180 leads to {stray}, for which it is not recorded"),
        format!("the interface {renamed} of eth0 of container renamed is called elsewhere"),
        format!("nothing is recorded of the pod behind {unrecorded}, which has 172.16.52.132"),
        "is recorded for eth0 of container twin and for eth0 of container doubled".into(),
        "of eth0 of container outside is in none of this node's blocks, or reserved".into(),
        "172.16.52.181 leads to cali0123456789a, which warren did not make".into(),
        "addresses/notes is no record".into(),
        "is not a record: EOF".into(),
    ] {
        assert!(text.contains(&sentence), "{sentence} is not in {text}");
    }

    let (code, found) = node.differences(&["repair"]);
    assert_eq!((code, found), (Some(0), with("mended", "stays")));
    assert!(node.ip(&format!("route show {address}")).contains(&route));
    assert_eq!(node.ip("route show 172.16.52.180"), "");
    let (_, found) = node.differences(&["check"]);
    let left: BTreeSet<_> = found.keys().map(String::as_str).collect();
    assert_eq!(left, others.into_iter().chain(forced).collect());
    let damaged = node.entry("damaged");
    let (_, found) = node.differences(&["repair", "--force"]);
    assert!(forced.iter().all(|kind| found[*kind] == "mended"), "{found:?}");
    assert!(!node.picture().contains(&damaged.host_interface), "{}", node.picture());
    let links = node.ip("-o link");
    assert!(!links.contains(&unrecorded) && links.contains("cali0123456789a"), "{links}");
    let (_, found) = node.differences(&["check"]);
    assert!(!forced.iter().any(|kind| found.contains_key(*kind)), "{found:?}");
}

#[test]
fn a_run_directory_that_others_can_change_is_not_believed() {
    let node = Node::new();
    fs::set_permissions(node.run_dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    for arguments in [["show"].as_slice(), &["check"], &["repair", "--force"]] {
        let (code, text) = node.ipam(arguments);
        assert!(code == Some(1) && text.contains("can write to it (mode 777)"), "{text}");
    }
}
