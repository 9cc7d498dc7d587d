//! The other nodes: whether BGP reaches them, and whether packets do.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use warren_types::status::{Peer, Route, Status};

use super::Finding;
use super::probe::{Reach, connect};

const SESSIONS: &str = "BGP";
const TUNNEL: &str = "tunnel";

/// The port "discard". That nobody listens there is as good an answer as any.
const DISCARD: u16 = 9;

/// Whether the sessions are up, and why each of the others is not, as far as that can be told from here.
pub fn sessions(status: &Status, port: u16) -> Vec<Finding> {
    // A dynamic neighbour that has gone is not missing.
    let expected =
        (status.peers.iter()).filter(|peer| peer.template.is_none() || peer.state == "Established");
    let (up, down): (Vec<&Peer>, Vec<&Peer>) =
        expected.clone().partition(|peer| peer.state == "Established");
    let targets: Vec<_> = down.iter().map(|peer| SocketAddr::from((peer.address, port))).collect();
    let mut findings: Vec<Finding> = down
        .into_iter()
        .zip(connect(&targets))
        .map(|(peer, reach)| down_peer(peer, port, &reach))
        .collect();
    if !up.is_empty() || findings.is_empty() {
        let all = expected.count();
        findings
            .insert(0, Finding::ok(SESSIONS, format!("{} of {all} peers Established", up.len())));
    }
    findings
}

fn down_peer(peer: &Peer, port: u16, reach: &Reach) -> Finding {
    let name = called(status_name(peer), peer.address);
    let state = &peer.state;
    match reach {
        Reach::Silent => {
            Finding::problem(SESSIONS, format!("{name}: {state}; TCP port {port} gets no answer"))
                .advise(format!(
                    "let TCP port {port} through between the nodes (firewall, security group), \
                     unless that node is down"
                ))
        }
        Reach::Refused => Finding::problem(
            SESSIONS,
            format!("{name}: {state}; nobody listens at TCP port {port} there"),
        )
        .advise("start the agent of that node"),
        Reach::Open => {
            let error = peer.last_error.as_deref().unwrap_or("it has only begun");
            Finding::problem(
                SESSIONS,
                format!("{name}: {state}, though TCP port {port} is open: {error}"),
            )
            .advise("compare AS numbers, and look for this node among the peers of that one")
        }
        Reach::Failed(error) => Finding::problem(
            SESSIONS,
            format!("{name}: {state}; TCP port {port} cannot be reached: {error}"),
        )
        .advise("see `ip route get` for its address, and the packet rules of this node"),
    }
}

/// Whether packets in packets come back from each node that BGP knows a way to. A node answers at the
/// address of its own end of the tunnel, which is the first of its first block.
pub fn tunnel(status: &Status, routes: &[Route]) -> Vec<Finding> {
    let Some(device) = status.node.tunnel.as_ref().map(|tunnel| tunnel.device.as_str()) else {
        return Vec::new();
    };
    let ends: Vec<(IpAddr, IpAddr)> = routes
        .iter()
        .filter(|route| route.programmed && word_after(&route.route, "dev") == Some(device))
        .filter_map(|route| {
            let node = word_after(&route.route, "via")?.parse().ok()?;
            Some((node, route.prefix.network()))
        })
        .collect();
    let targets: Vec<_> = ends.iter().map(|(_, end)| SocketAddr::from((*end, DISCARD))).collect();
    let mut answers: BTreeMap<IpAddr, (bool, IpAddr)> = BTreeMap::new();
    for ((node, end), reach) in ends.iter().zip(connect(&targets)) {
        let (answered, _) = answers.entry(*node).or_insert((false, *end));
        *answered |= reach.is_answer();
    }
    let name = |node: &IpAddr| {
        let peer = status.peers.iter().find(|peer| peer.address == *node);
        called(peer.and_then(status_name), *node)
    };
    let silent = answers.iter().filter(|(_, (answered, _))| !answered);
    let mut findings: Vec<Finding> = silent
        .map(|(node, (_, end))| {
            Finding::problem(
                TUNNEL,
                format!(
                    "{}: BGP is up, but nothing comes back from {end} through {device}",
                    name(node)
                ),
            )
            .advise(
                "let IP protocol 4 through between the nodes (firewall, security group); or its \
                 end of the tunnel has another address, as Calico's may",
            )
        })
        .collect();
    let answering = answers.len() - findings.len();
    if answering > 0 || findings.is_empty() {
        let all = answers.len();
        let words = format!("packets in packets come back from {answering} of {all} nodes");
        findings.insert(0, Finding::ok(TUNNEL, words));
    }
    findings
}

/// What stands behind a word in a route in the words of iproute2.
fn word_after<'r>(route: &'r str, word: &str) -> Option<&'r str> {
    route.split_whitespace().skip_while(|found| *found != word).nth(1)
}

fn status_name(peer: &Peer) -> Option<&str> {
    peer.name.as_deref()
}

fn called(name: Option<&str>, address: IpAddr) -> String {
    name.map_or_else(|| address.to_string(), |name| format!("{name} ({address})"))
}
