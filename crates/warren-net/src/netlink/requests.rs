//! Requests that more than one module makes, by rtnetlink's builders.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use rtnetlink::{LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use super::{Error, Request, Socket};

/// What is to be added must not be there yet.
pub(crate) const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// Asks for a link by its name.
pub(crate) fn show_link(name: &str) -> Request {
    show(format!("show link {name}"), LinkUnspec::new_with_name(name))
}

/// Asks for a link by its index.
pub(crate) fn show_link_number(index: u32) -> Request {
    show(format!("show link number {index}"), LinkUnspec::new_with_index(index))
}

fn show(operation: String, link: LinkMessageBuilder<LinkUnspec>) -> Request {
    let link = link.append_extra_attribute(without_statistics()).build();
    Request::new(operation, 0, RouteNetlinkMessage::GetLink(link))
}

/// Leaves out of an answer about links what is most of it, and what nobody here reads.
pub(crate) fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

/// The links in an answer.
pub(crate) fn links(answer: Vec<RouteNetlinkMessage>) -> impl Iterator<Item = LinkMessage> {
    answer.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    })
}

/// The link that `request` shows, or None if there is no such link.
pub(crate) fn find_link(
    socket: &mut Socket,
    request: Request,
) -> Result<Option<LinkMessage>, Error> {
    match socket.request(request) {
        Ok(answer) => Ok(links(answer).next()),
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the link is set up.
pub(crate) fn is_up(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up)
}

/// An address on the link of that index.
///
/// By hand: the builder adds a broadcast address where the prefix has one, and leaves a multicast
/// address out, so that a deletion would take the link's first address instead.
pub(crate) fn address(subnet: IpNetwork, index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(subnet);
    message.header.prefix_len = subnet.prefix();
    message.header.index = index;
    message.attributes =
        vec![AddressAttribute::Local(subnet.ip()), AddressAttribute::Address(subnet.ip())];
    message
}

fn family(prefix: IpNetwork) -> AddressFamily {
    match prefix {
        IpNetwork::V4(_) => AddressFamily::Inet,
        IpNetwork::V6(_) => AddressFamily::Inet6,
    }
}

/// The addresses of one family, of all links or of one.
pub(crate) fn addresses(
    family: AddressFamily,
    socket: &mut Socket,
    operation: String,
    link: Option<u32>,
) -> Result<Vec<AddressMessage>, Error> {
    let mut filter = AddressMessage::default();
    filter.header.family = family;
    filter.header.index = link.unwrap_or_default();
    let found = socket.dump(operation, RouteNetlinkMessage::GetAddress(filter))?;
    Ok(found
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(address) => Some(address),
            _ => None,
        })
        .collect())
}

/// `to [via <via>]` in the main table: `unicast`, `scope global`, `proto static`, unless the
/// builder is told otherwise.
///
/// Both addresses by hand: the builder's ways for either family can fail, these cannot.
pub(crate) fn route(to: IpNetwork, via: Option<IpAddr>) -> RouteMessageBuilder {
    let mut route = RouteMessageBuilder::<IpAddr>::new();
    let message = route.get_mut();
    message.header.address_family = family(to);
    message.header.destination_prefix_length = to.prefix();
    message.attributes.push(RouteAttribute::Destination(to.network().into()));
    message.attributes.extend(via.map(|via| RouteAttribute::Gateway(via.into())));
    route
}

/// Of one family's routes of the main table, all or those that lead to one link, in the kernel's order,
/// what `keep` makes of them.
///
/// The filter by hand: the builder's begins with `proto static`, and would find no other.
pub(crate) fn routes<T>(
    family: AddressFamily,
    socket: &mut Socket,
    link: Option<u32>,
    mut keep: impl FnMut(RouteMessage) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let mut filter = RouteMessage::default();
    filter.header.address_family = family;
    filter.header.table = RouteHeader::RT_TABLE_MAIN;
    filter.attributes.extend(link.map(RouteAttribute::Oif));
    let keep = |message| match message {
        RouteNetlinkMessage::NewRoute(route) => keep(route),
        _ => None,
    };
    match socket.dump_as("list routes", RouteNetlinkMessage::GetRoute(filter), keep) {
        // The table comes into being with its first route.
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(Vec::new()),
        found => found,
    }
}
