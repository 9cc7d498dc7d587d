//! S3, S11: one manifest turns a bare cluster's nodes Ready, and pods and services reach each other.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use tests::cluster::Cluster;
use tests::cluster::scenario::Shared;
use tests::cluster::workload::{Answer, WEB, by_node, one_on};

pub fn trials(cluster: &Shared) -> Vec<Trial> {
    vec![
        cluster.trial("S3: without a plugin the nodes are NotReady, and say why", bare),
        cluster.trial("S3: one manifest turns the nodes Ready", manifest),
        cluster
            .trial("pods of both nodes reach each other, and nobody's address is rewritten", pods),
        cluster.trial(
            "S11: services answer pods and nodes, whichever node their pods are on",
            services,
        ),
        cluster.trial("S11: a hostPort leads to its pod, by portmap", host_port),
    ]
}

fn bare(cluster: &mut Cluster) -> Result<()> {
    let path = ".status.conditions[?(@.type==\"Ready\")].message";
    for node in cluster.nodes() {
        cluster.expect_condition(node.number(), "Ready", "False")?;
        let message = cluster.kubectl.field("node", node.name(), path)?;
        ensure!(message.contains("NetworkPluginNotReady"), "{message}");
        ensure!(message.contains("cni plugin not initialized"), "{message}");
    }
    Ok(())
}

fn manifest(cluster: &mut Cluster) -> Result<()> {
    cluster.install()?;
    for node in cluster.nodes() {
        cluster.expect_condition(node.number(), "Ready", "True")?;
        cluster.expect_condition(node.number(), "NetworkUnavailable", "False")?;
    }
    cluster.expect_full_mesh()?;
    let status = cluster.agent(1, &["status", "-o", "json"])?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    ensure!(status["ready"] == true, "{status}");
    ensure!(status["peers"][0]["name"] == "node2", "{status}");
    Ok(())
}

fn pods(cluster: &mut Cluster) -> Result<()> {
    cluster.install()?;
    let pods = cluster.web()?;
    ensure!(by_node(&pods).into_values().eq([5, 5]), "not spread: {pods:?}");
    let addresses: Vec<_> = pods.iter().map(|pod| pod.address.to_string()).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    for asking in &pods {
        let answers = cluster.ask_from_pod(&asking.name, &addresses)?;
        for (answer, asked) in answers.iter().zip(&pods) {
            ensure!(answer.from == asked.name, "{} answered for {asked:?}", answer.from);
            let seen = &answer.asked_by;
            ensure!(*seen == asking.address.to_string(), "{asked:?} saw {seen} for {asking:?}");
        }
    }
    for node in cluster.nodes() {
        cluster.ask_from_node(node.number(), &addresses)?;
    }
    Ok(())
}

fn services(cluster: &mut Cluster) -> Result<()> {
    cluster.install()?;
    let pods = cluster.web()?;
    let far = |answers: &[Answer], node: &str| {
        let on = |name: &str| pods.iter().any(|pod| pod.name == name && pod.node != node);
        answers.iter().any(|answer| on(&answer.from))
    };
    let many = [WEB; 30];
    for node in cluster.nodes() {
        let answers = cluster.ask_from_node(node.number(), &many)?;
        ensure!(far(&answers, node.name()), "{}: no other node's pod: {answers:?}", node.name());
        let asking = one_on(&pods, node.name())?;
        let answers = cluster.ask_from_pod(&asking.name, &many)?;
        ensure!(far(&answers, node.name()), "{asking:?}: no other node's pod: {answers:?}");
        // The API server has no way back to pods: it is asked by the node's address.
        cluster.node(node.number())?.run(&["curl", "-sk", "https://10.96.0.1/readyz"])?;
    }
    for pod in &pods {
        cluster.kubectl.exec(&pod.name, "nc -w 20 10.96.0.1 443 </dev/null")?;
    }
    Ok(())
}

fn host_port(cluster: &mut Cluster) -> Result<()> {
    cluster.install()?;
    let pods = cluster.web()?;
    cluster.kubectl.apply(
        r##"
apiVersion: v1
kind: Pod
metadata: {name: host-port}
spec:
  nodeName: node2
  terminationGracePeriodSeconds: 1
  containers:
  - name: it
    image: warren.test/busybox:1
    command: [sh, -c, 'mkdir /tmp/web; echo here >/tmp/web/index.html; exec httpd -f -h /tmp/web -p 80']
    ports: [{containerPort: 80, hostPort: 8080}]
"##,
    )?;
    cluster.kubectl.wait("condition=Ready", &["pod/host-port"])?;
    let address = format!("http://{}:8080/", cluster.node(2)?.address());
    for number in [1, 2] {
        let page = cluster.node(number)?.run(&["curl", "-sS", "--max-time", "20", &address])?;
        ensure!(page == "here\n", "node{number}: {page}");
    }
    let asking = one_on(&pods, "node1")?;
    let page = cluster.kubectl.exec(&asking.name, &format!("wget -qO- {address}"))?;
    ensure!(page == "here\n", "{page}");
    cluster.kubectl.delete("pod", "host-port")
}
