//! `CHECK` finds each thing that was broken by hand, and names it.

use crate::support::{Call, Node, Outcome, Sandbox, ip, pod};
use serde_json::{Value, json};

const HOST: &str = "calic440f455693";

struct Connected {
    node: Node,
    sandbox: Sandbox,
    call: Call,
    result: Value,
}

impl Connected {
    fn new() -> Self {
        let (node, sandbox) = (Node::new(), Sandbox::new());
        let call = pod("nginx", "a", &sandbox);
        let result = node.call("ADD", &call).ok();
        let connected = Self { node, sandbox, call, result };
        connected.check(&connected.result).ok();
        connected
    }

    fn check(&self, result: &Value) -> Outcome {
        let call = Call { conf: json!({"prevResult": result}), ..self.call.clone() };
        self.node.call("CHECK", &call)
    }

    #[track_caller]
    fn finds(&self, code: u64, words: &[&str]) {
        let error = self.check(&self.result).error();
        assert_eq!(error.0, code, "{error:?}");
        assert!(
            words.iter().all(|word| error.1.contains(word)),
            "{error:?} has not all of {words:?}"
        );
    }
}

#[test]
fn on_the_node() {
    let pod = Connected::new();
    let route = format!("172.16.52.129 dev {HOST} scope link");
    ip(&format!("route del {route}"));
    pod.finds(120, &[&route, "on the node"]);
    ip(&format!("route add {route}"));

    ip(&format!("link set {HOST} mtu 1400"));
    pod.finds(116, &[HOST, "1400 instead of 1480"]);
    ip(&format!("link set {HOST} mtu 1480"));

    ip(&format!("link set {HOST} address 02:00:00:00:00:01"));
    pod.finds(117, &[HOST, "02:00:00:00:00:01 instead of ee:ee:ee:ee:ee:ee"]);
    ip(&format!("link set {HOST} address ee:ee:ee:ee:ee:ee"));

    let proxy_arp = format!("/proc/sys/net/ipv4/conf/{HOST}/proxy_arp");
    std::fs::write(&proxy_arp, "0").unwrap();
    pod.finds(121, &[HOST, "proxy_arp"]);
    std::fs::write(&proxy_arp, "1").unwrap();

    pod.check(&pod.result).ok();
    ip(&format!("link set {HOST} down"));
    pod.finds(115, &[HOST, "down"]);
    ip(&format!("link set {HOST} name elsewhere"));
    pod.finds(113, &[HOST, "elsewhere"]);
    ip("link del elsewhere");
    pod.finds(112, &[HOST, "missing on the node", "eth0 is missing in the pod"]);
}

#[test]
fn in_the_pod() {
    let pod = Connected::new();
    pod.sandbox.ip("route del default");
    pod.finds(119, &["default via 169.254.1.1"]);
    pod.sandbox.ip("route add default via 169.254.1.1 dev eth0");

    pod.sandbox.ip("address add 172.16.52.190/32 dev eth0");
    pod.check(&pod.result).ok();
    pod.sandbox.ip("address del 172.16.52.129/32 dev eth0");
    pod.finds(118, &["172.16.52.129", "172.16.52.190"]);
    pod.sandbox.ip("address add 172.16.52.129/32 dev eth0");

    pod.sandbox.ip("link set eth0 address 02:00:00:00:00:01");
    pod.finds(117, &["eth0", "02:00:00:00:00:01"]);
    // A plugin later in the chain that changed it has said so.
    let mut told = pod.result.clone();
    told["interfaces"][1]["mac"] = "02:00:00:00:00:01".into();
    pod.check(&told).ok();
    pod.sandbox.ip("link set eth0 address 0a:58:ac:10:34:81");

    pod.sandbox.ip("link set eth0 down");
    pod.sandbox.ip("link set eth0 name eth1");
    pod.finds(113, &["eth0", "eth1"]);
}

#[test]
fn between_the_two() {
    let pod = Connected::new();
    // Each end has become that of another pair.
    ip(&format!("link set {HOST} name elsewhere"));
    ip(&format!("link add {HOST} address ee:ee:ee:ee:ee:ee mtu 1480 up type veth peer name x"));
    pod.finds(114, &[HOST, "eth0", "not the two ends of one veth pair"]);
}

#[test]
fn in_the_record() {
    let pod = Connected::new();
    let store = pod.node.store();
    let path = store.path_of(&store.list().unwrap().entries[0]);
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, "{").unwrap();
    pod.finds(103, &[path.to_str().unwrap(), "not a record"]);
    std::fs::write(&path, text).unwrap();
    pod.check(&pod.result).ok();
    std::fs::remove_file(&path).unwrap();
    pod.finds(110, &["eth0 of container a", store.path().to_str().unwrap()]);
}

#[test]
fn in_the_result_and_in_the_namespace() {
    let mut pod = Connected::new();
    for (pointer, value, words) in [
        ("/ips/0/address", "172.16.52.130/32", "the address 172.16.52.129"),
        ("/interfaces/0/name", "cali0", HOST),
        ("/interfaces/1/name", "eth1", "the interface eth0 of the pod"),
    ] {
        let mut result = pod.result.clone();
        *result.pointer_mut(pointer).unwrap() = value.into();
        let (code, message) = pod.check(&result).error();
        assert!(code == 111 && message.contains(words), "{code} {message}");
    }
    assert_eq!(pod.check(&Value::Null).error().0, 7);

    let other = Sandbox::new();
    pod.call.netns = other.path();
    pod.finds(112, &["eth0 is missing in the pod's namespace"]);
    pod.call.netns = "/does/not/exist".into();
    pod.finds(101, &["/does/not/exist"]);
}
