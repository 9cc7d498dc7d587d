//! What follows for this node from what the API server said and the configuration: a pure function.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;
use warren_speaker::Distance;
use warren_types::pool::{self, Encapsulation, Pool};
use warren_types::status::PeerKind;

use super::cluster::{Cluster, Member};
use crate::config::Config;
use crate::datastore::{Bfd, NodeAddress, Peer, Snapshot, Timers};

/// What the node called `name` should go by.
pub fn snapshot(config: &Config, name: &str, cluster: &Cluster) -> Snapshot {
    let pools = pools(config, cluster);
    let own = cluster.nodes.get(name);
    let mut problems = Vec::new();
    if pools.is_empty() {
        problems.push(
            "no pool is known: set `pools` in the configuration (kubeadm's ConfigMap \
             kube-system/kubeadm-config names no podSubnet)"
                .to_owned(),
        );
    }
    match own {
        None => problems.push(format!(
            "the API server has no node called {name}: set NODE_NAME or node.name to this node's \
             name there"
        )),
        Some(own) => problems.extend(wants(config, name, own)),
    }
    let ipv6_address = config.node.ipv6_address.or_else(|| own.and_then(|own| own.ipv6_address));
    let blocks = own.map_or(&[][..], |own| &own.blocks);
    // Without an address of its own the node could be no next hop of IPv6, and beside IPv4 nobody has
    // asked for it where it has no pool: it does without.
    let wants_ipv6 =
        pools.iter().any(|pool| pool.cidr.is_ipv6()) || blocks.iter().all(IpNetwork::is_ipv6);
    let has_ipv6 = ipv6_address.is_some() && wants_ipv6;
    let (blocks, stray): (Vec<_>, Vec<_>) = blocks
        .iter()
        .filter(|block| block.is_ipv4() || has_ipv6)
        .copied()
        .partition(|block| pool::holding(&pools, block).is_some());
    if !pools.is_empty() {
        problems.extend(stray.iter().map(|block| {
            format!(
                "this node's podCIDR {block} lies in none of the pools: correct `pools` in the \
                 configuration"
            )
        }));
    }
    let node_address = config.node.address.or_else(|| own.and_then(|own| own.address));
    Snapshot {
        templates: Vec::new(),
        node_address: node_address.map_or(NodeAddress::Awaited, NodeAddress::Is),
        ipv6_address,
        pools,
        blocks,
        peers: peers(config, name, cluster, node_address),
        owners: others(name, cluster).flat_map(|(_, node)| owned(node)).collect(),
        problems,
    }
}

/// The blocks of a node, each with the address that it announces them with.
fn owned(node: &Member) -> impl Iterator<Item = (IpNetwork, IpAddr)> {
    let ipv6 = node.ipv6_address.map(IpAddr::V6);
    node.blocks.iter().filter_map(move |block| {
        let address = ipv6.filter(|_| block.is_ipv6()).or(node.address)?;
        Some((*block, address))
    })
}

/// What this node's own Node lacks.
fn wants(config: &Config, name: &str, own: &Member) -> Vec<String> {
    let mut wants = Vec::new();
    if own.address.is_none() && config.node.address.is_none() {
        wants.push(format!("node {name} has no InternalIP yet: kubelet or the cloud's sets it"));
    }
    if own.blocks.is_empty() {
        wants.push(format!(
            "node {name} has no podCIDR: the controller manager gives it one with \
             --allocate-node-cidrs and --cluster-cidr"
        ));
    } else if own.blocks.iter().all(IpNetwork::is_ipv6)
        && own.ipv6_address.is_none()
        && config.node.ipv6_address.is_none()
    {
        wants.push(format!("node {name} has podCIDRs of IPv6 only, and no IPv6 InternalIP"));
    }
    wants
}

fn pools(config: &Config, cluster: &Cluster) -> Vec<Pool> {
    if !config.pools.is_empty() {
        return config.pools.clone();
    }
    let pool = |cidr: &IpNetwork| {
        // The mask sizes that the controller manager takes where nothing is set.
        let usual = if cidr.is_ipv4() { 24 } else { 64 };
        Pool {
            cidr: *cidr,
            block_size: cidr.prefix().max(usual),
            encapsulation: if cidr.is_ipv4() { Encapsulation::IpIp } else { Encapsulation::None },
            nat_outgoing: true,
        }
    };
    cluster.pod_subnets.iter().map(pool).collect()
}

fn others<'c>(name: &str, cluster: &'c Cluster) -> impl Iterator<Item = (&'c String, &'c Member)> {
    cluster.nodes.iter().filter(move |(other, _)| *other != name)
}

fn peers(config: &Config, name: &str, cluster: &Cluster, own: Option<IpAddr>) -> Vec<Peer> {
    // A node that was registered anew under another name is there twice for a while.
    let mut seen: BTreeSet<_> = own.into_iter().collect();
    others(name, cluster)
        .filter(|(_, node)| !node.agentless)
        .filter_map(|(name, node)| Some((name, node.address?)))
        .filter(|(_, address)| address.is_ipv4() && seen.insert(*address))
        .map(|(name, address)| Peer {
            address,
            port: config.listen_port,
            name: Some(name.clone()),
            as_number: config.as_number.into(),
            kind: PeerKind::Mesh,
            passive: false,
            timers: Timers::holding(config.hold_time_seconds),
            source: None,
            password: None,
            distance: Distance::default(),
            bfd: Bfd::of(config, None, PeerKind::Mesh),
            max_prefixes: None,
            shutdown: None,
            local_as: None,
            route_reflector_client: false,
            long_lived: None,
            role: None,
            add_path: false,
            policy: Arc::default(),
        })
        .collect()
}
