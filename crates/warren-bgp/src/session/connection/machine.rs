//! What each state does with each event (RFC 4271, 8.2.2).
//!
//! It departs from the text in three places. Where a connection that was asked for cannot be
//! opened it goes to Active, not to Idle: an Idle speaker refuses the peer, and in a mesh the
//! peer's attempt may well be the one that succeeds. A NOTIFICATION is never answered with a
//! NOTIFICATION. An error in a header is reported as that in every state (6.1), not as an error of
//! the state machine.

use std::time::Instant;

use super::super::fsm::{FsmEvent, Shared};
use super::super::restart::Ending;
use super::super::timers::Timer;
use super::super::{Action, State};
use super::{Connection, Direction};
use crate::codec::notification::{cease, code};
use crate::codec::{KEEPALIVE, MessageType, UpdateContext};
use crate::message::{Notification, RouteRefresh};

impl Connection {
    /// One step of the machine. The event of every state is defined.
    pub(in crate::session) fn handle(
        &mut self,
        now: Instant,
        event: FsmEvent,
        shared: &mut Shared,
    ) {
        if matches!(event, FsmEvent::TcpConnectionFails(_)) {
            // Nothing more can be sent, and there is nothing to close.
            self.transport = None;
        }
        match self.state {
            State::Idle => self.in_idle(now, event, shared),
            State::Connect => self.in_connect(now, event, shared),
            State::Active => self.in_active(now, event, shared),
            State::OpenSent => self.in_open_sent(now, event, shared),
            State::OpenConfirm => self.in_open_confirm(now, event, shared),
            State::Established => self.in_established(now, event, shared),
        }
    }

    fn in_idle(&mut self, now: Instant, event: FsmEvent, shared: &mut Shared) {
        match event {
            FsmEvent::ManualStart => {
                shared.backoff.reset();
                self.start(now, shared);
            }
            FsmEvent::IdleHoldTimerExpires => self.start(now, shared),
            // The waiting after a failure ends as well.
            FsmEvent::ManualStop(..) | FsmEvent::OpenCollisionDump => self.timers.clear(),
            _ => {}
        }
    }

    fn in_connect(&mut self, now: Instant, event: FsmEvent, shared: &mut Shared) {
        match event {
            FsmEvent::ManualStart => {}
            FsmEvent::ConnectRetryTimerExpires => {
                self.drop_transport(shared);
                shared.last_error =
                    Some("connecting timed out: is the peer up and its BGP port open?".to_owned());
                self.connect(now, shared);
            }
            FsmEvent::TcpCrAcked => self.send_open(now, shared),
            FsmEvent::TcpConnectionFails(reason) => {
                // The ConnectRetryTimer runs on: it spaces the attempts.
                self.state = State::Active;
                shared.last_error = Some(reason);
            }
            other => self.end_silently(now, other, shared),
        }
    }

    fn in_active(&mut self, now: Instant, event: FsmEvent, shared: &mut Shared) {
        match event {
            FsmEvent::ManualStart => {}
            FsmEvent::ConnectRetryTimerExpires => self.connect(now, shared),
            // No attempt of ours is under way here, so nothing but the peer's can succeed.
            FsmEvent::TcpConnectionConfirmed(id) => {
                self.transport = Some(id);
                self.send_open(now, shared);
            }
            other => self.end_silently(now, other, shared),
        }
    }

    fn in_open_sent(&mut self, now: Instant, event: FsmEvent, shared: &mut Shared) {
        match event {
            FsmEvent::ManualStart | FsmEvent::TcpCrAcked | FsmEvent::TcpConnectionConfirmed(_) => {}
            FsmEvent::TcpConnectionFails(reason) if self.direction == Direction::Outgoing => {
                self.reset();
                self.state = State::Active;
                self.timers.set(Timer::ConnectRetry, now, shared.backoff.current());
                shared.last_error = Some(reason);
            }
            FsmEvent::BgpOpen(negotiated) => {
                shared.answered = true;
                self.send(KEEPALIVE.to_vec().into(), shared);
                self.timers.set(Timer::Hold, now, negotiated.hold_time);
                let keepalive = shared.backoff.jittered(negotiated.keepalive);
                self.timers.set(Timer::Keepalive, now, keepalive);
                let context = UpdateContext {
                    four_octet_as: negotiated.four_octet_as,
                    internal: shared.config.is_internal(),
                    families: negotiated.families.clone(),
                    extended_messages: negotiated.extended_messages,
                    path_ids: negotiated.path_ids.clone(),
                    loopback_next_hops: shared.config.loopback_next_hops,
                };
                self.session = Some((negotiated, context));
                self.state = State::OpenConfirm;
            }
            other => self.end_by(now, other, 1, shared),
        }
    }

