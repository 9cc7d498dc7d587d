//! Two agents and the wire between them: what BFD makes of what happens to it. The hold time is the
//! default, which is longer than anything here is waited for.

mod load;

use serde_json::Value;

use crate::running::config::{node1, node2};
use crate::running::{Namespace, Running};

const A: &str = node1!(
    "peers:
- {address: 192.168.0.146, name: node2}
"
);

const B: &str = node2!(
    "peers:
- {address: 192.168.0.176, name: node1}
"
);

const NO_BFD: &str = "bfd: {enabled: false}\n";

/// Both at either end of a wire, with BGP and BFD up and each other's route.
fn up<'n>(a: &'n Namespace, b: &'n Namespace) -> (Running<'n>, Running<'n>) {
    let agents = (a.start(A), b.start(B));
    for agent in [&agents.0, &agents.1] {
        agent.eventually("BFD and the route", |status| {
            status["peers"][0]["bfd"] == "Up" && status["routes"]["programmed"] == 2
        });
    }
    agents
}

fn is_down_by_bfd(status: &Value, why: &str) -> bool {
    let error = status["peers"][0]["lastError"].as_str().unwrap_or_default();
    error.contains("BFD down") && error.contains(why)
}

#[test]
fn a_peer_that_vanishes_without_a_word_loses_session_and_routes_and_both_return() {
    let (a, b) = Namespace::pair();
    let agents = up(&a, &b);
    // What each sends goes to nobody from here on.
    a.ip("neigh replace 192.168.0.146 lladdr 02:00:00:00:00:99 nud permanent dev enp1s0");
    b.ip("neigh replace 192.168.0.176 lladdr 02:00:00:00:00:99 nud permanent dev enp1s0");
    for agent in [&agents.0, &agents.1] {
        agent.eventually("the end of the session", |status| {
            is_down_by_bfd(status, "nothing was heard") && status["routes"]["desired"] == 1
        });
        agent.logged("BFD session is down");
    }
    a.ip("neigh del 192.168.0.146 dev enp1s0");
    b.ip("neigh del 192.168.0.176 dev enp1s0");
    for agent in [&agents.0, &agents.1] {
        agent.eventually("the return of BFD and the route", |status| {
            status["peers"][0]["bfd"] == "Up" && status["routes"]["programmed"] == 2
        });
    }
}

#[test]
fn an_interface_that_goes_down_ends_the_sessions_behind_it() {
    let (a, b) = Namespace::pair();
    let agents = up(&a, &b);
    a.ip("link set enp1s0 down");
    agents
        .0
        .eventually("its end", |status| is_down_by_bfd(status, "interface to the peer is down"));
    // The kernel may tell the other of its carrier only after silence has told it.
    agents.1.eventually("its end there", |status| is_down_by_bfd(status, ""));
}

#[test]
fn a_peer_without_bfd_keeps_its_session() {
    let (a, b) = Namespace::pair();
    let (a, b) = (a.start(A), b.start(&format!("{B}{NO_BFD}")));
    a.eventually("a session, and BFD that has tried", |status| {
        let peer = &status["peers"][0];
        peer["state"] == "Established" && peer["bfdSession"]["packetsSent"].as_u64() > Some(3)
    });
    let status = a.status();
    let peer = &status["peers"][0];
    assert_eq!((&peer["state"], &peer["bfd"]), (&"Established".into(), &"Down".into()));
    assert_eq!(peer["bfdSession"]["problem"], Value::Null);
    assert_eq!(b.status()["peers"][0]["bfd"], Value::Null);
}

#[test]
fn bfd_that_is_turned_off_at_one_end_ends_no_session() {
    let (a, b) = Namespace::pair();
    let (a, b) = up(&a, &b);
    let since = a.status()["peers"][0]["since"].clone();
    b.reload(&format!("{B}{NO_BFD}"));
    a.eventually("the end of BFD", |status| status["peers"][0]["bfd"] == "Down");
    let status = a.status();
    let peer = &status["peers"][0];
    assert_eq!((&peer["state"], &peer["since"]), (&"Established".into(), &since));
    let why = peer["bfdSession"]["lastDownReason"].as_str().unwrap();
    assert!(why.contains("administratively down"), "{why}");
    assert!(a.ask(&["peers"]).1.contains("BFD: the peer's session is administratively down"));
}

#[test]
fn other_intervals_are_taken_over_without_a_flap() {
    let (a, b) = Namespace::pair();
    let (a, b) = up(&a, &b);
    let fast = "bfd: {transmitIntervalMilliseconds: 100, receiveIntervalMilliseconds: 100, \
                detectMultiplier: 5}\n";
    for (agent, config) in [(&a, A), (&b, B)] {
        agent.reload(&format!("{config}{fast}"));
    }
    for agent in [&a, &b] {
        agent.eventually("the new intervals", |status| {
            let session = &status["peers"][0]["bfdSession"];
            session["transmitIntervalMilliseconds"] == 100
                && session["detectionTimeMilliseconds"] == 500
        });
        let session = &agent.status()["peers"][0]["bfdSession"];
        assert_eq!((&session["cameUp"], &session["wentDown"]), (&1.into(), &0.into()));
    }
}

#[test]
fn the_status_shows_how_bfd_is_doing() {
    let (a, b) = Namespace::pair();
    let (a, _b) = up(&a, &b);
    a.eventually("the agreed interval", |status| {
        status["peers"][0]["bfdSession"]["detectionTimeMilliseconds"] == 900
    });
    let status = a.status();
    let session = &status["peers"][0]["bfdSession"];
    assert_eq!(session["multihop"], false, "the peer is in the node's network");
    assert_eq!(session["detectMultiplier"], 3);
    assert_eq!(session["remoteState"], "Up");
    assert_eq!(session["remoteControlPlaneIndependent"], false);
    assert!(session["discriminator"].as_u64() > Some(0));
    assert!(status["bfd"]["priority"].is_string() && status["bfd"]["discarded"].is_object());
    let table = a.ask(&["peers"]).1;
    assert!(table.contains("BFD") && table.contains("Up"), "{table}");
}

#[test]
fn bfd_of_a_peer_can_be_made_multihop() {
    let (a, b) = Namespace::pair();
    let multihop = |config: &str| config.replace("name: node2}", "bfd: {multihop: true}}");
    let (a, b) = (a.start(&multihop(A)), b.start(&format!("{B}bfd: {{multihop: true}}\n")));
    for agent in [&a, &b] {
        agent.eventually("BFD", |status| {
            let peer = &status["peers"][0];
            peer["bfd"] == "Up" && peer["bfdSession"]["multihop"] == true
        });
    }
}
