//! A Kubernetes cluster on one machine: a real API server with all that belongs to it, and nodes with
//! real kubelets and a real containerd.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`control_plane`] | etcd, API server, controller manager, scheduler; away and back |
//! | [`node`] | a node, from its kubelet to its pods' namespaces; its NIC, its power |
//! | [`kubectl`] | kubectl, as the cluster's owner uses it |
//! | [`installation`] | `deploy/warren.yaml` and the image |
//! | [`workload`] | pods that serve, and asking them |
//! | [`picture`] | all on a node that an installation could leave there |
//! | [`audit`] | who asked the API server for what |
//! | [`scenario`] | scenarios in sequence, on one cluster |
//!
//! ```text
//!  this process's namespaces ── bridge br0, 10.77.0.1 ── etcd, API server, controllers
//!        │
//!        └─> one process, network, mount, ... namespace per node (Nx), eth0 10.77.0.11 and so on
//!              └─ containerd, kubelet, kube-proxy, and all that they start
//! ```
//!
//! Killing a node's first process is a power cut. What nodes write lies on tmpfs, their control groups
//! are removed when this process ends, and everything else ends with it.

pub mod audit;
pub mod control_plane;
pub mod installation;
pub mod kubectl;
pub mod node;
pub mod picture;
pub mod scenario;
pub mod workload;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::control_plane::ControlPlane;
use self::kubectl::Kubectl;
use self::node::Node;
use self::picture::Picture;
use crate::environment::cluster::{DIRECTORY, Parts, parts};
use crate::lab::command::{ip, run, tail};
use crate::lab::wait::eventually;

/// The API server's address, and that of the switch.
pub const CONTROL_PLANE: &str = "10.77.0.1";

/// The range of all pod addresses. Every node has a /24 of it.
pub const POD_CIDR: &str = "10.244.0.0/16";

/// The range of all service addresses; the API server's is the first.
pub const SERVICE_CIDR: &str = "10.96.0.0/16";

/// How long the cluster may take for whatever it is to do. A machine that has other things to do is
/// many times slower than one that has not.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// How many nodes there can be: their tokens are the API server's from its start.
const MOST_NODES: u8 = 3;

/// The cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Its brain.
    pub control_plane: ControlPlane,
    /// Its owner's tool.
    pub kubectl: Kubectl,
    /// What the first nodes were like before anything was installed.
    pub bare: Vec<Picture>,
    nodes: Vec<Node>,
    directory: PathBuf,
    parts: Parts,
    installed: bool,
}

impl Cluster {
    /// A cluster with two nodes and no network plugin.
    ///
    /// # Errors
    /// When it does not come to life; [`crate::environment::cluster::enter`] must have been called.
    pub fn new() -> Result<Self> {
        let parts = parts()?;
        let directory = Path::new(DIRECTORY).to_owned();
        bring_programs(&directory, &parts)?;
        ip(
            None,
            &[
                "link set lo up".to_owned(),
                "link add br0 type bridge".to_owned(),
                format!("address add {CONTROL_PLANE}/24 dev br0"),
                "link set br0 up".to_owned(),
            ],
        )?;
        let kubectl = Kubectl::new(&directory.join("admin.conf"));
        let control_plane = ControlPlane::start(&directory, &kubectl)?;
        let mut cluster = Self {
            control_plane,
            kubectl,
            bare: Vec::new(),
            nodes: Vec::new(),
            directory,
            parts,
            installed: false,
        };
        for number in [1, 2] {
            cluster.start_node(number)?;
        }
        for number in [1, 2] {
            cluster.expect_registered(number)?;
        }
        cluster.bare = cluster.nodes.iter().map(Picture::of).collect::<Result<_>>()?;
        Ok(cluster)
    }

    /// The node of this number, which is part of its name.
    ///
    /// # Errors
    /// When it does not run.
    pub fn node(&self, number: u8) -> Result<&Node> {
        let node = self.nodes.iter().find(|node| node.number() == number);
        node.with_context(|| format!("node{number} does not run"))
    }

