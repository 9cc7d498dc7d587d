//! A small data centre: nodes on one switch, what runs on them, and what can be done to them.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`node`] | a node: its namespace, its address, its cable, its firewall |
//! | [`agent`] | the node's agent, and what it says |
//! | [`bird`] | a node run by BIRD instead, as Calico would configure it |
//! | [`pod`] | pods, made by the plugin as a container runtime would, or plumbed by hand |
//! | [`ping`], [`capture`], [`packet`] | traffic, and looking at it |
//! | [`monitor`] | what happens to a routing table |
//! | [`command`], [`wait`] | programs, and waiting for what they bring about |
//! | [`report`] | what one needs to see when a scenario fails |
//!
//! Every node is a network namespace whose `enp1s0` is a veth pair's end; the other end is a port, by
//! the node's name, of the bridge `switch` in a namespace of its own. The bridge has the router's
//! address. All of it goes when the [`Lab`] is dropped.

pub mod agent;
pub mod bird;
pub mod capture;
pub mod command;
pub mod monitor;
pub mod node;
pub mod packet;
pub mod ping;
pub mod pod;
pub mod report;
pub mod wait;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use ipnetwork::Ipv4Network;

use self::command::{NAMESPACES, ip};
use self::node::Node;
use crate::environment::isolation::LABS;

/// The AS number that Calico, and so all here, uses where nothing else is said.
pub const AS_NUMBER: u32 = 64512;

/// The range of all pod addresses in the lab.
pub const POOL: &str = "172.16.0.0/16";

/// The address of the router, on every node's network.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);

/// A data centre.
#[derive(Debug)]
pub struct Lab {
    shared: Arc<Shared>,
}

/// What the lab's nodes know of it.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The beginning of its namespaces' names, so that several labs do not meet.
    name: String,
    /// Its files.
    directory: PathBuf,
    nodes: Mutex<Vec<Node>>,
    /// Whether agents that are started from now on do graceful restart.
    graceful_restart: AtomicBool,
}

impl Shared {
    /// The name of one of this lab's namespaces.
    pub(crate) fn namespace(&self, of: &str) -> String {
        format!("{}.{of}", self.name)
    }

    /// The namespace of the switch.
    pub(crate) fn switch(&self) -> String {
        self.namespace("switch")
    }

    /// Whether agents are to do graceful restart.
    pub(crate) fn graceful_restart(&self) -> bool {
        self.graceful_restart.load(Ordering::Relaxed)
    }

    /// The lab's directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Sets the switch's port of a node up or down.
    pub(crate) fn set_port(&self, node: &Node, state: &str) -> Result<()> {
        ip(Some(&self.switch()), &[format!("link set {} {state}", node.name())]).map(drop)
    }

    /// The nodes, in the order of their making.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        self.nodes.lock().map(|nodes| nodes.clone()).unwrap_or_default()
    }
}

impl Lab {
    /// A data centre with a switch and no nodes.
    ///
    /// # Errors
    /// When it cannot be made; [`crate::environment::enter`] must have been called.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let name = format!("lab{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(LABS).join(&name);
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let graceful_restart = AtomicBool::new(true);
        let shared = Shared { name, directory, nodes: Mutex::default(), graceful_restart };
        let switch = shared.switch();
        let lab = Self { shared: Arc::new(shared) };
        ip(None, &[format!("netns add {switch}")])?;
        ip(
            Some(&switch),
            &[
                "link set lo up".into(),
                // A bridge that learns and forwards at once: no spanning tree.
                "link add switch type bridge forward_delay 0 stp_state 0".into(),
                format!("address add {ROUTER}/24 dev switch"),
                "link set switch up".into(),
            ],
        )?;
        Ok(lab)
    }

    /// Its files: a directory for each node.
    pub fn directory(&self) -> &Path {
        self.shared.directory()
    }

    /// The name of the network namespace of a node, or of a pod as `node.pod`.
    pub fn namespace(&self, of: &str) -> String {
        self.shared.namespace(of)
    }

    /// Scenario S1's three nodes: node1 .176, node2 .146 and node3 .241 of 192.168.0.0/24.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn three_nodes(&self) -> Result<[Node; 3]> {
        Ok([
            self.node("node1", "192.168.0.176/24", "172.16.52.128/26")?,
            self.node("node2", "192.168.0.146/24", "172.16.103.64/26")?,
            self.node("node3", "192.168.0.241/24", "172.16.246.192/26")?,
        ])
    }

    /// Adds a node with its address and its block of pod addresses. Nothing runs on it yet; it is
    /// among the peers of agents and BIRDs that are started from now on.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn node(&self, name: &str, address: &str, block: &str) -> Result<Node> {
        let address: Ipv4Network = address.parse().with_context(|| address.to_owned())?;
        let block: Ipv4Network = block.parse().with_context(|| block.to_owned())?;
        let node = Node::new(&self.shared, name, address, block)?;
        if let Ok(mut nodes) = self.shared.nodes.lock() {
            nodes.push(node.clone());
        }
        Ok(node)
    }

    /// The nodes, in the order of their making.
    pub fn nodes(&self) -> Vec<Node> {
        self.shared.nodes()
    }

    /// Has agents that are started from now on do without graceful restart.
    pub fn without_graceful_restart(&self) {
        self.shared.graceful_restart.store(false, Ordering::Relaxed);
    }

    /// Pulls the node's cable.
    ///
    /// # Errors
    /// When that fails.
    pub fn cut(&self, node: &Node) -> Result<()> {
        self.shared.set_port(node, "down")
    }

    /// Puts the node's cable back.
    ///
    /// # Errors
    /// When that fails.
    pub fn plug(&self, node: &Node) -> Result<()> {
        self.shared.set_port(node, "up")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Nodes and lab know each other; taken out of the lab, the nodes end with their last handle,
        // their processes now. What cannot be ended here ends with this process, see
        // `environment::isolation`.
        for node in self.shared.nodes() {
            node.end_processes();
        }
        if let Ok(mut nodes) = self.shared.nodes.lock() {
            nodes.clear();
        }
        let Ok(names) = fs::read_dir(NAMESPACES) else { return };
        let prefix = self.shared.namespace("");
        let delete: Vec<_> = names
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(&prefix))
            .map(|name| format!("netns delete {name}"))
            .collect();
        let _ = ip(None, &delete);
        let _ = fs::remove_dir_all(self.shared.directory());
    }
}
