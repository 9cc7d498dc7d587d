//! The sockets that packets arrive at: one per kind of session and address family, for as long as
//! there is such a session.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::address::ip;
use crate::engine::{Datagram, Hops, Key};

/// How often an address that could not be had is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Octets of packets that the kernel keeps while the thread is held up: one takes nearly 1 KiB, so
/// this is more than a second of a thousand peers.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// More than the longest packet: its length field has one octet.
const LONGEST: usize = 256;

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    hops: Hops,
    is_ipv4: bool,
}

impl Kind {
    pub(super) fn of(key: Key) -> Self {
        Self { hops: key.hops, is_ipv4: key.peer.is_ipv4() }
    }
}

#[derive(Debug, Default)]
pub(super) struct Receivers {
    sockets: BTreeMap<Kind, Result<Socket, String>>,
    retry_at: Option<Instant>,
}

impl Receivers {
    /// Opens what is needed and missing, closes what is not needed.
    pub(super) fn keep(&mut self, kinds: &BTreeSet<Kind>, now: Instant) {
        self.sockets.retain(|kind, _| kinds.contains(kind));
        for kind in kinds {
            if !matches!(self.sockets.get(kind), Some(Ok(_))) {
                let port = kind.hops.port();
                let socket = open(*kind).map_err(|error| {
                    format!(
                        "cannot receive at UDP port {port}: {error}; \
                         see that no other BFD daemon runs here"
                    )
                });
                self.sockets.insert(*kind, socket);
            }
        }
        self.retry_at =
            self.sockets.values().any(Result::is_err).then(|| now.checked_add(RETRY)).flatten();
    }

    /// When to call [`keep`](Self::keep) again because something is missing.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Why nothing can be received for this session.
    pub(super) fn problem(&self, key: Key) -> Option<&str> {
        self.sockets.get(&Kind::of(key))?.as_ref().err().map(String::as_str)
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.values().flatten().map(AsFd::as_fd)
    }

    /// Hands over what has arrived, at most `limit` datagrams of each socket.
    pub(super) fn receive(&self, limit: usize, mut take: impl FnMut(&Datagram<'_>)) {
        for (kind, socket) in &self.sockets {
            let Ok(socket) = socket else { continue };
            for _ in 0..limit {
                match receive(socket, kind.hops, &mut take) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        }
    }
}

fn open(kind: Kind) -> io::Result<Socket> {
    let domain = if kind.is_ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // More than net.core.rmem_max takes CAP_NET_ADMIN; without it, as much as there is must do.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    let address = if kind.is_ipv4 {
        setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    socket.bind(&SocketAddr::new(address, kind.hops.port()).into())?;
    Ok(socket)
}

/// One datagram. One whose sender or TTL the kernel does not tell is dropped.
fn receive(socket: &Socket, hops: Hops, take: &mut impl FnMut(&Datagram<'_>)) -> io::Result<()> {
    let mut payload = [0; LONGEST];
    let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int, libc::in_pktinfo);
    let mut slices = [IoSliceMut::new(&mut payload)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let (length, from) = (message.bytes, message.address.and_then(|address| ip(&address)));
    let (mut ttl, mut interface) = (None, 0);
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv4Ttl(value) | ControlMessageOwned::Ipv6HopLimit(value) => {
                ttl = u8::try_from(value).ok();
            }
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                interface = u32::try_from(info.ipi_ifindex).unwrap_or(0);
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                interface = info.ipi6_ifindex;
            }
            _ => {}
        }
    }
    if let (Some(from), Some(ttl), Some(payload)) = (from, ttl, payload.get(..length)) {
        take(&Datagram { from, hops, ttl, interface, payload });
    }
    Ok(())
}
