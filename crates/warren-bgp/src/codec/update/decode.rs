//! From octets to routes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use rustbgpd_wire as wire;
use wire::attribute::PathAttribute;

use super::{UpdateContext, attributes, errors, validate};
use crate::codec::open::{afi_safi, family};
use crate::codec::{Consequence, Malformed, SessionReset};
use crate::message::{Attributes, Family, Update};

/// What an UPDATE says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The routes: none if nothing is left of the message, two if it announces under two next
    /// hops.
    pub updates: Vec<Update>,
    /// The attributes that were malformed; what they cost is already applied to `updates`.
    pub malformed: Vec<Malformed>,
}

/// Announced prefixes that share a next hop.
pub(super) struct Reach {
    /// The type code of the attribute that the next hop is in.
    pub(super) attribute: u8,
    pub(super) next_hop: Option<IpAddr>,
    pub(super) prefixes: Vec<Nlri>,
}

/// A prefix with its path identifier, which means something in families that have them only.
type Nlri = (u32, IpNetwork);

/// Reads an UPDATE.
///
/// # Errors
/// Only where the prefixes cannot be told for certain, so that not even withdrawing them would
/// help (RFC 7606, 3 (j) and 5).
pub fn decode(mut body: Bytes, context: &UpdateContext) -> Result<Decoded, SessionReset> {
    let length = body.len();
    let mut raw = wire::UpdateMessage::decode(&mut body, length)?;
    if raw.withdrawn_routes.is_empty() && raw.path_attributes.is_empty() && raw.nlri.is_empty() {
        // The End-of-RIB marker (RFC 4724, 2).
        let update = Update::end_of_rib(Family::Ipv4Unicast);
        return Ok(Decoded { updates: vec![update], malformed: vec![] });
    }
    if let Some(rest) = attributes::without_foreign_families(&raw.path_attributes, context) {
        raw.path_attributes = rest;
    }
    let with_ids: Vec<_> = context.path_ids.received.iter().map(|it| afi_safi(*it)).collect();
    let ipv4_ids = context.path_ids.received.contains(&Family::Ipv4Unicast);
    let parsed = raw.parse_revised(context.four_octet_as, context.internal, ipv4_ids, &with_ids)?;
    let wire::update::ParsedUpdate { withdrawn, attributes: attrs, announced, .. } = parsed.update;

    if let Some(family) = end_of_rib(&attrs)
        && withdrawn.is_empty()
        && announced.is_empty()
        && parsed.malformed.is_empty()
    {
        let update = Update::end_of_rib(family);
        return Ok(Decoded { updates: vec![update], malformed: vec![] });
    }

    let of_ipv4 = |entry: &wire::nlri::Ipv4NlriEntry| Some((entry.path_id, ipv4(&entry.prefix)?));
    let mut withdrawn: Vec<Nlri> = withdrawn.iter().filter_map(of_ipv4).collect();
    withdrawn.extend(mp_unreach(&attrs));
    let reaches: Vec<Reach> = [
        Reach {
            attribute: attributes::NEXT_HOP,
            next_hop: attrs.iter().find_map(next_hop),
            prefixes: announced.iter().filter_map(of_ipv4).collect(),
        },
        mp_reach(&attrs),
    ]
    .into_iter()
    .filter(|reach| !reach.prefixes.is_empty())
    .collect();

    let mut malformed = Vec::new();
    for fault in parsed.malformed {
        let octets = &raw.path_attributes;
        let Some(consequence) = errors::consequence(fault.type_code, &fault.error, octets, context)
        else {
            return Err(fault.error.into());
        };
        let attribute = fault.type_code;
        malformed.push(Malformed { attribute, consequence, error: fault.error.into() });
    }
    malformed.extend(validate::validate(&attrs, &reaches, context));

    let strongest = malformed.iter().max_by_key(|fault| fault.consequence);
    if let Some(fault) = strongest.filter(|f| f.consequence == Consequence::TreatAsWithdraw) {
        // RFC 7606, 5.2: attributes, an error among them and no reachable prefix. Perhaps the
        // prefixes are what was lost, so nothing less than a reset will do.
        if reaches.is_empty() {
            return Err(fault.error.clone());
        }
        withdrawn.extend(reaches.into_iter().flat_map(|reach| reach.prefixes));
        return Ok(Decoded { updates: assemble(withdrawn, vec![], &attrs, context), malformed });
    }
    Ok(Decoded { updates: assemble(withdrawn, reaches, &attrs, context), malformed })
}

