//! What the kernel has, and the requests that change it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RoutePreference,
};
use nix::errno::Errno;

use super::diff::{KernelRoute, Write};
use super::octets;
use crate::desired::{Action, Device, Links, TUNNEL};
use crate::netlink::requests::{self, show_link, show_link_number};
use crate::netlink::{Error, Request, Socket};

/// The name that the kernel gives the loopback device of every namespace.
const LOOPBACK: &str = "lo";

/// An address and the number of the device that has it.
pub(super) struct Address {
    pub(super) index: u32,
    pub(super) subnet: IpNetwork,
}

/// Asks for the tunnel and for the device that holds `node_address`.
pub(super) fn links(socket: &mut Socket, node_address: Option<IpAddr>) -> Result<Links, Error> {
    let mut addresses: Vec<Address> = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let found = requests::addresses(family, socket, "list addresses".to_owned(), None)?;
        let of_family = found.iter().filter(|message| message.header.family == family);
        addresses.extend(of_family.filter_map(address));
    }
    let mut device = |request| -> Result<Option<Device>, Error> {
        Ok(link(socket, request)?.map(|mut device| {
            let own = addresses.iter().filter(|a| a.index == device.index).map(|a| a.subnet);
            // The tunnel is of IPv4 only; whatever link-local address the kernel gives it is no
            // matter of ours.
            device.addresses = own.filter(|own| device.name != TUNNEL || own.is_ipv4()).collect();
            device
        }))
    };
    let mut links = Links { tunnel: device(show_link(TUNNEL))?, nic: None };
    for holder in addresses.iter().filter(|a| Some(a.subnet.ip()) == node_address) {
        // An address can stand on two cards for a while: the one that is up counts. `lo` never
        // does: its MTU says nothing, and it leads to no other node.
        if let Some(found) = device(show_link_number(holder.index))?
            && found.name != TUNNEL
            && found.name != LOOPBACK
            && links.nic.as_ref().is_none_or(|nic| !nic.up && found.up)
        {
            links.nic = Some(found);
        }
    }
    Ok(links)
}

/// The link that `request` shows, without its addresses; none if it does not exist.
fn link(socket: &mut Socket, request: Request) -> Result<Option<Device>, Error> {
    Ok(requests::find_link(socket, request)?.as_ref().and_then(device))
}

/// The names of the devices that `routes` go through, for messages.
pub(super) fn names<'a>(
    socket: &mut Socket,
    routes: impl Iterator<Item = &'a KernelRoute>,
) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for index in routes.filter_map(|route| route.index) {
        if !names.contains_key(&index)
            && let Ok(Some(device)) = link(socket, show_link_number(index))
        {
            names.insert(index, device.name);
        }
    }
    names
}

/// A link as a message describes it, without its addresses.
pub(super) fn device(message: &LinkMessage) -> Option<Device> {
    let mut device = Device {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        addresses: Vec::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
            _ => {}
        }
    }
    (!device.name.is_empty()).then_some(device)
}

/// An address as a message describes it.
pub(super) fn address(message: &AddressMessage) -> Option<Address> {
    // On a point-to-point device `Address` is the other end and only `Local` is ours; an IPv6
    // address elsewhere has no `Local`.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let only = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    let local = local.or(only)?;
    let subnet = IpNetwork::new(local, message.header.prefix_len).ok()?;
    Some(Address { index: message.header.index, subnet })
}

/// The routes of the main table, everybody's, in the kernel's order: those of IPv4, and behind them
/// those of IPv6 where that is asked for.
///
/// The dump could be narrowed to our protocol; then another's route in the place of ours would not
/// be seen, and a replacement would overwrite it.
pub(super) fn table(socket: &mut Socket, with_ipv6: bool) -> Result<Vec<KernelRoute>, Error> {
    let mut table = requests::routes(AddressFamily::Inet, socket, None, |it| route(&it))?;
    // Where there is no IPv6 at all, the kernel would tell of IPv4 once more.
    if with_ipv6 && crate::pod::has_ipv6() {
        table.extend(requests::routes(AddressFamily::Inet6, socket, None, |it| route(&it))?);
    }
    Ok(table)
}

/// A route as a message describes it; none if it is not a route of the main table that packets for
/// other hosts take.
pub(super) fn route(message: &RouteMessage) -> Option<KernelRoute> {
    let header = &message.header;
    let mut destination = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    if header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let (mut metric, mut gateway, mut index, mut special) = (0, None, None, false);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                destination = (*address).into();
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                destination = (*address).into();
            }
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => {
                gateway = Some(IpAddr::V4(*address));
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => {
                gateway = Some(IpAddr::V6(*address));
            }
            RouteAttribute::Oif(number) => index = Some(*number),
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Table(_)
            | RouteAttribute::CacheInfo(_)
            | RouteAttribute::Preference(RoutePreference::Medium) => {}
            _ => special = true,
        }
    }
    Some(KernelRoute {
        prefix: IpNetwork::new(destination, header.destination_prefix_length).ok()?,
        protocol: header.protocol.into(),
        metric,
        tos: header.tos,
        kind: header.kind,
        gateway,
        index,
        onlink: header.flags.contains(RouteFlags::Onlink),
        special,
    })
}

/// Puts routes into the kernel; says of which it refused.
///
/// # Errors
/// When the socket fails: then it is not known which are there.
pub(super) fn write(
    socket: &mut Socket,
    writes: &[Write],
    refused: impl FnMut(&Write, Error),
) -> Result<(), Error> {
    let words = |Write { route, replace }: &Write| {
        format!("{} route {route}", if *replace { "replace" } else { "add" })
    };
    socket.bulk(writes, octets::write, words, refused)
}

/// Deletes exactly these routes; says of which the kernel refused. That there is nothing left to
/// delete is no refusal.
///
/// # Errors
/// As [`write`].
pub(super) fn delete(
    socket: &mut Socket,
    routes: &[KernelRoute],
    mut refused: impl FnMut(&KernelRoute, Error),
) -> Result<(), Error> {
    let words = |route: &KernelRoute| format!("delete route {}", route.words(&BTreeMap::new()));
    socket.bulk(routes, octets::delete, words, |route, error| {
        if !already_gone(&error) {
            refused(route, error);
        }
    })
}

/// Puts routes in the order in which the kernel takes them fastest: it keeps one record for all
/// routes with the same next hop, and searches it among all of the device's, the newest first
/// (fib_find_info in net/ipv4/fib_semantics.c, whose hash leaves the gateway out).
pub(super) fn sort(writes: &mut [Write]) {
    writes.sort_by_key(|write| match write.route.action {
        Action::Blackhole => None,
        Action::Via { gateway, .. } => Some(gateway),
    });
}

/// Whether a deletion failed only because there was nothing left to delete.
pub(super) fn already_gone(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ESRCH | Errno::ENODEV | Errno::EADDRNOTAVAIL))
}
