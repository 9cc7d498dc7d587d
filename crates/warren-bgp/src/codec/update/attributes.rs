//! Path attributes as the codec has them, and as the rest of the program has them.

use std::net::IpAddr;

use bytes::Bytes;
use rustbgpd_wire as wire;
use wire::attribute::PathAttribute;

use super::UpdateContext;
use crate::codec::open::family;
use crate::message::{
    AsPathSegment, Attributes, ExtendedCommunity, LargeCommunity, Origin, UnknownAttribute,
};

const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;
pub(super) const NEXT_HOP: u8 = 3;
pub(super) const MP_REACH_NLRI: u8 = 14;
pub(super) const MP_UNREACH_NLRI: u8 = 15;

/// The attributes of routes with this next hop; `None` without the mandatory ones.
pub(super) fn from_wire(
    attrs: &[PathAttribute],
    next_hop: IpAddr,
    context: &UpdateContext,
) -> Option<Attributes> {
    let mut origin = None;
    let mut as_path = None;
    let mut result = Attributes::via(next_hop);
    for attribute in attrs {
        match attribute {
            PathAttribute::Origin(value) => origin = Some(from_wire_origin(*value)),
            PathAttribute::AsPath(path) => {
                as_path = Some(path.segments.iter().map(from_wire_segment).collect());
            }
            PathAttribute::Med(value) => result.med = Some(*value),
            // From an external peer it is to be ignored (RFC 4271, 5.1.5).
            PathAttribute::LocalPref(value) => {
                result.local_pref = context.internal.then_some(*value);
            }
            PathAttribute::AtomicAggregate => result.atomic_aggregate = true,
            PathAttribute::Aggregator(value) => {
                result.aggregator = Some((value.asn, value.router_id));
            }
            PathAttribute::Communities(values) | PathAttribute::CommunitiesPartial(values) => {
                result.communities.clone_from(values);
            }
            PathAttribute::ExtendedCommunities(values)
            | PathAttribute::ExtendedCommunitiesPartial(values) => {
                let values = values.iter().map(|it| ExtendedCommunity(it.as_u64()));
                result.extended_communities = values.collect();
            }
            PathAttribute::LargeCommunities(values)
            | PathAttribute::LargeCommunitiesPartial(values) => {
                result.large_communities = values.iter().map(from_wire_large).collect();
            }
            // From an external peer they are to be ignored (RFC 7606, 7.9 and 7.10).
            PathAttribute::OriginatorId(value) => {
                result.originator_id = context.internal.then_some(*value);
            }
            PathAttribute::ClusterList(values) => {
                if context.internal {
                    result.cluster_list.clone_from(values);
                }
            }
            PathAttribute::OnlyToCustomer(value) | PathAttribute::OnlyToCustomerPartial(value) => {
                result.otc = Some(*value);
            }
            PathAttribute::NextHop(_)
            | PathAttribute::MpReachNlri(_)
            | PathAttribute::MpUnreachNlri(_) => {}
            other => result.unknown.extend(passed_on(other)),
        }
    }
    result.origin = origin?;
    result.as_path = as_path?;
    Some(result)
}

/// The attribute as it is passed on, if it is transitive: one that is not ends here (RFC 4271, 5).
fn passed_on(attribute: &PathAttribute) -> Option<UnknownAttribute> {
    if attribute.flags() & TRANSITIVE == 0 {
        return None;
    }
    if let PathAttribute::Unknown(raw) = attribute {
        return Some(UnknownAttribute {
            flags: raw.flags,
            code: raw.type_code,
            value: raw.data.to_vec(),
        });
    }
    // One that the package understands and this speaker does not: back to octets.
    let mut octets = Vec::new();
    wire::attribute::encode_path_attributes(
        std::slice::from_ref(attribute),
        &mut octets,
        true,
        false,
    )
    .ok()?;
    let (header, _) = split(&octets)?;
    Some(UnknownAttribute { flags: header.flags, code: header.code, value: header.value.to_vec() })
}

/// The attributes to send, in the order of their codes (RFC 4271, 5). NEXT_HOP is among them where
/// it is of IPv4; one of IPv6 goes into MP_REACH_NLRI (RFC 4760, 3).
pub(super) fn to_wire(attributes: &Attributes, context: &UpdateContext) -> Vec<PathAttribute> {
    let mut attrs = vec![
        PathAttribute::Origin(to_wire_origin(attributes.origin)),
        PathAttribute::AsPath(wire::attribute::AsPath {
            segments: attributes.as_path.iter().map(to_wire_segment).collect(),
        }),
    ];
    if let IpAddr::V4(next_hop) = attributes.next_hop {
        attrs.push(PathAttribute::NextHop(next_hop));
    }
    attrs.extend(attributes.med.map(PathAttribute::Med));
    // Never to an external peer (RFC 4271, 5.1.5).
    attrs.extend(attributes.local_pref.filter(|_| context.internal).map(PathAttribute::LocalPref));
    attrs.extend(attributes.atomic_aggregate.then_some(PathAttribute::AtomicAggregate));
    attrs.extend(attributes.aggregator.map(|(asn, router_id)| {
        PathAttribute::Aggregator(wire::attribute::Aggregator { asn, router_id, partial: false })
    }));
    if !attributes.communities.is_empty() {
        attrs.push(PathAttribute::Communities(attributes.communities.clone()));
    }
    // Neither to an external peer (RFC 4456, 8: non-transitive, within the AS).
    let reflected = attributes.originator_id.filter(|_| context.internal);
    attrs.extend(reflected.map(PathAttribute::OriginatorId));
    if context.internal && !attributes.cluster_list.is_empty() {
        attrs.push(PathAttribute::ClusterList(attributes.cluster_list.clone()));
    }
    // RFC 4360, 6: some stay within the AS.
    let extended = attributes.extended_communities.iter();
    let extended: Vec<_> = extended
        .filter(|it| context.internal || it.is_transitive())
        .map(|it| wire::attribute::ExtendedCommunity::new(it.0))
        .collect();
    if !extended.is_empty() {
        attrs.push(PathAttribute::ExtendedCommunities(extended));
    }
    if !attributes.large_communities.is_empty() {
        let values = attributes.large_communities.iter().map(to_wire_large).collect();
        attrs.push(PathAttribute::LargeCommunities(values));
    }
    attrs.extend(attributes.otc.map(PathAttribute::OnlyToCustomer));
    // The package adds the Partial bit to what it is given raw.
    attrs.extend(attributes.unknown.iter().map(|attribute| {
        PathAttribute::Unknown(wire::attribute::RawAttribute {
            flags: attribute.flags,
            type_code: attribute.code,
            data: Bytes::copy_from_slice(&attribute.value),
        })
    }));
    attrs.sort_by_key(PathAttribute::type_code);
    attrs
}

