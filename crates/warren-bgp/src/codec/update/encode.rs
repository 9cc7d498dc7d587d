//! From routes to octets, in as many messages as they need.

use std::net::{IpAddr, Ipv6Addr};

use bytes::{BufMut, Bytes, BytesMut};
use ipnetwork::IpNetwork;
use rustbgpd_wire as wire;

use super::{UpdateContext, attributes};
use crate::codec::frame::HEADER_LEN;
use crate::codec::{MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN, MessageType, refresh};
use crate::message::{Attributes, Family, Update};

/// What there is of a message besides the lists: the header and the lengths of two of them.
const FIXED_LEN: usize = HEADER_LEN + 2 + 2;
/// The most octets that a prefix takes, of IPv4 and of IPv6.
const LONGEST_PREFIX: (usize, usize) = (5, 17);
/// What a path identifier in front of a prefix takes (RFC 7911, 3).
const PATH_ID_LEN: usize = 4;
/// What there is of MP_REACH_NLRI besides the prefixes: its header, the family, one next hop with
/// its length, and a reserved octet (RFC 4760, 3; RFC 2545, 3).
const MP_REACH_LEN: usize = 4 + 3 + 1 + 16 + 1;
/// What there is of MP_UNREACH_NLRI besides the prefixes (RFC 4760, 4).
const MP_UNREACH_LEN: usize = 4 + 3;
/// Optional, and with a length of two octets.
const MP_FLAGS: u8 = 0x90;

/// The messages that say what `update` says, withdrawals first. None is longer than 4096 octets but
/// those whose attributes alone would not leave room for a prefix otherwise, where the peer takes
/// them: few others do (RFC 8654, 5).
///
/// Attributes that cannot be sent (too long, an AS_SET, which RFC 9774 forbids, or a next hop of
/// the other family) must not leave the peer with the routes as they were before: their prefixes
/// are withdrawn. Prefixes of a family that is not exchanged are left out.
pub fn encode(update: &Update, context: &UpdateContext) -> Vec<Bytes> {
    if let Some(family) = update.end_of_rib {
        return vec![match family {
            Family::Ipv4Unicast => message(&[], &[], &[]),
            Family::Ipv6Unicast => message(&[], &mp_unreach(&[]), &[]),
        }];
    }
    if let Some(mark) = update.refresh {
        return vec![refresh::encode(mark)];
    }
    let attrs = update.attributes.as_ref().and_then(|attrs| encode_attributes(attrs, context));
    let next_hop = update.attributes.as_ref().map(|attrs| attrs.next_hop);
    let mut messages = Vec::new();
    for family in [Family::Ipv4Unicast, Family::Ipv6Unicast] {
        if !context.families.contains(&family) {
            continue;
        }
        // RFC 7911, 3: whatever tells the paths apart; there is one only where no number is given.
        let id = context.path_ids.sent.contains(&family).then(|| update.path_id.unwrap_or(0));
        let mut withdrawn = of_family(&update.withdrawn, family);
        let mut announced = of_family(&update.announced, family);
        let (attrs, longest) = match (&attrs, family, next_hop) {
            (Some((attrs, longest)), Family::Ipv4Unicast, Some(IpAddr::V4(_)))
            | (Some((attrs, longest)), Family::Ipv6Unicast, Some(IpAddr::V6(_))) => {
                (attrs.as_slice(), *longest)
            }
            _ => {
                withdrawn.append(&mut announced);
                (&[][..], MAX_MESSAGE_LEN)
            }
        };
        let (to_withdraw, room) = (MAX_MESSAGE_LEN - FIXED_LEN, longest - FIXED_LEN);
        match (family, next_hop) {
            (Family::Ipv6Unicast, next_hop) => {
                for list in pack(&withdrawn, id, to_withdraw - MP_UNREACH_LEN) {
                    messages.push(message(&[], &mp_unreach(&list), &[]));
                }
                let Some(IpAddr::V6(next_hop)) = next_hop else { continue };
                for list in pack(&announced, id, room - MP_REACH_LEN - attrs.len()) {
                    // The first of the attributes (RFC 7606, 5.1).
                    let mut all = mp_reach(next_hop, &list);
                    all.extend(attrs);
                    messages.push(message(&[], &all, &[]));
                }
            }
            (Family::Ipv4Unicast, _) => {
                for list in pack(&withdrawn, id, to_withdraw) {
                    messages.push(message(&list, &[], &[]));
                }
                for list in pack(&announced, id, room - attrs.len()) {
                    messages.push(message(&[], attrs, &list));
                }
            }
        }
    }
    messages
}

