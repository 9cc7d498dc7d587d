//! Extended communities in text (RFC 4360; RFC 5668 for AS numbers of four octets).
//!
//! A type of two octets is followed by an administrator, an AS number or an address, and by a number
//! that is the administrator's own; together they have six octets. Route targets and route origins
//! have names; what else there is, is written as the eight octets that it has.

use std::fmt;
use std::net::Ipv4Addr;

use crate::message::ExtendedCommunity;

/// The first octet of the type, by what the administrator is (IANA's registry of transitive types).
const TWO_OCTET_AS: u8 = 0x00;
const ADDRESS: u8 = 0x01;
const FOUR_OCTET_AS: u8 = 0x02;

/// The second octet of the type, by its name: a route target, or a route origin (RFC 4360, 4 and 5).
const KINDS: [(&str, u8); 2] = [("rt", 0x02), ("ro", 0x03)];

/// Reads `rt:64512:100`, `ro:192.0.2.1:5`, `rt:4200000000:7` or `0x` and sixteen hexadecimal digits.
pub(super) fn parse(text: &str) -> Option<ExtendedCommunity> {
    if let Some(digits) = text.strip_prefix("0x") {
        let is_whole = digits.len() == 16 && digits.bytes().all(|c| c.is_ascii_hexdigit());
        let value = is_whole.then(|| u64::from_str_radix(digits, 16).ok())?;
        return value.map(ExtendedCommunity);
    }
    let (name, value) = text.split_once(':')?;
    let (_, kind) = KINDS.iter().find(|(known, _)| *known == name)?;
    let (administrator, number) = value.split_once(':')?;
    let number = decimal(number)?;
    let short = || u16::try_from(number).ok().map(u64::from);
    let (form, value) = if let Ok(address) = administrator.parse::<Ipv4Addr>() {
        (ADDRESS, u64::from(address.to_bits()) << 16 | short()?)
    } else {
        let asn = decimal(administrator)?;
        match u16::try_from(asn) {
            Ok(asn) => (TWO_OCTET_AS, u64::from(asn) << 32 | u64::from(number)),
            Err(_) => (FOUR_OCTET_AS, u64::from(asn) << 16 | short()?),
        }
    };
    Some(ExtendedCommunity(u64::from(form) << 56 | u64::from(*kind) << 48 | value))
}

/// The standard library would take "+7".
pub(super) fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [form, kind, a, b, c, d, e, g] = self.0.to_be_bytes();
        let long = u32::from_be_bytes([a, b, c, d]);
        let short = u16::from_be_bytes([e, g]);
        let name = KINDS.iter().find(|(_, known)| *known == kind).map(|(name, _)| name);
        match (form, name) {
            (TWO_OCTET_AS, Some(name)) => {
                let asn = u16::from_be_bytes([a, b]);
                write!(f, "{name}:{asn}:{}", u32::from_be_bytes([c, d, e, g]))
            }
            (ADDRESS, Some(name)) => write!(f, "{name}:{}:{short}", Ipv4Addr::from_bits(long)),
            // A short number in the long form is another community than in the short one.
            (FOUR_OCTET_AS, Some(name)) if long > u16::MAX.into() => {
                write!(f, "{name}:{long}:{short}")
            }
            _ => write!(f, "{:#018x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_the_same() {
        for (text, value) in [
            ("rt:64512:100", 0x0002_fc00_0000_0064),
            ("ro:1:4294967295", 0x0003_0001_ffff_ffff),
            ("rt:192.0.2.1:65535", 0x0102_c000_0201_ffff),
            ("ro:4200000000:7", 0x0203_fa56_ea00_0007),
            // An AS number of two octets in the room of four; an opaque one that is not transitive.
            ("0x0202000000010007", 0x0202_0000_0001_0007),
            ("0x4300000000000002", 0x4300_0000_0000_0002),
        ] {
            assert_eq!(parse(text), Some(ExtendedCommunity(value)), "{text}");
            assert_eq!(ExtendedCommunity(value).to_string(), text);
        }
        assert_eq!(parse("0x0002FC0000000064"), parse("rt:64512:100"));
    }

    #[test]
    fn what_does_not_fit_into_eight_octets_is_refused() {
        for text in [
            "rt:64512",
            "rt:64512:100:1",
            "rt:64512:4294967296",
            "rt:65536:65536",
            "ro:192.0.2.1:65536",
            "rt:+1:2",
            "rt::2",
            "soo:1:2",
            "0x0002fc000000064",
            "0x+002fc0000000064",
            "0x",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