    fn in_open_confirm(&mut self, now: Instant, event: FsmEvent, shared: &mut Shared) {
        match event {
            FsmEvent::ManualStart | FsmEvent::TcpCrAcked | FsmEvent::TcpConnectionConfirmed(_) => {}
            FsmEvent::KeepaliveTimerExpires => self.send_keepalive(now, shared),
            FsmEvent::KeepAliveMsg => {
                self.restart_hold_timer(now);
                self.state = State::Established;
                shared.backoff.reset();
                shared.past.forwarding = true;
                if let Some((negotiated, _)) = &self.session {
                    shared.actions.push(Action::Up(negotiated.clone()));
                    let lost = shared.stale.returned(now, negotiated);
                    shared.actions.extend(lost.into_iter().map(Action::Sweep));
                }
            }
            other => self.end_by(now, other, 2, shared),
        }
    }

    fn in_established(&mut self, now: Instant, event: FsmEvent, shared: &mut Shared) {
        match event {
            FsmEvent::ManualStart | FsmEvent::TcpCrAcked | FsmEvent::TcpConnectionConfirmed(_) => {}
            FsmEvent::KeepaliveTimerExpires => self.send_keepalive(now, shared),
            FsmEvent::KeepAliveMsg => self.restart_hold_timer(now),
            FsmEvent::UpdateMsg(decoded) => {
                self.restart_hold_timer(now);
                for fault in &decoded.malformed {
                    shared.update_errors.count(fault);
                }
                for update in decoded.updates {
                    if let Some(family) = update.end_of_rib
                        && !self.announced_all.contains(&family)
                    {
                        self.announced_all.push(family);
                    }
                    let complete = update.end_of_rib.filter(|it| shared.stale.end_of_rib(*it));
                    shared.actions.push(Action::Update(update));
                    shared.actions.extend(complete.map(Action::Sweep));
                }
            }
            FsmEvent::RouteRefreshMsg(refresh) => {
                let action = refresh.and_then(|it| self.route_refresh(now, it, shared));
                shared.actions.extend(action);
            }
            other => self.end_by(now, other, 3, shared),
        }
    }

    /// What a ROUTE-REFRESH asks for (RFC 2918, 4; RFC 7313, 4).
    fn route_refresh(
        &self,
        now: Instant,
        refresh: RouteRefresh,
        shared: &mut Shared,
    ) -> Option<Action> {
        let negotiated = self.negotiated()?;
        let family = refresh.family();
        // One of a family that was not offered is ignored.
        if !negotiated.families.contains(&family) {
            return None;
        }
        match refresh {
            RouteRefresh::Request(_) => Some(Action::Refresh(family)),
            // One that can restart has to have announced everything once: until then what is stale
            // is so because of its restart.
            RouteRefresh::Begin(_)
                if negotiated.graceful_restart.is_some()
                    && !self.announced_all.contains(&family) =>
            {
                None
            }
            RouteRefresh::Begin(_) => {
                shared.stale.refresh_begins(now, family);
                Some(Action::MarkStale(family))
            }
            // An end without a beginning is ignored.
            RouteRefresh::End(_) => {
                shared.stale.refresh_ends(family).then_some(Action::Sweep(family))
            }
        }
    }

