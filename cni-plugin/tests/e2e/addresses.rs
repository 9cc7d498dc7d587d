//! Pods that are to have a certain address, and blocks that are added.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{Call, Node, Sandbox, pod, with_result};

fn addresses(result: &Value) -> Vec<&str> {
    result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap()).collect()
}

#[test]
fn an_address_can_be_asked_for_in_each_of_four_ways() {
    let node = Node::new();
    let call = pod("web-0", "a", &Sandbox::new());
    let wishes = node.run_dir().path().join("wishes/default");
    std::fs::create_dir_all(&wishes).unwrap();
    std::fs::write(wishes.join("web-0"), r#"{"addresses":["172.16.52.140"]}"#).unwrap();
    let args = format!("IP=172.16.52.141/26;{}", call.args);
    let by_args = json!({"args": {"cni": {"ips": ["172.16.52.142"]}}});
    let by_runtime =
        json!({"args": by_args["args"], "runtimeConfig": {"ips": ["172.16.52.143/26"]}});
    // Each goes before those above it.
    for (args, conf, expected) in [
        (&call.args, Value::Null, "172.16.52.140/32"),
        (&args, Value::Null, "172.16.52.141/32"),
        (&args, by_args, "172.16.52.142/32"),
        (&args, by_runtime, "172.16.52.143/32"),
    ] {
        let sandbox = Sandbox::new();
        let call = Call { args: args.clone(), conf, netns: sandbox.path(), ..call.clone() };
        let result = node.call("ADD", &call).ok();
        assert_eq!(addresses(&result), [expected]);
        node.call("CHECK", &with_result(&call, &result)).ok();
        node.call("DEL", &call).ok();
        node.assert_nothing_left();
    }
}

#[test]
fn an_address_that_cannot_be_had_is_refused_and_the_pod_gets_no_other() {
    let node = Node::new();
    let (one, other) = (Sandbox::new(), Sandbox::new());
    node.call("ADD", &pod("first", "a", &one)).ok();
    let ask = |address: &str| {
        let conf = json!({"runtimeConfig": {"ips": [address]}});
        node.call("ADD", &Call { conf, ..pod("second", "b", &other) }).error()
    };
    assert_eq!(
        ask("172.16.52.129"),
        (106, "172.16.52.129 is asked for and is in use by eth0 of container a".into())
    );
    assert_eq!(ask("172.16.52.128").0, 106);
    assert_eq!(ask("192.0.2.1").0, 106);
    assert_eq!(ask("nonsense").0, 7);
    let wishes = node.run_dir().path().join("wishes/default");
    std::fs::create_dir_all(&wishes).unwrap();
    std::fs::write(wishes.join("second"), r#"{"pools":["192.0.2.0/24"]}"#).unwrap();
    assert_eq!(node.call("ADD", &pod("second", "b", &other)).error().0, 106);
    std::fs::write(wishes.join("second"), "{").unwrap();
    assert_eq!(node.call("ADD", &pod("second", "b", &other)).error().0, 103);
    assert_eq!(node.store().list().unwrap().entries.len(), 1);
}

#[test]
fn a_block_that_comes_while_pods_start_is_used_and_no_pod_fails_for_it() {
    let node = Node::new();
    node.describe("10.0.0.0/28", &[]);
    let (node, done) = (&node, &AtomicBool::new(false));
    std::thread::scope(|scope| {
        // The agent: describes the node anew, again and again, with more and with as many blocks.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                node.describe_blocks(&["10.0.0.0/28", "10.0.1.0/28"], &[]);
                node.describe_blocks(&["10.0.0.0/28", "10.0.1.0/28", "10.0.2.0/28"], &[]);
            }
        });
        node.describe_blocks(&["10.0.0.0/28", "10.0.1.0/28"], &[]);
        let pods: Vec<_> = (0..30)
            .map(|i| {
                scope.spawn(move || {
                    let sandbox = Sandbox::new();
                    let call = pod(&format!("p{i}"), &format!("c{i}"), &sandbox);
                    let result = node.call("ADD", &call).ok();
                    (sandbox, call, result)
                })
            })
            .collect();
        let pods: Vec<_> = pods.into_iter().map(|pod| pod.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        let mut given: Vec<_> = pods.iter().flat_map(|(_, _, result)| addresses(result)).collect();
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), 30);
        for (_sandbox, call, result) in &pods {
            node.call("CHECK", &with_result(call, result)).ok();
        }
    });
}

#[test]
fn an_interface_of_another_plugin_stays_the_pods_first_one() {
    let node = Node::new();
    let sandbox = Sandbox::new();
    sandbox.ip("link add net0 up type veth peer name other");
    sandbox.ip("route add default dev net0");
    let previous = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "net0", "sandbox": sandbox.path()}],
        "ips": [{"address": "192.0.2.7/24", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0"}],
    });
    let call = with_result(&pod("nginx", "a", &sandbox), &previous);
    let result = node.call("ADD", &call).ok();
    assert_eq!(result["ips"][0]["address"], "192.0.2.7/24");
    assert_eq!(
        (&result["ips"][1]["interface"], &result["interfaces"][2]["name"]),
        (&json!(2), &json!("eth0"))
    );
    assert!(sandbox.ip("route get 198.51.100.1").contains("dev net0"));
    node.call("CHECK", &with_result(&call, &result)).ok();
    node.call("DEL", &with_result(&call, &result)).ok();
    node.assert_nothing_left();
}
