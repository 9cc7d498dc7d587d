//! What the RIB has to know of a session.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use crate::message::Family;
use crate::policy::{Arrival, PeerType};
use crate::role::Role;

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
    /// This node's address of the other family than the session's, if it has one: NEXT_HOP of that
    /// family's routes, which the session can carry as well (RFC 4760, 3).
    pub other_address: Option<IpAddr>,
    /// This node's AS number on the session.
    pub local_as: u32,
    /// This node's BGP identifier.
    pub local_router_id: Ipv4Addr,
    /// The cluster that this node reflects routes for, or would: its BGP identifier where nothing
    /// else is settled (RFC 4456, 7).
    pub cluster_id: Ipv4Addr,
    /// Whether an internal peer is a client, whose routes are reflected to all internal peers and
    /// who is told of theirs (RFC 4456, 6).
    pub is_client: bool,
    /// The families that routes are exchanged of.
    pub families: Vec<Family>,
    /// What this node is to an external peer, where that is settled (RFC 9234).
    pub role: Option<Role>,
    /// Whether the peer is told where a route refresh begins and ends (RFC 7313).
    pub enhanced_refresh: bool,
    /// Whether the peer can do long-lived graceful restart (RFC 9494): without, it hears of no route
    /// that is kept so.
    pub long_lived: bool,
}

impl Session {
    /// Whether the peer is internal (iBGP).
    pub fn is_internal(&self) -> bool {
        self.local_as == self.peer_as
    }

    /// Whether the peer hears only of what this node and those outside of the mesh announce: the
    /// others have told it themselves (RFC 4271, 9.2).
    pub(super) fn is_of_mesh(&self) -> bool {
        self.is_internal() && !self.is_client
    }

    pub(super) fn peer_type(&self) -> PeerType {
        if self.is_internal() { PeerType::IBgp } else { PeerType::EBgp }
    }

    pub(super) fn arrival(&self) -> Arrival {
        Arrival {
            local_as: self.local_as,
            local_addresses: [Some(self.local_address), self.other_address],
            peer: self.peer,
            peer_as: self.peer_as,
            role: self.role,
            peer_type: self.peer_type(),
            router_id: self.local_router_id,
            cluster_id: self.cluster_id,
        }
    }

    pub(super) fn carries(&self, prefix: &IpNetwork) -> bool {
        self.families.contains(&Family::of(prefix))
    }

    /// This node's address that can be NEXT_HOP of a route to `prefix`: of the same family (RFC 8950
    /// would lift this).
    pub(super) fn next_hop_for(&self, prefix: &IpNetwork) -> Option<IpAddr> {
        let addresses = [Some(self.local_address), self.other_address];
        addresses.into_iter().flatten().find(|address| address.is_ipv4() == prefix.is_ipv4())
    }
}
