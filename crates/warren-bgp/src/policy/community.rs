//! Communities: what a route is marked with (RFC 1997, RFC 4360, RFC 8092).

use std::fmt;
use std::str::FromStr;

use super::extended;
use crate::message::{Attributes, ExtendedCommunity, LargeCommunity};

/// GRACEFUL_SHUTDOWN (RFC 8326, 5): the path will go away soon.
pub const GRACEFUL_SHUTDOWN: u32 = 0xFFFF_0000;
/// LLGR_STALE (RFC 9494, 3.2): the path is kept for long although its speaker is away, and is the last
/// resort.
pub const LLGR_STALE: u32 = 0xFFFF_0006;
/// NO_LLGR (RFC 9494, 3.3): the path is not to be kept so.
pub const NO_LLGR: u32 = 0xFFFF_0007;
/// NO_EXPORT (RFC 1997): not beyond this AS.
pub const NO_EXPORT: u32 = 0xFFFF_FF01;
/// NO_ADVERTISE (RFC 1997): to no peer.
pub const NO_ADVERTISE: u32 = 0xFFFF_FF02;
/// NO_EXPORT_SUBCONFED (RFC 1997): to no external peer.
pub const NO_EXPORT_SUBCONFED: u32 = 0xFFFF_FF03;

/// The names of the well-known communities, as IANA's registry has them.
const WELL_KNOWN: [(&str, u32); 6] = [
    ("GRACEFUL_SHUTDOWN", GRACEFUL_SHUTDOWN),
    ("LLGR_STALE", LLGR_STALE),
    ("NO_LLGR", NO_LLGR),
    ("NO_EXPORT", NO_EXPORT),
    ("NO_ADVERTISE", NO_ADVERTISE),
    ("NO_EXPORT_SUBCONFED", NO_EXPORT_SUBCONFED),
];

/// A community of any kind. In text `64512:7`, `64512:1:2`, a well-known one's name, or an extended one:
/// `rt:64512:100`, `ro:192.0.2.1:5` or its eight octets, `0x0002fc0000000064`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Community {
    /// Of COMMUNITIES (RFC 1997).
    Standard(u32),
    /// Of LARGE_COMMUNITY (RFC 8092).
    Large(LargeCommunity),
    /// Of EXTENDED_COMMUNITIES (RFC 4360).
    Extended(ExtendedCommunity),
}

impl Community {
    /// Whether a route with these attributes is marked with it.
    pub fn is_in(self, attributes: &Attributes) -> bool {
        match self {
            Self::Standard(value) => attributes.communities.contains(&value),
            Self::Large(value) => attributes.large_communities.contains(&value),
            Self::Extended(value) => attributes.extended_communities.contains(&value),
        }
    }

    /// Marks a route with it, once.
    pub fn add_to(self, attributes: &mut Attributes) {
        if self.is_in(attributes) {
            return;
        }
        match self {
            Self::Standard(value) => attributes.communities.push(value),
            Self::Large(value) => attributes.large_communities.push(value),
            Self::Extended(value) => attributes.extended_communities.push(value),
        }
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Standard(value) => match WELL_KNOWN.iter().find(|(_, known)| *known == value) {
                Some((name, _)) => f.write_str(name),
                None => write!(f, "{}:{}", value >> 16, value & 0xFFFF),
            },
            Self::Large(LargeCommunity(global, one, two)) => write!(f, "{global}:{one}:{two}"),
            Self::Extended(value) => value.fmt(f),
        }
    }
}

/// A text that is no community.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no community: write two numbers up to 65535 (64512:7), three up to 4294967295 \
     (64512:1:2), an extended one (rt:64512:100, ro:192.0.2.1:5, or 0x and its 16 digits), or one of \
     GRACEFUL_SHUTDOWN, LLGR_STALE, NO_LLGR, NO_EXPORT, NO_ADVERTISE and NO_EXPORT_SUBCONFED"
)]
pub struct NoCommunity(String);

impl FromStr for Community {
    type Err = NoCommunity;

    fn from_str(text: &str) -> Result<Self, NoCommunity> {
        if let Some((_, value)) = WELL_KNOWN.iter().find(|(name, _)| *name == text) {
            return Ok(Self::Standard(*value));
        }
        if let Some(value) = extended::parse(text) {
            return Ok(Self::Extended(value));
        }
        let wrong = || NoCommunity(text.to_owned());
        let parts: Vec<u32> =
            text.split(':').map(extended::decimal).collect::<Option<_>>().ok_or_else(wrong)?;
        match *parts.as_slice() {
            [high @ 0..=0xFFFF, low @ 0..=0xFFFF] => Ok(Self::Standard(high << 16 | low)),
            [global, one, two] => Ok(Self::Large(LargeCommunity(global, one, two))),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_are_read_and_written_the_same() {
        for (text, value) in [
            ("64512:7", Community::Standard(64512 << 16 | 7)),
            ("0:0", Community::Standard(0)),
            ("NO_EXPORT", Community::Standard(NO_EXPORT)),
            ("GRACEFUL_SHUTDOWN", Community::Standard(0xFFFF_0000)),
            ("LLGR_STALE", Community::Standard(65535 << 16 | 6)),
            ("NO_LLGR", Community::Standard(65535 << 16 | 7)),
            ("4200000000:0:4294967295", Community::Large(LargeCommunity(4_200_000_000, 0, !0))),
            ("rt:64512:100", Community::Extended(ExtendedCommunity(0x0002_fc00_0000_0064))),
        ] {
            assert_eq!(text.parse(), Ok(value));
            assert_eq!(value.to_string(), text);
        }
        assert_eq!("65535:65281".parse(), Ok(Community::Standard(NO_EXPORT)));
    }

    #[test]
    fn what_is_no_community_is_refused_by_its_text() {
        for text in [
            "", "7", "65536:1", "1:65536", "1:2:3:4", "1:-2", "+1:2", "1::2", "no-such", "rt:1",
            "0x1",
        ] {
            let error = text.parse::<Community>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is no community")), "{error}");
        }
        assert!("1:2:4294967296".parse::<Community>().is_err());
    }

    #[test]
    fn a_route_is_marked_once() {
        let mut attributes = Attributes::via([192, 0, 2, 1].into());
        for community in ["64512:7", "64512:1:2", "rt:64512:1"].repeat(2) {
            let community: Community = community.parse().unwrap();
            community.add_to(&mut attributes);
            assert!(community.is_in(&attributes));
        }
        let Attributes { communities, large_communities, extended_communities, .. } = attributes;
        assert_eq!((communities.len(), large_communities.len()), (1, 1));
        assert_eq!(extended_communities, [ExtendedCommunity(0x0002_fc00_0000_0001)]);
    }
}
