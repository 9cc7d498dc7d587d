//! ROUTE-REFRESH (RFC 2918; RFC 7313).

use bytes::{BufMut, Bytes, BytesMut};
use rustbgpd_wire as wire;

use super::frame::HEADER_LEN;
use super::notification::{code, refresh_error};
use super::{MessageType, SessionReset, open};
use crate::message::RouteRefresh;

/// The subtypes (RFC 7313, 3.2).
const REQUEST: u8 = 0;
const BEGIN: u8 = 1;
const END: u8 = 2;

/// Reads a ROUTE-REFRESH; `None` for one of a family or a subtype that this speaker does not know,
/// which is to be ignored (RFC 2918, 4; RFC 7313, 5). `enhanced` says whether the peers have agreed
/// on subtypes: where they have not, that octet means nothing (RFC 2918, 3).
///
/// # Errors
/// A wrong length: for a beginning or an end by the code of RFC 7313, 5, with the whole message;
/// otherwise as any message's (RFC 4271, 6.1). More would be a route filter (RFC 5291), which is
/// never negotiated.
pub fn decode(body: &Bytes, enhanced: bool) -> Result<Option<RouteRefresh>, SessionReset> {
    let subtype = body.get(2).copied().filter(|_| enhanced).unwrap_or(REQUEST);
    let &[high, low, _, safi] = &body[..] else {
        let message = with_header(body);
        let detail = format!("a ROUTE-REFRESH cannot have {} octets", message.len());
        return Err(match subtype {
            BEGIN | END => SessionReset::new(
                code::ROUTE_REFRESH,
                refresh_error::INVALID_LENGTH,
                message.to_vec(),
                detail,
            ),
            _ => SessionReset::new(1, 2, message.slice(16..18).to_vec(), detail),
        });
    };
    let afi = wire::Afi::from_u16(u16::from_be_bytes([high, low]));
    let family = afi.zip(wire::Safi::from_u8(safi)).and_then(|(afi, safi)| open::family(afi, safi));
    Ok(family.and_then(|family| match subtype {
        REQUEST => Some(RouteRefresh::Request(family)),
        BEGIN => Some(RouteRefresh::Begin(family)),
        END => Some(RouteRefresh::End(family)),
        _ => None,
    }))
}

/// Writes a ROUTE-REFRESH.
pub fn encode(refresh: RouteRefresh) -> Bytes {
    let subtype = match refresh {
        RouteRefresh::Request(_) => REQUEST,
        RouteRefresh::Begin(_) => BEGIN,
        RouteRefresh::End(_) => END,
    };
    let (afi, safi) = open::afi_safi(refresh.family());
    let [high, low] = (afi as u16).to_be_bytes();
    with_header(&[high, low, subtype, safi as u8])
}

fn with_header(body: &[u8]) -> Bytes {
    let length = HEADER_LEN + body.len();
    let mut octets = BytesMut::with_capacity(length);
    octets.put_bytes(0xff, 16);
    // Cannot be cut off: what was read was a whole message.
    octets.put_u16(length as u16);
    octets.put_u8(MessageType::RouteRefresh as u8);
    octets.put_slice(body);
    octets.freeze()
}
