//! Pods come and go.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

use crate::support::{Call, Node, Sandbox, ip, pod, with_result};
use serde_json::{Value, json};
use warren_net::pod::host_interfaces;

#[test]
fn a_pod_is_connected_checked_and_disconnected_in_every_version() {
    let mut node = Node::new();
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        node.version = version;
        let sandbox = Sandbox::new();
        let call = pod("nginx", &format!("c{version}"), &sandbox);
        let outcome = node.call("ADD", &call);
        let log = outcome.log.clone();
        let result = outcome.ok();
        assert_eq!(result["cniVersion"], version);
        assert_eq!(result["interfaces"][0]["name"], "calic440f455693");
        assert_eq!(result["interfaces"][1]["sandbox"], sandbox.path());
        assert_eq!(result["ips"][0]["interface"], 1);
        assert_eq!(result["ips"][0]["version"] == "4", version < "1.0.0");
        assert_eq!(result["interfaces"][1]["mtu"] == 1480, version == "1.1.0");
        for phase in ["read_us=", "allocate_us=", "connect_us=", "total_us=", "pod=default/nginx"] {
            assert!(log.contains(phase), "{log}");
        }

        let check = node.call("CHECK", &with_result(&call, &result));
        if version == "0.3.1" {
            assert_eq!(check.error().0, 1);
        } else {
            assert_eq!(check.ok(), Value::Null);
        }
        assert_eq!(node.call("DEL", &with_result(&call, &result)).ok(), Value::Null);
        node.assert_nothing_left();
    }
}

#[test]
fn the_node_and_the_pod_reach_each_other() {
    let node = Node::new();
    // The pod's next hop is answered for by proxy ARP, which takes a route to it: a node's default.
    for command in [
        "address del 192.168.0.176/32 dev lo",
        "link add nic type veth peer name wire",
        "address add 192.168.0.176/24 dev nic",
        "link set wire up",
        "link set nic up",
        "route add default via 192.168.0.1",
    ] {
        ip(command);
    }
    let sandbox = Sandbox::new();
    let result = node.call("ADD", &pod("nginx", "a", &sandbox)).ok();
    let address = result["ips"][0]["address"].as_str().unwrap().strip_suffix("/32").unwrap();
    assert_eq!(address, "172.16.52.129");

    let server = sandbox.within(|| UdpSocket::bind((address, 7000))).unwrap();
    let client = UdpSocket::bind("192.168.0.176:0").unwrap();
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
    client.send_to(b"ping", (address, 7000)).unwrap();
    let mut buffer = [0; 16];
    let (length, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(
        (&buffer[..length], from.ip().to_string().as_str()),
        (&b"ping"[..], "192.168.0.176")
    );
    server.send_to(b"pong", from).unwrap();
    let length = client.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"pong");
}

#[test]
fn a_repeated_add_is_refused_and_the_pod_stays_connected() {
    let node = Node::new();
    let sandbox = Sandbox::new();
    let call = pod("nginx", "a", &sandbox);
    let result = node.call("ADD", &call).ok();
    let (code, message) = node.call("ADD", &call).error();
    assert_eq!(code, 104);
    assert_eq!(message, "eth0 of container a has the address 172.16.52.129 already");
    node.call("CHECK", &with_result(&call, &result)).ok();
}

#[test]
fn a_pods_next_container_replaces_what_is_left_of_the_one_before() {
    let node = Node::new();
    let (old, new) = (Sandbox::new(), Sandbox::new());
    node.call("ADD", &pod("nginx", "old", &old)).ok();
    let call = pod("nginx", "new", &new);
    let outcome = node.call("ADD", &call);
    assert!(outcome.log.contains("WARN ADD") && outcome.log.contains("replaced=old"));
    let result = outcome.ok();
    assert_eq!(node.store().list().unwrap().entries.len(), 1);
    // The late DEL of the old container finds the interface of the new one, and leaves it.
    node.call("DEL", &pod("nginx", "old", &old)).ok();
    node.call("CHECK", &with_result(&call, &result)).ok();
    node.call("DEL", &call).ok();
    node.assert_nothing_left();
}

#[test]
fn an_interface_that_nobody_recorded_makes_way() {
    let node = Node::new();
    ip("link add calic440f455693 type veth peer name orphan");
    let sandbox = Sandbox::new();
    let call = pod("nginx", "a", &sandbox);
    let outcome = node.call("ADD", &call);
    assert!(outcome.log.contains("leftover=calic440f455693"), "{}", outcome.log);
    let result = outcome.ok();
    node.call("CHECK", &with_result(&call, &result)).ok();
}

