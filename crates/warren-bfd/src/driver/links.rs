//! Hearing of interfaces that go down, by rtnetlink(7).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The multicast group of link changes: RTNLGRP_LINK as bind(2) wants it.
const LINK_GROUP: u32 = 1;

/// Bytes read at once. What the kernel says of one link is far shorter.
const BUFFER: usize = 32 * 1024;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// A socket that hears of every change of a link.
#[derive(Debug)]
pub(super) struct Links {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Links {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, LINK_GROUP))?;
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER) })
    }

    /// The indices of interfaces that are down, of those that changed since the last call. What the
    /// kernel could not tell for want of memory is not known: the peers there are silent, which is
    /// noticed as well, if later.
    pub(super) fn that_went_down(&mut self) -> Vec<u32> {
        let mut down = Vec::new();
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => down.extend(downs(&self.buffer)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Once reported, the loss of messages does not keep those after it away.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(_) => return down,
            }
        }
    }
}

impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The interfaces that are down according to the messages in `datagram`.
fn downs(mut datagram: &[u8]) -> Vec<u32> {
    let mut down = Vec::new();
    while let Some(header) = datagram.first_chunk::<HEADER>() {
        let [a, b, c, d, e, f, ..] = *header;
        let length = u32::from_ne_bytes([a, b, c, d]) as usize;
        let Some(body) = datagram.get(HEADER..length) else { return down };
        down.extend(down_link(u16::from_ne_bytes([e, f]), body));
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    down
}

/// The index in a message with `struct ifinfomsg`, if the link is not there or cannot carry packets.
fn down_link(kind: u16, body: &[u8]) -> Option<u32> {
    let [family, _, _, _, i, j, k, l, f, g, h, m, ..] = *body else { return None };
    // A bridge says of its former port what looks like the end of the port (AF_BRIDGE).
    if i32::from(family) != libc::AF_UNSPEC {
        return None;
    }
    let flags = u32::from_ne_bytes([f, g, h, m]);
    let wanted = (libc::IFF_UP | libc::IFF_RUNNING) as u32;
    let is_down = match kind {
        libc::RTM_NEWLINK => flags & wanted != wanted,
        libc::RTM_DELLINK => true,
        _ => false,
    };
    is_down.then(|| u32::from_ne_bytes([i, j, k, l]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, family: u8, index: u32, flags: i32) -> Vec<u8> {
        let mut octets = Vec::new();
        octets.extend(36_u32.to_ne_bytes());
        octets.extend(kind.to_ne_bytes());
        octets.extend([0; 10]);
        octets.extend([family, 0, 0, 0]);
        octets.extend(index.to_ne_bytes());
        octets.extend((flags as u32).to_ne_bytes());
        octets.extend([0; 8]);
        octets
    }

    #[test]
    fn links_that_are_gone_or_cannot_carry_packets_are_down() {
        let (up, running) = (libc::IFF_UP, libc::IFF_RUNNING);
        let datagram = [
            message(libc::RTM_NEWLINK, 0, 1, up | running),
            message(libc::RTM_NEWLINK, 0, 2, up),
            message(libc::RTM_NEWLINK, 0, 3, running),
            message(libc::RTM_DELLINK, 0, 4, up | running),
            message(libc::RTM_DELLINK, libc::AF_BRIDGE as u8, 5, up | running),
            message(libc::RTM_NEWADDR, 0, 6, 0),
        ];
        assert_eq!(downs(&datagram.concat()), [2, 3, 4]);
    }

    #[test]
    fn what_is_cut_short_says_nothing() {
        let whole = message(libc::RTM_DELLINK, 0, 7, 0);
        for length in 0..whole.len() {
            assert_eq!(downs(&whole[..length]), []);
        }
        assert_eq!(downs(&[0; 64]), []);
    }
}
