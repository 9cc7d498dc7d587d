//! The configuration file as the datastore: for machines without Kubernetes. It is read again at
//! SIGHUP.

use warren_types::status::PeerKind;

use super::{Peer, Snapshot};
use crate::config::{Config, PeerConfig};

/// What the file says of pools, blocks and peers.
pub fn snapshot(config: &Config) -> Snapshot {
    Snapshot {
        pools: config.pools.clone(),
        blocks: config.blocks.clone(),
        peers: config.peers.iter().map(|peer| settle(config, peer)).collect(),
        owners: config
            .peers
            .iter()
            .flat_map(|peer| peer.blocks.iter().map(|block| (*block, peer.address)))
            .collect(),
    }
}

fn settle(config: &Config, peer: &PeerConfig) -> Peer {
    let as_number = peer.as_number.unwrap_or(config.as_number);
    Peer {
        address: peer.address,
        port: peer.port,
        name: peer.name.clone(),
        as_number,
        // A file names each peer; those of the node's own AS are what makes up the mesh.
        kind: if as_number == config.as_number { PeerKind::Mesh } else { PeerKind::NodeSpecific },
        passive: peer.passive,
        hold_time_seconds: peer.hold_time_seconds.unwrap_or(config.hold_time_seconds),
    }
}