    /// As [`Cluster::node`], to change it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn node_mut(&mut self, number: u8) -> Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|node| node.number() == number);
        node.with_context(|| format!("node{number} does not run"))
    }

    /// The nodes that run.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Has one more node join, with the image on it, and waits until the cluster knows it.
    ///
    /// # Errors
    /// When it does not.
    pub fn add_node(&mut self, number: u8) -> Result<()> {
        self.start_node(number)?;
        eventually("its containerd takes the image", PATIENCE, || self.import_image(number))?;
        self.expect_registered(number)
    }

    /// Cuts a node's power.
    pub fn cut_power(&mut self, number: u8) {
        self.nodes.retain(|node| node.number() != number);
    }

    fn start_node(&mut self, number: u8) -> Result<()> {
        ensure!((1..=MOST_NODES).contains(&number), "there is no token for node{number}");
        let node = Node::start(number, &self.directory, &self.parts.group)?;
        self.nodes.push(node);
        Ok(())
    }

    /// Waits until the API server has the node, and it has its block.
    fn expect_registered(&mut self, number: u8) -> Result<()> {
        let kubectl = self.kubectl.clone();
        let node = self.node_mut(number)?;
        eventually("the node is registered and has a pod CIDR", PATIENCE, || {
            // That will not become better.
            if let Err(error) = node.check() {
                return Ok(Err(error));
            }
            let cidr = kubectl.field("node", node.name(), ".spec.podCIDR")?;
            ensure!(!cidr.is_empty(), "{} has no pod CIDR", node.name());
            Ok(Ok(()))
        })?
    }

    /// The state of everything, as one who looks for a mistake wants to see it.
    pub fn report(&self) -> String {
        let mut text = String::new();
        let questions: [&[&str]; 4] = [
            &["get", "nodes", "--output=wide"],
            &["get", "pods", "--all-namespaces", "--output=wide"],
            &["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"],
            &[
                "-n",
                "kube-system",
                "logs",
                "-l",
                "app.kubernetes.io/name=warren",
                "--tail=40",
                "--prefix",
            ],
        ];
        for question in questions {
            let answer = self.kubectl.run(question).unwrap_or_else(|e| format!("({e:#})"));
            let _ = writeln!(text, "-- kubectl {}\n{}", question.join(" "), tail(&answer, 80));
        }
        for node in &self.nodes {
            for command in [&["ip", "route"][..], &["ip", "-br", "address"]] {
                let answer = node.run(command).unwrap_or_else(|e| format!("({e:#})"));
                let _ = writeln!(text, "-- {}# {}\n{answer}", node.name(), command.join(" "));
            }
        }
        let mut logs = Vec::new();
        find_logs(&self.directory, &mut logs);
        for log in logs {
            let content = fs::read(&log).unwrap_or_default();
            let content = String::from_utf8_lossy(&content);
            let _ = writeln!(text, "-- the end of {}\n{}", log.display(), tail(&content, 15));
        }
        text
    }
}

/// Puts the programs where nodes see them too, whatever they cover of the machine's own files.
fn bring_programs(directory: &Path, parts: &Parts) -> Result<()> {
    let assets = parts.assets.as_ref().map(|assets| (assets, "assets"));
    for (from, name) in [(&parts.programs, "programs")].into_iter().chain(assets) {
        let to = directory.join(name);
        fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
        run(Command::new("mount").arg("--bind").arg(from).arg(&to), "")?.ok()?;
    }
    let to = directory.join("warren.tar");
    fs::copy(&parts.image, &to)
        .with_context(|| format!("cannot copy {}", parts.image.display()))
        .map(drop)
}

/// The logs in a directory and those below, less the programs'.
fn find_logs(directory: &Path, logs: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("programs") && !path.ends_with("assets") {
            find_logs(&path, logs);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            logs.push(path);
        }
    }
}
