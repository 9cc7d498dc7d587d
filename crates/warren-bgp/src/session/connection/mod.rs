//! One TCP connection to or from a peer: its state, its timers, and what is on its wire.

mod machine;

use std::time::{Duration, Instant};

use super::fsm::{FsmEvent, Shared};
use super::negotiate::{negotiate, our_open};
use super::restart::Ending;
use super::timers::{Timer, Timers};
use super::{Action, ConnectionId, Negotiated, State};
use crate::codec::notification::{self, code};
use crate::codec::{
    Decoded, Frame, Framer, KEEPALIVE, MessageType, UpdateContext, open, refresh, update,
};
use crate::message::{Family, Notification, RouteRefresh, Update};

/// How long to wait for the peer's OPEN (RFC 4271, 8.2.2: "a value of 4 minutes is suggested").
const OPEN_HOLD_TIME: Duration = Duration::from_secs(240);

/// Who opens the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// This speaker, again and again.
    Outgoing,
    /// The peer, once.
    Incoming,
    /// The peer, while a session is Established: it may have restarted, and its OPEN will tell.
    Newcomer,
}

impl Direction {
    pub(super) const ALL: [Self; 3] = [Self::Outgoing, Self::Incoming, Self::Newcomer];
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    direction: Direction,
    state: State,
    timers: Timers,
    transport: Option<ConnectionId>,
    framer: Framer,
    /// Whether the OPEN that was sent has no capabilities.
    plain_open: bool,
    /// From OpenConfirm on.
    session: Option<(Negotiated, UpdateContext)>,
    /// The families of which the session has brought End-of-RIB.
    announced_all: Vec<Family>,
}

