//! Whatever goes wrong, nothing is left of the attempt, and the error names what went wrong.

use super::*;

/// Has `pod` fail after `prepare` (on the node, in the pod), and returns the error's sentence once
/// it is sure that all is as it was before.
fn failure(node: &[&str], inside: &[&str], pod: &PodInterface) -> String {
    isolated(|| {
        let namespace = namespace();
        for words in node {
            ip(words);
        }
        for words in inside {
            ip_in(&namespace, words);
        }
        let before = (state(), namespace.within(state).unwrap());
        let error = create(&namespace, pod).unwrap_err();
        assert_eq!((state(), namespace.within(state).unwrap()), before, "after {error}");
        error.to_string()
    })
}

#[test]
fn a_host_end_left_by_an_earlier_sandbox_is_told_and_not_touched() {
    isolated(|| {
        let (first, second) = (namespace(), namespace());
        create(&first, &pod()).unwrap();
        let before = (state(), first.within(state).unwrap(), second.within(state).unwrap());
        for namespace in [&first, &second] {
            let error = create(namespace, &pod()).unwrap_err();
            assert!(matches!(&error, PodError::AlreadyExists { name } if name == HOST), "{error}");
            assert_eq!(error.to_string(), "interface calib472a44443d already exists on the node");
        }
        let after = (state(), first.within(state).unwrap(), second.within(state).unwrap());
        assert_eq!(after, before);
        assert_eq!(check(&first, &pod()).unwrap(), []);
    });
}

#[test]
fn a_pod_interface_that_exists_is_named() {
    assert_eq!(
        failure(&[], &["link add eth0 type veth peer name other"], &pod()),
        "interface eth0 already exists in the pod's namespace"
    );
}

#[test]
fn a_route_in_the_way_is_named() {
    let add = "link add cali6973aefed8d up type veth peer name other";
    assert_eq!(
        failure(&[add, "route add 172.16.52.132 dev cali6973aefed8d scope link"], &[], &pod()),
        "cannot add route 172.16.52.132 dev calib472a44443d scope link: the node has the route \
         172.16.52.132 dev cali6973aefed8d already; delete it, or the pod that it belongs to"
    );
    assert_eq!(
        failure(&["route add blackhole 172.16.52.132"], &[], &pod()),
        "cannot add route 172.16.52.132 dev calib472a44443d scope link: the node has the route \
         blackhole 172.16.52.132 already; delete it, or the pod that it belongs to"
    );
}

#[test]
fn a_default_route_that_the_pod_has_already_is_named() {
    let inside = ["link add net0 up type veth peer name other", "route add default dev net0"];
    assert_eq!(
        failure(&[], &inside, &pod()),
        "cannot add route default via 169.254.1.1 dev eth0 in the pod's namespace: File exists"
    );
}

#[test]
fn a_second_address_that_fails_takes_the_first_one_back() {
    let add = "link add cali6973aefed8d up type veth peer name other";
    let route = "route add 172.16.52.133 dev cali6973aefed8d scope link";
    let mut two = pod();
    two.addresses.push("172.16.52.133".parse().unwrap());
    assert_eq!(
        failure(&[add, route], &[], &two),
        "cannot add route 172.16.52.133 dev calib472a44443d scope link: the node has the route \
         172.16.52.133 dev cali6973aefed8d already; delete it, or the pod that it belongs to"
    );
}

#[test]
fn what_the_kernel_refuses_is_told_in_its_words() {
    let mtu = failure(&[], &[], &PodInterface { mtu: 70_000, ..pod() });
    assert!(
        mtu.starts_with(
            "cannot add link calib472a44443d type veth peer eth0 netns /proc/thread-self/ns/net: \
             Invalid argument"
        ),
        "{mtu}"
    );
    let mac = failure(&[], &[], &PodInterface { pod_mac: Some([0x01; 6]), ..pod() });
    assert!(mac.ends_with("Cannot assign requested address"), "{mac}");
    let twice = PodInterface { addresses: [pod().addresses, pod().addresses].concat(), ..pod() };
    let twice = failure(&[], &[], &twice);
    assert!(
        twice.starts_with(
            "cannot add address 172.16.52.132/32 dev eth0 in the pod's namespace: File exists"
        ),
        "{twice}"
    );
}

#[test]
fn the_nodes_own_namespace_is_no_pods() {
    isolated(|| {
        let before = state();
        let error = create(&Namespace::current().unwrap(), &pod()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/proc/thread-self/ns/net is the node's own network namespace, not a pod's"
        );
        assert_eq!(state(), before);
    });
}

#[test]
fn a_request_that_makes_no_sense_is_refused_before_anything_is_made() {
    let named = |name: &str| PodInterface { pod_name: name.into(), ..pod() };
    for (pod, sentence) in [
        (named(""), r#"interface name "" is empty"#),
        (named("sixteen-letters-"), r#"interface name "sixteen-letters-" is longer than 15 bytes"#),
        (named(".."), r#"interface name ".." names a directory"#),
        (named("a/b"), r#"interface name "a/b" contains a slash, a colon or white space"#),
        (named("eth%d"), r#"interface name "eth%d" contains a per cent sign"#),
        (named("eth\u{7}"), r#"interface name "eth\u{7}" contains a control character"#),
        (
            PodInterface { host_name: "cali b".into(), ..pod() },
            r#"interface name "cali b" contains a slash, a colon or white space"#,
        ),
        (PodInterface { addresses: Vec::new(), ..pod() }, "no address is given for eth0"),
    ] {
        assert_eq!(failure(&[], &[], &pod), sentence);
    }
}
