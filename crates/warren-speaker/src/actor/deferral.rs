//! Route selection put off after a restart (RFC 4724, 4.1).
//!
//! The RFC has the restarting speaker wait for End-of-RIB from all its peers. Taken literally, one
//! dead peer holds back the routes of all others. So only a peer that is there is waited for; one
//! that is not has had its chance after [`PRESENCE`].

use std::time::{Duration, Instant};

use super::{Actor, Neighbor};

/// How long a peer without a session is waited for. Those that are there notice the restart at
/// once, by the end of their connection, and take the new one at the first attempt.
const PRESENCE: Duration = Duration::from_secs(3);

/// A deferral that is not over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deferral {
    /// When it ends at the latest.
    limit: Instant,
    /// Until when peers without a session count; not known before there are peers.
    presence: Option<Instant>,
}

impl Deferral {
    pub(super) fn new(now: Instant, at_most: Duration) -> Option<Self> {
        Some(Self { limit: now.checked_add(at_most)?, presence: None })
    }

    /// The peers are known.
    pub(super) fn begin(&mut self, now: Instant) {
        self.presence.get_or_insert(now + PRESENCE);
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
            None => self.presence.is_none_or(|at| now < at),
        }
    }
}

impl Actor {
    /// Ends the deferral if nobody is waited for any longer.
    pub(super) fn end_deferral(&mut self, now: Instant) {
        let Some(deferral) = self.deferral else { return };
        let is_waiting = deferral.presence.is_none()
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
