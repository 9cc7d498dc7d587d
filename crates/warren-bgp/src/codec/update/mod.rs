//! UPDATE (RFC 4271, 4.3), its errors as RFC 7606 has them.

mod attributes;
mod decode;
mod encode;
mod errors;
mod validate;

pub use decode::{Decoded, decode};
pub use encode::encode;

use crate::message::{Family, PathIds};

/// What the peers have agreed on, as far as it changes how an UPDATE is read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateContext {
    /// Whether AS numbers have four octets (RFC 6793).
    pub four_octet_as: bool,
    /// Whether the peer is internal (iBGP).
    pub internal: bool,
    /// The families whose routes are exchanged.
    pub families: Vec<Family>,
    /// Whether messages may have more than 4096 octets (RFC 8654).
    pub extended_messages: bool,
    /// The families whose prefixes have path identifiers (RFC 7911).
    pub path_ids: PathIds,
    /// Whether a NEXT_HOP in 127.0.0.0/8 is taken.
    pub loopback_next_hops: bool,
}
