//! `check` finds each thing that is broken by hand, and nothing else.

use super::*;

/// The sentences after these commands on the node and in the pod.
fn sentences(node: &[&str], inside: &[&str]) -> Vec<String> {
    isolated(|| {
        let namespace = namespace();
        let created = create(&namespace, &pod()).unwrap();
        for words in node {
            ip(words);
        }
        for words in inside {
            ip_in(&namespace, words);
        }
        let expected = PodInterface { pod_mac: Some(created.pod_mac), ..pod() };
        let found = check(&namespace, &expected).unwrap();
        found.iter().map(|difference| difference.to_string()).collect()
    })
}

#[test]
fn the_nodes_route_is_deleted_or_elsewhere() {
    let lost = "the route 172.16.52.132 dev calib472a44443d scope link is missing on the node";
    assert_eq!(sentences(&["route delete 172.16.52.132"], &[]), [lost]);
    let elsewhere =
        ["link set lo up", "route delete 172.16.52.132", "route add 172.16.52.132 dev lo"];
    assert_eq!(
        sentences(&elsewhere, &[]),
        [format!("{lost}, which has 172.16.52.132 dev lo instead")]
    );
    let blackhole = ["route delete 172.16.52.132", "route add blackhole 172.16.52.132"];
    assert_eq!(
        sentences(&blackhole, &[]),
        [format!("{lost}, which has blackhole 172.16.52.132 instead")]
    );
}

#[test]
fn the_pods_routes_are_deleted_or_changed() {
    let default = "the route default via 169.254.1.1 dev eth0 is missing in the pod's namespace";
    let gateway = "the route 169.254.1.1 dev eth0 scope link is missing in the pod's namespace";
    assert_eq!(sentences(&[], &["route delete default"]), [default]);
    assert_eq!(sentences(&[], &["route delete 169.254.1.1"]), [gateway]);
    assert_eq!(
        sentences(&[], &["route replace default via 169.254.1.9 dev eth0 onlink"]),
        [default]
    );
}

#[test]
fn a_namespace_that_never_had_a_route_has_none() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        assert_eq!(requests::routes(&mut socket, None, GATEWAY.into()).unwrap(), []);
        assert_eq!(requests::routes(&mut socket, Some(1), GATEWAY6.into()).unwrap(), []);
    });
}

#[test]
fn the_pods_address_is_changed_or_gone() {
    let changed =
        ["address add 172.16.52.9/26 dev eth0", "address delete 172.16.52.132/32 dev eth0"];
    assert_eq!(
        sentences(&[], &changed),
        ["interface eth0 in the pod's namespace lacks the address 172.16.52.132/32 and has \
             172.16.52.9/26"]
    );
    let wider =
        ["address delete 172.16.52.132/32 dev eth0", "address add 172.16.52.132/26 dev eth0"];
    assert!(sentences(&[], &wider)[0].ends_with("172.16.52.132/32 and has 172.16.52.132/26"));
    let gone = ["address delete 172.16.52.132/32 dev eth0"];
    assert!(sentences(&[], &gone)[0].ends_with("172.16.52.132/32 and has no other"));
}

#[test]
fn what_others_added_is_no_difference() {
    let added = ["address add 192.0.2.7/24 dev eth0", "route add 198.51.100.0/24 dev eth0"];
    assert_eq!(sentences(&["route add 198.51.100.0/24 dev calib472a44443d"], &added), [""; 0]);
}

#[test]
fn an_end_is_renamed() {
    let node = [
        "link set calib472a44443d down",
        "link set calib472a44443d name other",
        "link set other up",
        "route add 172.16.52.132 dev other scope link",
    ];
    assert_eq!(sentences(&node, &[]), ["interface calib472a44443d is called other on the node"]);
    let inside = [
        "link set eth0 down",
        "link set eth0 name net1",
        "link set net1 up",
        "route add 169.254.1.1 dev net1 scope link",
        "route add default via 169.254.1.1",
    ];
    assert_eq!(sentences(&[], &inside), ["interface eth0 is called net1 in the pod's namespace"]);
}

#[test]
fn the_pair_is_gone() {
    let both = [
        "interface calib472a44443d is missing on the node",
        "interface eth0 is missing in the pod's namespace",
    ];
    assert_eq!(sentences(&["link delete calib472a44443d"], &[]), both);
    assert_eq!(sentences(&[], &["link delete eth0"]), both);
}

#[test]
fn interfaces_of_the_same_names_are_no_pair() {
    let node = [
        "link delete calib472a44443d",
        "link add calib472a44443d type veth peer name other",
        "link set calib472a44443d address ee:ee:ee:ee:ee:ee mtu 1480 up",
    ];
    let inside = ["link add eth0 type veth peer name other"];
    let found = sentences(&node, &inside);
    assert_eq!(
        found[0],
        "interface calib472a44443d on the node and interface eth0 in the pod's namespace are not \
         the two ends of one veth pair"
    );
}

#[test]
fn an_end_is_down() {
    // The kernel removes a link's routes when it goes down.
    assert_eq!(
        sentences(&["link set calib472a44443d down"], &[]),
        [
            "interface calib472a44443d is down on the node",
            "the route 172.16.52.132 dev calib472a44443d scope link is missing on the node",
        ]
    );
    assert_eq!(
        sentences(&[], &["link set eth0 down"]),
        [
            "interface eth0 is down in the pod's namespace",
            "the route 169.254.1.1 dev eth0 scope link is missing in the pod's namespace",
            "the route default via 169.254.1.1 dev eth0 is missing in the pod's namespace",
        ]
    );
}

#[test]
fn an_mtu_is_changed() {
    assert_eq!(
        sentences(&["link set calib472a44443d mtu 1400"], &["link set eth0 mtu 1500"]),
        [
            "the MTU of interface calib472a44443d on the node is 1400 instead of 1480",
            "the MTU of interface eth0 in the pod's namespace is 1500 instead of 1480",
        ]
    );
}

#[test]
fn a_mac_address_is_changed() {
    let node = ["link set calib472a44443d address 02:00:00:00:00:01"];
    assert_eq!(
        sentences(&node, &[]),
        ["the MAC address of interface calib472a44443d on the node is 02:00:00:00:00:01 instead \
             of ee:ee:ee:ee:ee:ee"]
    );
    let found = sentences(&[], &["link set eth0 address 02:00:00:00:00:02"]);
    let start = "the MAC address of interface eth0 in the pod's namespace is 02:00:00:00:00:02";
    assert!(found.len() == 1 && found[0].starts_with(start), "{found:?}");
}

#[test]
fn each_sysctl_is_changed() {
    for (key, other, value) in [
        ("net/ipv4/conf/calib472a44443d/route_localnet", "0", "1"),
        ("net/ipv4/neigh/calib472a44443d/proxy_delay", "80", "0"),
        ("net/ipv4/conf/calib472a44443d/proxy_arp", "0", "1"),
        ("net/ipv4/conf/calib472a44443d/forwarding", "0", "1"),
        ("net/ipv6/conf/calib472a44443d/accept_ra", "1", "0"),
    ] {
        isolated(|| {
            let namespace = namespace();
            create(&namespace, &pod()).unwrap();
            sysctl::write(key, other).unwrap();
            let found = check(&namespace, &pod()).unwrap();
            assert_eq!(
                found.iter().map(|difference| difference.to_string()).collect::<Vec<_>>(),
                [format!("sysctl {key} on the node is {other} instead of {value}")]
            );
        });
    }
}