#[test]
fn a_container_can_have_a_second_interface() {
    let node = Node::new();
    let sandbox = Sandbox::new();
    let first = pod("nginx", "a", &sandbox);
    let result = node.call("ADD", &first).ok();
    // Of another network, as an attachment that is asked for besides the cluster's own.
    let conf = json!({"name": "storage"});
    let second = Call { ifname: "net1".into(), conf, ..first.clone() };
    let other = node.call("ADD", &second).ok();
    assert_ne!(other["interfaces"][0]["name"], result["interfaces"][0]["name"]);
    assert_ne!(other["ips"][0]["address"], result["ips"][0]["address"]);
    assert!(sandbox.ip("route get 192.0.2.1").contains("via 169.254.1.1 dev eth0"));
    node.call("CHECK", &with_result(&first, &result)).ok();
    node.call("CHECK", &with_result(&second, &other)).ok();
    // A third, while the second is there.
    let third = Call { ifname: "net2".into(), ..first.clone() };
    node.call("ADD", &third).ok();
    node.call("DEL", &third).ok();
    node.call("DEL", &first).ok();
    node.call("CHECK", &with_result(&second, &other)).ok();
    // Nothing but the container and the interface tells what the DEL is about.
    std::fs::remove_dir_all(node.run_dir().ipam()).unwrap();
    node.call("DEL", &second).ok();
    node.assert_nothing_left();
}

#[test]
fn an_interface_may_have_any_name_that_the_kernel_takes() {
    let node = Node::new();
    for ifname in ["net1", "lan@2.x-y_z+é", "fifteen-letters"] {
        let sandbox = Sandbox::new();
        let call = Call { ifname: ifname.into(), ..pod("nginx", "a", &sandbox) };
        let result = node.call("ADD", &call).ok();
        assert_eq!(result["interfaces"][1]["name"], ifname);
        assert!(sandbox.ip("route get 192.0.2.1").contains(&format!("dev {ifname} ")));
        node.call("CHECK", &with_result(&call, &result)).ok();
        node.call("DEL", &call).ok();
        node.assert_nothing_left();
    }
}

#[test]
fn del_succeeds_in_whatever_state_the_world_is() {
    let node = Node::new();
    let del = |call: &Call| {
        assert_eq!(node.call("DEL", call).ok(), Value::Null);
        node.assert_nothing_left();
    };
    let records = node.run_dir().ipam().join("addresses");
    let add = || {
        let sandbox = Sandbox::new();
        let call = pod("nginx", "a", &sandbox);
        let result = node.call("ADD", &call).ok();
        (sandbox, call, result)
    };

    // Never added; twice; without the namespace's path; with the namespace gone.
    del(&pod("nginx", "a", &Sandbox::new()));
    let (_sandbox, call, _) = add();
    del(&call);
    del(&call);
    let (_sandbox, call, _) = add();
    del(&Call { netns: String::new(), ..call });
    let (sandbox, call, _) = add();
    drop(sandbox);
    del(&call);
    // The interface gone, on the one side or on the other.
    let (_sandbox, call, _) = add();
    ip("link del calic440f455693");
    del(&call);
    let (sandbox, call, _) = add();
    sandbox.ip("link del eth0");
    del(&call);
    let damage = || {
        for file in std::fs::read_dir(&records).unwrap() {
            std::fs::write(file.unwrap().path(), "{").unwrap();
        }
    };
    let lose = || std::fs::remove_dir_all(&records).unwrap();
    // The interface renamed or moved, and with it the record there, damaged or gone.
    for change_record in [&|| (), &damage, &lose] as [&dyn Fn(); 3] {
        let elsewhere = Sandbox::new();
        for change in ["name cali0".to_owned(), format!("netns {}", elsewhere.path())] {
            let (sandbox, call, _) = add();
            ip(&format!("link set calic440f455693 {change}"));
            change_record();
            del(&call);
            assert!(!sandbox.ip("-o link").contains("eth0"), "{change}");
        }
        let (sandbox, call, _) = add();
        sandbox.ip(&format!("link set eth0 netns {}", elsewhere.path()));
        del(&call);
        assert!(!elsewhere.ip("-o link").contains("eth0"));
    }
    // The record damaged; gone; gone with no other sign of the pod's name than the result.
    for change_record in [&damage, &lose] as [&dyn Fn(); 2] {
        let (_sandbox, call, _) = add();
        change_record();
        del(&call);
    }
    let (_sandbox, call, result) = add();
    std::fs::remove_dir_all(&records).unwrap();
    del(&with_result(&Call { args: "nonsense".into(), ..call }, &result));
    // The agent gone, and then the whole run directory.
    let (_sandbox, call, _) = add();
    std::fs::remove_file(node.run_dir().node_description()).unwrap();
    del(&call);
    std::fs::remove_dir_all(node.run_dir().path()).unwrap();
    del(&call);
    assert!(!node.run_dir().path().exists());
}

