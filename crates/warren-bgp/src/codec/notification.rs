//! NOTIFICATION (RFC 4271, 4.5) and what its numbers mean.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::frame::HEADER_LEN;
use super::open::afi_safi;
use super::{MAX_MESSAGE_LEN, MessageType, SessionReset};
use crate::message::{Family, Notification};

/// The error codes that this speaker sends.
pub mod code {
    /// RFC 4271, 6.2.
    pub const OPEN: u8 = 2;
    /// RFC 4271, 6.3.
    pub const UPDATE: u8 = 3;
    /// RFC 4271, 6.5.
    pub const HOLD_TIMER: u8 = 4;
    /// RFC 4271, 6.6 and RFC 6608.
    pub const FSM: u8 = 5;
    /// RFC 4271, 6.7 and RFC 4486.
    pub const CEASE: u8 = 6;
    /// RFC 7313, 5.
    pub const ROUTE_REFRESH: u8 = 7;
    /// RFC 9687, 5.
    pub const SEND_HOLD_TIMER: u8 = 8;
}

/// The subcodes of ROUTE-REFRESH Message Error (RFC 7313, 5).
pub mod refresh_error {
    /// A beginning or an end of a route refresh with more or less in it than a family.
    pub const INVALID_LENGTH: u8 = 1;
}

/// The subcodes of Cease (RFC 4486, 3) that this speaker sends.
pub mod cease {
    /// The peer has announced more prefixes than it may.
    pub const MAXIMUM_PREFIXES: u8 = 1;
    /// The operator has stopped the session.
    pub const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
    /// The peer is no longer configured.
    pub const PEER_DECONFIGURED: u8 = 3;
    /// The connection is not wanted.
    pub const CONNECTION_REJECTED: u8 = 5;
    /// The other one of two connections is kept.
    pub const COLLISION_RESOLUTION: u8 = 7;
    /// The session is not to be restarted gracefully; why it ends is in the data (RFC 8538, 3).
    pub const HARD_RESET: u8 = 9;
    /// BFD cannot reach the peer any more (RFC 9384, 3).
    pub const BFD_DOWN: u8 = 10;
}

/// In octets: its length has one (RFC 9003, 2).
const LONGEST_COMMUNICATION: usize = 255;

/// What the codes are called (RFC 4271, 4.5; RFC 7313, 5; RFC 9687, 5).
const CODES: [(u8, &str); 8] = [
    (1, "Message Header Error"),
    (2, "OPEN Message Error"),
    (3, "UPDATE Message Error"),
    (4, "Hold Timer Expired"),
    (5, "Finite State Machine Error"),
    (6, "Cease"),
    (7, "ROUTE-REFRESH Message Error"),
    (8, "Send Hold Timer Expired"),
];

/// What the subcodes are called.
const SUBCODES: [(u8, u8, &str); 37] = [
    // RFC 4271, 6.1
    (1, 1, "Connection Not Synchronized"),
    (1, 2, "Bad Message Length"),
    (1, 3, "Bad Message Type"),
    // RFC 4271, 6.2
    (2, 1, "Unsupported Version Number"),
    (2, 2, "Bad Peer AS"),
    (2, 3, "Bad BGP Identifier"),
    (2, 4, "Unsupported Optional Parameter"),
    (2, 5, "Authentication Failure"),
    (2, 6, "Unacceptable Hold Time"),
    (2, 7, "Unsupported Capability"), // RFC 5492, 5
    (2, 11, "Role Mismatch"),         // RFC 9234, 4.2
    // RFC 4271, 6.3
    (3, 1, "Malformed Attribute List"),
    (3, 2, "Unrecognized Well-known Attribute"),
    (3, 3, "Missing Well-known Attribute"),
    (3, 4, "Attribute Flags Error"),
    (3, 5, "Attribute Length Error"),
    (3, 6, "Invalid ORIGIN Attribute"),
    (3, 7, "AS Routing Loop"),
    (3, 8, "Invalid NEXT_HOP Attribute"),
    (3, 9, "Optional Attribute Error"),
    (3, 10, "Invalid Network Field"),
    (3, 11, "Malformed AS_PATH"),
    // RFC 6608, 3
    (5, 0, "Unspecified Error"),
    (5, 1, "Receive Unexpected Message in OpenSent State"),
    (5, 2, "Receive Unexpected Message in OpenConfirm State"),
    (5, 3, "Receive Unexpected Message in Established State"),
    // RFC 4486, 3
    (6, 1, "Maximum Number of Prefixes Reached"),
    (6, 2, "Administrative Shutdown"),
    (6, 3, "Peer De-configured"),
    (6, 4, "Administrative Reset"),
    (6, 5, "Connection Rejected"),
    (6, 6, "Other Configuration Change"),
    (6, 7, "Connection Collision Resolution"),
    (6, 8, "Out of Resources"),
    (6, 9, "Hard Reset"), // RFC 8538, 3
    (6, 10, "BFD Down"),  // RFC 9384, 3
    // RFC 7313, 5
    (7, 1, "Invalid Message Length"),
];

