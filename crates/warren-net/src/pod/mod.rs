//! One pod's connection to its node: a veth pair, the pod's address and its routes.
//!
//! ```text
//!  pod's namespace                              node's namespace
//!  eth0  172.16.52.132/32  <---- veth ---->  calib472a44443d  ee:ee:ee:ee:ee:ee
//!    169.254.1.1 dev eth0 scope link           answers ARP for any address (proxy_arp)
//!    default via 169.254.1.1 dev eth0          172.16.52.132 dev calib472a44443d scope link
//!
//!  and with an IPv6 address
//!  eth0  fd00:52::84/128                     calib472a44443d  fe80::ecee:eeff:feee:eeee/64
//!    default via fe80::ecee:eeff:feee:eeee     fd00:52::84 dev calib472a44443d
//! ```
//!
//! It is laid out as Calico does it, so that tools and people find what they know. What differs is
//! how it is made: both ends come into being in their final namespaces by one request, because
//! moving an interface makes the kernel wait for RCU grace periods (about 16 ms).
//!
//! As with Calico, the node needs some route to 169.254.1.1, by another interface; its default route
//! will do. The kernel answers an ARP request on behalf of others only for addresses that it could
//! forward to.
//!
//! | module | what it does |
//! | --- | --- |
//! | `create` | makes it all, or nothing |
//! | `check` | compares what is there with what [`create`] made, and names each [`Difference`] |
//! | `inventory` | all that is there of pods, and mending routes |
//! | `requests` | the netlink messages, and what is read from the answers |
//! | `host_sysctl` | the kernel parameters of the host end |
//! | `ipv6` | whether there is IPv6, and turning it on |

mod check;
mod create;
mod error;
mod host_sysctl;
mod inventory;
mod ipv6;
mod requests;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;
use warren_types::ifname;

use crate::namespace::Namespace;
use crate::netlink::{self, Request, Socket};

pub use check::{Difference, Side, check};
pub use create::create;
pub use error::PodError;
pub use inventory::{HostEnd, HostRoute, Inventory, inventory, remove_route, restore_route};
pub use ipv6::is_available as has_ipv6;

/// Every pod's next hop. No interface has this address: the host end answers ARP requests for it
/// (as for all others), so it is the same on every node and takes no address from a pool.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// Every pod's IPv6 next hop: the link-local address that follows from [`HOST_MAC`], which every host
/// end is given, whatever way the node makes its own.
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);

/// The MAC address of every host end, as Calico has it: a pod that keeps its neighbour entry for
/// [`GATEWAY`] while its host end is replaced goes on unharmed.
pub const HOST_MAC: [u8; 6] = [0xee; 6];

/// What a pod's connection should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodInterface {
    /// The host end's name: `cali` and 11 hexadecimal digits.
    pub host_name: String,
    /// The pod end's name: `eth0`, as a rule.
    pub pod_name: String,
    /// The pod's addresses, each routed to the pod by itself.
    pub addresses: Vec<IpAddr>,
    /// The MTU of both ends in bytes.
    pub mtu: u32,
    /// The pod end's MAC address. None: the kernel chooses one, and [`check`] takes any.
    pub pod_mac: Option<[u8; 6]>,
    /// The metric of the pod's routes by this interface: 0 for the pod's first one, so that it is
    /// preferred, and another for each further one.
    pub metric: u32,
}

impl PodInterface {
    fn has_ipv4(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv4)
    }

    fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv6)
    }
}

/// What [`create`] made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// The host end's MAC address.
    pub host_mac: [u8; 6],
    /// The pod end's MAC address.
    pub pod_mac: [u8; 6],
    /// The host end's index in the calling thread's namespace.
    pub host_index: u32,
    /// The pod end's index in the pod's namespace.
    pub pod_index: u32,
}

/// Removes the host end named `host_name` from the calling thread's namespace, whatever it was renamed
/// to, and with it the pod end and the routes of both. False: there is no such interface.
///
/// The pod's namespace is not needed: it may be gone, which removes the pair as well.
///
/// # Errors
/// When the kernel refuses; not when nothing is there.
pub fn delete(host_name: &str) -> Result<bool, netlink::Error> {
    let mut socket = Socket::open()?;
    if remove(&mut socket, requests::delete_link(host_name))? {
        return Ok(true);
    }
    // By the other end's number it is known under any name.
    let pod_end = Some(create::pod_index(host_name));
    let renamed = requests::veths(&mut socket)?.into_iter().find(|link| link.peer == pod_end);
    renamed.map_or(Ok(false), |link| remove(&mut socket, requests::delete_link_number(link.index)))
}

/// Removes the pair whose host end was named `host_name` by its end in the pod's namespace, whatever
/// that is called: for a host end that is not on the node any more. False: there is no such interface,
/// or the namespace cannot be entered, with whose end the pair ends.
///
/// # Errors
/// When the kernel refuses; not when nothing is there.
pub fn delete_within(namespace: &Namespace, host_name: &str) -> Result<bool, netlink::Error> {
    let Ok(socket) = namespace.within(Socket::open) else { return Ok(false) };
    remove(&mut socket?, requests::delete_link_number(create::pod_index(host_name)))
}

/// False: there is nothing to remove.
fn remove(socket: &mut Socket, request: Request) -> Result<bool, netlink::Error> {
    match socket.request(request) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The names of all host ends in the calling thread's namespace, in order.
///
/// # Errors
/// When the kernel does not tell.
pub fn host_interfaces() -> Result<Vec<String>, netlink::Error> {
    let mut names: Vec<String> = requests::veths(&mut Socket::open()?)?
        .into_iter()
        .map(|link| link.name)
        .filter(|name| name.starts_with(ifname::PREFIX))
        .collect();
    names.sort();
    Ok(names)
}
