//! What is wrong is named, and nothing is left of the attempt.

use std::fs;

use crate::support::{Call, Node, Sandbox, pod, run};
use serde_json::{Value, json};

#[test]
fn a_person_who_runs_it_by_hand_is_told_what_it_is() {
    let outcome = run(&[], b"");
    assert!(outcome.log.contains("is a CNI plugin") && outcome.log.contains("CNI_COMMAND=VERSION"));
    assert_eq!(outcome.error(), (4, "environment variable is missing: CNI_COMMAND".into()));
}

#[test]
fn broken_input_has_a_code_and_a_sentence_each() {
    let node = Node::new();
    let sandbox = Sandbox::new();
    let netns = sandbox.path();
    let good = node.conf(&json!({}));
    let changed = |key: &str, value: Value| {
        let mut conf = good.clone();
        conf[key] = value;
        conf.to_string()
    };
    let without = |key: &str| {
        let mut conf = good.clone();
        conf.as_object_mut().unwrap().remove(key);
        conf.to_string()
    };
    let cases = [
        (String::new(), 6, "standard input is empty"),
        ("{\"cniVersion\":\n\"1.0.0\",}".into(), 6, "line 2 column"),
        ("[1]".into(), 6, "not a JSON object"),
        (without("cniVersion"), 1, "no cniVersion"),
        (changed("cniVersion", "1.2.0".into()), 1, "\"1.2.0\" is not supported; this plugin"),
        (changed("cniVersion", 1.into()), 7, "key cniVersion is invalid"),
        (without("name"), 7, "key name is invalid"),
        (changed("mtu", "big".into()), 7, "key mtu is invalid"),
        (changed("runDir", "relative".into()), 7, "key runDir is invalid"),
        (changed("prevResult", "x".into()), 7, "key prevResult is invalid"),
    ];
    for command in ["ADD", "DEL", "CHECK"] {
        let variables = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", "a"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", netns.as_str()),
        ];
        for (input, code, words) in &cases {
            let error = run(&variables, input.as_bytes()).error();
            assert!(error.0 == *code && error.1.contains(words), "{command} {input}: {error:?}");
        }
        for name in ["CNI_CONTAINERID", "CNI_IFNAME"] {
            for value in ["", "a/b"] {
                let changed =
                    variables.map(|(key, old)| (key, if key == name { value } else { old }));
                let (code, message) = run(&changed, good.to_string().as_bytes()).error();
                assert!(code == 4 && message.contains(name), "{command} {message}");
            }
        }
        node.assert_nothing_left();
    }
}

#[test]
fn the_error_is_told_in_the_version_of_the_configuration() {
    let answer = run(&[("CNI_COMMAND", "ADD")], br#"{"cniVersion":"0.4.0","name":"a"}"#).answer;
    assert_eq!((&answer["cniVersion"], &answer["code"]), (&json!("0.4.0"), &json!(4)));
}

#[test]
fn a_command_is_refused_in_a_version_that_does_not_have_it() {
    let mut node = Node::new();
    let sandbox = Sandbox::new();
    for (command, version) in [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "0.4.0")] {
        node.version = version;
        let (code, message) = node.call(command, &pod("nginx", "a", &sandbox)).error();
        let words = format!("CNI version {version} does not have the command {command}");
        assert_eq!((code, message), (1, words));
    }
}

#[test]
fn what_is_no_network_namespace_is_named() {
    let node = Node::new();
    let file = node.run_dir().path().join("file");
    fs::write(&file, "").unwrap();
    let own = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
    for path in ["/does/not/exist", "/", file.to_str().unwrap(), "/proc/self/ns/mnt", &own] {
        let call = Call { netns: path.into(), ..pod("nginx", "a", &Sandbox::new()) };
        let (code, message) = node.call("ADD", &call).error();
        assert_eq!(code, 101, "{message}");
        assert!(message.contains("CNI_NETNS") && message.contains(path), "{message}");
        node.assert_nothing_left();
    }
}

#[test]
fn before_the_agent_has_described_the_node_one_is_to_try_again() {
    let node = Node::new();
    fs::remove_file(node.run_dir().node_description()).unwrap();
    let sandbox = Sandbox::new();
    let (code, message) = node.call("ADD", &pod("nginx", "a", &sandbox)).error();
    assert_eq!(code, 11);
    assert!(message.contains("no agent has described this node yet"), "{message}");
    node.assert_nothing_left();
}

