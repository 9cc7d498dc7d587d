//! How the packets of a session are protected.

use std::fmt;
use std::num::NonZeroU8;

use crate::sys;

/// The secret by which segments are signed (RFC 2385).
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// A password.
    ///
    /// # Errors
    /// It is empty, or longer than the 80 octets that the kernel takes.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidPassword> {
        let text = text.into();
        match text.len() {
            1..=sys::LONGEST_KEY => Ok(Self(text)),
            length => Err(InvalidPassword(length)),
        }
    }

    pub(crate) fn octets(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// It ends up in no log.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A password that the kernel does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a password of {0} octets is not allowed: give 1 to 80")]
pub struct InvalidPassword(usize);

/// How many hops away a peer may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Distance {
    /// As far as the network carries: packets start with a TTL of 255, so that a peer that checks
    /// it takes them.
    #[default]
    Any,
    /// So many hops: what is sent gets no further.
    Within(NonZeroU8),
    /// So many hops: what has come further is dropped (RFC 5082, GTSM).
    Checked(NonZeroU8),
}

impl Distance {
    /// The TTL to send with.
    pub(crate) fn ttl(self) -> u8 {
        match self {
            Self::Any | Self::Checked(_) => u8::MAX,
            Self::Within(hops) => hops.get(),
        }
    }

    /// The smallest TTL to take: each hop but the first takes one off 255.
    pub(crate) fn least_ttl(self) -> Option<u8> {
        match self {
            Self::Any | Self::Within(_) => None,
            Self::Checked(hops) => Some(u8::MAX - (hops.get() - 1)),
        }
    }
}
