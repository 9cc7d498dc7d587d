//! From routes to octets, in as many messages as they need.

use bytes::{BufMut, Bytes, BytesMut};
use ipnetwork::{IpNetwork, Ipv4Network};
use rustbgpd_wire as wire;

use super::{UpdateContext, attributes};
use crate::codec::frame::HEADER_LEN;
use crate::codec::{MAX_MESSAGE_LEN, MessageType};
use crate::message::{Attributes, Update};

/// What there is of a message besides the lists: the header and the lengths of two of them.
const FIXED_LEN: usize = HEADER_LEN + 2 + 2;
/// The most octets that a prefix takes.
const LONGEST_PREFIX: usize = 5;

/// The messages that say what `update` says, none longer than 4096 octets, withdrawals first.
///
/// Attributes that cannot be sent (too long, or an AS_SET, which RFC 9774 forbids) must not
/// leave the peer with the routes as they were before: their prefixes are withdrawn. Prefixes of
/// a family that is not exchanged in these lists are left out.
pub fn encode(update: &Update, context: &UpdateContext) -> Vec<Bytes> {
    if update.is_end_of_rib() {
        return vec![message(&[], &[], &[])];
    }
    let attrs = update.attributes.as_ref().and_then(|attrs| encode_attributes(attrs, context));
    let mut withdrawn = ipv4(&update.withdrawn);
    let mut announced = ipv4(&update.announced);
    if attrs.is_none() {
        withdrawn.append(&mut announced);
    }
    let attrs = attrs.unwrap_or_default();

    let mut messages = Vec::new();
    for list in pack(&withdrawn, MAX_MESSAGE_LEN - FIXED_LEN) {
        messages.push(message(&list, &[], &[]));
    }
    for list in pack(&announced, MAX_MESSAGE_LEN - FIXED_LEN - attrs.len()) {
        messages.push(message(&[], &attrs, &list));
    }
    messages
}

/// The attributes in octets; `None` if they cannot be sent.
fn encode_attributes(attrs: &Attributes, context: &UpdateContext) -> Option<Vec<u8>> {
    let attrs = attributes::to_wire(attrs, context)?;
    let mut octets = Vec::new();
    wire::attribute::encode_path_attributes(&attrs, &mut octets, context.four_octet_as, false)
        .ok()?;
    (octets.len() + FIXED_LEN + LONGEST_PREFIX <= MAX_MESSAGE_LEN).then_some(octets)
}

fn ipv4(prefixes: &[IpNetwork]) -> Vec<Ipv4Network> {
    prefixes
        .iter()
        .filter_map(|prefix| match prefix {
            IpNetwork::V4(prefix) => Some(*prefix),
            IpNetwork::V6(_) => None,
        })
        .collect()
}

/// The prefixes in octets, in lists of at most `room` octets.
fn pack(prefixes: &[Ipv4Network], room: usize) -> Vec<Vec<u8>> {
    let mut lists: Vec<Vec<u8>> = Vec::new();
    let mut octets = Vec::with_capacity(LONGEST_PREFIX);
    for prefix in prefixes {
        octets.clear();
        let prefix = wire::nlri::Ipv4Prefix::new(prefix.ip(), prefix.prefix());
        wire::nlri::encode_nlri(&[prefix], &mut octets);
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
