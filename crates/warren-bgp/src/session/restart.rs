//! Routes that a peer is to announce again, and until when they are kept: after its session has
//! ended, as the receiving speaker of graceful restart sees it (RFC 4724, 4.2; RFC 8538, 4), and in
//! the midst of a session, while the peer refreshes them (RFC 7313, 4).

use std::time::{Duration, Instant};

use super::{Negotiated, PeerRestart};
use crate::message::Family;

/// How long a peer that is back, or that refreshes its routes, may take to announce them again (RFC
/// 4724, 4.2, and RFC 7313, 4, allow an upper bound and give none). Longer than any deferral of route
/// selection in use: BIRD's is 240 s.
const STALE_TIME: Duration = Duration::from_secs(360);

/// How a session ended, as far as it decides what becomes of its routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// For good: its routes go.
    Final,
    /// The transport is gone and nothing was said: as it is when a peer restarts (RFC 4724, 4.2).
    Silent,
    /// A NOTIFICATION was sent or received, or the hold timer has expired: a restart only where
    /// both sides have set the N bit (RFC 8538, 4).
    Told,
    /// The peer has kept the other of two connections (RFC 4271, 6.8), which it may do after this
    /// side has found the session Established. It has not restarted.
    Collided,
}

/// Routes of a peer that it has not announced again since its session ended, or since it has begun
/// to refresh them. No family is both: in a session with graceful restart End-of-RIB comes first.
#[derive(Debug, Default)]
pub(super) struct Stale {
    families: Vec<Family>,
    until: Option<Instant>,
    /// The families that the peer has begun to refresh in this session, each with its limit.
    refreshing: Vec<(Family, Instant)>,
}

impl Stale {
    /// The session with `restart` has ended. The families whose stale routes go: all after another
    /// restart (RFC 4724, 4.2: consecutive restarts); and those whose routes are stale from now on.
    pub(super) fn keep(
        &mut self,
        now: Instant,
        ending: Ending,
        restart: Option<&PeerRestart>,
    ) -> (Vec<Family>, Vec<Family>) {
        let applies = |restart: &&PeerRestart| match ending {
            Ending::Final => false,
            Ending::Silent | Ending::Collided => true,
            Ending::Told => restart.notification,
        };
        let before = std::mem::take(self);
        if let Some(restart) = restart.filter(applies)
            && !restart.restart_time.is_zero()
        {
            self.families = restart.families.iter().map(|(family, _)| *family).collect();
            self.until = now.checked_add(restart.restart_time);
        }
        let is_kept = |it: &Family| ending == Ending::Collided && self.families.contains(it);
        // What it was refreshing is as good as the rest of its routes.
        let unfinished = before.refreshing.into_iter().map(|(it, _)| it);
        let unfinished = unfinished.filter(|it| !self.families.contains(it));
        let swept = before.families.into_iter().filter(|it| !is_kept(it));
        (swept.chain(unfinished).collect(), self.families.clone())
    }

    /// The peer is back. The families whose routes are not kept any longer: those whose forwarding
    /// state it has lost, or does not speak of (RFC 4724, 4.2).
    pub(super) fn returned(&mut self, now: Instant, negotiated: &Negotiated) -> Vec<Family> {
        let preserved = |family: &Family| {
            let restart = negotiated.graceful_restart.as_ref();
            restart.is_some_and(|it| it.families.contains(&(*family, true)))
        };
        let (kept, lost) = std::mem::take(&mut self.families).into_iter().partition(preserved);
        self.families = kept;
        self.until = if self.families.is_empty() { None } else { now.checked_add(STALE_TIME) };
        lost
    }

    /// The peer has announced all routes of `family`; says whether some may be stale.
    pub(super) fn end_of_rib(&mut self, family: Family) -> bool {
        let before = self.families.len();
        self.families.retain(|it| *it != family);
        if self.families.is_empty() {
            self.until = None;
        }
        self.families.len() < before
    }

    /// The peer has begun to announce all routes of `family` again.
    pub(super) fn refresh_begins(&mut self, now: Instant, family: Family) {
        self.refresh_ends(family);
        self.refreshing.extend(now.checked_add(STALE_TIME).map(|limit| (family, limit)));
    }

    /// The peer has announced them; says whether it had begun to.
    pub(super) fn refresh_ends(&mut self, family: Family) -> bool {
        let before = self.refreshing.len();
        self.refreshing.retain(|(it, _)| *it != family);
        self.refreshing.len() < before
    }

    /// Keeps nothing any longer; the families of which there may be something.
    pub(super) fn forget(&mut self) -> Vec<Family> {
        let all = std::mem::take(self);
        all.families.into_iter().chain(all.refreshing.into_iter().map(|(it, _)| it)).collect()
    }

    /// Keeps nothing any longer whose time has come; the families of which there may be something.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Family> {
        let refreshing = self.refreshing.extract_if(.., |(_, limit)| *limit <= now);
        let mut expired: Vec<Family> = refreshing.map(|(it, _)| it).collect();
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            expired.append(&mut self.families);
        }
        expired
    }

    /// When the first of it is not kept any longer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.refreshing.iter().map(|(_, limit)| *limit).chain(self.until).min()
    }
}
