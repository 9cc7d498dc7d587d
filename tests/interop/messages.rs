//! BGP messages, as they have gone over the wire.

use tests::lab::packet::Packet;

/// The type of an UPDATE (RFC 4271, 4.1).
pub const UPDATE: u8 = 2;
/// The type of a ROUTE-REFRESH (RFC 2918, 3).
pub const ROUTE_REFRESH: u8 = 5;

/// A message that has gone over the wire.
#[derive(Debug)]
pub struct Message {
    /// Whose address it came from.
    pub from: String,
    /// Its type (RFC 4271, 4.1).
    pub kind: u8,
    /// Header included.
    pub length: u16,
    /// Where the subtype of a ROUTE-REFRESH is (RFC 7313, 3.2).
    pub subtype: u8,
}

/// The messages, as far as they begin a segment or follow another one in it: few are longer.
pub fn messages(packets: &[Packet]) -> Vec<Message> {
    let mut seen = Vec::new();
    for packet in packets {
        let header = packet.payload.get(12).map_or(0, |it| usize::from(it >> 4) * 4);
        let mut rest = packet.payload.get(header..).unwrap_or_default();
        while rest.len() >= 19 && rest.starts_with(&[0xff; 16]) {
            let length = u16::from_be_bytes([rest[16], rest[17]]);
            seen.push(Message {
                length,
                from: packet.headers[0].source.to_string(),
                kind: rest[18],
                subtype: rest.get(21).copied().unwrap_or_default(),
            });
            rest = rest.get(usize::from(length).max(19)..).unwrap_or_default();
        }
    }
    seen
}
