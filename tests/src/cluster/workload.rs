//! Pods that serve, and asking them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Cluster, PATIENCE};
use crate::lab::wait::eventually;

/// The address of the service in front of [`web`](Cluster::web)'s pods.
pub const WEB: &str = "10.96.0.80";

/// How many they are.
pub const REPLICAS: usize = 10;

/// The page of every pod: its name, and the address that it was asked from.
pub const WHO: &str = "/cgi-bin/who";

/// Pods that tell who they are and who asks, as many on one node as on another.
const MANIFEST: &str = r##"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 10
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: DoNotSchedule
        labelSelector: {matchLabels: {app: web}}
      containers:
      - name: web
        image: warren.test/busybox:1
        command:
        - sh
        - -c
        - |
          mkdir -p /tmp/web/cgi-bin
          printf '#!/bin/sh\necho; echo "%s $REMOTE_ADDR"\n' "$(hostname)" >/tmp/web/cgi-bin/who
          chmod 755 /tmp/web/cgi-bin/who
          exec httpd -f -h /tmp/web -p 80
        readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, clusterIP: 10.96.0.80, ports: [{port: 80}]}
"##;

/// A pod that runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its node's name.
    pub node: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// How often a container of it was started again.
    pub restarts: u64,
}

/// Who answered, and whom it saw asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The pod's name.
    pub from: String,
    /// The address that it was asked from.
    pub asked_by: String,
}

impl Cluster {
    /// The ten pods that serve, on all nodes; made if they are not there.
    ///
    /// # Errors
    /// When they do not get ready.
    pub fn web(&self) -> Result<Vec<Pod>> {
        self.kubectl.apply(MANIFEST)?;
        self.kubectl.rolled_out("default", "deployment/web")?;
        let pods = self.pods("app=web")?;
        ensure!(pods.len() == REPLICAS, "not {REPLICAS} pods: {pods:?}");
        Ok(pods)
    }

    /// Removes them, and waits until they are gone.
    ///
    /// # Errors
    /// When they do not go.
    pub fn remove_web(&self) -> Result<()> {
        self.kubectl.delete("service", "web")?;
        self.kubectl.delete("deployment", "web")?;
        eventually("the ten pods are gone", PATIENCE, || {
            let pods = self.kubectl.run(&["get", "pods", "--selector=app=web", "--output=name"])?;
            ensure!(pods.is_empty(), "{pods}");
            Ok(())
        })
    }

    /// The pods with this label that run and are to go on.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn pods(&self, label: &str) -> Result<Vec<Pod>> {
        self.pods_in("default", label)
    }

    /// As [`Cluster::pods`], in another namespace.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn pods_in(&self, namespace: &str, label: &str) -> Result<Vec<Pod>> {
        let selector = format!("--selector={label}");
        let list = self.kubectl.get(&["pods", "--namespace", namespace, &selector])?;
        let items = list["items"].as_array().context("a list without items")?;
        let staying = items.iter().filter(|pod| {
            pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running"
        });
        staying.map(pod).collect()
    }

    /// Asks these addresses from a pod, one after the other, all of which must answer.
    ///
    /// # Errors
    /// When one does not.
    pub fn ask_from_pod(&self, pod: &str, addresses: &[&str]) -> Result<Vec<Answer>> {
        let script: String = addresses
            .iter()
            .map(|address| {
                format!("wget -qO- http://{address}{WHO} || {{ echo {address}; exit 1; }}\n")
            })
            .collect();
        answers(&self.kubectl.exec(pod, &script)?, addresses.len())
    }

    /// Asks these addresses from a node itself.
    ///
    /// # Errors
    /// When one does not answer.
    pub fn ask_from_node(&self, number: u8, addresses: &[&str]) -> Result<Vec<Answer>> {
        let urls: Vec<_> =
            addresses.iter().map(|address| format!("http://{address}{WHO}")).collect();
        let mut command = vec!["curl", "--silent", "--show-error", "--fail", "--max-time", "20"];
        command.extend(urls.iter().map(String::as_str));
        answers(&self.node(number)?.run(&command)?, addresses.len())
    }
}

fn pod(pod: &Value) -> Result<Pod> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let containers = pod["status"]["containerStatuses"].as_array();
    Ok(Pod {
        name: text(&pod["metadata"]["name"]).context("a pod without a name")?,
        node: text(&pod["spec"]["nodeName"]).context("a pod without a node")?,
        address: text(&pod["status"]["podIP"])
            .with_context(|| format!("a pod without an address: {}", pod["metadata"]["name"]))?
            .parse()
            .context("a pod's address")?,
        restarts: containers
            .into_iter()
            .flatten()
            .filter_map(|container| container["restartCount"].as_u64())
            .sum(),
    })
}

fn answers(text: &str, count: usize) -> Result<Vec<Answer>> {
    let answers: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(from, asked_by)| Answer {
            from: from.to_owned(),
            // As a socket for both families names an IPv4 address.
            asked_by: asked_by.trim_matches(['[', ']']).trim_start_matches("::ffff:").to_owned(),
        })
        .collect();
    ensure!(answers.len() == count, "not {count} answers: {text}");
    Ok(answers)
}

/// One of the pods, on this node.
///
/// # Errors
/// When there is none.
pub fn one_on<'a>(pods: &'a [Pod], node: &str) -> Result<&'a Pod> {
    let pod = pods.iter().find(|pod| pod.node == node);
    pod.with_context(|| format!("no pod on {node}: {pods:?}"))
}

/// How many of the pods are on each node.
pub fn by_node(pods: &[Pod]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for pod in pods {
        *counts.entry(pod.node.as_str()).or_default() += 1;
    }
    counts
}