impl Notification {
    /// One without data.
    pub fn new(code: u8, subcode: u8) -> Self {
        Self { code, subcode, data: vec![] }
    }

    /// The operator has stopped the session; `text` says why, as far as it fits (RFC 9003, 2).
    pub fn shutdown(text: &str) -> Self {
        let end = text.floor_char_boundary(LONGEST_COMMUNICATION);
        let text = text.get(..end).unwrap_or_default();
        let data = std::iter::once(text.len() as u8).chain(text.bytes()).collect();
        Self { data, ..Self::new(code::CEASE, cease::ADMINISTRATIVE_SHUTDOWN) }
    }

    /// The peer has announced more than `limit` prefixes of a family (RFC 4486, 4).
    pub fn too_many_prefixes(family: Family, limit: u32) -> Self {
        let (afi, safi) = afi_safi(family);
        let mut data = (afi as u16).to_be_bytes().to_vec();
        data.push(safi as u8);
        data.extend(limit.to_be_bytes());
        Self { data, ..Self::new(code::CEASE, cease::MAXIMUM_PREFIXES) }
    }

    /// Whether the session is to end for good (RFC 8538, 3).
    pub fn is_hard_reset(&self) -> bool {
        (self.code, self.subcode) == (code::CEASE, cease::HARD_RESET)
    }

    /// Whether the peer has kept the other one of two connections (RFC 4486, 4).
    pub fn is_collision(&self) -> bool {
        (self.code, self.subcode) == (code::CEASE, cease::COLLISION_RESOLUTION)
    }

    /// The same as a Hard Reset, which carries code, subcode and data (RFC 8538, 3.1).
    pub fn into_hard_reset(self) -> Self {
        let mut data = vec![self.code, self.subcode];
        data.extend(self.data);
        Self { data, ..Self::new(code::CEASE, cease::HARD_RESET) }
    }

    /// What its subcode is called, or else its code.
    pub fn reason(&self) -> &'static str {
        let named = SUBCODES
            .iter()
            .find(|(code, subcode, _)| (*code, *subcode) == (self.code, self.subcode))
            .map(|(_, _, name)| *name);
        let code = || CODES.iter().find(|(code, _)| *code == self.code).map(|(_, name)| *name);
        named.or_else(code).unwrap_or("error of an unknown code")
    }

    /// What a Hard Reset carries.
    fn carried(&self) -> Option<Self> {
        let (&[code, subcode], data) = self.data.split_first_chunk()?;
        self.is_hard_reset().then(|| Self { code, subcode, data: data.to_vec() })
    }

    /// The text that an operator has sent along (RFC 9003); `None` if there is none, or if it
    /// cannot be read. Control characters are left out, for it ends up in logs.
    pub fn communication(&self) -> Option<String> {
        if self.code != code::CEASE || !matches!(self.subcode, 2 | 4) {
            return None;
        }
        let (length, text) = self.data.split_first()?;
        let text = text.get(..usize::from(*length))?;
        let text: String =
            std::str::from_utf8(text).ok()?.chars().filter(|c| !c.is_control()).collect();
        (!text.is_empty()).then_some(text)
    }
}

/// As `Cease/Administrative Shutdown: back at noon`.
impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CODES.iter().find(|(code, _)| *code == self.code) {
            Some((_, name)) => f.write_str(name)?,
            None => write!(f, "error code {}", self.code)?,
        }
        let named = SUBCODES
            .iter()
            .find(|(code, subcode, _)| (*code, *subcode) == (self.code, self.subcode));
        match named {
            Some((_, _, name)) => write!(f, "/{name}")?,
            None if self.subcode != 0 => write!(f, "/subcode {}", self.subcode)?,
            None => {}
        }
        match (self.communication(), self.carried()) {
            (Some(text), _) => write!(f, ": {text}"),
            // What it carries may claim to be another one: once is enough.
            (None, Some(carried)) if !carried.is_hard_reset() => write!(f, " ({carried})"),
            _ => Ok(()),
        }
    }
}

/// Reads a NOTIFICATION.
///
/// # Errors
/// Fewer octets than it has; the framer has seen to that already.
pub fn decode(mut body: Bytes) -> Result<Notification, SessionReset> {
    if body.len() < 2 {
        return Err(SessionReset::new(1, 2, vec![], "a NOTIFICATION without code and subcode"));
    }
    let (code, subcode) = (body.get_u8(), body.get_u8());
    Ok(Notification { code, subcode, data: body.to_vec() })
}

/// Writes a NOTIFICATION; data beyond the longest message is cut off.
pub fn encode(notification: &Notification) -> Bytes {
    let room = MAX_MESSAGE_LEN - HEADER_LEN - 2;
    let data = notification.data.get(..room).unwrap_or(&notification.data);
    let length = HEADER_LEN + 2 + data.len();
    let mut octets = BytesMut::with_capacity(length);
    octets.put_bytes(0xff, 16);
    // Cannot be cut off: it is at most 4096.
    octets.put_u16(length as u16);
    octets.put_u8(MessageType::Notification as u8);
    octets.put_u8(notification.code);
    octets.put_u8(notification.subcode);
    octets.put_slice(data);
    octets.freeze()
}
