//! The netlink messages of this module, and what is read from the answers.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};

use ipnetwork::IpNetwork;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecUnspec, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::{GATEWAY, HOST_MAC, PodInterface, host_sysctl};
use crate::namespace::Namespace;
use crate::netlink::requests::{self, NEW};
use crate::netlink::{Error, Request, Socket};

/// The index of `lo` in every network namespace (LOOPBACK_IFINDEX in the kernel).
const LOOPBACK: u32 = 1;

/// Where the operation of an error took place, if not on the node.
const IN_POD: &str = "in the pod's namespace";

/// The pair, each end in its final namespace.
///
/// Only the host end is created up: the kernel refuses it for the peer (ENOTCONN), which at that
/// moment has no peer of its own yet.
pub(super) fn add_pair(pod: &PodInterface, namespace: &Namespace) -> Request {
    let mut peer = LinkUnspec::new_with_name(&pod.pod_name)
        .mtu(pod.mtu)
        .setns_by_fd(namespace.as_fd().as_raw_fd());
    if let Some(mac) = pod.pod_mac {
        peer = peer.address(mac.to_vec());
    }
    let link = LinkVeth::new(&pod.host_name, &pod.pod_name)
        .mtu(pod.mtu)
        .address(HOST_MAC.to_vec())
        .up()
        // The builder's own peer has a name and nothing else.
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())))
        .build();
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
    let link = LinkUnspec::new_with_index(index).up().build();
    Request::new(format!("set link {name} up {IN_POD}"), 0, RouteNetlinkMessage::SetLink(link))
}

/// Sets `lo` of the pod's namespace up.
pub(super) fn set_loopback_up() -> Request {
    set_up("lo", LOOPBACK)
}

/// Sets those of the host end's kernel parameters that netlink can set.
pub(super) fn set_host_conf(name: &str, index: u32) -> Request {
    let conf = AfSpecInet::DevConfRequest(host_sysctl::inet_conf());
    let link = LinkUnspec::new_with_index(index)
        .append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![conf])]))
        .build();
    let operation = format!("set the IPv4 parameters of link {name}");
    Request::new(operation, 0, RouteNetlinkMessage::SetLink(link))
}

/// Removes a link by its name.
pub(super) fn delete_link(name: &str) -> Request {
    let link = LinkUnspec::new_with_name(name).build();
    Request::new(format!("delete link {name}"), 0, RouteNetlinkMessage::DelLink(link))
}

/// Gives a link of the pod's namespace an address, with no subnet around it.
pub(super) fn add_address(address: IpAddr, name: &str, index: u32) -> Request {
    let subnet = IpNetwork::from(address);
    Request::new(
        format!("add address {subnet} dev {name} {IN_POD}"),
        NEW,
        RouteNetlinkMessage::NewAddress(requests::address(subnet, index)),
    )
}

/// `<address> dev <host end> scope link` on the node.
pub(super) fn add_host_route(address: IpAddr, name: &str, index: u32) -> Request {
    add_link_route(format!("add route {address} dev {name} scope link"), address, index)
}

/// `169.254.1.1 dev eth0 scope link` in the pod.
pub(super) fn add_gateway_route(name: &str, index: u32) -> Request {
    let operation = format!("add route {GATEWAY} dev {name} scope link {IN_POD}");
    add_link_route(operation, GATEWAY.into(), index)
}

fn add_link_route(operation: String, to: IpAddr, index: u32) -> Request {
    let route = requests::route(to.into(), None)
        .output_interface(index)
        .scope(RouteScope::Link)
        .protocol(RouteProtocol::Boot)
        .build();
    Request::new(operation, NEW, RouteNetlinkMessage::NewRoute(route))
}

/// `default via 169.254.1.1 dev eth0` in the pod.
pub(super) fn add_default_route(name: &str, index: u32) -> Request {
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .gateway(GATEWAY)
        .output_interface(index)
        .protocol(RouteProtocol::Boot)
        .build();
    Request::new(
        format!("add route default via {GATEWAY} dev {name} {IN_POD}"),
        NEW,
        RouteNetlinkMessage::NewRoute(route),
    )
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

    /// The link in the answer to a request that shows one.
    pub(super) fn in_answer(answer: Vec<RouteNetlinkMessage>) -> Option<Self> {
        requests::links(answer).next().map(Self::read)
    }
}

/// The link that `request` shows, or None if there is no such link.
pub(super) fn find(socket: &mut Socket, request: Request) -> Result<Option<Link>, Error> {
    Ok(requests::find_link(socket, request)?.map(Link::read))
}

/// All ends of veth pairs.
pub(super) fn veths(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    let filter = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .append_extra_attribute(requests::without_statistics())
        .build();
    let found = socket.dump("list links of type veth", RouteNetlinkMessage::GetLink(filter))?;
    Ok(requests::links(found).map(Link::read).collect())
}

/// The IPv4 addresses of a link, each with its prefix length.
pub(super) fn addresses(socket: &mut Socket, link: &Link) -> Result<Vec<(IpAddr, u8)>, Error> {
    let operation = format!("list addresses of {}", link.name);
    let found = requests::addresses(socket, operation, Some(link.index))?.into_iter();
    Ok(found
        .filter_map(|message| {
            let length = message.header.prefix_len;
            message.attributes.into_iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(address) => Some((address, length)),
                _ => None,
            })
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
    requests::routes(socket, interface, |message| Some(Route::read(message)))
}

/// The route to exactly this address, in words. Of several, the kernel lists the one of the lowest
/// metric first, which is the one that is used and that stands in the way of ours.
pub(super) fn route_to(socket: &mut Socket, address: IpAddr) -> Result<Option<String>, Error> {
    let Some(route) = routes(socket, None)?.into_iter().find(|route| route.is_to(address)) else {
        return Ok(None);
    };
    let link = match route.interface {
        Some(index) => find(socket, requests::show_link_number(index))?,
        None => None,
    };
    Ok(Some(route.words(link.as_ref().map(|link| link.name.as_str()))))
}
