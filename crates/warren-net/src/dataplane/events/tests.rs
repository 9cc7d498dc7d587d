use std::sync::Arc;

use foldhash::HashSet;
use ipnetwork::IpNetwork;
use netlink_packet_core::Parseable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::RouteMessage;
use warren_types::pool::{Encapsulation, Pool};

use super::*;
use crate::dataplane::diff::Write;
use crate::desired::{Action, DesiredRoute, Known, Links, Path};
use crate::testing::isolated;

const NIC: u32 = 2;
const TUNNEL_INDEX: u32 = 3;
const POD: u32 = 17;

fn net(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn device(index: u32, name: &str, mtu: u32, address: &str) -> Device {
    Device { index, name: name.to_owned(), mtu, up: true, addresses: vec![net(address)] }
}

/// A node with all in place: one path, one own block.
fn view() -> View {
    let path = Path {
        next_hop: "192.168.0.146".parse().unwrap(),
        learned_from: "192.168.0.146".parse().unwrap(),
    };
    let known = Known {
        node_address: Some("192.168.0.176".parse().unwrap()),
        nodes: [].into(),
        pools: vec![Pool {
            cidr: net("172.16.0.0/16"),
            block_size: 26,
            encapsulation: Encapsulation::IpIp,
            nat_outgoing: false,
        }],
        blocks: vec![net("172.16.52.128/26")],
        paths: [(net("172.16.103.64/26"), path)].into(),
        route_protocol: 12,
        settled: true,
    };
    let links = Links {
        tunnel: Some(device(TUNNEL_INDEX, TUNNEL, 1480, "172.16.52.128/32")),
        nic: Some(device(NIC, "enp1s0", 1500, "192.168.0.176/24")),
    };
    View { known: Arc::new(known), links }
}

fn matters(view: &View, message: &RouteNetlinkMessage) -> bool {
    !stirred_by(view, message, 0).is_nothing()
}

fn stirred_by(view: &View, message: &RouteNetlinkMessage, flags: u16) -> Stirred {
    let written = HashSet::default();
    let realm = Realm {
        protocol: view.known.route_protocol,
        settled: view.known.settled,
        pools: &view.known.pools,
        tunnel: view.links.tunnel.as_ref().map(|tunnel| tunnel.index),
        written: &written,
    };
    let judge = Judge { view, realm: &realm, rules: Rules::new(&view.known, &view.links) };
    let mut stirred = Stirred::default();
    judge.take(message, flags, &mut stirred);
    stirred
}

fn route(prefix: &str, gateway: &str, index: u32, protocol: u8) -> RouteMessage {
    let action = Action::Via { gateway: gateway.parse().unwrap(), device: Arc::from(""), index };
    let route = DesiredRoute { prefix: net(prefix), action, protocol };
    let mut octets = Vec::new();
    crate::dataplane::octets::write(&Write { route, replace: false }, &mut octets);
    RouteMessage::parse(&octets).unwrap()
}

fn link(index: u32, name: &str, mtu: u32, up: bool) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    message.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Mtu(mtu)];
    message
}

fn address(index: u32, subnet: &str) -> AddressMessage {
    let subnet = net(subnet);
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.index = index;
    message.header.prefix_len = subnet.prefix();
    message.attributes = vec![AddressAttribute::Local(subnet.ip())];
    message
}

#[test]
fn routes_matter_where_they_differ_from_what_is_desired() {
    use RouteNetlinkMessage::{DelRoute, NewRoute};
    let view = view();
    let ours = || route("172.16.103.64/26", "192.168.0.146", TUNNEL_INDEX, 12);
    let unknown = || route("172.16.9.0/26", "192.168.0.9", TUNNEL_INDEX, 12);
    let pod = || route("172.16.52.132/32", "0.0.0.0", POD, 3);
    let mut local_table = ours();
    local_table.header.table = 255;
    for (what, message, expected) in [
        ("our own write", NewRoute(ours()), false),
        ("ours deleted", DelRoute(ours()), true),
        (
            "ours with another next hop",
            NewRoute(route("172.16.103.64/26", "192.168.0.9", TUNNEL_INDEX, 12)),
            true,
        ),
        (
            "another's in our place",
            NewRoute(route("172.16.103.64/26", "192.168.0.146", TUNNEL_INDEX, 4)),
            true,
        ),
        (
            "another's in our place goes",
            DelRoute(route("172.16.103.64/26", "192.168.0.1", NIC, 4)),
            true,
        ),
        ("one of ours that should not be", NewRoute(unknown()), true),
        ("one of ours that should not be goes", DelRoute(unknown()), true),
        ("a pod comes", NewRoute(pod()), false),
        ("a pod goes", DelRoute(pod()), false),
        ("a BIRD's own", NewRoute(route("10.0.0.0/8", "192.168.0.1", NIC, 12)), false),
        ("another table's", DelRoute(local_table), false),
    ] {
        assert_eq!(matters(&view, &message), expected, "{what}");
    }
    let mut starting = view;
    Arc::make_mut(&mut starting.known).settled = false;
    assert!(matters(&starting, &NewRoute(unknown())), "it is to be swept later");
}

