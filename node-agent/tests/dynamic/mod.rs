//! Two agents, of which one knows only the prefix that the other connects from.

use serde_json::Value;

use crate::running::config::{node1, node2};
use crate::running::{Namespace, Running};

const A: &str = node1!(
    "peers:
- {address: 192.168.0.0/24, name: rack, asNumber: internal, password: secret, ttlSecurity: 1}
"
);

const B: &str = node2!(
    "gracefulRestart: {restartTimeSeconds: 5}
peers:
- {address: 192.168.0.176, name: node1, password: secret, ttlSecurity: 1}
"
);

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

/// Both, with BGP, BFD and the neighbour's route.
fn up<'n>(a: &'n Namespace, b: &'n Namespace) -> (Running<'n>, Running<'n>) {
    let agents = (a.start(&with_bfd(A)), b.start(B));
    for agent in [&agents.0, &agents.1] {
        agent.eventually("BFD and the route", |status| {
            status["peers"][0]["bfd"] == "Up" && status["routes"]["programmed"] == 2
        });
    }
    agents
}

fn with_bfd(config: &str) -> String {
    config.replace("name: rack", "name: rack, bfd: {detectMultiplier: 4}")
}

#[test]
fn a_neighbour_of_a_prefix_that_vanishes_is_noticed_by_bfd_which_runs_as_its_template_says() {
    let (a, b) = Namespace::pair();
    let (one, two) = up(&a, &b);
    let session = |status: &Value| status["peers"][0]["bfdSession"].clone();
    two.eventually("the template's multiplier", |status| {
        session(status)["detectionTimeMilliseconds"] == 4 * 300
    });
    assert_eq!(session(&one.status())["multihop"], false);
    // What each sends goes to nobody from here on.
    a.ip("neigh replace 192.168.0.146 lladdr 02:00:00:00:00:99 nud permanent dev enp1s0");
    b.ip("neigh replace 192.168.0.176 lladdr 02:00:00:00:00:99 nud permanent dev enp1s0");
    one.eventually("the end of the session", |status| {
        let error = status["peers"][0]["lastError"].as_str().unwrap_or_default();
        error.contains("BFD down") && status["routes"]["desired"] == 1
    });
    // It is remembered, and so is its BFD session: the first to notice that it is back.
    a.ip("neigh del 192.168.0.146 dev enp1s0");
    b.ip("neigh del 192.168.0.176 dev enp1s0");
    one.eventually("the return of BFD and the route", |status| {
        status["peers"][0]["bfd"] == "Up" && status["routes"]["programmed"] == 2
    });
}

#[test]
fn bfd_of_a_neighbour_ends_when_it_is_forgotten_and_begins_anew_when_it_is_back() {
    let (a, b) = Namespace::pair();
    let (one, two) = up(&a, &b);
    // Neighbours of a template that has changed are forgotten.
    one.reload(&with_bfd(A).replace("name: rack", "name: rack, limit: 7"));
    two.eventually("the end of BFD", |status| {
        let session = &status["peers"][0]["bfdSession"];
        session["lastDownReason"].as_str().is_some_and(|it| it.contains("administratively down"))
    });
    two.eventually("another session", |status| {
        let peer = &status["peers"][0];
        peer["bfd"] == "Up" && peer["bfdSession"]["cameUp"] == 2
    });
    // Where no template is left there is no BFD either.
    one.reload(node1!(""));
    one.eventually("no neighbour", |status| status["peers"].as_array().is_some_and(Vec::is_empty));
    two.eventually("the end of BFD", |status| status["peers"][0]["bfd"] == "Down");
}
