//! What a configuration must satisfy beyond its form.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use warren_speaker::{ConnectRetry, RemoteAs, StaleTime};
use warren_types::pool::{self, Encapsulation};

use super::dynamic;
use super::filter::peer_policy;
use super::{Config, DatastoreKind, PeerAddress, PeerConfig};

/// Finds the first thing that cannot work.
///
/// # Errors
/// A sentence that names the key and value and says what to do.
pub fn check(config: &Config) -> Result<(), String> {
    if config.datastore == DatastoreKind::Kubernetes {
        kubernetes(config)?;
    }
    if config.as_number == 0 {
        return Err("asNumber: 0 is reserved (RFC 7607); use your own, or 64512".into());
    }
    if config.router_id.is_some_and(|id| id.is_unspecified()) {
        return Err("routerId: 0.0.0.0 is no BGP identifier (RFC 6286); leave it out to have the \
                    node's address"
            .into());
    }
    if config.route_reflector_cluster_id.is_some_and(|id| id.is_unspecified()) {
        return Err(
            "routeReflectorClusterId: 0.0.0.0 is no cluster; leave it out to have the BGP \
                    identifier"
                .into(),
        );
    }
    hold_time("holdTimeSeconds", config.hold_time_seconds)?;
    config.bfd.check("bfd")?;
    if config.graceful_restart.restart_time_seconds > 4095 {
        return Err(format!(
            "gracefulRestart: restartTimeSeconds: {} is not allowed (RFC 4724, 3): use 4095 or less",
            config.graceful_restart.restart_time_seconds
        ));
    }
    let stale_time = config.graceful_restart.long_lived_stale_time_seconds;
    long_lived(config, stale_time)
        .map_err(|why| format!("gracefulRestart: longLivedStaleTimeSeconds: {why}"))?;
    pools(config)?;
    blocks(config)?;
    for reserved in &config.ipam.reserved {
        canonical("ipam: reserved", *reserved)?;
    }
    filters(config)?;
    peers(config)
}

/// Checks a long-lived stale time (RFC 9494).
fn long_lived(config: &Config, seconds: u32) -> Result<(), String> {
    if seconds > 0 && !config.graceful_restart.enabled {
        return Err("needs gracefulRestart.enabled (RFC 9494, 4.1)".into());
    }
    StaleTime::from_secs(seconds).map(drop).map_err(|why| why.to_string())
}

fn kubernetes(config: &Config) -> Result<(), String> {
    let foreign = [("blocks", config.blocks.is_empty()), ("peers", config.peers.is_empty())];
    match foreign.iter().find(|(_, empty)| !empty) {
        Some((key, _)) => Err(format!(
            "{key}: with `datastore: kubernetes` they come from the API server; leave {key} out, or \
             use `datastore: file`"
        )),
        None => Ok(()),
    }
}

fn hold_time(key: &str, seconds: u16) -> Result<(), String> {
    match seconds {
        1 | 2 => Err(format!(
            "{key}: {seconds} is not allowed (RFC 4271, 4.2): use 3 or more, or 0 for none"
        )),
        _ => Ok(()),
    }
}

fn pools(config: &Config) -> Result<(), String> {
    if config.pools.is_empty() && config.datastore == DatastoreKind::File {
        return Err("pools: there is none; name the range that pod addresses come from".into());
    }
    for pool in &config.pools {
        canonical("pools: cidr", pool.cidr)?;
        if matches!(pool.encapsulation, Encapsulation::Vxlan | Encapsulation::VxlanCrossSubnet) {
            return Err(format!(
                "pools: {} asks for VXLAN, which is not part of this version; use IPIP, \
                 IPIPCrossSubnet or None",
                pool.cidr
            ));
        }
        let longest = if pool.cidr.is_ipv4() { 32 } else { 128 };
        if pool.block_size < pool.cidr.prefix() || pool.block_size > longest {
            return Err(format!(
                "pools: blockSize {} does not fit into {}: use {} to {longest}",
                pool.block_size,
                pool.cidr,
                pool.cidr.prefix()
            ));
        }
    }
    for (i, a) in config.pools.iter().enumerate() {
        for b in config.pools.iter().skip(i + 1) {
            if a.cidr == b.cidr {
                return Err(format!("pools: {} is there twice", a.cidr));
            }
        }
    }
    Ok(())
}

fn blocks(config: &Config) -> Result<(), String> {
    let everybody: Vec<IpNetwork> = config
        .blocks
        .iter()
        .chain(config.peers.iter().flat_map(|peer| &peer.blocks))
        .copied()
        .collect();
    for (i, block) in everybody.iter().enumerate() {
        canonical("blocks", *block)?;
        if pool::holding(&config.pools, block).is_none() {
            return Err(format!(
                "blocks: {block} lies in none of the pools; correct it, or add its pool"
            ));
        }
        for other in everybody.iter().skip(i + 1) {
            if pool::contains(block, other) || pool::contains(other, block) {
                return Err(format!("blocks: {block} and {other} overlap"));
            }
        }
    }
    Ok(())
}

