//! Options of TCP sockets that no safe library offers.
#![expect(unsafe_code, reason = "setsockopt() has no safe wrapper for these options")]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use ipnetwork::IpNetwork;

/// The longest key that the kernel takes: TCP_MD5SIG_MAXKEYLEN of linux/tcp.h.
pub(crate) const LONGEST_KEY: usize = 80;

/// TCP_MD5SIG_EXT, the option with a prefix length, and the flag that says so (linux/tcp.h).
const TCP_MD5SIG_EXT: libc::c_int = 32;
const FLAG_PREFIX: u8 = 1;

/// struct tcp_md5sig of linux/tcp.h.
#[repr(C, align(8))]
struct Signature {
    /// struct sockaddr_storage.
    address: [u8; 128],
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: libc::c_int,
    key: [u8; LONGEST_KEY],
}

/// Has segments to and from `peers` signed (RFC 2385), those of connections that a listener accepts
/// included; without a key, not any longer. `is_ipv6` says what kind of socket it is.
pub(crate) fn sign(
    socket: &impl AsFd,
    is_ipv6: bool,
    peers: IpNetwork,
    key: Option<&[u8]>,
) -> io::Result<()> {
    let key = key.unwrap_or_default();
    let mut signature = Signature {
        address: [0; 128],
        flags: FLAG_PREFIX,
        prefix_length: peers.prefix(),
        key_length: key.len() as u16,
        interface: 0,
        key: [0; LONGEST_KEY],
    };
    let room = signature.key.get_mut(..key.len()).ok_or(io::ErrorKind::InvalidInput)?;
    room.copy_from_slice(key);
    // struct sockaddr_in and sockaddr_in6: family, port, for IPv6 four octets of a flow, address.
    // Linux takes an address of IPv4 in its IPv6 form with the prefix length of IPv4.
    match (peers.ip(), is_ipv6) {
        (IpAddr::V4(address), false) => {
            signature.address[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            signature.address[4..8].copy_from_slice(&address.octets());
        }
        (address, _) => {
            let address = match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            signature.address[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            signature.address[8..24].copy_from_slice(&address.octets());
        }
    }
    set(socket, libc::IPPROTO_TCP, TCP_MD5SIG_EXT, &signature)
}

/// Has packets dropped that come with a smaller TTL or hop limit (RFC 5082).
pub(crate) fn drop_below(socket: &impl AsFd, is_ipv6: bool, ttl: u8) -> io::Result<()> {
    let ttl = libc::c_int::from(ttl);
    if is_ipv6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &ttl)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &ttl)
    }
}

fn set<T>(
    socket: &impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed and so open; the kernel reads as many octets as it is told
    // there are, from a value that outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
