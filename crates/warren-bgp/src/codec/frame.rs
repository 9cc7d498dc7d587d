//! Where one message ends and the next begins (RFC 4271, 4.1 and 6.1).

use bytes::{Buf, Bytes, BytesMut};

use super::SessionReset;

/// The longest message (RFC 4271, 4.1).
pub const MAX_MESSAGE_LEN: usize = 4096;
/// The longest message between speakers that can take it, but for OPEN and KEEPALIVE (RFC 8654, 4).
pub const MAX_EXTENDED_MESSAGE_LEN: usize = 65535;
/// The length of a message's header.
pub(crate) const HEADER_LEN: usize = 19;
const MARKER_LEN: usize = 16;

/// The one KEEPALIVE there is (RFC 4271, 4.4).
pub const KEEPALIVE: [u8; HEADER_LEN] = {
    let mut octets = [0xff; HEADER_LEN];
    octets[16] = 0;
    octets[17] = 19;
    octets[18] = MessageType::Keepalive as u8;
    octets
};

/// The type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// RFC 4271, 4.2.
    Open = 1,
    /// RFC 4271, 4.3.
    Update = 2,
    /// RFC 4271, 4.5.
    Notification = 3,
    /// RFC 4271, 4.4.
    Keepalive = 4,
    /// RFC 2918, 3.
    RouteRefresh = 5,
}

impl MessageType {
    /// The name that the RFCs give it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Update => "UPDATE",
            Self::Notification => "NOTIFICATION",
            Self::Keepalive => "KEEPALIVE",
            Self::RouteRefresh => "ROUTE-REFRESH",
        }
    }

    /// The type with this number and how long such a message may be, header included, where one that
    /// has no limit of its own may have `most` octets.
    fn from_number(number: u8, most: usize) -> Option<(Self, std::ops::RangeInclusive<usize>)> {
        Some(match number {
            1 => (Self::Open, 29..=MAX_MESSAGE_LEN),
            2 => (Self::Update, 23..=most),
            3 => (Self::Notification, 21..=most),
            4 => (Self::Keepalive, 19..=19),
            // What another length than 23 costs depends on what is in it (RFC 7313, 5).
            5 => (Self::RouteRefresh, HEADER_LEN..=most),
            _ => return None,
        })
    }
}

/// One whole message of the peer, its header found correct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The type that the header names.
    pub kind: MessageType,
    /// What follows the header.
    pub body: Bytes,
}

/// Cuts a stream of octets into messages.
///
/// It holds what was pushed and not yet taken. When [`next_frame`](Self::next_frame) is called
/// until it answers `None` after every push, that is less than one message.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    most: usize,
}

impl Default for Framer {
    /// One that takes messages of up to 4096 octets.
    fn default() -> Self {
        Self { buffer: BytesMut::new(), most: MAX_MESSAGE_LEN }
    }
}

impl Framer {
    /// Takes longer messages from now on: the peer was told that it may send them (RFC 8654, 4).
    pub fn take_extended(&mut self) {
        self.most = MAX_EXTENDED_MESSAGE_LEN;
    }

    /// Adds what was received.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// The next message, or `None` as long as more octets are needed.
    ///
    /// # Errors
    /// A header that is wrong (RFC 4271, 6.1). Nothing after it can be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, SessionReset> {
        // Every octet of the marker counts at once: who speaks another protocol is told now, not
        // when 19 octets have come.
        if self.buffer.iter().take(MARKER_LEN).any(|octet| *octet != 0xff) {
            return Err(SessionReset::new(1, 1, vec![], "the marker is not all ones"));
        }
        let Some(&[high, low, number]) = self.buffer.get(MARKER_LEN..HEADER_LEN) else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let bad_length = || {
            let detail = format!("a message of type {number} cannot have {length} octets");
            SessionReset::new(1, 2, vec![high, low], detail)
        };
        if !(HEADER_LEN..=self.most).contains(&length) {
            return Err(bad_length());
        }
        let Some((kind, lengths)) = MessageType::from_number(number, self.most) else {
            let detail = format!("there is no message type {number}");
            return Err(SessionReset::new(1, 3, vec![number], detail));
        };
        if !lengths.contains(&length) {
            return Err(bad_length());
        }
        if self.buffer.len() < length {
            return Ok(None);
        }
        let mut message = self.buffer.split_to(length);
        message.advance(HEADER_LEN);
        Ok(Some(Frame { kind, body: message.freeze() }))
    }
}
