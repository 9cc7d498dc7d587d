use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::*;
use crate::testing::{isolated, namespace};

const LOOPBACK: u32 = 1;

fn loopback_up() -> Request {
    let mut link = LinkMessage::default();
    link.header.index = LOOPBACK;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    Request::new("set link lo up", 0, RouteNetlinkMessage::SetLink(link))
}

fn route(number: u32, protocol: u8) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header = RouteHeader {
        address_family: AddressFamily::Inet,
        destination_prefix_length: 32,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::from(protocol),
        scope: RouteScope::Link,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    let destination = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
    route.attributes =
        vec![RouteAttribute::Destination(destination.into()), RouteAttribute::Oif(LOOPBACK)];
    route
}

fn add(number: u32) -> Request {
    Request::new(
        format!("add route number {number}"),
        NLM_F_CREATE | NLM_F_EXCL,
        RouteNetlinkMessage::NewRoute(route(number, 12)),
    )
}

/// A request for the routes of the main table that are of `protocol`.
fn routes_of(protocol: u8) -> RouteNetlinkMessage {
    let mut filter = RouteMessage::default();
    filter.header.address_family = AddressFamily::Inet;
    filter.header.table = RouteHeader::RT_TABLE_MAIN;
    filter.header.protocol = RouteProtocol::from(protocol);
    RouteNetlinkMessage::GetRoute(filter)
}

fn link_named(name: &str) -> Request {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.into()));
    Request::new(format!("show link {name}"), 0, RouteNetlinkMessage::GetLink(link))
}

#[test]
fn a_batch_of_several_sends_is_answered_request_by_request() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        let requests = std::iter::once(loopback_up()).chain((0..2000).map(add));
        let outcomes = socket.batch(requests).unwrap();
        assert_eq!(outcomes.len(), 2001);
        for outcome in outcomes {
            assert_eq!(outcome.unwrap(), []);
        }
        assert_eq!(socket.dump("list routes", routes_of(12)).unwrap().len(), 2000);
    });
}

#[test]
fn a_refusal_stands_in_its_place_and_stops_nothing() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        let outcomes = socket.batch(vec![loopback_up(), add(1), add(1), add(2)]).unwrap();
        assert_eq!(
            outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [true, true, false, true]
        );
        let error = outcomes.into_iter().nth(2).unwrap().unwrap_err();
        assert_eq!(error.errno(), Some(nix::errno::Errno::EEXIST));
        assert_eq!(error.to_string(), "cannot add route number 1: File exists");
        assert_eq!(socket.dump("list routes", routes_of(12)).unwrap().len(), 2);
    });
}

#[test]
fn a_batch_that_is_refused_throughout_loses_no_answer() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        let outcomes = socket.batch((0..2000).map(add)).unwrap();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 2000);
        assert!(socket.batch(Vec::new()).unwrap().is_empty());
        assert!(socket.request(loopback_up()).unwrap().is_empty());
    });
}

#[test]
fn the_kernels_own_words_are_part_of_the_error() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        // lo is down, so no route can lead there.
        let error = socket.request(add(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot add route number 1: Network is down (Device for nexthop is not up)"
        );
    });
}

#[test]
fn answers_belong_to_their_request() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        let outcomes =
            socket.batch(vec![link_named("lo"), link_named("absent"), link_named("lo")]).unwrap();
        let indexes: Vec<_> = outcomes
            .iter()
            .map(|outcome| match outcome.as_deref() {
                Ok([RouteNetlinkMessage::NewLink(link)]) => Some(link.header.index),
                _ => None,
            })
            .collect();
        assert_eq!(indexes, [Some(LOOPBACK), None, Some(LOOPBACK)]);
    });
}

#[test]
fn a_dump_is_filtered_by_the_kernel() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        let foreign = Request::new(
            "add a foreign route",
            NLM_F_CREATE | NLM_F_EXCL,
            RouteNetlinkMessage::NewRoute(route(2, 4)),
        );
        for outcome in socket.batch(vec![loopback_up(), add(1), foreign]).unwrap() {
            outcome.unwrap();
        }
        assert_eq!(socket.dump("list routes", routes_of(12)).unwrap().len(), 1);
        assert_eq!(socket.dump("list routes", routes_of(4)).unwrap().len(), 1);
        assert_eq!(socket.dump("list routes", routes_of(99)).unwrap().len(), 0);
    });
}

#[test]
fn a_refused_dump_is_an_error_and_the_socket_goes_on() {
    isolated(|| {
        let mut socket = Socket::open().unwrap();
        let mut filter = RouteMessage::default();
        filter.header.address_family = AddressFamily::Inet;
        filter.header.table = 99;
        let error = socket
            .dump("list routes of table 99", RouteNetlinkMessage::GetRoute(filter))
            .unwrap_err();
        assert_eq!(error.errno(), Some(nix::errno::Errno::ENOENT));
        socket.request(loopback_up()).unwrap();
    });
}

#[test]
fn a_socket_acts_in_the_namespace_it_was_opened_in() {
    isolated(|| {
        let other = namespace();
        let mut there = Socket::open_in(&other).unwrap();
        for outcome in there.batch(vec![loopback_up(), add(1)]).unwrap() {
            outcome.unwrap();
        }
        let mut here = Socket::open().unwrap();
        here.request(loopback_up()).unwrap();
        assert_eq!(there.dump("list routes", routes_of(12)).unwrap().len(), 1);
        assert_eq!(here.dump("list routes", routes_of(12)).unwrap().len(), 0);
    });
}