#[test]
fn a_del_that_fails_keeps_the_record_for_the_next_one() {
    let node = Node::new();
    let sandbox = Sandbox::new();
    let call = pod("nginx", "a", &sandbox);
    node.call("ADD", &call).ok();
    let lock = node.run_dir().ipam().join("lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    let (code, message) = node.call("DEL", &call).error();
    assert_eq!(code, 103);
    assert!(message.contains(lock.to_str().unwrap()), "{message}");
    assert_eq!(node.store().list().unwrap().entries.len(), 1);
    std::fs::remove_dir(&lock).unwrap();
    node.call("DEL", &call).ok();
    node.assert_nothing_left();
}

#[test]
fn a_full_disk_keeps_pods_from_starting_and_none_from_ending() {
    let node = Node::new();
    // A tmpfs of its own, which only this thread and what it starts see.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let run_dir = node.run_dir().path().to_str().unwrap().to_owned();
    for arguments in [
        &["--make-rprivate", "/"][..],
        &["-t", "tmpfs", "-o", "size=64k,mode=755", "none", &run_dir],
    ] {
        assert!(std::process::Command::new("mount").args(arguments).status().unwrap().success());
    }
    node.describe("172.16.52.128/26", &[]);
    let sandboxes = [Sandbox::new(), Sandbox::new()];
    let [first, second] = [("a", 0), ("b", 1)].map(|(id, i)| pod(id, id, &sandboxes[i]));
    node.call("ADD", &first).ok();
    let mut filler = std::fs::File::create(node.run_dir().path().join("filler")).unwrap();
    while std::io::Write::write(&mut filler, &[0; 4096]).is_ok() {}
    let (code, message) = node.call("ADD", &second).error();
    assert!(code == 103 && message.contains("No space left on device"), "{code} {message}");
    assert_eq!(host_interfaces().unwrap().len(), 1);
    node.call("DEL", &first).ok();
    node.call("DEL", &second).ok();
    node.assert_nothing_left();
}

#[test]
fn gc_removes_what_the_runtime_forgot_and_nothing_else() {
    let node = Node::new();
    let sandboxes: Vec<_> = (0..4).map(|_| Sandbox::new()).collect();
    let calls: Vec<_> =
        (0..4).map(|i| pod(&format!("p{i}"), &format!("c{i}"), &sandboxes[i])).collect();
    let other_network = Call { conf: json!({"name": "other"}), ..calls[3].clone() };
    let results: Vec<_> = calls[..3].iter().map(|call| node.call("ADD", call).ok()).collect();
    node.call("ADD", &other_network).ok();
    ip("link add calico0 type veth peer name foreign");

    let gc = |conf: Value| node.call("GC", &Call { conf, ..Call::default() });
    let (code, message) = gc(json!({})).error();
    assert_eq!(code, 7);
    assert!(message.contains("cni.dev/valid-attachments"), "{message}");
    let valid =
        json!([{"containerID": "c0", "ifname": "eth0"}, {"containerID": "c1", "ifname": "x"}]);
    assert_eq!(gc(json!({"cni.dev/valid-attachments": valid})).ok(), Value::Null);

    let left = node.store().list().unwrap().entries;
    let left: BTreeSet<_> = left.iter().map(|entry| entry.owner.container_id()).collect();
    assert_eq!(left, ["c0", "c3"].into());
    assert_eq!(host_interfaces().unwrap().len(), 3);
    node.call("CHECK", &with_result(&calls[0], &results[0])).ok();
    // Those that it removed are deleted later all the same.
    node.call("DEL", &calls[1]).ok();
}

#[test]
fn what_the_configuration_asks_for_is_done() {
    let node = Node::new();
    let sandbox = Sandbox::new();
    let log = node.run_dir().path().join("log");
    let conf = json!({
        "mtu": 1400, "logFile": log, "dns": {"nameservers": ["10.96.0.10"]},
        "runtimeConfig": {"mac": "02:00:00:00:00:01"},
        "prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "net0", "sandbox": "x"}]},
    });
    let call = Call { conf, ..pod("nginx", "a", &sandbox) };
    let outcome = node.call("ADD", &call);
    assert_eq!(outcome.log, "");
    assert!(std::fs::read_to_string(log).unwrap().contains(" INFO ADD "));
    let result = outcome.ok();
    assert_eq!(result["dns"]["nameservers"][0], "10.96.0.10");
    assert_eq!(result["interfaces"][0]["name"], "net0");
    assert_eq!(
        (&result["interfaces"][2]["mtu"], &result["ips"][0]["interface"]),
        (&json!(1400), &json!(2))
    );
    let link = sandbox.ip("link show eth0");
    assert!(link.contains("mtu 1400") && link.contains("02:00:00:00:00:01"), "{link}");
    node.call("CHECK", &with_result(&call, &result)).ok();
}