impl Connection {
    /// One that does nothing yet.
    pub(super) fn new(direction: Direction) -> Self {
        let state = match direction {
            Direction::Outgoing => State::Idle,
            // The speaker listens.
            Direction::Incoming | Direction::Newcomer => State::Active,
        };
        Self {
            direction,
            state,
            timers: Timers::default(),
            transport: None,
            framer: Framer::default(),
            plain_open: false,
            session: None,
            announced_all: Vec::new(),
        }
    }

    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    /// The same connection, now the only one that the peer has opened.
    pub(super) fn into_incoming(self) -> Self {
        Self { direction: Direction::Incoming, ..self }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn transport(&self) -> Option<ConnectionId> {
        self.transport
    }

    pub(super) fn negotiated(&self) -> Option<&Negotiated> {
        self.session.as_ref().map(|(negotiated, _)| negotiated)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Whether it is Idle and will stay so unless told otherwise.
    pub(super) fn is_parked(&self) -> bool {
        self.state == State::Idle && !self.timers.is_running(Timer::IdleHold)
    }

    /// Leaves Idle after a while.
    pub(super) fn restart_later(&mut self, now: Instant, shared: &mut Shared) {
        let ban =
            shared.banned_until.map_or(Duration::ZERO, |it| it.saturating_duration_since(now));
        self.timers.set(Timer::IdleHold, now, shared.backoff.current().max(ban));
    }

    /// The messages of `update`.
    pub(super) fn encode_update(&self, update: &Update) -> Vec<bytes::Bytes> {
        match &self.session {
            Some((_, context)) if self.state == State::Established => {
                update::encode(update, context)
            }
            _ => Vec::new(),
        }
    }

    /// Asks for the routes of `family` again, if the peer can be asked.
    pub(super) fn request_refresh(&self, family: Family, shared: &mut Shared) {
        if let (State::Established, Some((negotiated, _)), Some(id)) =
            (self.state, &self.session, self.transport)
            && negotiated.route_refresh
            && negotiated.families.contains(&family)
        {
            shared.actions.push(Action::Send(id, refresh::encode(RouteRefresh::Request(family))));
        }
    }

    /// Takes octets in; [`next_message`](Self::next_message) says what they mean.
    pub(super) fn receive(&mut self, octets: &[u8]) {
        self.framer.push(octets);
    }

    /// The event of the next whole message.
    pub(super) fn next_message(&mut self, shared: &Shared) -> Option<FsmEvent> {
        match self.framer.next_frame() {
            Ok(frame) => Some(self.message(frame?, shared)),
            Err(reset) => Some(FsmEvent::BgpHeaderErr(reset)),
        }
    }

    fn message(&self, frame: Frame, shared: &Shared) -> FsmEvent {
        match frame.kind {
            MessageType::Open => match &self.session {
                // A second one: what is in it does not matter.
                Some((negotiated, _)) => FsmEvent::BgpOpen(negotiated.clone()),
                None => open::decode(frame.body)
                    .and_then(|theirs| {
                        let ours = our_open(&shared.config, self.plain_open, shared.past);
                        negotiate(&shared.config, &ours, &theirs)
                    })
                    .map_or_else(FsmEvent::BgpOpenMsgErr, FsmEvent::BgpOpen),
            },
            MessageType::Update => match &self.session {
                Some((_, context)) if self.state == State::Established => {
                    update::decode(frame.body, context)
                        .map_or_else(FsmEvent::UpdateMsgErr, FsmEvent::UpdateMsg)
                }
                // What is in it does not matter where none may come.
                _ => FsmEvent::UpdateMsg(Decoded::default()),
            },
            MessageType::Notification => notification::decode(frame.body)
                .map_or_else(FsmEvent::BgpHeaderErr, FsmEvent::NotifMsg),
            MessageType::Keepalive => FsmEvent::KeepAliveMsg,
            MessageType::RouteRefresh => {
                let enhanced = self.negotiated().is_some_and(|it| it.enhanced_refresh);
                refresh::decode(&frame.body, enhanced)
                    .map_or_else(FsmEvent::BgpHeaderErr, FsmEvent::RouteRefreshMsg)
            }
        }
    }

    /// The event of a timer that has expired.
    pub(super) fn next_expired(&mut self, now: Instant) -> Option<FsmEvent> {
        Some(match self.timers.take_expired(now)? {
            Timer::Hold => FsmEvent::HoldTimerExpires,
            Timer::Keepalive => FsmEvent::KeepaliveTimerExpires,
            Timer::ConnectRetry => FsmEvent::ConnectRetryTimerExpires,
            Timer::IdleHold => FsmEvent::IdleHoldTimerExpires,
        })
    }

    /// Leaves Idle.
    fn start(&mut self, now: Instant, shared: &mut Shared) {
        if shared.config.passive {
            self.state = State::Active;
        } else {
            self.connect(now, shared);
        }
    }

    /// Initiates a TCP connection; the ConnectRetryTimer says how long it may take.
    fn connect(&mut self, now: Instant, shared: &mut Shared) {
        self.reset();
        let id = shared.new_connection_id();
        self.transport = Some(id);
        self.state = State::Connect;
        self.timers.set(Timer::ConnectRetry, now, shared.backoff.next());
        shared.actions.push(Action::Connect(id));
    }

    /// TCP is up: sends the OPEN.
    fn send_open(&mut self, now: Instant, shared: &mut Shared) {
        let ours = our_open(&shared.config, shared.plain_open, shared.past);
        self.timers.clear();
        match open::encode(&ours) {
            Ok(octets) => {
                self.send(octets, shared);
                self.plain_open = shared.plain_open;
                if !self.plain_open {
                    self.framer.take_extended();
                }
                self.timers.set(Timer::Hold, now, OPEN_HOLD_TIME);
                self.state = State::OpenSent;
            }
            Err(reason) => {
                let reason = format!("cannot write the OPEN: {reason}");
                self.end(now, None, reason, Ending::Final, shared);
            }
        }
    }

    fn send(&self, octets: bytes::Bytes, shared: &mut Shared) {
        shared.actions.extend(self.transport.map(|id| Action::Send(id, octets)));
    }

    fn send_keepalive(&mut self, now: Instant, shared: &mut Shared) {
        self.send(KEEPALIVE.to_vec().into(), shared);
        if let Some((negotiated, _)) = &self.session {
            let keepalive = shared.backoff.jittered(negotiated.keepalive);
            self.timers.set(Timer::Keepalive, now, keepalive);
        }
    }

    fn restart_hold_timer(&mut self, now: Instant) {
        if let Some((negotiated, _)) = &self.session {
            self.timers.set(Timer::Hold, now, negotiated.hold_time);
        }
    }

    /// RFC 5492, 3: a peer that does not know capabilities is offered none the next time.
    fn note_refusal(&self, notification: &Notification, shared: &mut Shared) {
        if self.state != State::Established {
            let refused = (notification.code, notification.subcode) == (code::OPEN, 4);
            shared.plain_open = refused && !self.plain_open;
        }
    }

    /// Goes to Idle: tells the peer, drops the connection, and comes back later.
    fn end(
        &mut self,
        now: Instant,
        notification: Option<Notification>,
        reason: String,
        ending: Ending,
        shared: &mut Shared,
    ) {
        let restart = self.negotiated().and_then(|it| it.graceful_restart.clone());
        if let Some(mut notification) = notification {
            // Only an Established session has routes to be forgotten.
            let is_hard = ending == Ending::Final && self.state == State::Established;
            if is_hard && restart.as_ref().is_some_and(|it| it.notification) {
                notification = notification.into_hard_reset();
            }
            self.send(notification::encode(&notification), shared);
        }
        self.drop_transport(shared);
        if self.state == State::Established {
            shared.plain_open = false;
            let (swept, kept) = shared.stale.keep(now, ending, restart.as_ref());
            shared.actions.extend(swept.into_iter().map(Action::Sweep));
            shared.actions.push(Action::Down { reason: reason.clone(), kept });
            // A restart time of 0 is over at once (RFC 9494, 4.2).
            let expired = shared.stale.expire(now);
            shared.actions.extend(expired);
        }
        shared.last_error = Some(reason);
        self.reset();
        self.state = State::Idle;
        if self.direction == Direction::Outgoing {
            self.restart_later(now, shared);
        }
    }

    fn drop_transport(&mut self, shared: &mut Shared) {
        shared.actions.extend(self.transport.take().map(Action::Close));
    }

    fn reset(&mut self) {
        self.timers.clear();
        self.transport = None;
        self.framer = Framer::default();
        self.plain_open = false;
        self.session = None;
        self.announced_all.clear();
    }
}