#[test]
fn a_damaged_state_is_named_and_no_address_is_given() {
    let node = Node::new();
    let sandbox = Sandbox::new();
    let call = pod("nginx", "a", &sandbox);
    let refused = |file: &std::path::Path| {
        let (code, message) = node.call("ADD", &call).error();
        assert!(code == 103 && message.contains(file.to_str().unwrap()), "{code} {message}");
        assert_eq!(warren_net::pod::host_interfaces().unwrap(), [""; 0]);
    };
    let description = node.run_dir().node_description();
    for text in ["", "{\"formatVersion\":1", "{\"formatVersion\":99}"] {
        fs::write(&description, text).unwrap();
        refused(&description);
    }
    node.describe("172.16.52.128/26", &[]);
    let records = node.run_dir().ipam().join("addresses");
    fs::create_dir_all(&records).unwrap();
    fs::write(records.join("unknown"), "").unwrap();
    refused(&records.join("unknown"));
    fs::remove_dir_all(node.run_dir().ipam()).unwrap();
    fs::write(node.run_dir().ipam(), "").unwrap();
    refused(&node.run_dir().ipam());
}

#[test]
fn the_last_address_is_given_and_the_next_refused_in_numbers() {
    let node = Node::new();
    node.describe("10.0.0.0/30", &["10.0.0.0"]);
    let sandboxes: Vec<_> = (0..4).map(|_| Sandbox::new()).collect();
    let call = |i: usize| pod(&format!("p{i}"), &format!("c{i}"), &sandboxes[i]);
    let add = |i: usize| node.call("ADD", &call(i));
    for i in 0..3 {
        add(i).ok();
    }
    let words = "no free address in 10.0.0.0/30 (3 of 3 in use)";
    assert_eq!(add(3).error(), (100, words.into()));
    assert_eq!(node.store().list().unwrap().entries.len(), 3);
    assert_eq!(warren_net::pod::host_interfaces().unwrap().len(), 3);
    node.call("DEL", &call(1)).ok();
    assert_eq!(add(3).ok()["ips"][0]["address"], "10.0.0.2/32");
}

#[test]
fn an_add_that_fails_late_leaves_nothing() {
    let node = Node::new();
    let sandbox = Sandbox::new();
    let call = pod("nginx", "a", &sandbox);
    // The pod's end cannot have its name.
    sandbox.ip("link add eth0 type veth peer name x");
    let (code, message) = node.call("ADD", &call).error();
    assert!(code == 102 && message.contains("eth0"), "{code} {message}");
    node.assert_nothing_left();
    sandbox.ip("link del eth0");
    // The node has another route to the address that is next.
    crate::support::ip("link set lo up");
    crate::support::ip("route add 172.16.52.130 dev lo scope link");
    let (code, message) = node.call("ADD", &call).error();
    assert!(code == 102 && message.contains("172.16.52.130"), "{code} {message}");
    node.assert_nothing_left();
    // The runtime does not listen any more.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (ended, stdout) = std::io::pipe().unwrap();
    drop(ended);
    std::io::Write::write_all(&mut { writer }, node.conf(&json!({})).to_string().as_bytes())
        .unwrap();
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_warren"))
        .envs([("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "a"), ("CNI_IFNAME", "eth0")])
        .env("CNI_NETNS", sandbox.path())
        .stdin(reader.try_clone().unwrap())
        .stdout(stdout)
        .status()
        .unwrap();
    assert_eq!(std::io::Read::read(&mut reader, &mut [0]).unwrap(), 0);
    assert!(!status.success());
    node.assert_nothing_left();
}

#[test]
fn a_megabyte_of_configuration_is_read() {
    let node = Node::new();
    let sandbox = Sandbox::new();
    let conf = json!({"x": "y".repeat(1 << 20)});
    let call = Call { conf, ..pod("nginx", "a", &sandbox) };
    node.call("ADD", &call).ok();
    node.call("DEL", &call).ok();
    node.assert_nothing_left();
}

#[test]
fn odd_names_of_pods_are_only_names() {
    let node = Node::new();
    let sandbox = Sandbox::new();
    let args = "K8S_POD_NAMESPACE=../\u{1f980} \"a\";K8S_POD_NAME=$(x)\n\\";
    let call = Call { args: args.into(), ..pod("", "a", &sandbox) };
    let outcome = node.call("ADD", &call);
    assert_eq!(outcome.log.lines().count(), 1, "{}", outcome.log);
    outcome.ok();
    node.call("DEL", &call).ok();
    node.assert_nothing_left();
}
