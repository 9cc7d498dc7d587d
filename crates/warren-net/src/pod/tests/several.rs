//! Several interfaces in one pod.

use super::*;

fn second() -> PodInterface {
    PodInterface {
        host_name: "cali6973aefed8d".into(),
        pod_name: "net1".into(),
        addresses: vec!["172.16.52.135".parse().unwrap(), "fd00:52::87".parse().unwrap()],
        metric: 1_100,
        ..pod()
    }
}

#[test]
fn a_further_interface_leaves_the_first_one_its_routes_and_each_can_go_alone() {
    isolated(|| {
        let namespace = namespace();
        let first = PodInterface {
            addresses: vec![ADDRESS.parse().unwrap(), "fd00:52::84".parse().unwrap()],
            ..pod()
        };
        create(&namespace, &first).unwrap();
        create(&namespace, &second()).unwrap();
        assert_eq!(check(&namespace, &first).unwrap(), []);
        assert_eq!(check(&namespace, &second()).unwrap(), []);
        let way = |to| ip_in(&namespace, &format!("route get {to}"));
        assert!(way("192.0.2.1").contains("via 169.254.1.1 dev eth0"), "{}", way("192.0.2.1"));
        assert!(way("2001:db8::1").contains("dev eth0"), "{}", way("2001:db8::1"));

        delete(HOST).unwrap();
        assert_eq!(check(&namespace, &second()).unwrap(), []);
        assert!(way("192.0.2.1").contains("dev net1"));
        create(&namespace, &first).unwrap();
        delete(&second().host_name).unwrap();
        assert_eq!(check(&namespace, &first).unwrap(), []);
    });
}

#[test]
fn an_end_has_one_queue_however_many_processors_there_are() {
    isolated(|| {
        let namespace = namespace();
        create(&namespace, &pod()).unwrap();
        for link in [ip(&format!("-d link show {HOST}")), ip_in(&namespace, "-d link show eth0")] {
            assert!(link.contains("numtxqueues 1 ") && link.contains("numrxqueues 1 "), "{link}");
        }
    });
}