/// One `Update` for each next hop and path identifier, the withdrawn prefixes in the first where they
/// have the same.
fn assemble(
    withdrawn: Vec<Nlri>,
    reaches: Vec<Reach>,
    attrs: &[PathAttribute],
    context: &UpdateContext,
) -> Vec<Update> {
    let mut updates: Vec<Update> = Vec::with_capacity(1);
    for reach in reaches {
        // Validation has found the mandatory ones there.
        let attributes: Option<Attributes> =
            reach.next_hop.and_then(|next_hop| attributes::from_wire(attrs, next_hop, context));
        let Some(attributes) = attributes.map(Arc::new) else { continue };
        for (path_id, announced) in by_path_id(reach.prefixes, context) {
            let attributes = Some(Arc::clone(&attributes));
            updates.push(Update { announced, path_id, attributes, ..Update::default() });
        }
    }
    // Attributes of no prefix say nothing, and are no End-of-RIB either.
    for (path_id, withdrawn) in by_path_id(withdrawn, context) {
        match updates.first_mut().filter(|it| it.path_id == path_id) {
            Some(first) => first.withdrawn = withdrawn,
            None => updates.push(Update { withdrawn, path_id, ..Update::default() }),
        }
    }
    updates
}

/// The prefixes of each path identifier, in their order; all together where there are none.
fn by_path_id(
    prefixes: Vec<Nlri>,
    context: &UpdateContext,
) -> BTreeMap<Option<u32>, Vec<IpNetwork>> {
    let mut groups: BTreeMap<Option<u32>, Vec<IpNetwork>> = BTreeMap::new();
    for (id, prefix) in prefixes {
        let has_ids = context.path_ids.received.contains(&Family::of(&prefix));
        groups.entry(has_ids.then_some(id)).or_default().push(prefix);
    }
    groups
}

fn next_hop(attribute: &PathAttribute) -> Option<IpAddr> {
    match attribute {
        PathAttribute::NextHop(address) => Some(IpAddr::V4(*address)),
        _ => None,
    }
}

/// The prefixes of MP_REACH_NLRI (RFC 4760, 3); only families agreed on are left there.
fn mp_reach(attrs: &[PathAttribute]) -> Reach {
    let reach = attrs.iter().find_map(|attribute| match attribute {
        PathAttribute::MpReachNlri(mp) => family(mp.afi, mp.safi).map(|_| mp),
        _ => None,
    });
    Reach {
        attribute: attributes::MP_REACH_NLRI,
        next_hop: reach.map(|mp| mp.next_hop),
        prefixes: reach
            .map(|mp| mp.announced.iter().filter_map(nlri).collect())
            .unwrap_or_default(),
    }
}

/// The prefixes of MP_UNREACH_NLRI (RFC 4760, 4).
fn mp_unreach(attrs: &[PathAttribute]) -> Vec<Nlri> {
    let unreach = attrs.iter().find_map(|attribute| match attribute {
        PathAttribute::MpUnreachNlri(mp) => family(mp.afi, mp.safi).map(|_| mp),
        _ => None,
    });
    unreach.map(|mp| mp.withdrawn.iter().filter_map(nlri).collect()).unwrap_or_default()
}

/// The family of an End-of-RIB marker in its other form: a lone MP_UNREACH_NLRI that withdraws
/// nothing (RFC 4724, 2).
fn end_of_rib(attrs: &[PathAttribute]) -> Option<Family> {
    match attrs {
        [PathAttribute::MpUnreachNlri(mp)] if mp.withdrawn.is_empty() => family(mp.afi, mp.safi),
        _ => None,
    }
}

/// Bits beyond the length are already cleared: they mean nothing (RFC 4271, 4.3).
fn ipv4(prefix: &wire::nlri::Ipv4Prefix) -> Option<IpNetwork> {
    Ipv4Network::new(prefix.addr, prefix.len).ok().map(IpNetwork::V4)
}

fn nlri(entry: &wire::nlri::NlriEntry) -> Option<Nlri> {
    let prefix = match &entry.prefix {
        wire::nlri::Prefix::V4(prefix) => ipv4(prefix),
        wire::nlri::Prefix::V6(prefix) => {
            Ipv6Network::new(prefix.addr, prefix.len).ok().map(IpNetwork::V6)
        }
    };
    Some((entry.path_id, prefix?))
}
