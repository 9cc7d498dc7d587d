//! What goes into a [`Peer`](super::Peer) and what comes out.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::message::{Family, LongLived, PathIds, Update};
use crate::role::Role;

/// Names one TCP connection of one peer. Never used again by the same peer; an event of a
/// connection that is gone is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u32);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The states of a session (RFC 4271, 8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Stopped, or waiting after a session that failed.
    Idle,
    /// A TCP connection is being opened.
    Connect,
    /// Waiting for the peer to connect, or for the time to try again.
    Active,
    /// Connected; the peer's OPEN is awaited.
    OpenSent,
    /// Both OPENs are fine; the peer's first KEEPALIVE is awaited.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl State {
    /// The name that RFC 4271 gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Connect => "Connect",
            Self::Active => "Active",
            Self::OpenSent => "OpenSent",
            Self::OpenConfirm => "OpenConfirm",
            Self::Established => "Established",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened to a peer.
#[derive(Debug, Clone)]
pub enum Event {
    /// The peer shall be connected to from now on.
    ManualStart,
    /// The session shall end: Cease, Administrative Shutdown.
    ManualStop,
    /// The peer was removed from the configuration: Cease, Peer De-configured.
    Deconfigured,
    /// The connection that [`Action::Connect`] asked for is open.
    ConnectSucceeded(ConnectionId),
    /// It could not be opened, for this reason.
    ConnectFailed(ConnectionId, String),
    /// The peer has connected; the id is a new one of
    /// [`new_connection_id`](super::Peer::new_connection_id).
    Accepted(ConnectionId),
    /// Octets that the peer sent, as they came.
    Bytes(ConnectionId, Bytes),
    /// The connection is gone, for this reason.
    Closed(ConnectionId, String),
    /// The time of [`next_deadline`](super::Peer::next_deadline) has come.
    Timer,
    /// Ask the peer to send its routes of this family again (RFC 2918).
    RequestRefresh(Family),
    /// BFD cannot reach the peer any more.
    BfdDown(BfdDown),
    /// The operator has stopped the session, and says why: Cease, Administrative Shutdown, with
    /// the text (RFC 9003).
    Shutdown(String),
    /// The peer has taken nothing for so long (RFC 9687).
    SendHoldTimerExpires(Duration),
    /// The peer announces more prefixes than it may.
    TooManyPrefixes(TooManyPrefixes),
    /// This speaker is about to restart: the session ends without a word where the peer will keep
    /// the routes for it (RFC 4724, 4), and as by [`ManualStop`](Self::ManualStop) elsewhere.
    Handover,
}

/// A BFD session that has failed.
///
/// It ends the Established session for good, with Cease, BFD Down (RFC 9384): no restart has begun
/// yet, so the way to the peer's routes is gone (RFC 5882, 4.3.2.2.2). A session that came up when
/// BFD's silence had begun already stays: it is the newer news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdDown {
    /// Why, in words.
    pub reason: String,
    /// Until when BFD knew of no fault.
    pub last_up: Instant,
    /// Whether the peer's BFD goes on while its BGP restarts: its C bit. If so, the routes that are
    /// kept for it go too (RFC 5882, 4.3.2.1); else its restart may be all that has failed BFD, and
    /// they stay (4.3.2.2).
    pub control_plane_independent: bool,
}

/// A peer that has announced more prefixes than it may: Cease, Maximum Number of Prefixes Reached
/// (RFC 4486, 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyPrefixes {
    /// Of which family.
    pub family: Family,
    /// How many it may announce.
    pub limit: u32,
    /// How long to have nothing to do with it.
    pub idle: Duration,
}

