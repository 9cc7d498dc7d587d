//! Which addresses an attachment gets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use warren_types::node::NodeDescription;
use warren_types::wishes::Wishes;

use super::{AllocateError, Survey, files, usage};
use crate::pick::{self, History, Space};

/// One address of each family that the node has blocks of.
pub(super) fn addresses(
    node: &NodeDescription,
    wishes: &Wishes,
    survey: &Survey,
    markers: &[(u64, IpAddr)],
) -> Result<Vec<IpAddr>, AllocateError> {
    let freed: BTreeMap<IpAddr, u64> = markers.iter().map(|&(at, address)| (address, at)).collect();
    let cool_down = node.cool_down_seconds.saturating_mul(1_000_000_000);
    let cooled = match cool_down {
        // What was freed and what is wanted in the same moment is not to depend on the clock.
        0 => u64::MAX,
        _ => files::monotonic_nanoseconds()?.saturating_sub(cool_down),
    };
    let history = History { used: &survey.used, freed: &freed, cooled };
    let mut chosen = Vec::new();
    for is_family in [IpNetwork::is_ipv4 as fn(&IpNetwork) -> bool, IpNetwork::is_ipv6] {
        let of = |networks: &[IpNetwork]| -> Vec<IpNetwork> {
            networks.iter().copied().filter(is_family).collect()
        };
        let blocks = of(&node.blocks);
        let mut wanted = wishes.addresses.iter().filter(|ip| is_family(&IpNetwork::from(**ip)));
        if let Some(&address) = wanted.next() {
            if let Some(&other) = wanted.next() {
                return Err(AllocateError::TwoOfAFamily(other));
            }
            chosen.push(grant(address, node, survey)?);
            continue;
        }
        if blocks.is_empty() {
            continue;
        }
        let blocks = within(blocks, &of(&wishes.pools))?;
        let space = Space { blocks: &blocks, reserved: &node.reserved };
        chosen.push(pick::next(space, history).ok_or_else(|| AllocateError::Exhausted {
            blocks: usage(&blocks, &node.reserved, &survey.used),
            cooling: cooling(&blocks, history),
        })?);
    }
    Ok(chosen)
}

/// The very address that is asked for.
fn grant(
    address: IpAddr,
    node: &NodeDescription,
    survey: &Survey,
) -> Result<IpAddr, AllocateError> {
    if !node.blocks.iter().any(|block| block.contains(address)) {
        return Err(AllocateError::Elsewhere { address, blocks: node.blocks.clone() });
    }
    if node.reserved.iter().any(|reserved| reserved.contains(address)) {
        return Err(AllocateError::Reserved(address));
    }
    match survey.entries.iter().find(|entry| entry.address == address) {
        Some(entry) => Err(AllocateError::InUse(entry.clone())),
        None => Ok(address),
    }
}

/// Those of `blocks` that lie in one of `pools`, if any are named.
fn within(blocks: Vec<IpNetwork>, pools: &[IpNetwork]) -> Result<Vec<IpNetwork>, AllocateError> {
    if pools.is_empty() {
        return Ok(blocks);
    }
    let lies_in = |block: &IpNetwork, pool: &IpNetwork| {
        pool.prefix() <= block.prefix() && pool.contains(block.network())
    };
    let found: Vec<_> =
        blocks.into_iter().filter(|block| pools.iter().any(|pool| lies_in(block, pool))).collect();
    if found.is_empty() { Err(AllocateError::NoBlockInPools(pools.to_vec())) } else { Ok(found) }
}

/// How many addresses of `blocks` are free and not given again yet.
fn cooling(blocks: &[IpNetwork], history: History<'_>) -> u64 {
    let cools = |(address, at): &(&IpAddr, &u64)| {
        **at > history.cooled
            && !history.used.contains(*address)
            && blocks.iter().any(|block| block.contains(**address))
    };
    history.freed.iter().filter(cools).count() as u64
}
