//! The tunnel device: what must change on it.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::LinkUnspec;
use warren_types::pool::{self, Pool};

use crate::desired::{Device, TunnelDevice};
use crate::netlink::Request;
use crate::netlink::requests::{self, NEW};

/// One thing to change on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Its MTU, in bytes.
    Mtu(u32),
    /// An address is missing.
    Add(IpNetwork),
    /// An address should not be there.
    Remove(IpNetwork),
    /// It is down.
    Up,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mtu(mtu) => write!(f, "MTU set to {mtu}"),
            Self::Add(address) => write!(f, "address {address} added"),
            Self::Remove(address) => write!(f, "address {address} removed"),
            Self::Up => write!(f, "set up"),
        }
    }
}

/// What must change so that `device` is as `wanted`, in the order in which it is to be done.
///
/// Addresses that others put there stay: people use the device for their own purposes too. Only
/// what lies inside the pools goes, because a node's former tunnel address can be another node's by
/// now.
pub(super) fn changes(wanted: &TunnelDevice, device: &Device, pools: &[Pool]) -> Vec<Change> {
    let mut changes = Vec::new();
    changes.extend(wanted.mtu.filter(|mtu| *mtu != device.mtu).map(Change::Mtu));
    if let Some(address) = wanted.address {
        let own = IpNetwork::from(IpAddr::V4(address));
        if !device.addresses.contains(&own) {
            changes.push(Change::Add(own));
        }
        let strange = device.addresses.iter().filter(|address| **address != own);
        let ours_once = strange.filter(|a| pool::holding(pools, &a.ip().into()).is_some());
        changes.extend(ours_once.copied().map(Change::Remove));
    }
    if !device.up {
        changes.push(Change::Up);
    }
    changes
}

/// The request that makes `change` on `device`.
pub(super) fn request(change: Change, device: &Device) -> Request {
    let Device { index, name, .. } = device;
    let link = LinkUnspec::new_with_index(*index);
    let (operation, flags, message) = match change {
        Change::Mtu(mtu) => (
            format!("set link {name} mtu {mtu}"),
            0,
            RouteNetlinkMessage::SetLink(link.mtu(mtu).build()),
        ),
        Change::Up => {
            (format!("set link {name} up"), 0, RouteNetlinkMessage::SetLink(link.up().build()))
        }
        Change::Add(address) => (
            format!("add address {address} dev {name}"),
            NEW,
            RouteNetlinkMessage::NewAddress(requests::address(address, *index)),
        ),
        Change::Remove(address) => (
            format!("delete address {address} dev {name}"),
            0,
            RouteNetlinkMessage::DelAddress(requests::address(address, *index)),
        ),
    };
    Request::new(operation, flags, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::TUNNEL;
    use warren_types::pool::Encapsulation;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    fn device(mtu: u32, up: bool, addresses: &[&str]) -> Device {
        let addresses = addresses.iter().map(|text| net(text)).collect();
        Device { index: 3, name: TUNNEL.to_owned(), mtu, up, addresses }
    }

    fn planned(wanted_mtu: Option<u32>, address: Option<&str>, device: &Device) -> Vec<Change> {
        let pool = Pool {
            cidr: net("172.16.0.0/16"),
            block_size: 26,
            encapsulation: Encapsulation::IpIp,
            nat_outgoing: false,
        };
        let address = address.map(|text| text.parse().unwrap());
        changes(&TunnelDevice { name: TUNNEL, mtu: wanted_mtu, address }, device, &[pool])
    }

    #[test]
    fn only_what_is_wrong_changes() {
        use Change::{Add, Mtu, Remove, Up};
        let own = Some("172.16.52.128");
        for (wanted_mtu, address, there, expected) in [
            (Some(1480), own, device(1480, true, &["172.16.52.128/32"]), vec![]),
            (
                Some(1480),
                own,
                device(65535, false, &[]),
                vec![Mtu(1480), Add(net("172.16.52.128/32")), Up],
            ),
            (None, None, device(1300, true, &["172.16.9.9/32"]), vec![]),
            (
                None,
                own,
                device(1300, true, &["172.16.9.9/32", "10.1.1.1/32", "172.16.52.128/32"]),
                vec![Remove(net("172.16.9.9/32"))],
            ),
            (
                None,
                own,
                device(1300, true, &["172.16.52.128/26"]),
                vec![Add(net("172.16.52.128/32")), Remove(net("172.16.52.128/26"))],
            ),
        ] {
            assert_eq!(planned(wanted_mtu, address, &there), expected, "{there:?}");
        }
    }
}