/// `octets` without the MP attributes of families that were not agreed on; `None` if there are
/// none or the list cannot be walked, so that nothing needs to be changed.
///
/// Such routes are to be ignored. The package would end the session over a family that it has
/// never heard of.
pub(super) fn without_foreign_families(octets: &[u8], context: &UpdateContext) -> Option<Bytes> {
    let mut kept = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let (attribute, after) = split(rest)?;
        let is_mp = matches!(attribute.code, MP_REACH_NLRI | MP_UNREACH_NLRI);
        let foreign = match attribute.value {
            [a, b, safi, ..] if is_mp => {
                let afi = wire::Afi::from_u16(u16::from_be_bytes([*a, *b]));
                let known = afi.zip(wire::Safi::from_u8(*safi)).and_then(|(a, s)| family(a, s));
                !known.is_some_and(|family| context.families.contains(&family))
            }
            _ => false,
        };
        if !foreign {
            kept.extend_from_slice(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    (kept.len() < octets.len()).then(|| kept.into())
}

/// Whether the last attribute of the list ends where the list does.
pub(super) fn is_whole(mut octets: &[u8]) -> bool {
    while !octets.is_empty() {
        let Some((_, rest)) = split(octets) else { return false };
        octets = rest;
    }
    true
}

/// Whether an attribute of this code is in the list more than once.
pub(super) fn is_repeated(mut octets: &[u8], code: u8) -> bool {
    let mut found = 0;
    while let Some((attribute, rest)) = split(octets) {
        found += usize::from(attribute.code == code);
        octets = rest;
    }
    found > 1
}

/// One attribute, cut out of a list of them.
struct Attribute<'a> {
    flags: u8,
    code: u8,
    value: &'a [u8],
}

/// Cuts the first attribute off; `None` if the list ends within it.
fn split(octets: &[u8]) -> Option<(Attribute<'_>, &[u8])> {
    let (&[flags, code], rest) = octets.split_first_chunk()?;
    let (length, rest) = if flags & EXTENDED_LENGTH == 0 {
        let (&length, rest) = rest.split_first()?;
        (usize::from(length), rest)
    } else {
        let (length, rest) = rest.split_first_chunk()?;
        (usize::from(u16::from_be_bytes(*length)), rest)
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((Attribute { flags, code, value }, rest))
}

fn from_wire_origin(origin: wire::attribute::Origin) -> Origin {
    match origin {
        wire::attribute::Origin::Igp => Origin::Igp,
        wire::attribute::Origin::Egp => Origin::Egp,
        wire::attribute::Origin::Incomplete => Origin::Incomplete,
    }
}

fn to_wire_origin(origin: Origin) -> wire::attribute::Origin {
    match origin {
        Origin::Igp => wire::attribute::Origin::Igp,
        Origin::Egp => wire::attribute::Origin::Egp,
        Origin::Incomplete => wire::attribute::Origin::Incomplete,
    }
}

fn from_wire_large(value: &wire::attribute::LargeCommunity) -> LargeCommunity {
    LargeCommunity(value.global_admin, value.local_data1, value.local_data2)
}

fn to_wire_large(value: &LargeCommunity) -> wire::attribute::LargeCommunity {
    wire::attribute::LargeCommunity::new(value.0, value.1, value.2)
}

fn from_wire_segment(segment: &wire::attribute::AsPathSegment) -> AsPathSegment {
    match segment {
        wire::attribute::AsPathSegment::AsSequence(numbers) => {
            AsPathSegment::Sequence(numbers.clone())
        }
        wire::attribute::AsPathSegment::AsSet(numbers) => AsPathSegment::Set(numbers.clone()),
    }
}

fn to_wire_segment(segment: &AsPathSegment) -> wire::attribute::AsPathSegment {
    match segment {
        AsPathSegment::Sequence(numbers) => {
            wire::attribute::AsPathSegment::AsSequence(numbers.clone())
        }
        AsPathSegment::Set(numbers) => wire::attribute::AsPathSegment::AsSet(numbers.clone()),
    }
}
