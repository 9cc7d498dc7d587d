//! The netlink messages of this module, and what is read from the answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

use ipnetwork::{IpNetwork, Ipv6Network};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth,
    LinkAttribute, LinkFlags, LinkMessage,
};
use netlink_packet_route::neighbour_table::{
    NeighbourTableAttribute, NeighbourTableMessage, NeighbourTableParameter,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::{GATEWAY, GATEWAY6, HOST_MAC, PodInterface, host_sysctl};
use crate::namespace::Namespace;
use crate::netlink::requests::{self, NEW};
use crate::netlink::{Error, Request, Socket};

/// The index of `lo` in every network namespace (LOOPBACK_IFINDEX in the kernel).
const LOOPBACK: u32 = 1;

/// Where the operation of an error took place, if not on the node.
const IN_POD: &str = "in the pod's namespace";

/// The pair, each end in its final namespace, for the socket of the pod's. Neither end is up.
pub(super) fn add_pair(
    pod: &PodInterface,
    index: u32,
    namespace: &Namespace,
    home: &Namespace,
) -> Request {
    let peer = LinkUnspec::new_with_name(&pod.host_name)
        .mtu(pod.mtu)
        .address(HOST_MAC.to_vec())
        .setns_by_fd(home.as_fd().as_raw_fd());
    let mut link = LinkVeth::new(&pod.pod_name, &pod.host_name).index(index).mtu(pod.mtu);
    if let Some(mac) = pod.pod_mac {
        link = link.address(mac.to_vec());
    }
    // The builder's own peer has a name and nothing else.
    let peer = one_queue(peer).build();
    let link = one_queue(link).set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
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

/// Of a veth that nobody says it of, the kernel makes a pair of queues per processor, and turns off
/// all but one again, which takes it an RCU grace period for each end.
fn one_queue<T: Default>(link: LinkMessageBuilder<T>) -> LinkMessageBuilder<T> {
    link.append_extra_attribute(LinkAttribute::NumTxQueues(1))
        .append_extra_attribute(LinkAttribute::NumRxQueues(1))
}

/// The pod's routes and addresses, each address after the routes that it answers by.
pub(super) fn add_pod_routes(pod: &PodInterface, index: u32) -> Vec<Request> {
    let name = pod.pod_name.as_str();
    let mut asked = Vec::new();
    if pod.has_ipv4() {
        asked.push(add_gateway_route(pod, index));
        asked.push(add_default_route(pod, GATEWAY.into(), index));
    }
    if pod.has_ipv6() {
        // The next hop is link-local: no route to it is needed.
        asked.push(add_default_route(pod, GATEWAY6.into(), index));
    }
    let place = format!("dev {name} {IN_POD}");
    asked.extend(pod.addresses.iter().map(|&to| add_address(to.into(), &place, index)));
    asked
}

/// Sets the pod end up.
pub(super) fn set_up_pod(pod: &PodInterface, index: u32) -> Request {
    let link = LinkUnspec::new_with_index(index).up().build();
    let operation = format!("set link {} up {IN_POD}", pod.pod_name);
    Request::new(operation, 0, RouteNetlinkMessage::SetLink(link))
}

/// Sets `lo` of the pod's namespace up.
pub(super) fn set_loopback_up() -> Request {
    let link = LinkUnspec::new_with_index(LOOPBACK).up().build();
    Request::new(format!("set link lo up {IN_POD}"), 0, RouteNetlinkMessage::SetLink(link))
}

/// All that the host end needs before the routes that lead to it.
pub(super) fn set_up_host(pod: &PodInterface, index: u32) -> Vec<Request> {
    let name = pod.host_name.as_str();
    let set = |what: String, link| Request::new(what, 0, RouteNetlinkMessage::SetLink(link));
    let specific = |family| {
        LinkUnspec::new_with_index(index)
            .append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![family]))
            .build()
    };
    // By netlink rather than by their files, which take longer each than all of this together; and
    // that of `forwarding` only tries the lock that all network configuration shares: a write that
    // finds it taken begins anew, with many pods at once again and again.
    let conf = AfSpecInet::DevConfRequest(host_sysctl::inet_conf());
    let generated = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let mut asked = vec![
        set(
            format!("set the IPv4 parameters of link {name}"),
            specific(AfSpecUnspec::Inet(vec![conf])),
        ),
        // The only link-local address of the host end is the pod's next hop, if it has IPv6.
        set(
            format!("set link {name} addrgenmode none"),
            specific(AfSpecUnspec::Inet6(vec![generated])),
        ),
        set_proxy_delay(name, index),
        set(format!("set link {name} up"), LinkUnspec::new_with_index(index).up().build()),
    ];
    if pod.has_ipv6() {
        asked.push(add_address(gateway6(), &format!("dev {name}"), index));
    }
    asked
}

