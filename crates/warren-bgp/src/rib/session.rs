//! What the RIB has to know of a session.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use crate::message::Family;
use crate::policy::Arrival;

/// An Established session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The peer's address.
    pub peer: IpAddr,
    /// The peer's AS number.
    pub peer_as: u32,
    /// The peer's BGP identifier.
    pub peer_router_id: Ipv4Addr,
    /// This node's address on the session.
    pub local_address: IpAddr,
    /// This node's AS number on the session.
    pub local_as: u32,
    /// The families that routes are exchanged of.
    pub families: Vec<Family>,
}

impl Session {
    /// Whether the peer is internal (iBGP).
    pub fn is_internal(&self) -> bool {
        self.local_as == self.peer_as
    }

    pub(super) fn arrival(&self) -> Arrival {
        Arrival { local_as: self.local_as, local_address: self.local_address, peer: self.peer }
    }

    pub(super) fn carries(&self, prefix: &IpNetwork) -> bool {
        self.families.contains(&family(prefix))
    }
}

pub(super) fn family(prefix: &IpNetwork) -> Family {
    match prefix {
        IpNetwork::V4(_) => Family::Ipv4Unicast,
        IpNetwork::V6(_) => Family::Ipv6Unicast,
    }
}
