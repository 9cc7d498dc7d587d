//! What the agent says of itself: a pure function of what its parts know.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Instant, SystemTime};

use jiff::Timestamp;
use warren_net::dataplane::{self, Report};
use warren_speaker::PeerSnapshot;
use warren_types::status;

use crate::config::Config;
use crate::datastore::{self, Datastore, Snapshot};

/// Who this agent is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The node's name.
    pub name: String,
    /// The node's address.
    pub address: IpAddr,
    /// The BGP identifier.
    pub router_id: Ipv4Addr,
    /// The node's AS number.
    pub as_number: u32,
    /// When the agent started.
    pub started: Instant,
}

/// The status of an agent that does not know its node's address yet.
pub fn waiting(config: &Config, started: Instant, datastore: &Datastore) -> status::Status {
    let mut reasons = datastore.state().snapshot.problems.clone();
    if reasons.is_empty() {
        reasons.push("this node's address is not known yet".into());
    }
    status::Status {
        node: status::Node {
            name: datastore.node_name().into(),
            address: None,
            as_number: config.as_number,
            router_id: config.router_id,
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: started.elapsed().as_secs(),
            blocks: Vec::new(),
            tunnel: None,
        },
        ready: false,
        reasons,
        peers: Vec::new(),
        routes: status::Routes::default(),
        ipam: status::Ipam::default(),
        datastore: Some(datastore.status()),
    }
}

/// This node.
pub fn node(identity: &Identity, snapshot: &Snapshot, report: &Report) -> status::Node {
    status::Node {
        name: identity.name.clone(),
        address: Some(identity.address),
        as_number: identity.as_number,
        router_id: Some(identity.router_id),
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_seconds: identity.started.elapsed().as_secs(),
        blocks: snapshot.blocks.clone(),
        tunnel: report.tunnel.as_ref().map(|tunnel| status::Tunnel {
            device: tunnel.device.clone(),
            address: tunnel.address,
            mtu: tunnel.mtu,
            up: tunnel.up,
        }),
    }
}

/// The peers, in the order of their addresses.
pub fn peers(peers: &[PeerSnapshot], configured: &[datastore::Peer]) -> Vec<status::Peer> {
    peers.iter().map(|peer| self::peer(peer, configured)).collect()
}

/// The routes in numbers, and those that are not as they should be.
pub fn counts(report: &Report) -> status::Routes {
    status::Routes {
        desired: report.desired as u64,
        programmed: report.programmed as u64,
        drift: report.drift().filter_map(drift).collect(),
    }
}

fn peer(peer: &PeerSnapshot, configured: &[datastore::Peer]) -> status::Peer {
    let settings = configured.iter().find(|p| p.address == peer.address);
    status::Peer {
        address: peer.address,
        name: settings.and_then(|p| p.name.clone()),
        as_number: peer.as_number,
        kind: settings.map_or(status::PeerKind::NodeSpecific, |p| p.kind),
        state: peer.state.as_str().into(),
        since: timestamp(peer.since),
        last_error: peer.last_error.clone(),
        prefixes_received: peer.prefixes_received,
        prefixes_stale: peer.prefixes_stale,
        prefixes_advertised: peer.prefixes_advertised,
        prefixes_refused: peer.refused.iter().map(|(why, n)| (why.to_string(), *n)).collect(),
        update_errors: status::UpdateErrors {
            treated_as_withdraw: peer.update_errors.withdrawn,
            attributes_discarded: peer.update_errors.discarded,
            last: peer.update_errors.last.clone(),
        },
        bfd: None,
    }
}

fn drift(route: &dataplane::RouteReport) -> Option<status::Drift> {
    let problem = route.problem.clone()?;
    Some(status::Drift {
        prefix: route.prefix,
        problem,
        since: timestamp(route.since.unwrap_or_else(SystemTime::now)),
    })
}

/// What `agent routes` shows.
pub fn routes(report: &Report) -> Vec<status::Route> {
    report
        .routes()
        .iter()
        .map(|route| status::Route {
            prefix: route.prefix,
            route: route.words.clone(),
            learned_from: route.learned_from,
            programmed: route.programmed,
            problem: route.problem.clone(),
        })
        .collect()
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_default()
}
