//! The netlink messages of this module, and what is read from the answers.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::{GATEWAY, HOST_MAC, PodInterface};
use crate::namespace::Namespace;
use crate::netlink::{Error, Request, Socket};

/// The index of `lo` in every network namespace (LOOPBACK_IFINDEX in the kernel).
const LOOPBACK: u32 = 1;

const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// Where the operation of an error took place, if not on the node.
const IN_POD: &str = "in the pod's namespace";

/// The pair, each end in its final namespace.
///
/// Only the host end is created up: the kernel refuses it for the peer (ENOTCONN), which at that
/// moment has no peer of its own yet.
pub(super) fn add_pair(pod: &PodInterface, namespace: &Namespace) -> Request {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(pod.pod_name.clone()),
        LinkAttribute::Mtu(pod.mtu),
        LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd()),
    ];
    peer.attributes.extend(pod.pod_mac.map(|mac| LinkAttribute::Address(mac.to_vec())));

    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes = vec![
        LinkAttribute::IfName(pod.host_name.clone()),
        LinkAttribute::Mtu(pod.mtu),
        LinkAttribute::Address(HOST_MAC.to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    Request::new(
        format!(
            "add link {} type veth peer {} netns {}",
            pod.host_name,
            pod.pod_name,
            namespace.path().display()
        ),
        NEW,
        RouteNetlinkMessage::NewLink(link),
    )
}

/// Sets a link of the pod's namespace up.
pub(super) fn set_up(name: &str, index: u32) -> Request {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    Request::new(format!("set link {name} up {IN_POD}"), 0, RouteNetlinkMessage::SetLink(link))
}

/// Sets `lo` of the pod's namespace up.
pub(super) fn set_loopback_up() -> Request {
    set_up("lo", LOOPBACK)
}

/// Removes a link by its name.
pub(super) fn delete_link(name: &str) -> Request {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_string()));
    Request::new(format!("delete link {name}"), 0, RouteNetlinkMessage::DelLink(link))
}

/// Gives a link of the pod's namespace an address, with no subnet around it.
pub(super) fn add_address(address: IpAddr, name: &str, index: u32) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = host_length(address);
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    Request::new(
        format!("add address {address}/{} dev {name} {IN_POD}", host_length(address)),
        NEW,
        RouteNetlinkMessage::NewAddress(message),
    )
}

/// `<address> dev <host end> scope link` on the node.
pub(super) fn add_host_route(address: IpAddr, name: &str, index: u32) -> Request {
    Request::new(
        format!("add route {address} dev {name} scope link"),
        NEW,
        RouteNetlinkMessage::NewRoute(link_route(address, index)),
    )
}

/// `169.254.1.1 dev eth0 scope link` in the pod.
pub(super) fn add_gateway_route(name: &str, index: u32) -> Request {
    Request::new(
        format!("add route {GATEWAY} dev {name} scope link {IN_POD}"),
        NEW,
        RouteNetlinkMessage::NewRoute(link_route(GATEWAY.into(), index)),
    )
}

/// `default via 169.254.1.1 dev eth0` in the pod.
pub(super) fn add_default_route(name: &str, index: u32) -> Request {
    let mut route = RouteMessage::default();
    route.header = RouteHeader { scope: RouteScope::Universe, ..route_header(GATEWAY.into(), 0) };
    route.attributes =
        vec![RouteAttribute::Gateway(RouteAddress::Inet(GATEWAY)), RouteAttribute::Oif(index)];
    Request::new(
        format!("add route default via {GATEWAY} dev {name} {IN_POD}"),
        NEW,
        RouteNetlinkMessage::NewRoute(route),
    )
}

fn link_route(destination: IpAddr, index: u32) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header = route_header(destination, host_length(destination));
    route.attributes =
        vec![RouteAttribute::Destination(destination.into()), RouteAttribute::Oif(index)];
    route
}

fn route_header(destination: IpAddr, length: u8) -> RouteHeader {
    RouteHeader {
        address_family: family(destination),
        destination_prefix_length: length,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Link,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    }
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// The length of a prefix that holds one address.
fn host_length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// What matters here of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) up: bool,
    pub(super) mtu: u32,
    pub(super) mac: Vec<u8>,
    /// The index of a veth's other end, if that is in another namespace.
    pub(super) peer: Option<u32>,
}

impl Link {
    fn read(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            up: message.header.flags.contains(LinkFlags::Up),
            mtu: 0,
            mac: Vec::new(),
            peer: None,
        };
        let mut elsewhere = false;
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Address(mac) => link.mac = mac,
                LinkAttribute::Link(peer) => link.peer = Some(peer),
                LinkAttribute::LinkNetNsId(_) => elsewhere = true,
                _ => {}
            }
        }
        link.peer = link.peer.filter(|_| elsewhere);
        link
    }

    /// The link in the answer to [`show`] or [`show_index`].
    pub(super) fn in_answer(answer: Vec<RouteNetlinkMessage>) -> Option<Self> {
        answer.into_iter().find_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(Self::read(link)),
            _ => None,
        })
    }
}

