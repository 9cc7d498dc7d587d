//! Route selection put off after a restart (RFC 4724, 4.1); see [`Restarted`].

use std::time::{Duration, Instant};

use super::{Actor, Neighbor};
use crate::settings::Restarted;

/// A deferral that is not over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deferral {
    /// When it ends at the latest.
    limit: Instant,
    /// Until when peers without a session count; not known before there are peers.
    presence: Option<Instant>,
    presence_time: Duration,
}

impl Deferral {
    pub(super) fn new(now: Instant, restarted: Restarted) -> Option<Self> {
        let limit = now.checked_add(restarted.selection_deferral)?;
        Some(Self { limit, presence: None, presence_time: restarted.presence })
    }

    /// The peers are known.
    pub(super) fn begin(&mut self, now: Instant) {
        self.presence.get_or_insert(now + self.presence_time);
    }

    /// When to look again although nothing has happened.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        self.presence.filter(|at| *at > now).unwrap_or(self.limit).min(self.limit)
    }

    fn waits_for(&self, now: Instant, neighbor: &Neighbor) -> bool {
        match neighbor.machine.negotiated() {
            // One that cannot restart will not say when it is through, and one that has restarted
            // itself waits for us.
            Some(negotiated) => {
                negotiated.graceful_restart.as_ref().is_some_and(|it| !it.restarting)
                    && !neighbor.has_announced_all()
            }
            // One that has answered is there, though the first connections may collide.
            None => neighbor.machine.has_answered() || self.presence.is_none_or(|at| now < at),
        }
    }
}

impl Actor {
    /// Ends the deferral if nobody is waited for any longer.
    pub(super) fn end_deferral(&mut self, now: Instant) {
        let Some(deferral) = self.deferral else { return };
        // Who may come is not known where there are templates.
        let may_come =
            !self.templates.is_empty() && deferral.presence.is_some_and(|until| now < until);
        let is_waiting = deferral.presence.is_none()
            || may_come
            || self.neighbors.values().any(|it| deferral.waits_for(now, it));
        if is_waiting && now < deferral.limit {
            return;
        }
        tracing::info!("routes are selected again after the restart");
        self.deferral = None;
        self.rib.resume();
        for neighbor in self.neighbors.values_mut() {
            neighbor.machine.selected();
        }
        self.has_news = true;
    }
}
