//! What the agent says of itself: a pure function of what its parts know.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use warren_bfd::{Hops, Priority};
use warren_bgp::session::ErrorKind;
use warren_net::dataplane::{self, Report};
use warren_speaker::{LongLivedStale, PeerSnapshot};
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
        bfd: None,
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
pub fn peers(
    peers: &[PeerSnapshot],
    configured: &[datastore::Peer],
    bfd: &warren_bfd::Snapshot,
) -> Vec<status::Peer> {
    peers.iter().map(|peer| self::peer(peer, configured, bfd)).collect()
}

/// The routes in numbers, and those that are not as they should be.
pub fn counts(report: &Report) -> status::Routes {
    status::Routes {
        desired: report.desired as u64,
        programmed: report.programmed as u64,
        drift: report.drift().filter_map(drift).collect(),
    }
}

fn peer(
    peer: &PeerSnapshot,
    configured: &[datastore::Peer],
    bfd: &warren_bfd::Snapshot,
) -> status::Peer {
    let settings = configured.iter().find(|p| p.address == peer.address);
    let session = bfd.sessions.iter().find(|session| session.key.peer == peer.address);
    status::Peer {
        address: peer.address,
        name: settings.and_then(|p| p.name.clone()),
        as_number: peer.as_number,
        template: peer.template.clone(),
        kind: settings.map_or(status::PeerKind::NodeSpecific, |p| p.kind),
        state: peer.state.as_str().into(),
        since: timestamp(peer.since),
        last_error: peer.last_error.clone(),
        prefixes_received: peer.prefixes_received,
        prefixes_stale: peer.prefixes_stale,
        long_lived_stale: peer.long_lived_stale.iter().map(long_lived_stale).collect(),
        prefixes_advertised: peer.prefixes_advertised,
        prefixes_refused: peer.refused.iter().map(|(why, n)| (why.to_string(), *n)).collect(),
        update_errors: status::UpdateErrors {
            treated_as_withdraw: peer.update_errors.withdrawn,
            attributes_discarded: peer.update_errors.discarded,
            kinds: peer.update_errors.kinds.iter().map(update_error).collect(),
            last: peer.update_errors.last.clone(),
        },
        capabilities: peer.capabilities.clone(),
        bfd: session.map(|session| session.state.as_str().into()),
        bfd_session: session.map(bfd_session),
    }
}

fn long_lived_stale(of: &LongLivedStale) -> status::LongLivedStale {
    status::LongLivedStale {
        family: of.family.as_str().into(),
        prefixes: of.prefixes,
        until: timestamp(of.until),
    }
}

fn update_error((kind, count): (&ErrorKind, &u64)) -> status::UpdateErrorKind {
    status::UpdateErrorKind {
        attribute: kind.attribute_name(),
        code: kind.attribute,
        reason: kind.reason.into(),
        reaction: kind.consequence.as_str().into(),
        count: *count,
    }
}

fn bfd_session(session: &warren_bfd::SessionSnapshot) -> status::BfdSession {
    let remote = &session.remote;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    status::BfdSession {
        since: timestamp(session.since),
        multihop: session.key.hops == Hops::Multi,
        problem: session.problem.clone(),
        last_down: session.last_down.map(|down| timestamp(down.at)),
        last_down_reason: session.last_down.map(|down| down.cause.to_string()),
        transmit_interval_milliseconds: session.transmit_interval.map(millis),
        detection_time_milliseconds: session.detection_time.map(millis),
        detect_multiplier: session.detect_mult.get(),
        diagnostic: session.diagnostic.to_string(),
        discriminator: session.discriminator.get(),
        remote_state: remote.state.as_str().into(),
        remote_diagnostic: remote.diagnostic.to_string(),
        remote_discriminator: remote.discriminator.map(NonZeroU32::get),
        remote_control_plane_independent: remote.control_plane_independent,
        came_up: session.came_up,
        went_down: session.went_down,
        packets_sent: session.sent,
        packets_received: session.received,
    }
}

/// BFD as a whole.
pub fn bfd(snapshot: &warren_bfd::Snapshot) -> status::Bfd {
    status::Bfd {
        priority: match snapshot.priority {
            Priority::RealTime => "real time",
            Priority::Raised => "raised",
            Priority::Ordinary => "ordinary",
        }
        .into(),
        longest_delay_microseconds: u64::try_from(snapshot.longest_delay.as_micros())
            .unwrap_or(u64::MAX),
        discarded: snapshot.discarded.iter().map(|(why, n)| (why.to_string(), *n)).collect(),
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
