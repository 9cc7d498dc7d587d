//! The configuration file as the datastore: for machines without Kubernetes. It is read again at
//! SIGHUP.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use warren_bgp::policy::PeerPolicy;
use warren_speaker::{Distance, LocalRole, MaxPrefixes, StaleTime};
use warren_types::status::PeerKind;

use super::host_name::host_name;
use super::{Bfd, Contact, NodeAddress, Peer, Snapshot, State, Template, Timers};
use crate::config::filter::peer_policy;
use crate::config::{Config, PeerAddress, PeerConfig, seconds};

/// Starts the task that follows the configuration; the node's name, and what it yields.
///
/// # Errors
/// The file has no name for the node, and the host name is none.
pub fn start(
    mut configs: watch::Receiver<Arc<Config>>,
) -> anyhow::Result<(String, watch::Receiver<Arc<State>>)> {
    let config = configs.borrow_and_update().clone();
    let name = config.node.name.clone().map_or_else(host_name, Ok)?;
    let contact = Contact { since: Timestamp::now(), problem: None };
    let state = move |config: &Config| {
        Arc::new(State { snapshot: snapshot(config), contact: contact.clone() })
    };
    let (sender, states) = watch::channel(state(&config));
    tokio::spawn(async move {
        while configs.changed().await.is_ok() {
            sender.send_replace(state(&configs.borrow_and_update()));
        }
    });
    Ok((name, states))
}

/// What the file says of pools, blocks and peers.
fn snapshot(config: &Config) -> Snapshot {
    let hosts = config.peers.iter().filter_map(|peer| match peer.address {
        PeerAddress::Is(address) => Some((address, peer)),
        PeerAddress::In(_) => None,
    });
    Snapshot {
        node_address: config.node.address.map_or(NodeAddress::AsKernelSends, NodeAddress::Is),
        ipv6_address: config.node.ipv6_address,
        pools: config.pools.clone(),
        blocks: config.blocks.clone(),
        peers: hosts.clone().map(|(address, peer)| settle(config, peer, address)).collect(),
        templates: config.peers.iter().filter_map(|peer| template(config, peer)).collect(),
        owners: hosts
            .flat_map(|(address, peer)| peer.blocks.iter().map(move |block| (*block, address)))
            .collect(),
        problems: Vec::new(),
    }
}

fn timers(config: &Config, peer: &PeerConfig) -> Timers {
    Timers {
        keepalive: peer.keepalive_seconds.map(seconds),
        connect_retry: peer.connect_retry(),
        send_hold: peer.send_hold_time_seconds.map(seconds),
        ..Timers::holding(peer.hold_time_seconds.unwrap_or(config.hold_time_seconds))
    }
}

fn template(config: &Config, peer: &PeerConfig) -> Option<Template> {
    let PeerAddress::In(range) = peer.address else { return None };
    Some(Template {
        name: peer.template_name(),
        range,
        limit: peer.most_neighbors(),
        peer: settle(config, peer, range.ip()),
    })
}

fn settle(config: &Config, peer: &PeerConfig, address: IpAddr) -> Peer {
    // A file names each peer; those of the node's own AS are what makes up the mesh.
    let is_internal = peer.is_internal(config, config.as_number);
    let kind = if is_internal { PeerKind::Mesh } else { PeerKind::NodeSpecific };
    // The configuration was checked: every filter is there.
    let policy = PeerPolicy {
        next_hop: peer.next_hop_mode.into(),
        allow_own_as: peer.num_allowed_local_as_numbers,
        requires_rules: config.ebgp_requires_policy,
        ..peer_policy(&config.filters, &peer.filters).unwrap_or_default()
    };
    Peer {
        address,
        port: peer.port,
        name: peer.name.clone(),
        as_number: peer.remote_as(config),
        kind,
        passive: peer.passive,
        timers: timers(config, peer),
        source: peer.source_address,
        password: peer.password.clone(),
        distance: match (peer.ttl_security, peer.multihop) {
            (Some(hops), _) => Distance::Checked(hops),
            (None, Some(hops)) => Distance::Within(hops),
            (None, None) => Distance::Any,
        },
        bfd: Bfd::of(config, peer.bfd.as_ref(), kind),
        max_prefixes: peer.max_prefixes.map(|it| MaxPrefixes {
            limit: it.limit,
            warning: (u64::from(it.limit) * u64::from(it.warning_percent) / 100) as u32,
            idle: Duration::from_secs(it.idle_seconds.into()),
        }),
        shutdown: peer.shutdown.clone(),
        local_as: peer.local_as_number,
        route_reflector_client: peer.route_reflector_client,
        // The configuration was checked: it is not too long.
        long_lived: peer.long_lived_stale_time_seconds.and_then(|it| StaleTime::from_secs(it).ok()),
        role: peer.role.map(|role| LocalRole { role: role.into(), strict: peer.strict_role }),
        add_path: peer.add_path_receive,
        policy: Arc::new(policy),
    }
}

#[cfg(test)]
mod tests {
    use warren_speaker::ConnectRetry;

    use super::*;

    #[test]
    fn a_peers_times_are_its_own_and_the_nodes_hold_time_where_it_has_none() {
        let text = "
holdTimeSeconds: 30
pools: [{cidr: 172.16.0.0/16}]
peers:
- {address: 192.168.0.1, connectRetryInitialSeconds: 2, connectRetrySeconds: 5, sendHoldTimeSeconds: 60}
- {address: 192.168.0.2}
";
        let config = Config::from_text(text, "config.yaml".into()).unwrap();
        let peers = snapshot(&config).peers;
        let seconds = Duration::from_secs;
        let timers = &peers[0].timers;
        assert_eq!(timers.connect_retry, ConnectRetry { initial: seconds(2), max: seconds(5) });
        assert_eq!(timers.send_hold, Some(seconds(60)));
        assert_eq!(peers[1].timers, Timers::holding(30));
    }

    #[test]
    fn several_paths_are_taken_of_those_peers_that_it_is_said_of() {
        let text = "
pools: [{cidr: 172.16.0.0/16}]
peers:
- {address: 192.168.0.1, addPathReceive: true}
- {address: 192.168.0.2}
";
        let config = Config::from_text(text, "config.yaml".into()).unwrap();
        let peers = snapshot(&config).peers;
        assert_eq!(peers.iter().map(|it| it.add_path).collect::<Vec<_>>(), [true, false]);
    }
}
