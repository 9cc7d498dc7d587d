//! The arbiter over the connections of one peer.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::backoff::Backoff;
use super::connection::{Connection, Direction};
use super::fsm::{FsmEvent, Shared};
use super::negotiate::Past;
use super::restart::Stale;
use super::{
    Action, BfdDown, ConnectionId, Event, Negotiated, PeerConfig, State, TooManyPrefixes,
    UpdateErrors,
};
use crate::codec::notification::{self, cease, code};
use crate::message::{Family, Notification, Update};

/// How long after a session came up a second connection may still be one that the peer had begun to
/// open before (RFC 4271, 6.8). Later on it means that the peer has restarted.
const COLLISION_WINDOW: Duration = Duration::from_secs(5);

/// A peer: at most one connection that this speaker opens and one that the peer has opened, of
/// which at most one gets beyond OpenSent (RFC 4271, 6.8).
///
/// What holds after every event while it is started: either a connection is at least in
/// OpenConfirm and nothing else is tried, or the outgoing one is under way, waits for a timer, or
/// (passive) waits for the peer. So a session always comes back.
#[derive(Debug)]
pub struct Peer {
    shared: Shared,
    started: bool,
    connections: Connections,
    since: Option<Instant>,
}

#[derive(Debug)]
struct Connections {
    outgoing: Connection,
    incoming: Option<Connection>,
    newcomer: Option<Connection>,
}

impl Connections {
    fn iter(&self) -> impl Iterator<Item = &Connection> {
        std::iter::once(&self.outgoing).chain(&self.incoming).chain(&self.newcomer)
    }

    fn get(&self, direction: Direction) -> Option<&Connection> {
        match direction {
            Direction::Outgoing => Some(&self.outgoing),
            Direction::Incoming => self.incoming.as_ref(),
            Direction::Newcomer => self.newcomer.as_ref(),
        }
    }

    fn get_mut(&mut self, direction: Direction) -> Option<&mut Connection> {
        match direction {
            Direction::Outgoing => Some(&mut self.outgoing),
            Direction::Incoming => self.incoming.as_mut(),
            Direction::Newcomer => self.newcomer.as_mut(),
        }
    }
}

impl Peer {
    /// A peer that is not started. `seed` is for the jitter of its timers.
    pub fn new(config: PeerConfig, seed: u64) -> Self {
        Self {
            shared: Shared {
                backoff: Backoff::new(config.connect_retry, seed),
                config,
                last_id: 0,
                last_error: None,
                update_errors: UpdateErrors::default(),
                plain_open: false,
                past: Past::default(),
                answered: false,
                stale: Stale::default(),
                banned_until: None,
                actions: Vec::new(),
            },
            started: false,
            connections: Connections {
                outgoing: Connection::new(Direction::Outgoing),
                incoming: None,
                newcomer: None,
            },
            since: None,
        }
    }

    /// To be called before the start if this speaker has restarted and has gone on forwarding
    /// meanwhile: its OPENs say so (RFC 4724, 3) until [`selected`](Self::selected).
    pub fn restarted(&mut self) {
        self.shared.past = Past { restarting: true, forwarding: true };
    }

    /// Route selection is not deferred any longer (RFC 4724, 4.1).
    pub fn selected(&mut self) {
        self.shared.past.restarting = false;
    }

    /// Whether it has ever sent an acceptable OPEN, whatever has become of that connection.
    pub fn has_answered(&self) -> bool {
        self.shared.answered
    }

    /// Whether routes are kept for the peer to announce again.
    pub fn has_stale(&self) -> bool {
        self.shared.stale.deadline().is_some()
    }

    /// The families whose stale routes are long-lived ones, each with until when (RFC 9494, 4.2).
    pub fn long_lived_stale(&self) -> impl Iterator<Item = (Family, Instant)> {
        self.shared.stale.long_lived()
    }

    /// What is configured of it.
    pub fn config(&self) -> &PeerConfig {
        &self.shared.config
    }

    /// A name for a connection that was accepted.
    pub fn new_connection_id(&mut self) -> ConnectionId {
        self.shared.new_connection_id()
    }

    /// When to send [`Event::Timer`].
    pub fn next_deadline(&self) -> Option<Instant> {
        let connections = self.connections.iter().filter_map(Connection::next_deadline);
        connections.chain(self.shared.stale.deadline()).min()
    }

