//! OPEN (RFC 4271, 4.2; RFC 5492).

use bytes::{Buf, Bytes, BytesMut};
use rustbgpd_wire as wire;

use super::SessionReset;
use crate::message::{AddPath, Capability, Family, GracefulRestart, LongLived, Open};
use crate::role::Role;

/// Stands in the two-octet field for an AS number that needs four (RFC 6793, 9).
pub const AS_TRANS: u16 = 23456;

/// The code of the capability for a role (RFC 9234, 4.1).
pub const ROLE: u8 = 9;

/// The code of the capability for several paths to one destination (RFC 7911, 4).
const ADD_PATH: u8 = 69;

/// The code of the capability for long-lived graceful restart (RFC 9494, 3.1).
const LONG_LIVED: u8 = 71;

/// Reads an OPEN. Whether it suits this speaker is another question.
///
/// # Errors
/// Another version of BGP, or optional parameters that cannot be read (RFC 4271, 6.2).
pub fn decode(mut body: Bytes) -> Result<Open, SessionReset> {
    let length = body.len();
    let open = wire::OpenMessage::decode(&mut body, length)?;
    Ok(Open {
        as_number: open.four_byte_as(),
        hold_time: open.hold_time,
        router_id: open.bgp_identifier,
        capabilities: open.capabilities.iter().map(from_wire).collect(),
    })
}

/// Writes an OPEN.
///
/// # Errors
/// Says which capability is longer than its length field can tell.
pub fn encode(open: &Open) -> Result<Bytes, String> {
    let message = wire::Message::Open(wire::OpenMessage {
        version: 4,
        my_as: u16::try_from(open.as_number).unwrap_or(AS_TRANS),
        hold_time: open.hold_time,
        bgp_identifier: open.router_id,
        capabilities: open.capabilities.iter().map(to_wire).collect(),
    });
    wire::encode_message(&message).map(BytesMut::freeze).map_err(|error| error.to_string())
}

/// The value of a Capabilities parameter that lists these: what a NOTIFICATION says is missing
/// (RFC 5492, 5).
pub fn encode_capabilities(capabilities: &[Capability]) -> Vec<u8> {
    let mut octets = BytesMut::new();
    for capability in capabilities {
        // One that cannot be written is left out: the list is only a hint.
        let _ = to_wire(capability).encode(&mut octets);
    }
    octets.to_vec()
}

fn from_wire(capability: &wire::Capability) -> Capability {
    match capability {
        wire::Capability::MultiProtocol { afi, safi } => match family(*afi, *safi) {
            Some(family) => Capability::Multiprotocol(family),
            None => other(capability),
        },
        wire::Capability::RouteRefresh => Capability::RouteRefresh,
        wire::Capability::GracefulRestart {
            restart_state,
            notification,
            restart_time,
            families,
        } => Capability::GracefulRestart(GracefulRestart {
            restarting: *restart_state,
            notification: *notification,
            restart_time: *restart_time,
            families: families
                .iter()
                .filter_map(|it| Some((family(it.afi, it.safi)?, it.forwarding_preserved)))
                .collect(),
        }),
        wire::Capability::EnhancedRouteRefresh => Capability::EnhancedRouteRefresh,
        wire::Capability::ExtendedMessage => Capability::ExtendedMessage,
        wire::Capability::Role { role } => match Role::from_number(*role as u8) {
            Some(role) => Capability::Role(role),
            None => other(capability),
        },
        wire::Capability::FourOctetAs { asn } => Capability::FourOctetAs(*asn),
        _ => match other(capability) {
            Capability::Other { code: LONG_LIVED, value } if value.len() % 7 == 0 => {
                Capability::LongLivedGracefulRestart(long_lived(&value))
            }
            Capability::Other { code: ADD_PATH, value } => match add_path(&value) {
                Some(families) => Capability::AddPath(families),
                None => Capability::Other { code: ADD_PATH, value },
            },
            other => other,
        },
    }
}

/// The tuples of RFC 9494, 3.1, for the families that this speaker knows. The package would know of
/// none where one is of a family that it does not know.
fn long_lived(value: &[u8]) -> Vec<LongLived> {
    let tuple = |octets: &[u8]| match octets {
        [high, low, safi, flags, time @ ..] => {
            let afi = wire::Afi::from_u16(u16::from_be_bytes([*high, *low]))?;
            Some(LongLived {
                family: family(afi, wire::Safi::from_u8(*safi)?)?,
                forwarding: flags & 0x80 != 0,
                stale_time: time.iter().fold(0, |time, octet| time << 8 | u32::from(*octet)),
            })
        }
        _ => None,
    };
    value.chunks_exact(7).filter_map(tuple).collect()
}

