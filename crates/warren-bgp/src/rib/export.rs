//! What a peer is told of a route (RFC 4271, 9.1.3 and 9.2, and the attributes' sections in 5).

use ipnetwork::IpNetwork;

use super::decision::{DEFAULT_LOCAL_PREF, Path};
use super::session::Session;
use crate::message::{AsPathSegment, Attributes};

/// NO_EXPORT (RFC 1997): not beyond this AS.
pub(super) const NO_EXPORT: u32 = 0xFFFF_FF01;
/// NO_ADVERTISE (RFC 1997): to no peer.
pub(super) const NO_ADVERTISE: u32 = 0xFFFF_FF02;
/// NO_EXPORT_SUBCONFED (RFC 1997): to no external peer.
pub(super) const NO_EXPORT_SUBCONFED: u32 = 0xFFFF_FF03;

/// The longest AS_SEQUENCE (RFC 4271, 4.3: its length is one octet).
const LONGEST_SEGMENT: usize = 255;

/// Whether `to` can be told of this destination at all.
pub(super) fn reaches(to: &Session, prefix: &IpNetwork) -> bool {
    // NEXT_HOP is of the session's family for now (RFC 8950 would lift this).
    to.carries(prefix) && to.local_address.is_ipv4() == prefix.is_ipv4()
}

/// A route of this node itself, as told to `to`.
pub(super) fn own(to: &Session) -> Attributes {
    let attributes = Attributes::via(to.local_address);
    if to.is_internal() { to_internal(attributes) } else { to_external(attributes, to) }
}

/// A route that a peer announced, as told to `to`; `None` if `to` is not to hear of it.
pub(super) fn learned(path: &Path, to: &Session) -> Option<Attributes> {
    let communities = &path.attributes.communities;
    let stays_inside = [NO_EXPORT, NO_EXPORT_SUBCONFED];
    if path.from.peer == to.peer || communities.contains(&NO_ADVERTISE) {
        return None;
    }
    if !to.is_internal() {
        let kept = communities.iter().any(|community| stays_inside.contains(community));
        return (!kept).then(|| to_external(Attributes::clone(&path.attributes), to));
    }
    // 9.2: what one internal peer said is not told to another one.
    // 5.1.3: nor is a peer told that it is its own next hop.
    let refused = path.from.is_internal() || path.attributes.next_hop == to.peer;
    (!refused).then(|| to_internal(Attributes::clone(&path.attributes)))
}

/// 5.1.2 to 5.1.5 for an internal peer: all stays as it is, NEXT_HOP and MULTI_EXIT_DISC too, and
/// LOCAL_PREF is this node's own, for an external peer's would not count.
fn to_internal(attributes: Attributes) -> Attributes {
    Attributes { local_pref: Some(DEFAULT_LOCAL_PREF), ..attributes }
}

/// 5.1.2 to 5.1.5 for an external peer: the own AS in front, this node as NEXT_HOP, no LOCAL_PREF,
/// and no MULTI_EXIT_DISC that another AS has set.
fn to_external(attributes: Attributes, to: &Session) -> Attributes {
    Attributes {
        as_path: prepend(to.local_as, attributes.as_path),
        next_hop: to.local_address,
        local_pref: None,
        med: None,
        ..attributes
    }
}

/// 5.1.2 b)
fn prepend(number: u32, mut path: Vec<AsPathSegment>) -> Vec<AsPathSegment> {
    match path.first_mut() {
        Some(AsPathSegment::Sequence(numbers)) if numbers.len() < LONGEST_SEGMENT => {
            numbers.insert(0, number);
        }
        _ => path.insert(0, AsPathSegment::Sequence(vec![number])),
    }
    path
}

#[cfg(test)]
mod tests;
