//! One route, and how `ip route` writes it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

/// A route that the kernel's main table should have, without a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredRoute {
    /// Its destination.
    pub prefix: IpNetwork,
    /// What happens to a packet for it.
    pub action: Action,
    /// The number that marks whose route it is.
    pub protocol: u8,
}

/// What happens to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is dropped: the block is this node's, and no pod has the address.
    Blackhole,
    /// It goes to a node by a device. The next hop is taken as reachable there (`onlink`): through
    /// a tunnel every address is.
    Via {
        /// The next hop; through the tunnel, the destination of the outer packet.
        gateway: IpAddr,
        /// The name of the device.
        device: Arc<str>,
        /// The kernel's number for the device.
        index: u32,
    },
}

impl fmt::Display for DesiredRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, action, protocol } = self;
        let protocol = protocol_name(*protocol);
        match action {
            Action::Blackhole => write!(f, "blackhole {prefix} proto {protocol}"),
            Action::Via { gateway, device, .. } => {
                write!(f, "{prefix} via {gateway} dev {device} proto {protocol} onlink")
            }
        }
    }
}

/// The name of a route's protocol number as `ip route` shows it; the number where it has none.
pub fn protocol_name(protocol: u8) -> Cow<'static, str> {
    // From iproute2's etc/iproute2/rt_protos.
    const NAMES: &[(u8, &str)] = &[
        (1, "redirect"),
        (2, "kernel"),
        (3, "boot"),
        (4, "static"),
        (8, "gated"),
        (9, "ra"),
        (10, "mrt"),
        (11, "zebra"),
        (12, "bird"),
        (13, "dnrouted"),
        (14, "xorp"),
        (15, "ntk"),
        (16, "dhcp"),
        (18, "keepalived"),
        (42, "babel"),
        (186, "bgp"),
        (187, "isis"),
        (188, "ospf"),
        (189, "rip"),
        (192, "eigrp"),
    ];
    match NAMES.iter().find(|(number, _)| *number == protocol) {
        Some((_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(protocol.to_string()),
    }
}
