//! What there is of pods on the node.

use super::*;

#[test]
fn the_inventory_tells_our_pairs_from_others_under_any_name() {
    isolated(|| {
        assert_eq!(inventory().unwrap(), Inventory::default());
        // A pair of the node's own, and one that another plugin made.
        ip("link add here type veth peer name there");
        let (namespace, other) = (namespace(), namespace());
        let path = format!("/proc/{}/fd/{}", std::process::id(), other.as_fd().as_raw_fd());
        ip(&format!("link add cali0123456789a type veth peer name eth0 netns {path}"));
        let both = vec![ADDRESS.parse().unwrap(), "fd00:52::84".parse().unwrap()];
        create(&namespace, &PodInterface { addresses: both, ..pod() }).unwrap();

        let found = inventory().unwrap();
        let ends: Vec<_> =
            found.ends.iter().map(|end| (end.name.as_str(), end.is_ours())).collect();
        assert_eq!(ends, [("cali0123456789a", false), (HOST, true)]);
        let routes: Vec<_> = found
            .routes
            .iter()
            .map(|route| format!("{} {}", route.address, route.interface))
            .collect();
        assert_eq!(routes, [format!("{ADDRESS} {HOST}"), format!("fd00:52::84 {HOST}")]);

        ip(&format!("link set {HOST} down"));
        ip(&format!("link set {HOST} name elsewhere"));
        let renamed = &inventory().unwrap().ends[1];
        assert!(!renamed.is_ours() && renamed.was_made_as(HOST));
    });
}

#[test]
fn a_route_is_restored_whatever_is_in_its_place_and_removed() {
    isolated(|| {
        let namespace = namespace();
        let (address, address6) = (ADDRESS.parse().unwrap(), "fd00:52::84".parse().unwrap());
        let pod = PodInterface { addresses: vec![address, address6], ..pod() };
        let created = create(&namespace, &pod).unwrap();
        let expected = PodInterface { pod_mac: Some(created.pod_mac), ..pod };
        ip("link set lo up");
        ip(&format!("route replace {ADDRESS} dev lo scope link"));
        ip("-6 route del fd00:52::84");
        for address in [address, address6] {
            assert!(restore_route(address, HOST).unwrap());
            assert!(restore_route(address, HOST).unwrap());
            assert!(!restore_route(address, "absent").unwrap());
        }
        assert_eq!(check(&namespace, &expected).unwrap(), []);
        for address in [address, address6] {
            assert!(remove_route(address, HOST).unwrap());
            assert!(!remove_route(address, HOST).unwrap());
            assert!(!remove_route(address, "absent").unwrap());
        }
        assert_eq!(inventory().unwrap().routes, []);
    });
}