    /// Ends a connection that carries messages. `unexpected` is the subcode of RFC 6608 for what
    /// may not come in this state.
    fn end_by(&mut self, now: Instant, event: FsmEvent, unexpected: u8, shared: &mut Shared) {
        let unexpected_message = |kind: MessageType| {
            let notification =
                Notification { data: vec![kind as u8], ..Notification::new(code::FSM, unexpected) };
            (Some(notification), format!("unexpected {}", kind.as_str()))
        };
        let ending = match &event {
            FsmEvent::TcpConnectionFails(_) | FsmEvent::PeerRestarted => Ending::Silent,
            FsmEvent::ManualStop(..)
            | FsmEvent::OpenCollisionDump
            | FsmEvent::Handover
            | FsmEvent::BfdDown(_) => Ending::Final,
            FsmEvent::NotifMsg(told) if told.is_hard_reset() => Ending::Final,
            // What was too much is not kept.
            FsmEvent::AutomaticStop(told, _) if told.code == code::CEASE => Ending::Final,
            FsmEvent::NotifMsg(told) if told.is_collision() => Ending::Collided,
            _ => Ending::Told,
        };
        let stays = matches!(
            event,
            FsmEvent::ManualStop(..) | FsmEvent::OpenCollisionDump | FsmEvent::Handover
        );
        let (notification, reason) = match event {
            FsmEvent::ManualStop(cease, reason) => (Some(cease), reason),
            FsmEvent::OpenCollisionDump => (
                Some(Notification::new(code::CEASE, cease::COLLISION_RESOLUTION)),
                "the other of two connections is kept".to_owned(),
            ),
            FsmEvent::Handover => (None, "about to restart".to_owned()),
            FsmEvent::PeerRestarted => (None, "peer has restarted".to_owned()),
            FsmEvent::AutomaticStop(cease, reason) => (Some(cease), reason),
            FsmEvent::BfdDown(reason) => {
                (Some(Notification::new(code::CEASE, cease::BFD_DOWN)), reason)
            }
            FsmEvent::HoldTimerExpires => {
                (Some(Notification::new(code::HOLD_TIMER, 0)), "hold timer expired".to_owned())
            }
            FsmEvent::TcpConnectionFails(reason) => (None, reason),
            FsmEvent::BgpHeaderErr(reset)
            | FsmEvent::BgpOpenMsgErr(reset)
            | FsmEvent::UpdateMsgErr(reset) => {
                let reason = format!("{} (sent {})", reset.detail, reset.notification);
                (Some(reset.notification), reason)
            }
            FsmEvent::NotifMsg(notification) => {
                self.note_refusal(&notification, shared);
                (None, format!("peer sent {notification}"))
            }
            FsmEvent::BgpOpen(_) => unexpected_message(MessageType::Open),
            FsmEvent::KeepAliveMsg => unexpected_message(MessageType::Keepalive),
            FsmEvent::UpdateMsg(_) => unexpected_message(MessageType::Update),
            FsmEvent::RouteRefreshMsg(_) => unexpected_message(MessageType::RouteRefresh),
            // Timers that do not run and starts that are ignored in these states.
            FsmEvent::ManualStart
            | FsmEvent::ConnectRetryTimerExpires
            | FsmEvent::KeepaliveTimerExpires
            | FsmEvent::IdleHoldTimerExpires
            | FsmEvent::TcpCrAcked
            | FsmEvent::TcpConnectionConfirmed(_) => (
                Some(Notification::new(code::FSM, 0)),
                format!("unexpected {event:?} in {}", self.state),
            ),
        };
        self.end(now, notification, reason, ending, shared);
        if stays {
            self.timers.clear();
        }
    }

    /// Ends what is not a connection yet: there is nobody to be told.
    fn end_silently(&mut self, now: Instant, event: FsmEvent, shared: &mut Shared) {
        match event {
            FsmEvent::ManualStop(_, reason) => {
                self.end(now, None, reason, Ending::Final, shared);
                self.timers.clear();
            }
            FsmEvent::OpenCollisionDump => {
                self.drop_transport(shared);
                self.reset();
                self.state = State::Idle;
            }
            FsmEvent::AutomaticStop(_, reason) | FsmEvent::TcpConnectionFails(reason) => {
                self.end(now, None, reason, Ending::Final, shared);
            }
            other => {
                let reason = format!("unexpected {other:?} in {}", self.state);
                self.end(now, None, reason, Ending::Final, shared);
            }
        }
    }
}