/// The tuples of RFC 7911, 4, for the families that this speaker knows; none where the capability
/// counts as not understood. The package would know of none where one is of a family that it does not
/// know.
fn add_path(value: &[u8]) -> Option<Vec<(Family, AddPath)>> {
    let (tuples, []) = value.as_chunks::<4>() else { return None };
    let mut families = Vec::new();
    for [high, low, safi, direction] in tuples {
        let direction = AddPath::from_number(*direction)?;
        let afi = wire::Afi::from_u16(u16::from_be_bytes([*high, *low]));
        let known = afi.zip(wire::Safi::from_u8(*safi)).and_then(|(a, s)| family(a, s));
        families.extend(known.map(|family| (family, direction)));
    }
    Some(families)
}

/// A capability that this speaker does not use, its value as it stands on the wire.
fn other(capability: &wire::Capability) -> Capability {
    let mut octets = BytesMut::new();
    // What was decoded has fitted into its length field, so it does again.
    let _ = capability.encode(&mut octets);
    octets.advance(octets.len().min(2));
    Capability::Other { code: capability.code(), value: octets.to_vec() }
}

fn to_wire(capability: &Capability) -> wire::Capability {
    match capability {
        Capability::Multiprotocol(family) => {
            let (afi, safi) = afi_safi(*family);
            wire::Capability::MultiProtocol { afi, safi }
        }
        Capability::RouteRefresh => wire::Capability::RouteRefresh,
        Capability::GracefulRestart(restart) => wire::Capability::GracefulRestart {
            restart_state: restart.restarting,
            notification: restart.notification,
            restart_time: restart.restart_time,
            families: restart
                .families
                .iter()
                .map(|(family, forwarding_preserved)| {
                    let (afi, safi) = afi_safi(*family);
                    let forwarding_preserved = *forwarding_preserved;
                    wire::capability::GracefulRestartFamily { afi, safi, forwarding_preserved }
                })
                .collect(),
        },
        Capability::LongLivedGracefulRestart(families) => {
            let tuple = |it: &LongLived| {
                let (afi, safi) = afi_safi(it.family);
                let (forwarding_preserved, stale_time) = (it.forwarding, it.stale_time);
                wire::capability::LlgrFamily { afi, safi, forwarding_preserved, stale_time }
            };
            wire::Capability::LongLivedGracefulRestart(families.iter().map(tuple).collect())
        }
        Capability::EnhancedRouteRefresh => wire::Capability::EnhancedRouteRefresh,
        Capability::ExtendedMessage => wire::Capability::ExtendedMessage,
        Capability::Role(role) => {
            wire::Capability::Unknown { code: ROLE, data: Bytes::copy_from_slice(&[*role as u8]) }
        }
        Capability::AddPath(families) => {
            let tuple = |(family, direction): &(Family, AddPath)| {
                let (afi, safi) = afi_safi(*family);
                let send_receive = match direction {
                    AddPath::Receive => wire::AddPathMode::Receive,
                    AddPath::Send => wire::AddPathMode::Send,
                    AddPath::Both => wire::AddPathMode::Both,
                };
                wire::AddPathFamily { afi, safi, send_receive }
            };
            wire::Capability::AddPath(families.iter().map(tuple).collect())
        }
        Capability::FourOctetAs(asn) => wire::Capability::FourOctetAs { asn: *asn },
        Capability::Other { code, value } => {
            wire::Capability::Unknown { code: *code, data: Bytes::copy_from_slice(value) }
        }
    }
}

/// The family with these numbers, if this speaker knows it.
pub(super) fn family(afi: wire::Afi, safi: wire::Safi) -> Option<Family> {
    match (afi, safi) {
        (wire::Afi::Ipv4, wire::Safi::Unicast) => Some(Family::Ipv4Unicast),
        (wire::Afi::Ipv6, wire::Safi::Unicast) => Some(Family::Ipv6Unicast),
        _ => None,
    }
}

/// The numbers of a family.
pub(super) fn afi_safi(family: Family) -> (wire::Afi, wire::Safi) {
    match family {
        Family::Ipv4Unicast => (wire::Afi::Ipv4, wire::Safi::Unicast),
        Family::Ipv6Unicast => (wire::Afi::Ipv6, wire::Safi::Unicast),
    }
}
