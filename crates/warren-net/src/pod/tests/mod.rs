//! What is made is looked at, and broken, with iproute2: it knows nothing of this code.

mod broken;
mod failing;
mod inventory;
mod ipv6;
mod several;
mod traffic;

use std::os::fd::{AsFd, AsRawFd};
use std::thread;

use super::*;
use crate::namespace::Namespace;
use crate::sysctl;
use crate::testing::{ip, isolated, namespace};

const HOST: &str = "calib472a44443d";
const ADDRESS: &str = "172.16.52.132";

fn pod() -> PodInterface {
    PodInterface {
        host_name: HOST.into(),
        pod_name: "eth0".into(),
        addresses: vec![ADDRESS.parse().unwrap()],
        mtu: 1480,
        pod_mac: None,
        metric: 0,
    }
}

fn ip_in(namespace: &Namespace, words: &str) -> String {
    namespace.within(|| ip(words)).unwrap()
}

/// All that a failed or repeated request could have changed, in the calling thread's namespace.
fn state() -> String {
    let links = ip("-o link show");
    // Of each link, its number and name: whether it has a carrier, the kernel notices by and by.
    let links: Vec<&str> = links.lines().filter_map(|line| line.split(" <").next()).collect();
    let addresses = ip("-o -4 address show scope global");
    let routes = ip("route show table main").replace(" linkdown", "");
    format!("{}\n{addresses}\n{routes}", links.join("\n"))
}

#[test]
fn a_pod_has_an_address_two_routes_and_a_route_to_it() {
    isolated(|| {
        let namespace = namespace();
        let created = create(&namespace, &pod()).unwrap();

        assert_eq!(ip("route"), format!("{ADDRESS} dev {HOST} scope link"));
        assert_eq!(
            ip_in(&namespace, "route"),
            "default via 169.254.1.1 dev eth0\n169.254.1.1 dev eth0 scope link"
        );
        let addresses = ip_in(&namespace, "-4 address show dev eth0 scope global");
        assert!(addresses.contains(&format!("inet {ADDRESS}/32 scope global eth0")), "{addresses}");

        let host = ip(&format!("-o -d link show {HOST}"));
        for part in ["mtu 1480", "MULTICAST,UP,LOWER_UP>", "link/ether ee:ee:ee:ee:ee:ee"] {
            assert!(host.contains(part), "no {part} in {host}");
        }
        let end = ip_in(&namespace, "-o link show eth0");
        for part in ["mtu 1480", "MULTICAST,UP,LOWER_UP>"] {
            assert!(end.contains(part), "no {part} in {end}");
        }
        assert!(ip_in(&namespace, "-o link show lo").contains("<LOOPBACK,UP,LOWER_UP>"));

        assert_eq!(created.host_mac, HOST_MAC);
        let mac = created.pod_mac.map(|byte| format!("{byte:02x}")).join(":");
        assert!(end.contains(&format!("link/ether {mac}")), "no {mac} in {end}");
        assert!(host.starts_with(&format!("{}: {HOST}", created.host_index)), "{host}");
        assert!(end.starts_with(&format!("{}: eth0", created.pod_index)), "{end}");
        assert_eq!(check(&namespace, &pod()).unwrap(), []);
    });
}

#[test]
fn the_host_end_has_its_sysctls_whatever_the_defaults_are() {
    isolated(|| {
        let expected = [
            ("ipv4/conf", "route_localnet", "1"),
            ("ipv4/neigh", "proxy_delay", "0"),
            ("ipv4/conf", "proxy_arp", "1"),
            ("ipv4/conf", "forwarding", "1"),
            ("ipv6/conf", "accept_ra", "0"),
        ];
        // Of `proxy_delay`, a namespace has no default to change: 0 is not the kernel's own value.
        for (directory, leaf, value) in expected.into_iter().filter(|of| of.0 != "ipv4/neigh") {
            let other = if value == "0" { "1" } else { "0" };
            sysctl::write(&format!("net/{directory}/default/{leaf}"), other).unwrap();
        }
        let namespace = namespace();
        create(&namespace, &pod()).unwrap();
        for (directory, leaf, value) in expected {
            let key = format!("net/{directory}/{HOST}/{leaf}");
            assert_eq!(sysctl::read(&key).unwrap(), value, "{key}");
        }
    });
}

