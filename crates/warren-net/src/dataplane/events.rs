//! What the kernel tells unasked, and whether it matters.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::task::{Context, Poll};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_REPLACE, NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use socket2::{SockFilter, SockRef};
use tracing::debug;

use super::diff::{KernelRoute, Realm};
use super::kernel;
use super::pass::View;
use crate::desired::{DesiredRoute, Device, Rules, TUNNEL, Verdict, uses_tunnel};
use crate::rules;

/// The multicast groups of linux/rtnetlink.h: RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
/// RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE.
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];

/// The receive buffer asked for, in bytes: room for the events of some thousand routes. Events that
/// do not fit are lost, which the kernel tells, and then everything is looked at anew.
const RECEIVE_BUFFER: libc::c_int = 1 << 20;

/// The longest datagram of events in bytes, and more: a link with many virtual functions has the
/// longest.
const DATAGRAM: usize = 64 * 1024;

/// What happened that matters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stirred {
    /// Whether all is to be looked at.
    pub(super) everything: bool,
    /// Destinations that a route went from.
    pub(super) gone: BTreeSet<IpNetwork>,
    /// Destinations whose route somebody replaced by another one of ours, which is wrong.
    pub(super) bent: BTreeSet<IpNetwork>,
}

impl Stirred {
    /// All is to be looked at.
    pub(super) fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Whether nothing happened that matters.
    pub(super) fn is_nothing(&self) -> bool {
        !self.everything && self.gone.is_empty() && self.bent.is_empty()
    }
}

/// The kernel's events about links, addresses, routes and packet rules of this namespace.
pub(super) struct Events {
    routes: TokioSocket,
    /// None where the kernel has no netfilter.
    packet_rules: Option<TokioSocket>,
    datagram: Vec<u8>,
}

impl Events {
    /// Listens from now on to what others do: events that the socket of this port causes are left
    /// out, so that writing many routes does not bury what somebody else does meanwhile. Must be
    /// called within a runtime.
    pub(super) fn open(own_port: u32) -> io::Result<Self> {
        let routes = listen(NETLINK_ROUTE, &GROUPS, Some(own_port))?;
        let packet_rules = listen(NETLINK_NETFILTER, &[rules::GROUP], None)
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
    pub(super) async fn relevant(&mut self, view: &View, realm: &Realm<'_>) -> io::Result<Stirred> {
        let Self { routes, packet_rules, datagram } = self;
        let judge = Judge { view, realm, rules: Rules::new(&view.known, &view.links) };
        std::future::poll_fn(|context| {
            let mut stirred = Stirred::default();
            let lost = heard(routes, datagram, context, |datagram| {
                for message in messages(datagram) {
                    match message {
                        Ok((message, flags)) => judge.take(&message, flags, &mut stirred),
                        // An event of a newer kernel than this program knows: look.
                        Err(Undecoded) => stirred.everything = true,
                    }
                }
            })?;
            stirred.everything |= lost;
            if let Some(packet_rules) = packet_rules {
                let lost = heard(packet_rules, datagram, context, |datagram| {
                    stirred.everything |= rules::concerns(datagram);
                })?;
                stirred.everything |= lost;
            }
            // All is read, or the runtime wants its turn: the rest is for after the pass.
            if stirred.is_nothing() { Poll::Pending } else { Poll::Ready(Ok(stirred)) }
        })
        .await
    }
}

fn listen(protocol: isize, groups: &[u32], without: Option<u32>) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(protocol)?;
    socket.socket_ref().set_rx_buf_sz(RECEIVE_BUFFER)?;
    if let Some(port) = without {
        leave_out(&socket, port)?;
    }
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.socket_mut().add_membership(*group)?;
    }
    Ok(socket)
}

