//! Whether what leaves a node's pods can get to other nodes at all: what can be seen of that without
//! waiting.

use std::io;
use std::net::{IpAddr, UdpSocket};

use crate::netlink::{self, Socket, requests};
use crate::sysctl;

/// One thing that keeps pods from reaching other nodes, running ones too. It displays as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The node lost the address that its tunnel packets come from.
    #[error("the node does not have its address {0} any more")]
    NoAddress(IpAddr),
    /// The tunnel device is gone.
    #[error("the tunnel device {0} does not exist; its routes went with it")]
    NoTunnel(String),
    /// The tunnel device is down.
    #[error("the tunnel device {0} is down; its routes went with it")]
    TunnelDown(String),
    /// The node does not forward what comes out of the tunnel.
    #[error("the node does not forward what the tunnel brings: sysctl {0} is 0")]
    NoForwarding(String),
}

/// What stands between the pods of the node with this address, in the calling thread's namespace,
/// and other nodes. Empty: nothing that can be seen from here.
///
/// # Errors
/// When the kernel does not tell.
pub fn obstacles(address: IpAddr, tunnel: Option<&str>) -> Result<Vec<Obstacle>, netlink::Error> {
    let mut found = Vec::new();
    // The kernel lets a socket have no address that is not the node's.
    let bound = UdpSocket::bind((address, 0));
    if matches!(&bound, Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable) {
        found.push(Obstacle::NoAddress(address));
    }
    let Some(name) = tunnel else { return Ok(found) };
    let link = requests::find_link(&mut Socket::open()?, requests::show_link(name))?;
    match link {
        None => found.push(Obstacle::NoTunnel(name.to_owned())),
        Some(link) if !requests::is_up(&link) => found.push(Obstacle::TunnelDown(name.to_owned())),
        Some(_) => {
            let key = format!("net/ipv4/conf/{name}/forwarding");
            if sysctl::read(&key).is_ok_and(|value| value == "0") {
                found.push(Obstacle::NoForwarding(key));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::testing::{ip, isolated};

    fn sentences() -> Vec<String> {
        let found = obstacles("192.0.2.1".parse().unwrap(), Some("tunnel")).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_thing_that_cuts_pods_off_is_named_and_nothing_else() {
        isolated(|| {
            ip("link set lo up");
            assert_eq!(obstacles("127.0.0.1".parse().unwrap(), None).unwrap(), []);
            assert_eq!(
                sentences(),
                [
                    "the node does not have its address 192.0.2.1 any more",
                    "the tunnel device tunnel does not exist; its routes went with it",
                ]
            );
            ip("address add 192.0.2.1/32 dev lo");
            ip("link add tunnel type veth peer name other");
            assert_eq!(sentences(), ["the tunnel device tunnel is down; its routes went with it"]);
            ip("link set tunnel up");
            sysctl::write("net/ipv4/conf/tunnel/forwarding", "0").unwrap();
            assert_eq!(
                sentences(),
                ["the node does not forward what the tunnel brings: sysctl \
                  net/ipv4/conf/tunnel/forwarding is 0"]
            );
            sysctl::write("net/ipv4/conf/tunnel/forwarding", "1").unwrap();
            assert_eq!(sentences(), [""; 0]);
        });
    }
}