fn peers(config: &Config) -> Result<(), String> {
    for (i, peer) in config.peers.iter().enumerate() {
        match peer.address {
            PeerAddress::In(range) => dynamic::check(config, peer, range)?,
            PeerAddress::Is(address) => host(config, peer, address)?,
        }
        if config.peers.iter().skip(i + 1).any(|other| other.address == peer.address) {
            return Err(format!("peers: {} is there twice", peer.address));
        }
        if peer.as_number == Some(RemoteAs::Is(0)) {
            return Err(format!("peers: {}: asNumber 0 is reserved (RFC 7607)", peer.address));
        }
        let at = |key: &str| format!("peers: {}: {key}", peer.address);
        peer_policy(&config.filters, &peer.filters).map_err(|why| at(&why))?;
        let local_as = peer.local_as_number.unwrap_or(config.as_number);
        if local_as == 0 {
            return Err(at("localASNumber: 0 is reserved (RFC 7607)"));
        }
        if peer.route_reflector_client && !peer.is_internal(config, local_as) {
            return Err(at("routeReflectorClient: only a peer of the same AS can be a client"));
        }
        if peer.role.is_some() && peer.is_internal(config, local_as) {
            return Err(at("role: only a peer of another AS has one (RFC 9234)"));
        }
        long_lived(config, peer.long_lived_stale_time_seconds.unwrap_or_default())
            .map_err(|why| at(&format!("longLivedStaleTimeSeconds: {why}")))?;
        if peer.strict_role && peer.role.is_none() {
            return Err(at("strictRole: needs a role"));
        }
        if peer.ttl_security.is_some() && peer.multihop.is_some() {
            return Err(at("ttlSecurity and multihop exclude each other; leave one out"));
        }
        if peer.max_prefixes.is_some_and(|it| it.warning_percent > 100) {
            return Err(at("maxPrefixes: warningPercent: give 100 or less"));
        }
        if let Some(seconds) = peer.hold_time_seconds {
            hold_time(&format!("peers: {}: holdTimeSeconds", peer.address), seconds)?;
        }
        timers(config, peer).map_err(|why| at(&why))?;
        if let Some(bfd) = &peer.bfd {
            bfd.check(&format!("peers: {}: bfd", peer.address))?;
        }
    }
    Ok(())
}

/// Checks a peer with an address of its own.
fn host(config: &Config, peer: &PeerConfig, address: IpAddr) -> Result<(), String> {
    if Some(address) == config.node.address {
        return Err(format!("peers: {address} is this node's own address"));
    }
    if peer.source_address.is_some_and(|it| it.is_ipv4() != address.is_ipv4()) {
        return Err(format!(
            "peers: {address}: sourceAddress: it is of another family than the peer's address"
        ));
    }
    if peer.limit.is_some() {
        return Err(format!(
            "peers: {address}: limit: only a peer with a prefix for an address has one; leave it out"
        ));
    }
    Ok(())
}

/// Whether a peer's times fit together.
fn timers(config: &Config, peer: &PeerConfig) -> Result<(), String> {
    let ConnectRetry { initial, max } = peer.connect_retry();
    if initial > max {
        return Err(format!(
            "connectRetryInitialSeconds: {} is more than connectRetrySeconds, which is {}: the wait \
             grows from the one to the other",
            initial.as_secs(),
            max.as_secs()
        ));
    }
    let hold = peer.hold_time_seconds.unwrap_or(config.hold_time_seconds);
    match peer.send_hold_time_seconds {
        Some(send_hold) if send_hold.get() <= hold => Err(format!(
            "sendHoldTimeSeconds: {send_hold} is not allowed with a hold time of {hold} s (RFC 9687): \
             use more than that, or leave it out"
        )),
        _ => Ok(()),
    }
}

fn filters(config: &Config) -> Result<(), String> {
    for (i, filter) in config.filters.iter().enumerate() {
        if config.filters.iter().skip(i + 1).any(|other| other.name == filter.name) {
            return Err(format!("filters: {} is there twice", filter.name));
        }
        // Also those that no peer names yet.
        peer_policy(std::slice::from_ref(filter), std::slice::from_ref(&filter.name))?;
    }
    Ok(())
}

pub(super) fn canonical(key: &str, network: IpNetwork) -> Result<(), String> {
    if network.ip() == network.network() {
        return Ok(());
    }
    Err(format!(
        "{key}: {network} has bits behind its prefix length; did you mean {}/{}?",
        network.network(),
        network.prefix()
    ))
}
