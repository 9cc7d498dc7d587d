//! Pods.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::capture::Capture;
use super::command::{Outcome, ip, namespace_path, run, within};
use super::node::Node;
use super::ping::{Pinging, Pings, ping};
use super::wait::{SOON, eventually};
use crate::environment::built;

/// The interface inside a pod.
pub const INTERFACE: &str = "eth0";

/// The Kubernetes namespace of the lab's pods.
const KUBERNETES_NAMESPACE: &str = "default";

/// The version of the CNI specification that the lab's runtime speaks.
const CNI_VERSION: &str = "1.0.0";

/// The plugin's error while no agent has described the node.
const TRY_AGAIN_LATER: &str = r#""code":11,"#;

/// A pod.
#[derive(Debug, Clone)]
pub struct Pod {
    node: Node,
    name: String,
    namespace: String,
    address: Ipv4Addr,
    result: Value,
}

impl Node {
    /// Adds a pod as containerd does: a namespace, and the plugin's ADD.
    ///
    /// # Errors
    /// When the plugin fails; its error is in the text.
    pub fn add_pod(&self, name: &str) -> Result<Pod> {
        let namespace = self.pod_namespace(name)?;
        // An agent that answers may still be on its way: a runtime tries again then, too.
        let outcome = eventually("the node is described for the plugin", SOON, || {
            let outcome = self.cni("ADD", name, &self.netconf(), &[])?;
            ensure!(!outcome.stdout.contains(TRY_AGAIN_LATER), "{}", outcome.stdout);
            Ok(outcome)
        })?;
        let said = outcome.ok().with_context(|| format!("ADD of pod {name}"))?;
        let result: Value = serde_json::from_str(&said).context("the result is no JSON")?;
        let address = result["ips"][0]["address"]
            .as_str()
            .and_then(|address| address.split('/').next()?.parse().ok())
            .with_context(|| format!("no address in the result {said}"))?;
        Ok(Pod { node: self.clone(), name: name.to_owned(), namespace, address, result })
    }

    /// Adds a pod with this address by hand, as the plugin would: for nodes where none of this
    /// project's programs run.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn plumb_pod(&self, name: &str, address: Ipv4Addr) -> Result<Pod> {
        let namespace = self.pod_namespace(name)?;
        let host = warren_types::ifname::for_pod(KUBERNETES_NAMESPACE, name);
        ip(
            Some(self.namespace()),
            &[
                format!(
                    "link add {host} address ee:ee:ee:ee:ee:ee type veth peer name {INTERFACE} netns {namespace}"
                ),
                format!("link set {host} up"),
                format!("route add {address} dev {host} scope link"),
            ],
        )?;
        self.sysctl(&format!("net.ipv4.conf.{host}.proxy_arp"), "1")?;
        self.sysctl(&format!("net.ipv4.neigh.{host}.proxy_delay"), "0")?;
        ip(
            Some(&namespace),
            &[
                format!("link set {INTERFACE} up"),
                format!("address add {address}/32 dev {INTERFACE}"),
                format!("route add 169.254.1.1 dev {INTERFACE} scope link"),
                format!("route add default via 169.254.1.1 dev {INTERFACE}"),
            ],
        )?;
        Ok(Pod {
            node: self.clone(),
            name: name.to_owned(),
            namespace,
            address,
            result: Value::Null,
        })
    }

    fn pod_namespace(&self, pod: &str) -> Result<String> {
        let namespace = self.namespace_of(pod);
        ip(None, &[format!("netns add {namespace}")])?;
        Ok(namespace)
    }

    /// The configuration that a runtime gives the plugin.
    pub fn netconf(&self) -> Value {
        json!({
            "cniVersion": CNI_VERSION,
            "name": "warren",
            "type": "warren",
            "runDir": self.run_dir(),
        })
    }

    /// Calls the plugin for a pod, as a runtime does. `environment` is set after the usual variables;
    /// an empty value removes one.
    ///
    /// # Errors
    /// When the plugin cannot be run. That it fails is an outcome.
    pub fn cni(
        &self,
        verb: &str,
        pod: &str,
        netconf: &Value,
        environment: &[(&str, &str)],
    ) -> Result<Outcome> {
        run(&mut self.cni_command(verb, pod, environment)?, &netconf.to_string())
    }

    /// What [`Node::cni`] runs.
    ///
    /// # Errors
    /// When the plugin has not been built.
    pub fn cni_command(
        &self,
        verb: &str,
        pod: &str,
        environment: &[(&str, &str)],
    ) -> Result<Command> {
        let plugin = built("warren")?;
        let container_id = self.container_id(pod);
        let mut command = within(self.namespace(), &plugin);
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", &container_id)
            .env("CNI_NETNS", namespace_path(&self.namespace_of(pod)))
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_PATH", plugin.parent().unwrap_or(Path::new("/")))
            .env(
                "CNI_ARGS",
                format!(
                    "K8S_POD_INFRA_CONTAINER_ID={container_id};K8S_POD_UID=uid-{pod};\
                     IgnoreUnknown=1;K8S_POD_NAMESPACE={KUBERNETES_NAMESPACE};K8S_POD_NAME={pod}"
                ),
            );
        for (name, value) in environment {
            match *value {
                "" => command.env_remove(name),
                _ => command.env(name, value),
            };
        }
        Ok(command)
    }

    /// The container ID that the lab's runtime gives this pod.
    pub fn container_id(&self, pod: &str) -> String {
        format!("{}-{pod}", self.name())
    }
}