/// The attributes in octets, and how long the messages with them may be; `None` if they cannot be
/// sent.
fn encode_attributes(attrs: &Attributes, context: &UpdateContext) -> Option<(Vec<u8>, usize)> {
    let besides = match attrs.next_hop {
        IpAddr::V4(_) => FIXED_LEN + LONGEST_PREFIX.0,
        IpAddr::V6(_) => FIXED_LEN + MP_REACH_LEN + LONGEST_PREFIX.1,
    };
    let attrs = attributes::to_wire(attrs, context);
    let mut octets = Vec::new();
    wire::attribute::encode_path_attributes(&attrs, &mut octets, context.four_octet_as, false)
        .ok()?;
    let id = if context.path_ids.sent.is_empty() { 0 } else { PATH_ID_LEN };
    match besides + id + octets.len() {
        ..=MAX_MESSAGE_LEN => Some((octets, MAX_MESSAGE_LEN)),
        ..=MAX_EXTENDED_MESSAGE_LEN if context.extended_messages => {
            Some((octets, MAX_EXTENDED_MESSAGE_LEN))
        }
        _ => None,
    }
}

fn of_family(prefixes: &[IpNetwork], family: Family) -> Vec<IpNetwork> {
    prefixes.iter().filter(|prefix| Family::of(prefix) == family).copied().collect()
}

fn mp_reach(next_hop: Ipv6Addr, prefixes: &[u8]) -> Vec<u8> {
    let mut octets = mp_header(14, MP_REACH_LEN + prefixes.len());
    octets.push(16);
    octets.extend(next_hop.octets());
    octets.push(0);
    octets.extend(prefixes);
    octets
}

fn mp_unreach(prefixes: &[u8]) -> Vec<u8> {
    let mut octets = mp_header(15, MP_UNREACH_LEN + prefixes.len());
    octets.extend(prefixes);
    octets
}

/// The header of an attribute that takes `length` octets in all, and the family (2, 1).
fn mp_header(code: u8, length: usize) -> Vec<u8> {
    let [high, low] = ((length - 4) as u16).to_be_bytes();
    vec![MP_FLAGS, code, high, low, 0, 2, 1]
}

/// The prefixes in octets, each behind the path identifier if they have one, in lists of at most `room`
/// octets.
fn pack(prefixes: &[IpNetwork], id: Option<u32>, room: usize) -> Vec<Vec<u8>> {
    let mut lists: Vec<Vec<u8>> = Vec::new();
    let mut octets = Vec::with_capacity(PATH_ID_LEN + LONGEST_PREFIX.1);
    for prefix in prefixes {
        octets.clear();
        octets.extend(id.iter().flat_map(|id| id.to_be_bytes()));
        match prefix {
            IpNetwork::V4(prefix) => {
                let prefix = wire::nlri::Ipv4Prefix::new(prefix.ip(), prefix.prefix());
                wire::nlri::encode_nlri(&[prefix], &mut octets);
            }
            IpNetwork::V6(prefix) => {
                let prefix = wire::nlri::Ipv6Prefix::new(prefix.ip(), prefix.prefix());
                wire::nlri::encode_ipv6_nlri(&[prefix], &mut octets);
            }
        }
        match lists.last_mut() {
            Some(list) if list.len() + octets.len() <= room => list.extend(&octets),
            _ => lists.push(octets.clone()),
        }
    }
    lists
}

/// One message; the lists together fit into it.
fn message(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Bytes {
    let length = FIXED_LEN + withdrawn.len() + attributes.len() + announced.len();
    let mut octets = BytesMut::with_capacity(length);
    octets.put_bytes(0xff, 16);
    octets.put_u16(length as u16);
    octets.put_u8(MessageType::Update as u8);
    octets.put_u16(withdrawn.len() as u16);
    octets.put_slice(withdrawn);
    octets.put_u16(attributes.len() as u16);
    octets.put_slice(attributes);
    octets.put_slice(announced);
    octets.freeze()
}
