//! What the kernel tells unasked, and whether it matters.

#[cfg(test)]
mod tests;

use std::io;
use std::task::{Context, Poll};

use netlink_packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use tracing::debug;

use super::diff::Realm;
use super::kernel;
use super::pass::View;
use crate::desired::{Device, TUNNEL};
use crate::rules;

/// The multicast groups of linux/rtnetlink.h: RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
/// RTNLGRP_IPV4_ROUTE.
const GROUPS: [u32; 3] = [1, 5, 7];

/// The receive buffer asked for, in bytes: room for the events of some thousand routes. Events that
/// do not fit are lost, which the kernel tells, and then everything is looked at anew.
const RECEIVE_BUFFER: libc::c_int = 1 << 20;

/// The longest datagram of events in bytes, and more: a link with many virtual functions has the
/// longest.
const DATAGRAM: usize = 64 * 1024;

/// The kernel's events about links, addresses, routes and packet rules of this namespace.
pub(super) struct Events {
    routes: TokioSocket,
    /// None where the kernel has no netfilter.
    packet_rules: Option<TokioSocket>,
    datagram: Vec<u8>,
}

impl Events {
    /// Listens from now on. Must be called within a runtime.
    pub(super) fn open() -> io::Result<Self> {
        let routes = listen(NETLINK_ROUTE, &GROUPS)?;
        let packet_rules = listen(NETLINK_NETFILTER, &[rules::GROUP])
            .inspect_err(|error| debug!("cannot listen to events of nf_tables: {error}"))
            .ok();
        Ok(Self { routes, packet_rules, datagram: Vec::with_capacity(DATAGRAM) })
    }

    /// Waits until something happened that matters, and reads all that happened till then.
    ///
    /// Cancel safe: what has been read has been judged.
    ///
    /// # Errors
    /// When the socket fails; it is of no more use then.
    pub(super) async fn relevant(&mut self, view: &View, realm: &Realm<'_>) -> io::Result<()> {
        let Self { routes, packet_rules, datagram } = self;
        let concerns = |datagram: &[u8]| {
            messages(datagram).any(|message| match message {
                Ok(message) => relevant(&message, view, realm),
                // An event of a newer kernel than this program knows: look.
                Err(Undecoded) => true,
            })
        };
        std::future::poll_fn(|context| {
            let mut matters = heard(routes, datagram, context, concerns)?;
            if let Some(packet_rules) = packet_rules {
                matters |= heard(packet_rules, datagram, context, rules::concerns)?;
            }
            // All is read, or the runtime wants its turn: the rest is for after the pass.
            if matters { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }
}

fn listen(protocol: isize, groups: &[u32]) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(protocol)?;
    socket.socket_ref().set_rx_buf_sz(RECEIVE_BUFFER)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.socket_mut().add_membership(*group)?;
    }
    Ok(socket)
}

/// Reads all there is to read; tells whether any of it matters. The task is woken by what comes
/// later.
fn heard(
    socket: &mut TokioSocket,
    datagram: &mut Vec<u8>,
    context: &mut Context<'_>,
    concerns: impl Fn(&[u8]) -> bool,
) -> io::Result<bool> {
    let mut matters = false;
    loop {
        datagram.clear();
        match socket.poll_recv(context, datagram) {
            Poll::Ready(Ok(())) => matters |= concerns(datagram),
            Poll::Ready(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                debug!("events of the kernel were lost: looking at everything");
                matters = true;
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Ok(matters),
        }
    }
}

/// A message that cannot be decoded.
struct Undecoded;

/// The messages of a datagram; an error for one that cannot be decoded, and the rest after it.
fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<RouteNetlinkMessage, Undecoded>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Ok(buffer) = NetlinkBuffer::new_checked(&rest) else {
            rest = &[];
            return Some(Err(Undecoded));
        };
        let length = buffer.length() as usize;
        let decoded = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(match decoded.map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => Ok(message),
            _ => Err(Undecoded),
        })
    })
}

/// Whether an event says something else than what the last pass saw and wanted. So it is not with
/// the events that its own changes cause, nor with the coming and going of pods.
fn relevant(message: &RouteNetlinkMessage, view: &View, realm: &Realm<'_>) -> bool {
    let watched = || [&view.links.tunnel, &view.links.nic].into_iter().flatten();
    match message {
        RouteNetlinkMessage::NewRoute(message) => kernel::route(message).is_some_and(|there| {
            match view.desired.routes.get(&there.prefix) {
                Some(wanted) => {
                    !there.is(wanted) && (there.metric == 0 || there.protocol == realm.protocol)
                }
                None => realm.settled && realm.has(there.protocol, &there.prefix, there.index),
            }
        }),
        RouteNetlinkMessage::DelRoute(message) => kernel::route(message)
            .is_some_and(|gone| gone.metric == 0 && view.desired.routes.contains_key(&gone.prefix)),
        RouteNetlinkMessage::NewLink(message) => kernel::device(message).is_some_and(|there| {
            match watched().find(|device| device.index == there.index) {
                Some(device) => !same_link(device, &there),
                None => there.name == TUNNEL && view.desired.tunnel.is_some(),
            }
        }),
        RouteNetlinkMessage::DelLink(message) => {
            watched().any(|device| device.index == message.header.index)
        }
        RouteNetlinkMessage::NewAddress(message) => kernel::address(message).is_some_and(|there| {
            match watched().find(|device| device.index == there.index) {
                Some(device) => !device.addresses.contains(&there.subnet),
                None => Some(there.subnet.ip()) == view.known.node_address,
            }
        }),
        RouteNetlinkMessage::DelAddress(message) => kernel::address(message).is_some_and(|gone| {
            watched()
                .any(|device| device.index == gone.index && device.addresses.contains(&gone.subnet))
        }),
        _ => false,
    }
}

fn same_link(before: &Device, now: &Device) -> bool {
    before.name == now.name && before.mtu == now.mtu && before.up == now.up
}
