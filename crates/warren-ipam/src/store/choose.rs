//! Which addresses an attachment gets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use warren_types::node::NodeDescription;
use warren_types::status::IpamBlock;
use warren_types::wishes::Wishes;

use super::{AllocateError, StoreError, Survey, files};
use crate::pick::{self, History, Space};

/// One address of each family that the node has blocks of.
pub(super) fn addresses(
    node: &NodeDescription,
    wishes: &Wishes,
    survey: &Survey<'_>,
    freed: &BTreeMap<IpAddr, u64>,
) -> Result<Vec<IpAddr>, AllocateError> {
    let history = History {
        used: &survey.used,
        freed,
        cooled: cooled(Duration::from_secs(node.cool_down_seconds))?,
    };
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
        chosen.push(
            pick::next(space, history)
                .ok_or_else(|| AllocateError::Exhausted { blocks: usage(space, history) })?,
        );
    }
    Ok(chosen)
}

/// The very address that is asked for.
fn grant(
    address: IpAddr,
    node: &NodeDescription,
    survey: &Survey<'_>,
) -> Result<IpAddr, AllocateError> {
    if !node.blocks.iter().any(|block| block.contains(address)) {
        return Err(AllocateError::Elsewhere { address, blocks: node.blocks.clone() });
    }
    if node.reserved.iter().any(|reserved| reserved.contains(address)) {
        return Err(AllocateError::Reserved(address));
    }
    match survey.entries.iter().find(|entry| entry.address == address) {
        Some(entry) => Err(AllocateError::InUse(entry.to_name())),
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

/// What was given back later than this, in nanoseconds since boot, is not given again yet.
pub(super) fn cooled(cool_down: Duration) -> Result<u64, StoreError> {
    if cool_down.is_zero() {
        // What was freed and what is wanted in the same moment is not to depend on the clock.
        return Ok(u64::MAX);
    }
    let nanoseconds = u64::try_from(cool_down.as_nanos()).unwrap_or(u64::MAX);
    Ok(files::monotonic_nanoseconds()?.saturating_sub(nanoseconds))
}

/// How much of each block is in use.
pub(super) fn usage(space: Space<'_>, history: History<'_>) -> Vec<IpamBlock> {
    let usage = |block: &IpNetwork| {
        let given = |address: &IpAddr| {
            block.contains(*address) && !space.reserved.iter().any(|r| r.contains(*address))
        };
        let cools = |(address, at): &(&IpAddr, &u64)| {
            **at > history.cooled && !history.used.contains(*address) && given(address)
        };
        IpamBlock {
            cidr: *block,
            allocated: history.used.iter().filter(|address| block.contains(**address)).count()
                as u64,
            capacity: pick::capacity(block, space.reserved),
            cooling: history.freed.iter().filter(cools).count() as u64,
        }
    };
    space.blocks.iter().map(usage).collect()
}
