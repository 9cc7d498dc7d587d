//! What the agent makes of the addresses that the plugin gives, and of what it tells.

mod ipam;

use std::io::{Read, Write};
use std::net::TcpStream;

use warren_ipam::{Claim, Owner, Pod, Record, Store};
use warren_types::ifname;
use warren_types::node::NodeDescription;
use warren_types::report::{Command, Phase, Report};
use warren_types::run_dir::RunDir;
use warren_types::wishes::Wishes;

use crate::running::config::node1;
use crate::running::{Namespace, wait};

const CONFIG: &str = node1!(
    "ipam: {lowWater: 63}
metrics: {listen: 127.0.0.1:9091}
"
);

/// What a plugin does for its pod's address.
fn allocate(run_dir: &RunDir, container: &str) -> Vec<Record> {
    let claim = Claim {
        owner: Owner::new(container, "eth0").unwrap(),
        network: "k8s".into(),
        netns: "/run/netns/pod".into(),
        pod: Some(Pod { namespace: "default".into(), name: container.into() }),
        host_interface: ifname::for_container(container),
        mac: None,
        mtu: 1500,
        metric: 0,
        wishes: Wishes::default(),
    };
    let node = NodeDescription::read(run_dir).unwrap();
    Store::new(run_dir).allocate(&node, claim).unwrap().1
}

fn metrics(node: &Namespace) -> String {
    node.within(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9091").unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    })
}

#[test]
fn the_agent_counts_what_the_plugin_tells_and_says_before_addresses_run_out() {
    let node = Namespace::new();
    let running = node.start(CONFIG);
    let run_dir = RunDir::new(node.path("run"));
    let described = || NodeDescription::read(&run_dir).is_ok();
    wait("the node's description", String::new, described);
    let shows = |line: &str| wait(line, || metrics(&node), || metrics(&node).contains(line));

    let report = Report {
        command: Command::Add,
        code: 0,
        phases: vec![(Phase::Read, 90)],
        total_micros: 1_000,
    };
    allocate(&run_dir, "a");
    report.send(&run_dir).unwrap();
    shows("warren_cni_commands_total{command=\"ADD\",code=\"0\"} 1");
    shows("warren_ipam_addresses{block=\"172.16.52.128/26\",state=\"free\"} 63");
    assert!(metrics(&node).contains("content-type: application/openmetrics-text"));
    assert!(!metrics(&node).contains("warren_ipam_low{"));
    assert_eq!(running.status()["ipam"]["low"], serde_json::json!([]));

    allocate(&run_dir, "b");
    report.send(&run_dir).unwrap();
    shows("warren_ipam_low{family=\"IPv4\"} 1");
    running
        .logged("62 free addresses of IPv4 are left, less than 63: this node wants another block");
    assert_eq!(running.status()["ipam"]["low"][0]["free"], 62);
    assert!(running.ask(&["status"]).1.contains("62 free addresses of IPv4 are left"));

    // A pod more may be wanted of the addresses that there are.
    running.reload(&CONFIG.replace("lowWater: 63", "lowWater: 9, reserved: [172.16.52.130/31]"));
    running.logged("there are addresses enough again");
    let kept = || NodeDescription::read(&run_dir).is_ok_and(|node| node.reserved.len() == 1);
    wait("the reserved addresses", String::new, kept);
    // What is no report harms nobody.
    let noise = std::os::unix::net::UnixDatagram::unbound().unwrap();
    noise.send_to(b"{\"command\":\"MUL\"}", run_dir.reports()).unwrap();
    report.send(&run_dir).unwrap();
    shows("warren_cni_commands_total{command=\"ADD\",code=\"0\"} 3");
}
