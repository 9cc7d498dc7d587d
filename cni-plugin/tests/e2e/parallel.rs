//! Many at once.

use std::collections::BTreeSet;
use std::sync::{Barrier, mpsc};

use warren_net::pod::host_interfaces;

use crate::support::{Node, Sandbox, pod, with_result};

#[test]
fn a_hundred_pods_twenty_at_a_time_never_share_an_address_and_leave_nothing() {
    let node = Node::new();
    node.describe("172.16.52.0/25", &["172.16.52.0"]);
    let (node, mut addresses) = (&node, BTreeSet::new());
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for worker in 0..20 {
            let sender = sender.clone();
            scope.spawn(move || {
                for round in 0..5 {
                    let (sandbox, id) = (Sandbox::new(), format!("c{worker}-{round}"));
                    let call = pod(&id, &id, &sandbox);
                    let result = node.call("ADD", &call).ok();
                    let address = result["ips"][0]["address"].as_str().unwrap().to_owned();
                    sender.send((address, result, call, sandbox)).unwrap();
                }
            });
        }
    });
    drop(sender);
    let pods: Vec<_> = receiver.iter().collect();
    addresses.extend(pods.iter().map(|(address, ..)| address));
    assert_eq!((pods.len(), addresses.len()), (100, 100));
    assert_eq!(host_interfaces().unwrap().len(), 100);
    std::thread::scope(|scope| {
        for share in pods.chunks(5) {
            scope.spawn(move || {
                for (_, result, call, _) in share {
                    node.call("DEL", &with_result(call, result)).ok();
                }
            });
        }
    });
    node.assert_nothing_left();
}

#[test]
fn of_two_adds_for_one_container_at_once_one_connects_it() {
    let node = Node::new();
    let sandbox = Sandbox::new();
    let call = pod("nginx", "a", &sandbox);
    let (start, node, call) = (&Barrier::new(4), &node, &call);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let add = || {
            start.wait();
            node.call("ADD", call)
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(add)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (connected, refused): (Vec<_>, Vec<_>) =
        outcomes.into_iter().partition(|outcome| outcome.success);
    assert_eq!((connected.len(), refused.len()), (1, 3));
    refused.into_iter().for_each(|outcome| assert_eq!(outcome.error().0, 104));
    let result = connected.into_iter().next().unwrap().ok();
    node.call("CHECK", &with_result(call, &result)).ok();
}

#[test]
fn a_del_never_takes_the_interface_of_the_pods_next_container() {
    let node = Node::new();
    for _ in 0..20 {
        let (old, new) = (Sandbox::new(), Sandbox::new());
        let (leaving, coming) = (pod("nginx", "old", &old), pod("nginx", "new", &new));
        node.call("ADD", &leaving).ok();
        let (start, shared) = (&Barrier::new(3), &node);
        let result = std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    shared.call("DEL", &leaving).ok()
                });
            }
            let add = scope.spawn(|| {
                start.wait();
                shared.call("ADD", &coming).ok()
            });
            add.join().unwrap()
        });
        node.call("CHECK", &with_result(&coming, &result)).ok();
        node.call("DEL", &coming).ok();
        node.assert_nothing_left();
    }
}