    /// The state of the connection that has come furthest.
    pub fn state(&self) -> State {
        self.connections.iter().map(Connection::state).max().unwrap_or(State::Idle)
    }

    /// Since when [`state`](Self::state) is what it is; `None` before the first event.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// The latest error in words. It stays when a session is Established again, as the reason why
    /// the one before ended.
    pub fn last_error(&self) -> Option<&str> {
        self.shared.last_error.as_deref()
    }

    /// What was agreed on; `None` unless Established.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.established().and_then(Connection::negotiated)
    }

    /// Errors in UPDATEs that the session has survived, since the peer was made.
    pub fn update_errors(&self) -> &UpdateErrors {
        &self.shared.update_errors
    }

    /// The connection that UPDATEs are to be sent over; `None` unless Established.
    pub fn established_connection(&self) -> Option<ConnectionId> {
        self.established().and_then(Connection::transport)
    }

    /// The messages that carry `update`; none unless Established.
    pub fn encode_update(&self, update: &Update) -> Vec<Bytes> {
        self.established().map(|it| it.encode_update(update)).unwrap_or_default()
    }

    /// Takes what happened at `now` and says what to do. Never fails.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let before = self.state();
        match event {
            Event::ManualStart if self.started => {}
            Event::ManualStart => {
                self.started = true;
                self.shared.banned_until = None;
                self.dispatch(Direction::Outgoing, now, FsmEvent::ManualStart);
            }
            Event::ManualStop => self.shut_down(now),
            Event::Shutdown(text) => {
                let reason = format!("administratively shut down: {text}");
                self.stop(now, &Notification::shutdown(&text), &reason);
            }
            Event::Handover => {
                if self.negotiated().is_some_and(|it| it.graceful_restart.is_some()) {
                    for direction in Direction::ALL {
                        if self.state_of(direction) == Some(State::Established) {
                            self.dispatch(direction, now, FsmEvent::Handover);
                        }
                    }
                }
                self.shut_down(now);
            }
            Event::Deconfigured => {
                let cease = Notification::new(code::CEASE, cease::PEER_DECONFIGURED);
                self.stop(now, &cease, "removed from the configuration");
            }
            Event::ConnectSucceeded(id) => {
                self.dispatch_to(id, now, FsmEvent::TcpCrAcked);
            }
            Event::ConnectFailed(id, reason) | Event::Closed(id, reason) => {
                self.dispatch_to(id, now, FsmEvent::TcpConnectionFails(reason));
            }
            Event::Accepted(id) => self.accepted(now, id),
            Event::Bytes(id, octets) => self.receive(now, id, &octets),
            Event::Timer => {
                let expired = self.shared.stale.expire(now);
                self.shared.actions.extend(expired);
                for direction in Direction::ALL {
                    while let Some(event) =
                        self.connections.get_mut(direction).and_then(|it| it.next_expired(now))
                    {
                        self.dispatch(direction, now, event);
                    }
                }
            }
            Event::RequestRefresh(family) => {
                for connection in self.connections.iter() {
                    connection.request_refresh(family, &mut self.shared);
                }
            }
            Event::SendHoldTimerExpires(limit) => {
                let reason =
                    format!("peer has taken nothing that was sent for {} s", limit.as_secs());
                self.end(now, &Notification::new(code::SEND_HOLD_TIMER, 0), &reason);
            }
            Event::TooManyPrefixes(_) if self.established().is_none() => {}
            Event::TooManyPrefixes(TooManyPrefixes { family, limit, idle }) => {
                self.shared.banned_until = now.checked_add(idle);
                let reason = format!(
                    "peer has announced more than {limit} prefixes; it is left alone for {} s",
                    idle.as_secs()
                );
                self.end(now, &Notification::too_many_prefixes(family, limit), &reason);
            }
            Event::BfdDown(failure) => self.bfd_down(now, &failure),
        }
        self.settle(now);
        if self.since.is_none() || self.state() != before {
            self.since = Some(now);
        }
        std::mem::take(&mut self.shared.actions)
    }

    fn established(&self) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.state() == State::Established)
    }

    fn state_of(&self, direction: Direction) -> Option<State> {
        self.connections.get(direction).map(Connection::state)
    }

    /// Which connection has this name, if it still exists.
    fn find(&self, id: ConnectionId) -> Option<Direction> {
        self.connections.iter().find(|it| it.transport() == Some(id)).map(Connection::direction)
    }

    /// One step of one connection.
    fn dispatch(&mut self, direction: Direction, now: Instant, event: FsmEvent) {
        let collision = match &event {
            FsmEvent::OpenCollisionDump => true,
            FsmEvent::NotifMsg(it) => it.is_collision(),
            _ => false,
        };
        let is_aside = collision || direction == Direction::Newcomer;
        let error = is_aside.then(|| self.shared.last_error.clone());
        let Some(connection) = self.connections.get_mut(direction) else { return };
        connection.handle(now, event, &mut self.shared);
        // An incoming connection lives once.
        if self.connections.incoming.as_ref().is_some_and(|it| it.transport().is_none()) {
            self.connections.incoming = None;
        }
        if self.connections.newcomer.as_ref().is_some_and(|it| it.transport().is_none()) {
            self.connections.newcomer = None;
        }
        // To lose against the other connection is no error as long as that one lives.
        if let Some(error) = error
            && self.connections.iter().any(|it| it.state() >= State::OpenSent)
        {
            self.shared.last_error = error;
        }
    }

    /// One step of the connection with this name.
    fn dispatch_to(&mut self, id: ConnectionId, now: Instant, event: FsmEvent) {
        if let Some(direction) = self.find(id) {
            self.dispatch(direction, now, event);
        }
    }

    /// The peer has connected.
    fn accepted(&mut self, now: Instant, id: ConnectionId) {
        if !self.started || self.shared.banned_until.is_some_and(|until| now < until) {
            return self.refuse(id, cease::CONNECTION_REJECTED);
        }
        if self.established().is_some() {
            if !self.may_have_restarted(now) {
                return self.refuse(id, cease::COLLISION_RESOLUTION);
            }
            // RFC 4724, 4.2, lets it take the session's place at once. Here its OPEN has to come
            // first: anything on the peer's machine can open a connection.
            self.dispatch(Direction::Newcomer, now, FsmEvent::OpenCollisionDump);
            self.connections.newcomer = Some(Connection::new(Direction::Newcomer));
            return self.dispatch(Direction::Newcomer, now, FsmEvent::TcpConnectionConfirmed(id));
        }
        // A peer opens one connection at a time: it has given the older one up.
        self.dispatch(Direction::Incoming, now, FsmEvent::OpenCollisionDump);
        self.connections.incoming = Some(Connection::new(Direction::Incoming));
        self.dispatch(Direction::Incoming, now, FsmEvent::TcpConnectionConfirmed(id));
    }

    /// Whether another connection may mean that the peer has restarted and has forgotten the
    /// Established session.
    fn may_have_restarted(&self, now: Instant) -> bool {
        let is_over = |since| now.saturating_duration_since(since) >= COLLISION_WINDOW;
        self.negotiated().is_some_and(|it| it.graceful_restart.is_some())
            && self.since.is_some_and(is_over)
    }

    /// The session that the peer has forgotten ends, and the newcomer takes its place.
    fn replace_established(&mut self, now: Instant) {
        for direction in [Direction::Outgoing, Direction::Incoming] {
            if self.state_of(direction) == Some(State::Established) {
                self.dispatch(direction, now, FsmEvent::PeerRestarted);
            }
        }
        self.promote_newcomer();
    }

    fn promote_newcomer(&mut self) {
        if let Some(newcomer) = self.connections.newcomer.take() {
            self.connections.incoming = Some(newcomer.into_incoming());
        }
    }

    fn refuse(&mut self, id: ConnectionId, subcode: u8) {
        let cease = Notification::new(code::CEASE, subcode);
        self.shared.actions.push(Action::Send(id, notification::encode(&cease)));
        self.shared.actions.push(Action::Close(id));
    }

    fn receive(&mut self, now: Instant, id: ConnectionId, octets: &[u8]) {
        let connection = self.find(id).and_then(|it| self.connections.get_mut(it));
        if let Some(connection) = connection {
            connection.receive(octets);
        }
        // Until the octets or the connection are used up.
        while let Some(mut direction) = self.find(id) {
            let connection = self.connections.get_mut(direction);
            let Some(mut event) = connection.and_then(|it| it.next_message(&self.shared)) else {
                return;
            };
            if direction == Direction::Newcomer && matches!(event, FsmEvent::BgpOpen(_)) {
                self.replace_established(now);
                direction = Direction::Incoming;
            }
            if let FsmEvent::BgpOpen(negotiated) = &event
                && self.loses_collision(direction, now, negotiated.clone())
            {
                event = FsmEvent::OpenCollisionDump;
            }
            self.dispatch(direction, now, event);
        }
    }

    /// Collision detection (RFC 4271, 6.8), when a good OPEN has come over the connection
    /// `direction`. Ends the other connection where that is to give way; otherwise says whether
    /// this one is to.
    fn loses_collision(&mut self, direction: Direction, now: Instant, theirs: Negotiated) -> bool {
        let other = match direction {
            Direction::Outgoing => Direction::Incoming,
            Direction::Incoming | Direction::Newcomer => Direction::Outgoing,
        };
        if self.state_of(direction) != Some(State::OpenSent) {
            // A second OPEN is an error of another kind.
            return false;
        }
        match self.state_of(other) {
            Some(State::Established) => true,
            Some(State::OpenConfirm) => {
                // The connection stays that was opened by the speaker with the higher BGP
                // identifier, or where both have the same one, with the higher AS number
                // (RFC 6286, 2.3).
                let config = &self.shared.config;
                let we_dominate =
                    (config.router_id, config.local_as) > (theirs.peer_router_id, theirs.peer_as);
                let keep = if we_dominate { Direction::Outgoing } else { Direction::Incoming };
                if direction == keep {
                    self.dispatch(other, now, FsmEvent::OpenCollisionDump);
                }
                direction != keep
            }
            // An OPEN of the other may never come.
            _ => false,
        }
    }

    fn shut_down(&mut self, now: Instant) {
        let cease = Notification::new(code::CEASE, cease::ADMINISTRATIVE_SHUTDOWN);
        self.stop(now, &cease, "administratively shut down");
    }

    /// Ends what there is of a session; it is to come back.
    fn end(&mut self, now: Instant, told: &Notification, reason: &str) {
        for direction in Direction::ALL {
            if self.state_of(direction) >= Some(State::OpenSent) {
                let event = FsmEvent::AutomaticStop(told.clone(), reason.to_owned());
                self.dispatch(direction, now, event);
            }
        }
        // A newcomer would only have taken the session's place.
        self.shared.last_error = Some(reason.to_owned());
    }

    fn stop(&mut self, now: Instant, told: &Notification, reason: &str) {
        self.started = false;
        for direction in [Direction::Newcomer, Direction::Incoming, Direction::Outgoing] {
            let event = FsmEvent::ManualStop(told.clone(), reason.to_owned());
            self.dispatch(direction, now, event);
        }
        self.sweep();
        self.shared.last_error = Some(reason.to_owned());
    }

    fn bfd_down(&mut self, now: Instant, failure: &BfdDown) {
        if self.established().is_none() {
            if failure.control_plane_independent {
                self.sweep();
            }
            return;
        }
        if self.since.is_none_or(|since| since > failure.last_up) {
            return;
        }
        for direction in [Direction::Outgoing, Direction::Incoming] {
            if self.state_of(direction) == Some(State::Established) {
                let event = FsmEvent::BfdDown(format!("BFD down: {}", failure.reason));
                self.dispatch(direction, now, event);
            }
        }
    }

    /// What is stale goes.
    fn sweep(&mut self) {
        let stale = self.shared.stale.forget();
        self.shared.actions.extend(stale.into_iter().map(Action::Sweep));
    }

    /// Restores what the type promises.
    fn settle(&mut self, now: Instant) {
        if !self.started {
            return;
        }
        // The session that it waited beside has ended by itself.
        if self.established().is_none() && self.connections.newcomer.is_some() {
            self.promote_newcomer();
        }
        match self.state_of(Direction::Incoming) {
            // The session is as good as there: a second connection would only collide with it.
            Some(State::OpenConfirm) if self.connections.outgoing.state() < State::OpenSent => {
                self.dispatch(Direction::Outgoing, now, FsmEvent::OpenCollisionDump);
            }
            Some(State::Established) => {
                self.dispatch(Direction::Outgoing, now, FsmEvent::OpenCollisionDump);
            }
            Some(_) if self.connections.outgoing.state() == State::Established => {
                self.dispatch(Direction::Incoming, now, FsmEvent::OpenCollisionDump);
            }
            Some(State::OpenConfirm) => {}
            _ if self.connections.outgoing.is_parked() => {
                self.connections.outgoing.restart_later(now, &mut self.shared)
            }
            _ => {}
        }
    }
}