/// Asks for a link by its name.
pub(super) fn show(name: &str) -> Request {
    let mut link = without_statistics();
    link.attributes.push(LinkAttribute::IfName(name.to_string()));
    Request::new(format!("show link {name}"), 0, RouteNetlinkMessage::GetLink(link))
}

/// Asks for a link by its index.
pub(super) fn show_index(index: u32) -> Request {
    let mut link = without_statistics();
    link.header.index = index;
    Request::new(format!("show link number {index}"), 0, RouteNetlinkMessage::GetLink(link))
}

fn without_statistics() -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    link
}

/// The link that is asked for, or None if there is no such link.
pub(super) fn find(socket: &mut Socket, request: Request) -> Result<Option<Link>, Error> {
    match socket.request(request) {
        Ok(answer) => Ok(Link::in_answer(answer)),
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All ends of veth pairs.
pub(super) fn veths(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    let mut filter = without_statistics();
    filter.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]));
    let found = socket.dump("list links of type veth", RouteNetlinkMessage::GetLink(filter))?;
    Ok(found
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(Link::read(link)),
            _ => None,
        })
        .collect())
}

/// The IPv4 addresses of a link, each with its prefix length.
pub(super) fn addresses(socket: &mut Socket, link: &Link) -> Result<Vec<(IpAddr, u8)>, Error> {
    let mut filter = AddressMessage::default();
    filter.header.family = AddressFamily::Inet;
    filter.header.index = link.index;
    let found = socket.dump(
        format!("list addresses of {}", link.name),
        RouteNetlinkMessage::GetAddress(filter),
    )?;
    let read = |message: AddressMessage| {
        let length = message.header.prefix_len;
        message.attributes.into_iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some((address, length)),
            _ => None,
        })
    };
    Ok(found
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(address) => read(address),
            _ => None,
        })
        .collect())
}

/// What matters here of an IPv4 route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) destination: Ipv4Addr,
    pub(super) length: u8,
    pub(super) kind: RouteType,
    pub(super) scope: RouteScope,
    pub(super) gateway: Option<Ipv4Addr>,
    /// The index of the interface it leads to.
    pub(super) interface: Option<u32>,
}

impl Route {
    fn read(message: RouteMessage) -> Self {
        let mut route = Self {
            destination: Ipv4Addr::UNSPECIFIED,
            length: message.header.destination_prefix_length,
            kind: message.header.kind,
            scope: message.header.scope,
            gateway: None,
            interface: None,
        };
        for attribute in message.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(to)) => route.destination = to,
                RouteAttribute::Gateway(RouteAddress::Inet(via)) => route.gateway = Some(via),
                RouteAttribute::Oif(index) => route.interface = Some(index),
                _ => {}
            }
        }
        route
    }

    /// Whether this is a route to exactly this address.
    pub(super) fn is_to(&self, address: IpAddr) -> bool {
        self.length == 32 && IpAddr::V4(self.destination) == address
    }

    /// The route as `ip route` writes it, as far as it goes.
    pub(super) fn words(&self, interface: Option<&str>) -> String {
        let mut words = match self.kind {
            RouteType::Unicast => self.destination.to_string(),
            kind => format!("{kind:?} {}", self.destination).to_lowercase(),
        };
        if let Some(via) = self.gateway {
            words.push_str(&format!(" via {via}"));
        }
        if let Some(name) = interface {
            words.push_str(&format!(" dev {name}"));
        }
        words
    }
}

/// The IPv4 routes of the main table, all or those that lead to one interface.
pub(super) fn routes(socket: &mut Socket, interface: Option<u32>) -> Result<Vec<Route>, Error> {
    let mut filter = RouteMessage::default();
    filter.header.address_family = AddressFamily::Inet;
    filter.header.table = RouteHeader::RT_TABLE_MAIN;
    filter.attributes.extend(interface.map(RouteAttribute::Oif));
    let found = match socket.dump("list routes", RouteNetlinkMessage::GetRoute(filter)) {
        // The main table comes into being with its first route.
        Err(error) if error.errno() == Some(Errno::ENOENT) => Vec::new(),
        found => found?,
    };
    Ok(found
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(route) => Some(Route::read(route)),
            _ => None,
        })
        .collect())
}

/// The route to exactly this address, in words. Of several, the kernel lists the one of the lowest
/// metric first, which is the one that is used and that stands in the way of ours.
pub(super) fn route_to(socket: &mut Socket, address: IpAddr) -> Result<Option<String>, Error> {
    let Some(route) = routes(socket, None)?.into_iter().find(|route| route.is_to(address)) else {
        return Ok(None);
    };
    let link = match route.interface {
        Some(index) => find(socket, show_index(index))?,
        None => None,
    };
    Ok(Some(route.words(link.as_ref().map(|link| link.name.as_str()))))
}
