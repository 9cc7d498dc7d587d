//! Having the kernel load its `ipip` module.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::InfoKind;
use nix::errno::Errno;
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use crate::desired::TUNNEL;
use crate::netlink::requests::{NEW, find_link, show_link};
use crate::netlink::{Error, Request, Socket};

/// Makes [`TUNNEL`] in the calling thread's network namespace. False: it was there.
///
/// A request for a link of a kind that the kernel does not know has the kernel load the module of
/// that kind, by the host's own modprobe and from the host's own files. So this takes neither a
/// modprobe nor `CAP_SYS_MODULE` here. With the module comes the device; the request then finds the
/// name taken, which is what was wanted.
///
/// # Errors
/// When the kernel has no such module ("Unknown device type").
pub fn make_tunnel() -> Result<bool, Error> {
    let mut socket = Socket::open()?;
    if find_link(&mut socket, show_link(TUNNEL))?.is_some() {
        return Ok(false);
    }
    let link = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::IpIp)
        .name(TUNNEL.to_owned())
        .build();
    let operation = format!("add link {TUNNEL} type ipip");
    match socket.request(Request::new(operation, NEW, RouteNetlinkMessage::NewLink(link))) {
        Err(error) if error.errno() != Some(Errno::EEXIST) => Err(error),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::isolated;

    /// Holds on every kernel: where ipip is, the tunnel is there afterwards; where it is not, the
    /// error says which kind of link was refused.
    #[test]
    fn the_tunnel_is_there_afterwards_or_the_kernel_has_no_ipip() {
        isolated(|| match make_tunnel() {
            Ok(_) => assert!(!make_tunnel().unwrap(), "made twice"),
            Err(error) => {
                assert_eq!(error.errno(), Some(Errno::EOPNOTSUPP), "{error}");
                assert!(error.to_string().contains("add link tunl0 type ipip"), "{error}");
            }
        });
    }
}
