//! Whether attributes that could be read make sense together (RFC 4271, 6.3).

use std::net::{IpAddr, Ipv4Addr};

use rustbgpd_wire::attribute::{AsPathSegment, PathAttribute};

use super::UpdateContext;
use super::attributes::NEXT_HOP;
use super::decode::Reach;
use crate::codec::{Consequence, Malformed, SessionReset};

const OPTIONAL: u8 = 0x80;

/// What is wrong with the attributes. Everything here means that the routes count as withdrawn:
/// the prefixes themselves were read well (RFC 7606, 3).
pub(super) fn validate(
    attrs: &[PathAttribute],
    reaches: &[Reach],
    context: &UpdateContext,
) -> Vec<Malformed> {
    let mut faults = Vec::new();
    for attribute in attrs {
        match attribute {
            // A well-known attribute that nobody knows.
            PathAttribute::Unknown(raw) if raw.flags & OPTIONAL == 0 => {
                let mut data = vec![raw.flags, raw.type_code];
                match u8::try_from(raw.data.len()) {
                    Ok(length) if raw.flags & 0x10 == 0 => data.push(length),
                    _ => data.extend((raw.data.len() as u16).to_be_bytes()),
                }
                data.extend(&raw.data);
                let detail = format!("attribute {} claims to be well-known", raw.type_code);
                faults.push((raw.type_code, SessionReset::new(3, 2, data, detail)));
            }
            // RFC 7606, 7.2.
            PathAttribute::AsPath(path) if path.segments.iter().any(is_empty) => {
                let error = SessionReset::new(3, 11, vec![], "an AS_PATH segment is empty");
                faults.push((attribute.type_code(), error));
            }
            _ => {}
        }
    }
    // Mandatory only where something is announced.
    if !reaches.is_empty() {
        let there = |code: u8| attrs.iter().any(|attribute| attribute.type_code() == code);
        let mut missing: Vec<(u8, &str)> = vec![(1, "ORIGIN"), (2, "AS_PATH")];
        if context.internal {
            missing.push((5, "LOCAL_PREF")); // RFC 4271, 5.1.5
        }
        missing.retain(|(code, _)| !there(*code));
        if reaches.iter().any(|reach| reach.next_hop.is_none()) {
            missing.push((NEXT_HOP, "NEXT_HOP"));
        }
        faults.extend(missing.into_iter().map(|(code, name)| {
            (code, SessionReset::new(3, 3, vec![code], format!("{name} is missing")))
        }));
    }
    for reach in reaches {
        let Some(next_hop) = reach.next_hop else { continue };
        if !is_host(next_hop, context) {
            let data = match next_hop {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let detail = format!("NEXT_HOP {next_hop} is not the address of a host");
            faults.push((reach.attribute, SessionReset::new(3, 8, data, detail)));
        }
    }
    faults
        .into_iter()
        .map(|(attribute, error)| Malformed {
            attribute,
            consequence: Consequence::TreatAsWithdraw,
            error,
        })
        .collect()
}

fn is_empty(segment: &AsPathSegment) -> bool {
    match segment {
        AsPathSegment::AsSet(numbers) | AsPathSegment::AsSequence(numbers) => numbers.is_empty(),
    }
}

/// Whether `address` can be a host's (RFC 1122, 3.2.1.3). Whether it is this speaker's own is for
/// the import policy, which knows the addresses.
fn is_host(address: IpAddr, context: &UpdateContext) -> bool {
    match address {
        IpAddr::V4(address) if address.is_loopback() => context.loopback_next_hops,
        IpAddr::V4(address) => {
            // 0/8 is "this network", 224/4 multicast, 240/4 reserved with the broadcast at its end.
            (1..224).contains(&Ipv4Addr::octets(&address)[0])
        }
        IpAddr::V6(address) => {
            !(address.is_unspecified() || address.is_loopback() || address.is_multicast())
        }
    }
}
