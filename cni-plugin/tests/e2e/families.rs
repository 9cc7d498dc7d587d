//! Nodes with blocks of IPv6, and of both families.

use serde_json::{Value, json};

use crate::support::{Call, Node, Sandbox, ip, pod, with_result};

const HOST: &str = "calic440f455693";

fn dual() -> Node {
    let node = Node::new();
    node.describe_blocks(&["172.16.52.128/26", "fd00:52::/122"], &["172.16.52.128", "fd00:52::"]);
    node
}

#[test]
fn a_pod_gets_an_address_of_each_family_and_gives_both_back() {
    let node = dual();
    let sandbox = Sandbox::new();
    let call = pod("nginx", "a", &sandbox);
    let outcome = node.call("ADD", &call);
    assert!(outcome.log.contains(" address=172.16.52.129 address=fd00:52::1 "), "{}", outcome.log);
    let result = outcome.ok();
    assert_eq!(result["ips"][0]["address"], "172.16.52.129/32");
    assert_eq!(
        result["ips"][1],
        json!({"address": "fd00:52::1/128", "gateway": "fe80::ecee:eeff:feee:eeee", "interface": 1})
    );
    assert_eq!(result["routes"][1]["dst"], "::/0");
    assert!(!sandbox.ip("-6 address show dev eth0 scope global").contains("tentative"));
    node.call("CHECK", &with_result(&call, &result)).ok();
    assert_eq!(node.call("ADD", &call).error().0, 104);
    node.call("DEL", &with_result(&call, &result)).ok();
    assert_eq!(ip("-6 route show dev lo"), "");
    node.assert_nothing_left();
}

#[test]
fn a_node_with_ipv6_alone_has_pods_with_ipv6_alone() {
    let node = Node::new();
    node.describe_blocks(&["fd00:52::/122"], &[]);
    let sandbox = Sandbox::new();
    let call = pod("nginx", "a", &sandbox);
    let result = node.call("ADD", &call).ok();
    assert_eq!(result["ips"].as_array().unwrap().len(), 1);
    node.call("CHECK", &with_result(&call, &result)).ok();
    node.call("DEL", &call).ok();
    node.assert_nothing_left();
}

#[test]
fn a_pods_next_container_replaces_both_addresses_of_the_one_before() {
    let node = dual();
    let (old, new) = (Sandbox::new(), Sandbox::new());
    node.call("ADD", &pod("nginx", "old", &old)).ok();
    let call = pod("nginx", "new", &new);
    let result = node.call("ADD", &call).ok();
    assert_eq!(node.store().list().unwrap().entries.len(), 2);
    node.call("DEL", &pod("nginx", "old", &old)).ok();
    node.call("CHECK", &with_result(&call, &result)).ok();
    // The record of one address alone, as a kill between the two leaves it.
    let entries = node.store().list().unwrap().entries;
    std::fs::remove_file(node.store().path_of(&entries[0])).unwrap();
    let next = Sandbox::new();
    let call = pod("nginx", "next", &next);
    let result = node.call("ADD", &call).ok();
    node.call("CHECK", &with_result(&call, &result)).ok();
    node.call("DEL", &call).ok();
    node.assert_nothing_left();
}

#[test]
fn check_finds_what_is_broken_of_ipv6() {
    let node = dual();
    let sandbox = Sandbox::new();
    let call = pod("nginx", "a", &sandbox);
    let result = node.call("ADD", &call).ok();
    let check = |result: &Value| node.call("CHECK", &with_result(&call, result)).error();
    let next_hop = format!("address del fe80::ecee:eeff:feee:eeee/64 dev {HOST}");
    ip(&next_hop);
    assert_eq!(check(&result).0, 122);
    ip(&format!("{} nodad", next_hop.replace("del", "add")));
    ip("-6 route del fd00:52::1");
    assert_eq!(check(&result).0, 120);
    ip(&format!("-6 route add fd00:52::1 dev {HOST}"));
    sandbox.ip("-6 route del default");
    assert_eq!(check(&result).0, 119);
    sandbox.ip("-6 route add default via fe80::ecee:eeff:feee:eeee dev eth0");
    node.call("CHECK", &with_result(&call, &result)).ok();

    let entries = node.store().list().unwrap().entries;
    std::fs::remove_file(node.store().path_of(&entries[1])).unwrap();
    let (code, message) = check(&result);
    assert_eq!(
        (code, message.as_str()),
        (111, "prevResult has the address fd00:52::1, which is not recorded")
    );
}

#[test]
fn a_kernel_without_ipv6_gives_pods_ipv4_alone() {
    let node = dual();
    // As far as the plugin sees it: a namespace of mounts of this thread's own, in which there is
    // nothing of IPv6.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    for arguments in [&["--make-rprivate", "/"][..], &["-t", "tmpfs", "none", "/proc/sys/net/ipv6"]]
    {
        assert!(std::process::Command::new("mount").args(arguments).status().unwrap().success());
    }
    let sandbox = Sandbox::new();
    let call = pod("nginx", "a", &sandbox);
    let outcome = node.call("ADD", &call);
    assert!(outcome.log.contains(" WARN ADD ") && outcome.log.contains("without_ipv6="));
    let result = outcome.ok();
    assert_eq!(result["ips"].as_array().unwrap().len(), 1);
    node.call("CHECK", &with_result(&call, &result)).ok();
    node.call("DEL", &Call { conf: Value::Null, ..call }).ok();
    node.assert_nothing_left();
    // An IPv6 block from which there is nothing to give keeps no pod from starting here.
    node.describe_blocks(&["172.16.52.128/26", "fd00:52::/128"], &["fd00:52::"]);
    node.call("STATUS", &Call::default()).ok();
}