/// The address of the pods' IPv6 next hop, which every host end has.
pub(super) fn gateway6() -> IpNetwork {
    Ipv6Network::new_checked(GATEWAY6, 64)
        .map_or(IpNetwork::from(IpAddr::from(GATEWAY6)), IpNetwork::V6)
}

/// A proxied ARP reply waits up to 0.8 s otherwise.
fn set_proxy_delay(name: &str, index: u32) -> Request {
    let mut table = NeighbourTableMessage::default();
    table.header.family = AddressFamily::Inet;
    table.attributes = vec![
        NeighbourTableAttribute::Name("arp_cache".to_owned()),
        NeighbourTableAttribute::Parms(vec![
            NeighbourTableParameter::Ifindex(index),
            NeighbourTableParameter::ProxyDelay(0),
        ]),
    ];
    let operation = format!("set the proxy delay of link {name}");
    Request::new(operation, 0, RouteNetlinkMessage::SetNeighbourTable(table))
}

/// Removes a link by its name.
pub(super) fn delete_link(name: &str) -> Request {
    let link = LinkUnspec::new_with_name(name).build();
    Request::new(format!("delete link {name}"), 0, RouteNetlinkMessage::DelLink(link))
}

/// Removes a link by its index.
pub(super) fn delete_link_number(index: u32) -> Request {
    let link = LinkUnspec::new_with_index(index).build();
    let operation = format!("delete link number {index}");
    Request::new(operation, 0, RouteNetlinkMessage::DelLink(link))
}

/// Gives a link an address. Of IPv6 it is usable at once: who has it is known, so nobody is asked
/// whether it is a duplicate.
fn add_address(subnet: IpNetwork, place: &str, index: u32) -> Request {
    let mut message = requests::address(subnet, index);
    if subnet.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    Request::new(
        format!("add address {subnet} {place}"),
        NEW,
        RouteNetlinkMessage::NewAddress(message),
    )
}

/// `<address> dev <host end> scope link` on the node.
pub(super) fn add_host_route(address: IpAddr, name: &str, index: u32) -> Request {
    let operation = format!("add route {address} dev {name} scope link");
    add_route(operation, link_route(address, index), 0)
}

/// The same, whatever other route to the address there is.
pub(super) fn replace_host_route(address: IpAddr, name: &str, index: u32) -> Request {
    let route = RouteNetlinkMessage::NewRoute(link_route(address, index));
    let operation = format!("replace route {address} dev {name} scope link");
    Request::new(operation, NLM_F_CREATE | NLM_F_REPLACE, route)
}

/// Takes it away.
pub(super) fn delete_host_route(address: IpAddr, name: &str, index: u32) -> Request {
    let route = RouteNetlinkMessage::DelRoute(link_route(address, index));
    Request::new(format!("delete route {address} dev {name} scope link"), 0, route)
}

/// `169.254.1.1 dev eth0 scope link` in the pod.
fn add_gateway_route(pod: &PodInterface, index: u32) -> Request {
    let operation = format!("add route {GATEWAY} dev {} scope link {IN_POD}", pod.pod_name);
    add_route(operation, link_route(GATEWAY.into(), index), pod.metric)
}

fn link_route(to: IpAddr, index: u32) -> RouteMessage {
    // IPv6 has no such scope.
    let scope = if to.is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
    requests::route(to.into(), None)
        .output_interface(index)
        .scope(scope)
        .protocol(RouteProtocol::Boot)
        .build()
}

