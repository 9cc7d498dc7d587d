//! What the engine is told and what it tells.

use std::net::IpAddr;
use std::time::Instant;

use crate::packet::LENGTH;
use crate::session::{Cause, Change, Timing};

/// Whether there may be routers on the way to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hops {
    /// No: RFC 5881. Nobody beyond the link can send what is taken for the peer's.
    Single,
    /// Yes: RFC 5883.
    Multi,
}

impl Hops {
    /// The UDP port that packets go to (RFC 5881, 4; RFC 5883, 5).
    pub const fn port(self) -> u16 {
        match self {
            Self::Single => 3784,
            Self::Multi => 4784,
        }
    }
}

/// Which session: there is at most one of each kind with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The peer's address.
    pub peer: IpAddr,
    /// The kind of session.
    pub hops: Hops,
}

/// A session to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Which.
    pub key: Key,
    /// This node's address to send from; by default the kernel chooses.
    pub source: Option<IpAddr>,
    /// What to ask the peer for.
    pub timing: Timing,
}

/// A datagram that arrived.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: IpAddr,
    /// By its destination port.
    pub hops: Hops,
    /// The TTL or hop limit that it arrived with.
    pub ttl: u8,
    /// The index of the interface that it came in by.
    pub interface: u32,
    /// The BFD packet.
    pub payload: &'a [u8],
}

/// What the engine wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// To send this packet.
    Send {
        /// The session.
        key: Key,
        /// The address to send from.
        source: Option<IpAddr>,
        /// The UDP payload.
        payload: [u8; LENGTH],
    },
    /// To tell whoever relies on the session.
    Changed(Event),
}

/// What whoever relies on a session is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The session.
    pub key: Key,
    /// What has become of it.
    pub change: Change,
    /// Of a session that went down, until when no fault was known: its silence began then.
    /// Whatever proves later than that that the peer can be reached is newer news.
    pub last_up: Instant,
    /// Of a session that went down, whether the peer's BFD goes on while its control plane restarts:
    /// the C bit of the last packet before.
    pub control_plane_independent: bool,
}

impl Event {
    /// Why, if the peer was reached and cannot be reached any more, as far as is known: the client
    /// has to act. A session that comes, was never Up, or was taken down by an operator of either
    /// end says nothing about the path (RFC 5882, 3.2 and 4.1).
    pub fn failure(&self) -> Option<Cause> {
        match self.change {
            Change::Down(cause) if cause.is_failure() => Some(cause),
            _ => None,
        }
    }
}