#[test]
fn a_mac_address_that_is_asked_for_is_given() {
    isolated(|| {
        let namespace = namespace();
        let mac = [0x02, 0, 0, 0, 0x52, 0x84];
        let pod = PodInterface { pod_mac: Some(mac), ..pod() };
        assert_eq!(create(&namespace, &pod).unwrap().pod_mac, mac);
        assert!(ip_in(&namespace, "link show eth0").contains("link/ether 02:00:00:00:52:84"));
        assert_eq!(check(&namespace, &pod).unwrap(), []);
    });
}

#[test]
fn deleting_twice_removes_once() {
    isolated(|| {
        let before = state();
        let namespace = namespace();
        create(&namespace, &pod()).unwrap();
        assert!(delete(HOST).unwrap());
        assert!(!delete(HOST).unwrap());
        assert_eq!(state(), before);
        assert!(!ip_in(&namespace, "link").contains("eth0"));
    });
}

#[test]
fn deleting_works_when_the_namespace_is_gone() {
    isolated(|| {
        let before = state();
        let namespace = namespace();
        create(&namespace, &pod()).unwrap();
        drop(namespace);
        // The kernel removes the pair on its own account by and by: either may come first.
        let _ = delete(HOST).unwrap();
        assert_eq!(state(), before);
    });
}

#[test]
fn deleting_finds_the_pair_by_whatever_name_and_in_whatever_namespace_its_ends_are() {
    isolated(|| {
        let namespace = namespace();
        let before = state();
        create(&namespace, &pod()).unwrap();
        ip(&format!("link set {HOST} name elsewhere"));
        assert!(!delete("cali6973aefed8d").unwrap());
        assert!(delete(HOST).unwrap());
        assert_eq!(state(), before);

        create(&namespace, &pod()).unwrap();
        let other = crate::testing::namespace();
        let path = format!("/proc/{}/fd/{}", std::process::id(), other.as_fd().as_raw_fd());
        ip(&format!("link set {HOST} netns {path}"));
        ip_in(&namespace, "link set eth0 down");
        ip_in(&namespace, "link set eth0 name eth1");
        assert!(!delete(HOST).unwrap());
        assert!(!delete_within(&namespace, "cali6973aefed8d").unwrap());
        assert!(delete_within(&namespace, HOST).unwrap());
        assert!(!delete_within(&namespace, HOST).unwrap());
        assert!(!ip_in(&namespace, "-o link").contains("eth1"));
        create(&namespace, &pod()).unwrap();
    });
}

#[test]
fn a_deleted_pod_can_be_created_again() {
    isolated(|| {
        let namespace = namespace();
        create(&namespace, &pod()).unwrap();
        delete(HOST).unwrap();
        create(&namespace, &pod()).unwrap();
        assert_eq!(check(&namespace, &pod()).unwrap(), []);
    });
}

#[test]
fn the_host_ends_are_listed_and_nothing_else() {
    isolated(|| {
        assert_eq!(host_interfaces().unwrap(), [""; 0]);
        ip("link add other type veth peer name peer");
        ip("link add calibridge type bridge");
        let (one, other) = (namespace(), namespace());
        create(&one, &pod()).unwrap();
        let second = PodInterface {
            host_name: "cali6973aefed8d".into(),
            addresses: vec!["172.16.52.135".parse().unwrap()],
            ..pod()
        };
        create(&other, &second).unwrap();
        assert_eq!(host_interfaces().unwrap(), ["cali6973aefed8d", HOST]);
    });
}

#[test]
fn many_pods_are_created_and_deleted_at_once() {
    isolated(|| {
        let before = state();
        thread::scope(|scope| {
            for number in 0..20 {
                scope.spawn(move || {
                    let pod = PodInterface {
                        host_name: format!("cali{number:011}"),
                        addresses: vec![Ipv4Addr::new(172, 16, 52, number).into()],
                        ..pod()
                    };
                    let namespace = namespace();
                    for _ in 0..5 {
                        create(&namespace, &pod).unwrap();
                        assert_eq!(check(&namespace, &pod).unwrap(), []);
                        assert!(delete(&pod.host_name).unwrap());
                    }
                });
            }
        });
        assert_eq!(state(), before);
    });
}
