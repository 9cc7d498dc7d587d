//! What the cluster's owner does to have Warren: image, manifest.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::{Cluster, PATIENCE, POD_CIDR};
use crate::environment::source_root;
use crate::lab::wait::eventually;

/// The DaemonSet's namespace.
pub const NAMESPACE: &str = "kube-system";

/// The DaemonSet.
pub const DAEMON_SET: &str = "daemonset/warren";

/// The label of its pods.
pub const AGENTS_LABEL: &str = "app.kubernetes.io/name=warren";

/// kubectl's selector of them.
pub const AGENTS: &str = "--selector=app.kubernetes.io/name=warren";

/// The image's name in the manifests, without its version.
const IMAGE: &str = "warren.io/warren:";

/// A version that the image is had in besides, for upgrades.
const NEXT_VERSION: &str = "next";

/// After this line of the manifest's configuration the owner writes more.
const CONFIGURED: &str = "    datastore: kubernetes\n";

impl Cluster {
    /// Brings the image to a node, as `docs/kubernetes.md` says.
    ///
    /// # Errors
    /// When containerd does not take it.
    pub fn import_image(&self, number: u8) -> Result<()> {
        let archive = self.directory.join("warren.tar").display().to_string();
        let (now, next) = (image(env!("CARGO_PKG_VERSION")), image(NEXT_VERSION));
        for command in [&["import", &archive][..], &["tag", "--force", &now, &next]] {
            let ctr = ["ctr", "--namespace", "k8s.io", "image"];
            self.node(number)?.run(&[&ctr, command].concat())?;
        }
        Ok(())
    }

    /// `deploy/warren.yaml` for this cluster: kubeadm has left no pool, the kernel need not have
    /// ipip, and a silent peer is not waited for as long as elsewhere; but for longer than a loaded
    /// machine takes to replace an agent's pod.
    ///
    /// # Errors
    /// When it cannot be read, or is not as it was when this was written.
    pub fn manifest(&self) -> Result<String> {
        let file = source_root().join("deploy/warren.yaml");
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        ensure!(text.matches(CONFIGURED).count() == 1, "{} has no {CONFIGURED:?}", file.display());
        let more = format!(
            "{CONFIGURED}    \
             holdTimeSeconds: 20\n    \
             gracefulRestart: {{restartTimeSeconds: 45}}\n    \
             pools:\n    \
             - {{cidr: {POD_CIDR}, encapsulation: None, natOutgoing: true}}\n"
        );
        Ok(text.replace(CONFIGURED, &more))
    }

    /// The manifest of another version.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest).
    pub fn next_manifest(&self) -> Result<String> {
        Ok(self.manifest()?.replace(&image(env!("CARGO_PKG_VERSION")), &image(NEXT_VERSION)))
    }

    /// Installs Warren, unless it is there, and waits until the nodes are ready.
    ///
    /// # Errors
    /// When they do not get there.
    pub fn install(&mut self) -> Result<()> {
        if !self.installed {
            for number in self.nodes.iter().map(super::node::Node::number) {
                self.import_image(number)?;
            }
            self.kubectl.apply(&self.manifest()?)?;
            self.installed = true;
        }
        self.expect_all_ready()
    }

    /// Waits until all agents and all nodes are ready.
    ///
    /// # Errors
    /// When they do not get there.
    pub fn expect_all_ready(&self) -> Result<()> {
        self.kubectl.rolled_out(NAMESPACE, DAEMON_SET)?;
        self.kubectl.wait("condition=Ready", &["node", "--all"])
    }

    /// Takes the manifest away again.
    ///
    /// # Errors
    /// When something of it does not go.
    pub fn uninstall(&mut self) -> Result<()> {
        self.kubectl.delete_manifest(&self.manifest()?)?;
        self.installed = false;
        Ok(())
    }

    /// The name of the agent's pod on a node.
    ///
    /// # Errors
    /// When there is none.
    pub fn agent_pod(&self, number: u8) -> Result<String> {
        let on = format!("--field-selector=spec.nodeName=node{number}");
        let pods = self.kubectl.get(&["pods", "--namespace", NAMESPACE, AGENTS, &on])?;
        let name = pods["items"][0]["metadata"]["name"].as_str().map(str::to_owned);
        name.with_context(|| format!("node{number} has no agent"))
    }

    /// Runs the operator's command in the agent's container of a node.
    ///
    /// # Errors
    /// When it fails.
    pub fn agent(&self, number: u8, arguments: &[&str]) -> Result<String> {
        let pod = self.agent_pod(number)?;
        let command = ["--namespace", NAMESPACE, "exec", &pod, "--container=agent", "--", "/agent"];
        self.kubectl.run(&[&command, arguments].concat())
    }

    /// The route by which a node reaches another one's pods.
    ///
    /// # Errors
    /// When the other node has no block.
    pub fn route_to(&self, number: u8) -> Result<String> {
        let node = self.node(number)?;
        let block = self.kubectl.field("node", node.name(), ".spec.podCIDR")?;
        Ok(format!("{block} via {} dev eth0 onlink", node.address()))
    }

    /// Waits until every node has its routes to all others.
    ///
    /// # Errors
    /// When one does not get there.
    pub fn expect_full_mesh(&self) -> Result<()> {
        for node in &self.nodes {
            let others = self.nodes.iter().filter(|other| other.number() != node.number());
            let routes: Vec<_> =
                others.map(|other| self.route_to(other.number())).collect::<Result<_>>()?;
            node.expect_block_routes(&routes)?;
        }
        Ok(())
    }

    /// Waits until a node's condition has this status.
    ///
    /// # Errors
    /// When it does not come to have it.
    pub fn expect_condition(&self, number: u8, name: &str, status: &str) -> Result<()> {
        let path = format!(".status.conditions[?(@.type==\"{name}\")].status");
        eventually(&format!("node{number}'s {name} is {status}"), PATIENCE, || {
            let there = self.kubectl.field("node", &format!("node{number}"), &path)?;
            ensure!(there == status, "it is {there:?}");
            Ok(())
        })
    }
}

fn image(version: &str) -> String {
    format!("{IMAGE}{version}")
}
