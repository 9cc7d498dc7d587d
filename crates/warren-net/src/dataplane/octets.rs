//! Routes as the kernel reads them (linux/rtnetlink.h), octet by octet: there may be a hundred
//! thousand at once, and a builder's message costs each of them more than all the rest of a pass.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{RouteFlags, RouteHeader, RouteScope, RouteType};

use super::diff::{KernelRoute, Write};
use crate::desired::Action;
use crate::netlink::requests::NEW;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;

/// Appends what puts a route into the kernel: in one step, so that at no moment packets find no route
/// or another's. Returns the message type and flags.
pub(super) fn write(write: &Write, octets: &mut Vec<u8>) -> (u16, u16) {
    let Write { route, replace } = write;
    let mut header = Header { protocol: route.protocol, ..Header::new(&route.prefix) };
    match &route.action {
        Action::Blackhole => {
            header.kind = RouteType::BlackHole;
            header.put(octets);
        }
        Action::Via { gateway, index, .. } => {
            header.flags = RouteFlags::Onlink;
            header.put(octets);
            put_address(RTA_GATEWAY, *gateway, octets);
            put(RTA_OIF, &index.to_ne_bytes(), octets);
        }
    }
    let how = if *replace { NLM_F_CREATE | NLM_F_REPLACE } else { NEW };
    (RTM_NEWROUTE, how)
}

/// Appends what deletes exactly this route. Returns the message type and flags.
pub(super) fn delete(route: &KernelRoute, octets: &mut Vec<u8>) -> (u16, u16) {
    let header = Header {
        protocol: route.protocol,
        kind: route.kind,
        tos: route.tos,
        // Any scope; iproute2 asks so too.
        scope: RouteScope::NoWhere,
        ..Header::new(&route.prefix)
    };
    header.put(octets);
    if let Some(gateway) = route.gateway {
        put_address(RTA_GATEWAY, gateway, octets);
    }
    if route.metric != 0 {
        put(RTA_PRIORITY, &route.metric.to_ne_bytes(), octets);
    }
    if let Some(index) = route.index {
        put(RTA_OIF, &index.to_ne_bytes(), octets);
    }
    (RTM_DELROUTE, 0)
}

/// What a route of the main table begins with: struct rtmsg, and the destination.
struct Header<'a> {
    prefix: &'a IpNetwork,
    protocol: u8,
    kind: RouteType,
    tos: u8,
    scope: RouteScope,
    flags: RouteFlags,
}

impl<'a> Header<'a> {
    fn new(prefix: &'a IpNetwork) -> Self {
        let (kind, scope) = (RouteType::Unicast, RouteScope::Universe);
        Self { prefix, protocol: 0, kind, tos: 0, scope, flags: RouteFlags::empty() }
    }

    fn put(self, octets: &mut Vec<u8>) {
        let Self { prefix, protocol, kind, tos, scope, flags } = self;
        let family = if prefix.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let length = prefix.prefix();
        let table = RouteHeader::RT_TABLE_MAIN;
        octets.extend([family as u8, length, 0, tos, table, protocol, scope.into(), kind.into()]);
        octets.extend(flags.bits().to_ne_bytes());
        put_address(RTA_DST, prefix.network(), octets);
    }
}

fn put_address(attribute: u16, address: IpAddr, octets: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => put(attribute, &address.octets(), octets),
        IpAddr::V6(address) => put(attribute, &address.octets(), octets),
    }
}

/// One attribute; its value is a multiple of four octets long, and so there is no padding.
fn put(attribute: u16, value: &[u8], octets: &mut Vec<u8>) {
    octets.extend((4 + value.len() as u16).to_ne_bytes());
    octets.extend(attribute.to_ne_bytes());
    octets.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Parseable;
    use netlink_packet_route::route::RouteMessage;

    use super::*;
    use crate::desired::DesiredRoute;
    use crate::netlink::requests;

    #[test]
    fn a_builder_of_messages_says_the_same() {
        let via = |gateway: &str| {
            let gateway = gateway.parse().unwrap();
            Action::Via { gateway, device: "eth0".into(), index: 7 }
        };
        for (prefix, action) in [
            ("10.1.2.64/26", via("192.168.0.1")),
            ("10.1.2.64/26", Action::Blackhole),
            ("fd00:1::/64", via("fd00::1")),
            ("fd00:1::/64", Action::Blackhole),
        ] {
            let route = DesiredRoute { prefix: prefix.parse().unwrap(), action, protocol: 12 };
            let written = match &route.action {
                Action::Blackhole => requests::route(route.prefix, None).kind(RouteType::BlackHole),
                Action::Via { gateway, index, .. } => {
                    requests::route(route.prefix, Some(*gateway)).output_interface(*index).onlink()
                }
            };
            let there = KernelRoute::from(&route);
            let mut deleted = requests::route(route.prefix, there.gateway)
                .kind(there.kind)
                .scope(RouteScope::NoWhere);
            if there.metric != 0 {
                deleted = deleted.priority(there.metric);
            }
            if let Some(index) = there.index {
                deleted = deleted.output_interface(index);
            }
            let [written, deleted] = [written, deleted].map(|it| it.protocol(12.into()).build());
            let mut octets = Vec::new();
            write(&Write { route, replace: false }, &mut octets);
            assert_eq!(RouteMessage::parse(&octets).unwrap(), written);
            octets.clear();
            delete(&there, &mut octets);
            assert_eq!(RouteMessage::parse(&octets).unwrap(), deleted);
        }
    }
}