#[test]
fn of_what_is_put_in_the_place_of_ours_only_one_of_ours_is_mended_by_itself() {
    let view = view();
    let bent = || route("172.16.103.64/26", "192.168.0.9", TUNNEL_INDEX, 12);
    let others = || route("172.16.103.64/26", "192.168.0.9", TUNNEL_INDEX, 4);
    let unknown = || route("172.16.9.0/26", "192.168.0.9", TUNNEL_INDEX, 12);
    let stirred =
        |message, flags| stirred_by(&view, &RouteNetlinkMessage::NewRoute(message), flags);
    let only = Stirred { bent: [net("172.16.103.64/26")].into(), ..Stirred::default() };
    assert_eq!(stirred(bent(), NLM_F_REPLACE), only);
    assert_eq!(stirred(bent(), 0), Stirred::everything(), "it stands beside ours");
    assert_eq!(stirred(others(), NLM_F_REPLACE), Stirred::everything());
    assert_eq!(stirred(unknown(), NLM_F_REPLACE), Stirred::everything());
}

#[test]
fn links_and_addresses_matter_where_they_differ_from_what_was_seen() {
    use RouteNetlinkMessage::{DelAddress, DelLink, NewAddress, NewLink};
    let view = view();
    for (what, message, expected) in [
        ("tunl0 as it was", NewLink(link(TUNNEL_INDEX, TUNNEL, 1480, true)), false),
        ("tunl0 down", NewLink(link(TUNNEL_INDEX, TUNNEL, 1480, false)), true),
        ("tunl0 renamed", NewLink(link(TUNNEL_INDEX, "gone", 1480, true)), true),
        ("tunl0 deleted", DelLink(link(TUNNEL_INDEX, TUNNEL, 1480, true)), true),
        ("another tunl0", NewLink(link(9, TUNNEL, 1480, true)), true),
        ("the card's MTU", NewLink(link(NIC, "enp1s0", 9000, true)), true),
        ("a pod's link", NewLink(link(POD, "calib472a44443d", 1480, true)), false),
        ("a pod's link goes", DelLink(link(POD, "calib472a44443d", 1480, true)), false),
        ("our own address of tunl0", NewAddress(address(TUNNEL_INDEX, "172.16.52.128/32")), false),
        ("tunl0 loses it", DelAddress(address(TUNNEL_INDEX, "172.16.52.128/32")), true),
        ("our own removal", DelAddress(address(TUNNEL_INDEX, "172.16.1.1/32")), false),
        ("the card gets one", NewAddress(address(NIC, "10.1.1.1/24")), true),
        ("the card loses its own", DelAddress(address(NIC, "192.168.0.176/24")), true),
        ("the node's moves", NewAddress(address(9, "192.168.0.176/24")), true),
        ("some other device's", NewAddress(address(9, "10.1.1.1/24")), false),
    ] {
        assert_eq!(matters(&view, &message), expected, "{what}");
    }
}

#[test]
fn what_the_dataplanes_own_socket_does_is_not_heard_and_what_another_does_is() {
    isolated(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut own = crate::netlink::Socket::open().unwrap();
        let mut other = crate::netlink::Socket::open().unwrap();
        let (view, written) = (view(), HashSet::default());
        let realm =
            Realm { protocol: 12, settled: true, pools: &[], tunnel: None, written: &written };
        let wanted = |block: &str| DesiredRoute {
            prefix: net(block),
            action: Action::Blackhole,
            protocol: 12,
        };
        let (path, block) = (wanted("172.16.103.64/26"), wanted("172.16.52.128/26"));
        let heard = runtime.block_on(async {
            let mut events = Events::open(own.port().unwrap()).unwrap();
            let add = |socket: &mut crate::netlink::Socket, route: &DesiredRoute| {
                let write = Write { route: route.clone(), replace: false };
                kernel::write(socket, &[write], |_, error| panic!("{error}")).unwrap();
            };
            let delete = |socket: &mut crate::netlink::Socket, route: &DesiredRoute| {
                kernel::delete(socket, &[route.into()], |_, error| panic!("{error}")).unwrap();
            };
            for socket in [&mut own, &mut other] {
                // Not the route that there should be: that would matter too.
                add(socket, &block);
                delete(socket, &block);
            }
            add(&mut own, &path);
            delete(&mut own, &path);
            let patience = std::time::Duration::from_secs(30);
            tokio::time::timeout(patience, events.relevant(&view, &realm)).await
        });
        let heard = heard.expect("another's deletion is heard").unwrap();
        assert_eq!(heard, Stirred { gone: [block.prefix].into(), ..Stirred::default() });
    });
}

#[test]
fn lost_events_are_a_reason_to_look() {
    isolated(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut socket = crate::netlink::Socket::open().unwrap();
        // None of these matters, and more of them than the receive buffer holds.
        let strangers = (0u32..20_000).map(|number| {
            let address = std::net::Ipv4Addr::from(0x0b00_0000 + number);
            let action = Action::Blackhole;
            let prefix = IpNetwork::new(address.into(), 32).unwrap();
            let route = DesiredRoute { prefix, action, protocol: 4 };
            Write { route, replace: false }
        });
        let strangers: Vec<Write> = strangers.collect();
        let (view, written) = (view(), HashSet::default());
        let realm =
            Realm { protocol: 12, settled: true, pools: &[], tunnel: None, written: &written };
        let looked = runtime.block_on(async {
            let mut events = Events::open(0).unwrap();
            let refused = |_: &Write, error| panic!("{error}");
            kernel::write(&mut socket, &strangers, refused).unwrap();
            let patience = std::time::Duration::from_secs(30);
            tokio::time::timeout(patience, events.relevant(&view, &realm)).await
        });
        assert_eq!(looked.expect("the loss is noticed").unwrap(), Stirred::everything());
    });
}