/// `default via <next hop> dev eth0` in the pod.
fn add_default_route(pod: &PodInterface, via: IpAddr, index: u32) -> Request {
    let route = RouteMessageBuilder::<IpAddr>::new();
    let mut route = route.output_interface(index).protocol(RouteProtocol::Boot).build();
    route.header.address_family =
        if via.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    route.attributes.push(RouteAttribute::Gateway(via.into()));
    let operation = format!("add route default via {via} dev {} {IN_POD}", pod.pod_name);
    add_route(operation, route, pod.metric)
}

fn add_route(operation: String, mut route: RouteMessage, metric: u32) -> Request {
    if metric != 0 {
        route.attributes.push(RouteAttribute::Priority(metric));
    }
    Request::new(operation, NEW, RouteNetlinkMessage::NewRoute(route))
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

/// The addresses of a link, of the family of `like`, each with its prefix length.
pub(super) fn addresses(
    socket: &mut Socket,
    link: &Link,
    like: IpAddr,
) -> Result<Vec<(IpAddr, u8)>, Error> {
    let operation = format!("list addresses of {}", link.name);
    let found = requests::addresses(family(like), socket, operation, Some(link.index))?;
    // IPv6 names the address of an interface without a peer in one attribute only.
    let address = |message: &AddressMessage| {
        let find =
            |of: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(of);
        let local = find(|a| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None });
        local.or(find(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None }))
    };
    Ok(found
        .iter()
        .filter_map(|message| Some((address(message)?, message.header.prefix_len)))
        .collect())
}

fn family(of: IpAddr) -> AddressFamily {
    match of {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// What matters here of a route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) destination: IpAddr,
    pub(super) length: u8,
    pub(super) kind: RouteType,
    pub(super) scope: RouteScope,
    pub(super) gateway: Option<IpAddr>,
    /// The index of the interface it leads to.
    pub(super) interface: Option<u32>,
    pub(super) metric: u32,
}

impl Route {
    fn read(message: RouteMessage) -> Self {
        let any: IpAddr = match message.header.address_family {
            AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        let mut route = Self {
            destination: any,
            length: message.header.destination_prefix_length,
            kind: message.header.kind,
            scope: message.header.scope,
            gateway: None,
            interface: None,
            metric: 0,
        };
        let ip = |address| match address {
            RouteAddress::Inet(ip) => Some(IpAddr::V4(ip)),
            RouteAddress::Inet6(ip) => Some(IpAddr::V6(ip)),
            _ => None,
        };
        for attribute in message.attributes {
            match attribute {
                RouteAttribute::Destination(to) => route.destination = ip(to).unwrap_or(any),
                RouteAttribute::Gateway(via) => route.gateway = ip(via),
                RouteAttribute::Oif(index) => route.interface = Some(index),
                RouteAttribute::Priority(metric) => route.metric = metric,
                _ => {}
            }
        }
        route
    }

    /// Whether this is a route to exactly this address.
    pub(super) fn is_to(&self, address: IpAddr) -> bool {
        let all = if address.is_ipv4() { 32 } else { 128 };
        self.length == all && self.destination == address
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

/// The routes of the main table of the family of `like`, all or those that lead to one interface.
pub(super) fn routes(
    socket: &mut Socket,
    interface: Option<u32>,
    like: IpAddr,
) -> Result<Vec<Route>, Error> {
    requests::routes(family(like), socket, interface, |message| Some(Route::read(message)))
}

/// The route to exactly this address, in words. Of several, the kernel lists the one of the lowest
/// metric first, which is the one that is used and that stands in the way of ours.
pub(super) fn route_to(socket: &mut Socket, address: IpAddr) -> Result<Option<String>, Error> {
    let found = routes(socket, None, address)?;
    let Some(route) = found.into_iter().find(|route| route.is_to(address)) else {
        return Ok(None);
    };
    let link = match route.interface {
        Some(index) => find(socket, requests::show_link_number(index))?,
        None => None,
    };
    Ok(Some(route.words(link.as_ref().map(|link| link.name.as_str()))))
}
