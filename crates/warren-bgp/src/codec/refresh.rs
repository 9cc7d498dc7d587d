//! ROUTE-REFRESH (RFC 2918).

use bytes::{BufMut, Bytes, BytesMut};
use rustbgpd_wire as wire;

use super::frame::HEADER_LEN;
use super::{MessageType, SessionReset, open};
use crate::message::Family;

/// Reads the family that is asked for; `None` for one that this speaker does not know and for the
/// markers of RFC 7313, both of which are to be ignored.
///
/// # Errors
/// Fewer octets than it has; the framer has seen to that already.
pub fn decode(mut body: Bytes) -> Result<Option<Family>, SessionReset> {
    let length = body.len();
    let refresh = wire::RouteRefreshMessage::decode(&mut body, length)?;
    if refresh.subtype() != wire::RouteRefreshSubtype::Normal {
        return Ok(None);
    }
    Ok(refresh.afi().zip(refresh.safi()).and_then(|(afi, safi)| open::family(afi, safi)))
}

/// Asks for the routes of `family`.
pub fn encode(family: Family) -> Bytes {
    let (afi, safi) = open::afi_safi(family);
    let mut octets = BytesMut::with_capacity(HEADER_LEN + 4);
    octets.put_bytes(0xff, 16);
    octets.put_u16(23);
    octets.put_u8(MessageType::RouteRefresh as u8);
    octets.put_u16(afi as u16);
    octets.put_u8(0);
    octets.put_u8(safi as u8);
    octets.freeze()
}