impl Pod {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node that it runs on.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The name of its network namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What the plugin's ADD printed; null for a pod plumbed by hand.
    pub fn result(&self) -> &Value {
        &self.result
    }

    /// The name of its interface's other end, on the node.
    pub fn host_interface(&self) -> String {
        warren_types::ifname::for_pod(KUBERNETES_NAMESPACE, &self.name)
    }

    /// The route to it, as its node should have it.
    pub fn host_route(&self) -> String {
        format!("{} dev {} scope link", self.address, self.host_interface())
    }

    /// Calls the plugin for this pod with what a runtime gives it after an ADD: the result of it.
    ///
    /// # Errors
    /// When the plugin cannot be run. That it fails is an outcome.
    pub fn cni(&self, verb: &str) -> Result<Outcome> {
        let mut netconf = self.node.netconf();
        netconf["prevResult"] = self.result.clone();
        self.node.cni(verb, &self.name, &netconf, &[])
    }

    /// Deletes it as containerd does: the plugin's DEL, then the namespace.
    ///
    /// # Errors
    /// When the plugin fails; its error is in the text.
    pub fn delete(self) -> Result<()> {
        self.cni("DEL")?.ok().with_context(|| format!("DEL of pod {}", self.name))?;
        ip(None, &[format!("netns delete {}", self.namespace)])?;
        ensure!(
            fs::metadata(namespace_path(&self.namespace)).is_err(),
            "{} is still there",
            self.namespace
        );
        Ok(())
    }

    /// Pings from the pod.
    ///
    /// # Errors
    /// When ping cannot be run.
    pub fn ping(&self, to: impl Into<IpAddr>, count: usize) -> Result<Pings> {
        ping(within(&self.namespace, "ping"), to.into(), count)
    }

    /// That the other pod answers `count` pings.
    ///
    /// # Errors
    /// When an answer is missing.
    pub fn expect_answers(&self, from: &Self, count: usize) -> Result<()> {
        let pings = self.ping(from.address(), count)?;
        ensure!(
            pings.all_answered(),
            "{} ({}) answered {} of {} pings of {} ({})",
            from.name,
            from.address,
            pings.answered,
            pings.sent,
            self.name,
            self.address
        );
        Ok(())
    }

    /// Pings from the pod until ended.
    ///
    /// # Errors
    /// When ping cannot be run.
    pub fn ping_on(&self, to: impl Into<IpAddr>) -> Result<Pinging> {
        Pinging::start(within(&self.namespace, "ping"), to.into(), self.node.directory())
    }

    /// Captures what passes the pod's interface and `filter` (pcap-filter(7)).
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn capture(&self, filter: &str) -> Result<Capture> {
        Capture::start(&self.namespace, INTERFACE, filter, self.node.directory())
    }
}