/// Has the kernel drop what the socket of this port caused, by a filter of three instructions (see
/// Documentation/networking/filter.rst): nlmsg_pid is the fourth word of a message.
fn leave_out(socket: &TokioSocket, port: u32) -> io::Result<()> {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // The filter takes words for big-endian, and netlink has the machine's own order.
    let port = u32::from_be_bytes(port.to_ne_bytes());
    let filter = [
        SockFilter::new(LOAD_WORD, 0, 0, 12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, port),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    SockRef::from(socket.socket_ref()).attach_filter(&filter)
}

/// Reads all there is to read; tells whether some of it was lost. The task is woken by what comes
/// later.
fn heard(
    socket: &mut TokioSocket,
    datagram: &mut Vec<u8>,
    context: &mut Context<'_>,
    mut take: impl FnMut(&[u8]),
) -> io::Result<bool> {
    let mut lost = false;
    loop {
        datagram.clear();
        match socket.poll_recv(context, datagram) {
            Poll::Ready(Ok(())) => take(datagram),
            Poll::Ready(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                debug!("events of the kernel were lost: looking at everything");
                lost = true;
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Ok(lost),
        }
    }
}

/// A message that cannot be decoded.
struct Undecoded;

/// The messages of a datagram with their flags; an error for one that cannot be decoded, and the rest
/// after it.
fn messages(
    datagram: &[u8],
) -> impl Iterator<Item = Result<(RouteNetlinkMessage, u16), Undecoded>> {
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
        Some(match decoded.map(|message| (message.payload, message.header.flags)) {
            Ok((NetlinkPayload::InnerMessage(message), flags)) => Ok((message, flags)),
            _ => Err(Undecoded),
        })
    })
}

/// What events are judged by: what the last pass saw and wanted.
struct Judge<'a> {
    view: &'a View,
    realm: &'a Realm<'a>,
    rules: Rules<'a>,
}

impl Judge<'_> {
    /// Takes note of an event if it says something else than what the last pass saw and wanted. So
    /// it is not with the coming and going of pods.
    fn take(&self, message: &RouteNetlinkMessage, flags: u16, stirred: &mut Stirred) {
        match message {
            RouteNetlinkMessage::DelRoute(message) => {
                // One of ours that should not be there may be one that is kept for now.
                let gone = kernel::route(message).filter(|gone| {
                    gone.is_in_the_place_of_ours() && self.wanted(gone.prefix).is_some()
                        || self.realm.has(gone.protocol, &gone.prefix, gone.index)
                });
                stirred.gone.extend(gone.map(|gone| gone.prefix));
            }
            RouteNetlinkMessage::NewRoute(message) => {
                if let Some(there) = kernel::route(message).filter(|there| self.is_wrong(there)) {
                    // Else it stands before or behind others, or is another's.
                    if flags & NLM_F_REPLACE != 0
                        && there.protocol == self.realm.protocol
                        && there.is_in_the_place_of_ours()
                        && self.wanted(there.prefix).is_some()
                    {
                        stirred.bent.insert(there.prefix);
                    } else {
                        stirred.everything = true;
                    }
                }
            }
            _ => stirred.everything |= self.differs(message),
        }
    }

    /// Whether a route that came should not be there.
    fn is_wrong(&self, there: &KernelRoute) -> bool {
        let realm = self.realm;
        match self.wanted(there.prefix) {
            Some(wanted) => {
                !there.is(&wanted)
                    && (there.is_in_the_place_of_ours() || there.protocol == realm.protocol)
            }
            None => realm.has(there.protocol, &there.prefix, there.index),
        }
    }

    /// The route that a destination should have.
    fn wanted(&self, prefix: IpNetwork) -> Option<DesiredRoute> {
        match self.rules.verdict(prefix)? {
            Verdict::Route(route) => Some(route),
            Verdict::Withheld(_) => None,
        }
    }

    fn differs(&self, message: &RouteNetlinkMessage) -> bool {
        let Self { view, .. } = self;
        let watched = || [&view.links.tunnel, &view.links.nic].into_iter().flatten();
        let watched_as = |index| watched().find(|device| device.index == index);
        match message {
            RouteNetlinkMessage::NewLink(message) => {
                kernel::device(message).is_some_and(|there| match watched_as(there.index) {
                    Some(device) => !same_link(device, &there),
                    None => there.name == TUNNEL && uses_tunnel(&view.known.pools),
                })
            }
            RouteNetlinkMessage::DelLink(message) => watched_as(message.header.index).is_some(),
            RouteNetlinkMessage::NewAddress(message) => {
                kernel::address(message).is_some_and(|there| match watched_as(there.index) {
                    Some(device) => !device.addresses.contains(&there.subnet),
                    None => Some(there.subnet.ip()) == view.known.node_address,
                })
            }
            RouteNetlinkMessage::DelAddress(message) => {
                kernel::address(message).is_some_and(|gone| {
                    watched_as(gone.index)
                        .is_some_and(|device| device.addresses.contains(&gone.subnet))
                })
            }
            _ => false,
        }
    }
}

fn same_link(before: &Device, now: &Device) -> bool {
    before.name == now.name && before.mtu == now.mtu && before.up == now.up
}
