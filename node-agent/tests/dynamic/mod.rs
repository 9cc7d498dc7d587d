//! Two agents, of which one knows only the prefix that the other connects from.

use crate::running::Namespace;

const A: &str = "
node: {name: node1, address: 192.168.0.176}
pools:
- {cidr: 172.16.0.0/16, encapsulation: None}
blocks: [172.16.52.128/26]
peers:
- {address: 192.168.0.0/24, name: rack, asNumber: internal, password: secret, ttlSecurity: 1}
";

const B: &str = "
node: {name: node2, address: 192.168.0.146}
gracefulRestart: {restartTimeSeconds: 5}
pools:
- {cidr: 172.16.0.0/16, encapsulation: None}
blocks: [172.16.7.0/26]
peers:
- {address: 192.168.0.176, name: node1, password: secret, ttlSecurity: 1}
";

#[test]
fn a_neighbour_of_a_prefix_is_there_while_it_is_and_its_routes_outlive_it_by_its_restart_time() {
    let (a, b) = Namespace::pair();
    let one = a.start(A);
    // Nobody is missing.
    one.eventually("readiness", |status| status["ready"] == true);
    assert_eq!(one.status()["peers"].as_array().map(Vec::len), Some(0));

    let two = b.start(B);
    one.eventually("a neighbour and its route", |status| {
        let peer = &status["peers"][0];
        peer["state"] == "Established"
            && peer["template"] == "rack"
            && peer["asNumber"] == 64512
            && status["routes"]["programmed"] == 2
    });
    two.eventually("the other's route", |status| status["routes"]["programmed"] == 2);
    assert!(one.ask(&["peers"]).1.contains("dynamic (rack)"));

    assert!(two.terminate().success());
    one.eventually("a route that is kept", |status| {
        let peer = &status["peers"][0];
        peer["prefixesStale"] == 1 && status["routes"]["programmed"] == 2
    });
    one.eventually("the end of its restart time", |status| {
        let peer = &status["peers"][0];
        peer["lastError"].is_string() && status["routes"]["programmed"] == 1
    });
    assert_eq!(one.status()["ready"], true);
}
