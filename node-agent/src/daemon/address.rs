//! Finding out which address this node has.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// Any address outside this machine serves to ask for the default route's source; this one is
/// documentation's (RFC 5737) and nothing is sent to it.
const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The address that the kernel sends from towards `peer`, or towards the default route where there
/// is no peer: the one under which the other nodes know this one, whatever other addresses (virtual
/// ones, container bridges) the machine has besides.
///
/// # Errors
/// There is no route there.
pub fn towards(peer: Option<IpAddr>) -> io::Result<IpAddr> {
    let target = peer.unwrap_or(ANYWHERE);
    let any: SocketAddr =
        if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    // Connecting a UDP socket looks the route up and sends nothing. Port 9 is "discard".
    socket.connect((target, 9))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_loopback_is_from_loopback() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(towards(Some(loopback)).unwrap(), loopback);
    }
}
