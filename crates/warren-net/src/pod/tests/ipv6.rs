//! Pods with IPv6 addresses, alone or beside IPv4.

use std::net::UdpSocket;

use super::traffic::{exchange, socket};
use super::*;
use crate::pod::ipv6;

const ADDRESS6: &str = "fd00:52::84";

fn dual() -> PodInterface {
    let addresses = vec![ADDRESS.parse().unwrap(), ADDRESS6.parse().unwrap()];
    PodInterface { addresses, ..pod() }
}

fn only6() -> PodInterface {
    PodInterface { addresses: vec![ADDRESS6.parse().unwrap()], ..pod() }
}

/// The sentences about a pod of both families after these commands on the node and in the pod.
fn sentences(node: &[&str], inside: &[&str]) -> Vec<String> {
    isolated(|| {
        let namespace = namespace();
        create(&namespace, &dual()).unwrap();
        node.iter().for_each(|words| drop(ip(words)));
        inside.iter().for_each(|words| drop(ip_in(&namespace, words)));
        let found = check(&namespace, &dual()).unwrap();
        found.iter().map(|difference| difference.to_string()).collect()
    })
}

#[test]
fn a_pod_of_both_families_has_the_addresses_and_routes_of_both() {
    isolated(|| {
        let namespace = namespace();
        create(&namespace, &dual()).unwrap();
        assert_eq!(check(&namespace, &dual()).unwrap(), []);

        let addresses = ip_in(&namespace, "-6 address show dev eth0 scope global");
        assert!(addresses.contains(&format!("inet6 {ADDRESS6}/128 scope global nodad")));
        assert!(!addresses.contains("tentative"), "{addresses}");
        let routes = ip_in(&namespace, "-6 route");
        assert!(routes.contains("default via fe80::ecee:eeff:feee:eeee dev eth0"), "{routes}");
        assert_eq!(ip_in(&namespace, "-4 route").lines().count(), 2);
        let routes = ip("-6 route");
        assert!(routes.contains(&format!("{ADDRESS6} dev {HOST}")), "{routes}");
        let addresses = ip(&format!("-6 address show dev {HOST}"));
        assert!(addresses.contains("inet6 fe80::ecee:eeff:feee:eeee/64 scope link nodad"));
        assert!(!addresses.contains("tentative"), "{addresses}");
        delete(HOST).unwrap();
        assert!(!ip("-6 route").contains(ADDRESS6));
    });
}

#[test]
fn a_pod_without_ipv4_has_nothing_of_it() {
    isolated(|| {
        let namespace = namespace();
        create(&namespace, &only6()).unwrap();
        assert_eq!(check(&namespace, &only6()).unwrap(), []);
        assert_eq!(ip_in(&namespace, "-4 route"), "");
        assert_eq!(ip("-4 route"), "");
    });
}

#[test]
fn a_pod_without_ipv6_reaches_its_node_by_no_link_local_address() {
    isolated(|| {
        let namespace = namespace();
        create(&namespace, &pod()).unwrap();
        assert_eq!(ip(&format!("-6 address show dev {HOST}")), "");
    });
}

#[test]
fn a_pod_and_its_node_reach_each_other_at_once() {
    isolated(|| {
        ip("link set lo up");
        ip("address add 2001:db8::1/128 dev lo nodad");
        let namespace = namespace();
        create(&namespace, &only6()).unwrap();
        let node: UdpSocket = socket("[2001:db8::1]:0");
        let inside = namespace.within(|| socket(&format!("[{ADDRESS6}]:0"))).unwrap();
        exchange(&inside, &node);
        exchange(&node, &inside);
    });
}

#[test]
fn ipv6_that_is_off_on_the_node_and_in_the_namespace_is_turned_on_for_the_pod_that_needs_it() {
    isolated(|| {
        let off = |interface: &str| {
            sysctl::write(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1").unwrap();
        };
        off("default");
        let namespace = namespace();
        namespace.within(|| ["all", "default"].map(off)).unwrap();
        create(&namespace, &pod()).unwrap();
        assert_eq!(check(&namespace, &pod()).unwrap(), []);
        assert_eq!(namespace.within(|| sysctl::read(&ipv6::key("all"))).unwrap().unwrap(), "1");
        delete(HOST).unwrap();

        create(&namespace, &dual()).unwrap();
        assert_eq!(check(&namespace, &dual()).unwrap(), []);
        // Not for others than this one.
        assert_eq!(sysctl::read(&ipv6::key("default")).unwrap(), "1");
    });
}

#[test]
fn a_link_too_small_for_ipv6_serves_a_pod_without() {
    isolated(|| {
        let small = PodInterface { mtu: 1000, ..pod() };
        let namespace = namespace();
        create(&namespace, &small).unwrap();
        assert_eq!(check(&namespace, &small).unwrap(), []);
    });
}

#[test]
fn what_is_missing_of_ipv6_is_named() {
    assert_eq!(
        sentences(&["-6 route delete fd00:52::84"], &[]),
        ["the route fd00:52::84 dev calib472a44443d scope link is missing on the node"]
    );
    assert_eq!(
        sentences(&["address delete fe80::ecee:eeff:feee:eeee/64 dev calib472a44443d"], &[]),
        ["interface calib472a44443d on the node lacks the address fe80::ecee:eeff:feee:eeee/64, \
             the pod's next hop"]
    );
    assert_eq!(
        sentences(&[], &["address delete fd00:52::84/128 dev eth0"]),
        [
            "interface eth0 in the pod's namespace lacks the address fd00:52::84/128 and has no other"
        ]
    );
    assert_eq!(
        sentences(&[], &["-6 route delete default"]),
        [
            "the route default via fe80::ecee:eeff:feee:eeee dev eth0 is missing in the pod's namespace"
        ]
    );
}
