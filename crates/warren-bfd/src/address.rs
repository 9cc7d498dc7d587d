//! Addresses as the kernel gives them.

use std::net::IpAddr;

use nix::sys::socket::SockaddrStorage;

/// The IP address in a socket address; none where it is of another family.
pub fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}
