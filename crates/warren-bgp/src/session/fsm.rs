//! The events of the state machine (RFC 4271, 8.1) and what it works with.

use std::time::Instant;

use crate::codec::{Decoded, SessionReset};
use crate::message::{Notification, RouteRefresh};

use super::backoff::Backoff;
use super::negotiate::Past;
use super::restart::Stale;
use super::{Action, ConnectionId, Negotiated, PeerConfig, UpdateErrors};

/// An event, with the number that RFC 4271 gives it. Those that need a DelayOpenTimer (12, 20) or
/// an acceptance of their own (14, 15) do not exist here; 3 to 7 are starts that differ by
/// configuration only; 24 is a NOTIFICATION like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FsmEvent {
    /// Event 1: ManualStart, or 4 for a passive peer.
    ManualStart,
    /// Event 2: ManualStop; which Cease to send, and why in words.
    ManualStop(Notification, String),
    /// Event 8: AutomaticStop; likewise, but the session is to come back.
    AutomaticStop(Notification, String),
    /// Event 9: ConnectRetryTimer_Expires.
    ConnectRetryTimerExpires,
    /// Event 10: HoldTimer_Expires.
    HoldTimerExpires,
    /// Event 11: KeepaliveTimer_Expires.
    KeepaliveTimerExpires,
    /// Event 13: IdleHoldTimer_Expires.
    IdleHoldTimerExpires,
    /// Event 16: Tcp_CR_Acked, the connection asked for is open.
    TcpCrAcked,
    /// Event 17: TcpConnectionConfirmed, the peer has connected.
    TcpConnectionConfirmed(ConnectionId),
    /// Event 18: TcpConnectionFails.
    TcpConnectionFails(String),
    /// Event 19: BGPOpen, found acceptable.
    BgpOpen(Negotiated),
    /// Event 21: BGPHeaderErr.
    BgpHeaderErr(SessionReset),
    /// Event 22: BGPOpenMsgErr.
    BgpOpenMsgErr(SessionReset),
    /// Event 23: OpenCollisionDump.
    OpenCollisionDump,
    /// Events 24 and 25: NotifMsgVerErr and NotifMsg.
    NotifMsg(Notification),
    /// Event 26: KeepAliveMsg.
    KeepAliveMsg,
    /// Event 27: UpdateMsg.
    UpdateMsg(Decoded),
    /// Event 28: UpdateMsgErr.
    UpdateMsgErr(SessionReset),
    /// The peer has opened another connection in place of the one of its Established session, which
    /// it has forgotten (RFC 4724, 4.2).
    PeerRestarted,
    /// This speaker is about to restart: not a word to the peer (RFC 4724, 4).
    Handover,
    /// BFD cannot reach the peer any more, for this reason (RFC 9384).
    BfdDown(String),
    /// A ROUTE-REFRESH, which is younger than the list (RFC 2918); `None` if it is to be ignored.
    RouteRefreshMsg(Option<RouteRefresh>),
}

/// What the connections of a peer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: PeerConfig,
    pub(super) backoff: Backoff,
    pub(super) last_id: u32,
    pub(super) last_error: Option<String>,
    pub(super) update_errors: UpdateErrors,
    /// Whether to send OPENs without capabilities.
    pub(super) plain_open: bool,
    pub(super) past: Past,
    /// Whether the peer has ever sent an acceptable OPEN.
    pub(super) answered: bool,
    /// Routes of the peer that outlive their session.
    pub(super) stale: Stale,
    /// Until when to have nothing to do with the peer.
    pub(super) banned_until: Option<Instant>,
    /// What the driver is to do, in order.
    pub(super) actions: Vec<Action>,
}

impl Shared {
    pub(super) fn new_connection_id(&mut self) -> ConnectionId {
        self.last_id = self.last_id.wrapping_add(1);
        ConnectionId(self.last_id)
    }
}
