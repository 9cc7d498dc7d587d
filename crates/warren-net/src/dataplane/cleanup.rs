//! Taking away what the dataplane put into the kernel, for a node that no longer has an agent.

#[cfg(test)]
mod tests;

use ipnetwork::IpNetwork;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::LinkUnspec;
use warren_types::pool;

use super::diff::KernelRoute;
use super::{kernel, tunnel};
use crate::desired::{Device, TUNNEL};
use crate::netlink::{Error, Request, Socket};

/// The MTU in bytes that the kernel gives [`TUNNEL`]: Ethernet's less the outer header.
const TUNNEL_MTU: u32 = 1480;

/// By what the routes and addresses of an agent that ran here are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The number that marked its routes.
    pub protocol: u8,
    /// Its pools and blocks.
    pub networks: Vec<IpNetwork>,
}

impl Owned {
    /// The rule of [`Realm`](super::diff::Realm), without what only the process itself knew: the
    /// protocol number, and either inside the pools or through the tunnel. A BIRD that keeps the
    /// host's own routes under the same number is left alone.
    fn route(&self, route: &KernelRoute, tunnel: Option<&Device>) -> bool {
        route.protocol == self.protocol
            && (self.network(&route.prefix)
                || tunnel.is_some_and(|tunnel| route.index == Some(tunnel.index)))
    }

    fn network(&self, network: &IpNetwork) -> bool {
        self.networks.iter().any(|own| pool::contains(own, network))
    }
}

/// One thing to take away.
#[derive(Debug)]
pub struct Removal {
    /// What it is: `route`, `address` or `link`.
    pub kind: &'static str,
    /// Which, in iproute2's words.
    pub name: String,
    what: What,
}

#[derive(Debug)]
enum What {
    Route(KernelRoute),
    Other(Request),
}

/// What there is to take away, in the order in which it is to go.
///
/// # Errors
/// When the kernel does not tell.
pub fn find(socket: &mut Socket, owned: &Owned) -> Result<Vec<Removal>, Error> {
    let links = kernel::links(socket, None)?;
    let tunnel = links.tunnel.as_ref();
    let mut routes = kernel::table(socket, true)?;
    routes.retain(|route| owned.route(route, tunnel));
    let names = kernel::names(socket, routes.iter());
    let mut removals: Vec<Removal> = routes
        .into_iter()
        .map(|route| Removal { kind: "route", name: route.words(&names), what: What::Route(route) })
        .collect();
    if let Some(tunnel) = tunnel {
        removals.extend(tunnel_as_it_was(tunnel, owned));
    }
    Ok(removals)
}

/// The tunnel device without our addresses; down, as the kernel made it, unless somebody else uses
/// it too. The device itself stays: it goes with the kernel's module only.
fn tunnel_as_it_was(device: &Device, owned: &Owned) -> Vec<Removal> {
    let (ours, others): (Vec<IpNetwork>, Vec<IpNetwork>) =
        device.addresses.iter().partition(|address| owned.network(&address.ip().into()));
    let mut removals = Vec::new();
    // Down before the address goes: should this be interrupted in between, the address tells the
    // next run that there is something left to do.
    if !ours.is_empty() && others.is_empty() {
        let link = LinkUnspec::new_with_index(device.index).down().mtu(TUNNEL_MTU).build();
        removals.push(Removal {
            kind: "link",
            name: format!("{TUNNEL} (set down, mtu {TUNNEL_MTU})"),
            what: What::Other(Request::new(
                format!("set link {TUNNEL} down mtu {TUNNEL_MTU}"),
                0,
                RouteNetlinkMessage::SetLink(link),
            )),
        });
    }
    removals.extend(ours.into_iter().map(|address| Removal {
        kind: "address",
        name: format!("{address} dev {TUNNEL}"),
        what: What::Other(tunnel::request(tunnel::Change::Remove(address), device)),
    }));
    removals
}

/// Takes `removal` away. What is gone already is no error.
///
/// # Errors
/// When the kernel refuses.
pub fn remove(socket: &mut Socket, removal: Removal) -> Result<(), Error> {
    match removal.what {
        What::Route(route) => {
            let mut outcome = Ok(());
            kernel::delete(socket, &[route], |_, error| outcome = Err(error))?;
            outcome
        }
        What::Other(request) => match socket.request(request) {
            Err(error) if !kernel::already_gone(&error) => Err(error),
            _ => Ok(()),
        },
    }
}
