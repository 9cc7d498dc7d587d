//! What the plugin says of the node and of itself: to the runtime by `STATUS` and `VERSION`, to the
//! agent after each command.

use std::os::unix::net::UnixDatagram;

use serde_json::{Value, json};
use warren_types::node::NodeDescription;
use warren_types::report::{self, Report};

use crate::support::{Call, Node, Sandbox, ip, pod, run, with_result};

#[test]
fn status_says_why_no_pod_could_start() {
    let undescribed = Node::undescribed();
    let (code, message) = undescribed.call("STATUS", &Call::default()).error();
    assert_eq!(code, 50);
    assert!(message.contains("no agent has described this node yet"), "{message}");

    let node = Node::new();
    node.describe("10.0.0.0/31", &["10.0.0.0"]);
    assert_eq!(node.call("STATUS", &Call::default()).ok(), Value::Null);
    let sandbox = Sandbox::new();
    let call = pod("nginx", "a", &sandbox);
    node.call("ADD", &call).ok();
    let (code, message) = node.call("STATUS", &Call::default()).error();
    assert_eq!((code, message.as_str()), (50, "no free address in 10.0.0.0/31 (1 of 1 in use)"));
    node.call("DEL", &call).ok();
    node.call("STATUS", &Call::default()).ok();
}

#[test]
fn status_says_that_running_pods_are_cut_off_too() {
    let node = Node::new();
    let status = || node.call("STATUS", &Call::default());
    node.describe("10.0.0.0/32", &["10.0.0.0"]);
    assert_eq!(status().error().0, 50);
    ip("address del 192.168.0.176/32 dev lo");
    // The worse of the two gives the code, and both are told.
    assert_eq!(
        status().error(),
        (
            51,
            "the node does not have its address 192.168.0.176 any more; besides: no free address \
             in 10.0.0.0/32 (0 of 0 in use)"
                .into()
        )
    );
    node.describe("10.0.0.0/31", &[]);
    assert_eq!(status().error().0, 51);
    ip("address add 192.168.0.176/32 dev lo");
    status().ok();

    let mut description = NodeDescription::read(&node.run_dir()).unwrap();
    description.tunnel = Some("tunl0".into());
    description.write(&node.run_dir()).unwrap();
    // A kernel with the module ipip has the device in every namespace.
    if !ip("-o link").contains("tunl0") {
        ip("link add tunl0 type veth peer name other");
    }
    let (code, message) = status().error();
    assert!(code == 51 && message.contains("the tunnel device tunl0 is down"), "{message}");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    ip("link set tunl0 up");
    status().ok();
}

#[test]
fn the_agent_is_told_of_each_command_and_its_phases() {
    let node = Node::new();
    let agent = UnixDatagram::bind(node.run_dir().reports()).unwrap();
    let heard = || {
        let mut buffer = [0; report::LONGEST];
        let length = agent.recv(&mut buffer).unwrap();
        let report = Report::parse(&buffer[..length]).unwrap();
        let phases: Vec<_> = report.phases.iter().map(|(phase, _)| phase.as_str()).collect();
        (report.command.as_str(), report.code, phases.join(" "))
    };
    let sandbox = Sandbox::new();
    let call = pod("nginx", "a", &sandbox);
    let result = node.call("ADD", &call).ok();
    assert_eq!(heard(), ("ADD", 0, "read allocate connect answer".into()));
    node.call("CHECK", &with_result(&call, &result)).ok();
    assert_eq!(heard(), ("CHECK", 0, "read compare".into()));
    node.call("ADD", &call).error();
    assert_eq!(heard(), ("ADD", 104, "read".into()));
    node.call("DEL", &call).ok();
    assert_eq!(heard(), ("DEL", 0, "remove search".into()));
    node.call("STATUS", &Call::default()).ok();
    assert_eq!(heard(), ("STATUS", 0, String::new()));
}

#[test]
fn version_is_answered_in_the_version_of_the_question() {
    let answer = |input: &[u8]| run(&[("CNI_COMMAND", "VERSION")], input).ok();
    let supported = json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    for (input, version) in
        [(&b""[..], "1.1.0"), (b"{\"cniVersion\":\"0.4.0\"}", "0.4.0"), (b"nonsense", "1.1.0")]
    {
        assert_eq!(answer(input), json!({"cniVersion": version, "supportedVersions": supported}));
    }
}