/// What the driver is to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a TCP connection and report [`Event::ConnectSucceeded`] or [`Event::ConnectFailed`].
    Connect(ConnectionId),
    /// Write these octets: one whole message.
    Send(ConnectionId, Bytes),
    /// Close the connection after what was sent is written, or abandon the attempt to open it.
    /// Nothing about it needs to be reported any more.
    Close(ConnectionId),
    /// A session is Established.
    Up(Negotiated),
    /// The Established session has ended. Its routes are to be forgotten, but for those of `kept`
    /// families, which stay until [`Action::Sweep`] (RFC 4724, 4.2).
    Down {
        /// Why it has ended.
        reason: String,
        /// The families whose routes become stale.
        kept: Vec<Family>,
    },
    /// The routes of this family that the peer has not announced again since they became stale are
    /// to be forgotten.
    Sweep(Family),
    /// The stale routes of this family become long-lived stale ones (RFC 9494, 4.2).
    LongLived(Family),
    /// All routes of this family become stale: the peer begins to announce them again (RFC 7313, 4).
    MarkStale(Family),
    /// Routes that the peer announced or withdrew.
    Update(Update),
    /// The peer wants all routes of the family again.
    Refresh(Family),
}

/// What both sides of an Established session have agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The peer's BGP identifier.
    pub peer_router_id: Ipv4Addr,
    /// The peer's AS number.
    pub peer_as: u32,
    /// How long silence is borne; zero: for ever.
    pub hold_time: Duration,
    /// How often a KEEPALIVE is sent: a third of the hold time, or more often; zero: never.
    pub keepalive: Duration,
    /// The families that routes are exchanged of.
    pub families: Vec<Family>,
    /// Whether AS numbers have four octets on this session (RFC 6793).
    pub four_octet_as: bool,
    /// Whether the peer can be asked for its routes again (RFC 2918).
    pub route_refresh: bool,
    /// Whether route refreshes have a beginning and an end, in both directions (RFC 7313).
    pub enhanced_refresh: bool,
    /// Whether messages may have more than 4096 octets, in both directions (RFC 8654).
    pub extended_messages: bool,
    /// The families of which several paths to one destination are exchanged (RFC 7911).
    pub path_ids: PathIds,
    /// What this speaker is to the peer, where that is settled and the peer is external (RFC 9234).
    pub role: Option<Role>,
    /// Whether the peer has said that it has the other role.
    pub role_confirmed: bool,
    /// What the peer says of its restarts, if both sides can do graceful restart.
    pub graceful_restart: Option<PeerRestart>,
}

impl Negotiated {
    /// The capabilities that both sides have and that are in use, in words.
    pub fn capabilities(&self) -> Vec<String> {
        let named = [
            (self.four_octet_as, "four-octet AS numbers"),
            (self.route_refresh, "route refresh"),
            (self.enhanced_refresh, "enhanced route refresh"),
            (self.extended_messages, "extended messages"),
            (self.graceful_restart.is_some(), "graceful restart"),
            (self.long_lived(), "long-lived graceful restart"),
            (!self.path_ids.received.is_empty(), "several paths to a destination, of the peer's"),
        ];
        let families = self.families.iter().map(|family| family.as_str());
        let role = self.role.map(|role| match self.role_confirmed {
            true => format!("role {role}"),
            false => format!("role {role}, of which the peer says nothing"),
        });
        let others = named.iter().filter(|(is_used, _)| *is_used).map(|(_, name)| *name);
        families.chain(others).map(str::to_owned).chain(role).collect()
    }

    /// Whether both sides can do long-lived graceful restart (RFC 9494).
    pub fn long_lived(&self) -> bool {
        self.graceful_restart.as_ref().is_some_and(|it| it.long_lived.is_some())
    }
}

/// What a peer says of its restarts (RFC 4724, 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRestart {
    /// Whether it has restarted and waits for its peers' routes.
    pub restarting: bool,
    /// Whether both sides have set the N bit (RFC 8538, 2).
    pub notification: bool,
    /// How long it will need to come back.
    pub restart_time: Duration,
    /// The families whose routes are to be kept meanwhile, each with whether it has gone on
    /// forwarding during its last restart.
    pub families: Vec<(Family, bool)>,
    /// The families whose routes are to be kept beyond that, if both sides can do it (RFC 9494).
    pub long_lived: Option<Vec<LongLived>>,
}
