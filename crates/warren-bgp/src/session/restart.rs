//! Routes that a peer is to announce again, and until when they are kept: after its session has
//! ended, as the receiving speaker of graceful restart sees it (RFC 4724, 4.2; RFC 8538, 4; for long:
//! RFC 9494, 4.2), and in the midst of a session, while the peer refreshes them (RFC 7313, 4).

use std::time::{Duration, Instant};

use super::{Action, Negotiated, PeerRestart, SUPPORTED_FAMILIES};
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
    kept: Vec<Kept>,
    /// The families that the peer has begun to refresh in this session, each with its limit.
    refreshing: Vec<(Family, Instant)>,
}

/// What is kept of a family whose session has ended.
#[derive(Debug)]
struct Kept {
    family: Family,
    phase: Phase,
    /// How long it is kept beyond the restart time: the long-lived stale time (RFC 9494, 3.1).
    stale_time: Duration,
    /// When that is over, once it has begun. It is not put off before End-of-RIB (RFC 9494, 4.2).
    long_lived: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The peer is away, and has its restart time until then.
    Restarting(Instant),
    /// It has been away for longer than that.
    Away,
    /// It is back, and may take until then to announce all again.
    Back(Instant),
    /// It is back, but the long-lived stale time was over before it had announced all: nothing is
    /// left, and nothing is kept if this session ends before it has (RFC 9494, 4.2).
    Spent,
}

impl Kept {
    /// Goes on to what holds at `now`; says whether there is anything to be kept in mind.
    fn expire(&mut self, now: Instant, actions: &mut Vec<Action>) -> bool {
        if let Phase::Restarting(end) = self.phase
            && end <= now
            && (!self.stale_time.is_zero() || self.long_lived.is_some())
        {
            self.phase = Phase::Away;
            self.long_lived = self.long_lived.or(end.checked_add(self.stale_time));
            actions.push(Action::LongLived(self.family));
        }
        let was_long = self.long_lived.is_some_and(|end| end <= now);
        let is_over = match self.phase {
            Phase::Restarting(end) | Phase::Back(end) => end <= now,
            Phase::Away => self.long_lived.is_none(),
            Phase::Spent => return true,
        };
        if !was_long && !is_over {
            return true;
        }
        actions.push(Action::Sweep(self.family));
        let is_back = matches!(self.phase, Phase::Back(_));
        (self.phase, self.long_lived) = (Phase::Spent, None);
        is_back && was_long
    }

    /// When [`expire`](Self::expire) has something to do.
    fn deadline(&self) -> Option<Instant> {
        let end = match self.phase {
            Phase::Restarting(end) | Phase::Back(end) => Some(end),
            Phase::Away | Phase::Spent => None,
        };
        end.into_iter().chain(self.long_lived).min()
    }
}

/// For how long routes of a family are to be kept: as they are, and for long.
fn times(restart: &PeerRestart, family: Family) -> (Duration, Duration) {
    let is_listed = restart.families.iter().any(|(it, _)| *it == family);
    let restart_time = if is_listed { restart.restart_time } else { Duration::ZERO };
    let mut tuples = restart.long_lived.iter().flatten();
    let stale_time = tuples.find(|it| it.family == family).map_or(0, |it| it.stale_time);
    (restart_time, Duration::from_secs(stale_time.into()))
}

impl Stale {
    /// The session with `restart` has ended. The families whose stale routes go: all after another
    /// restart (RFC 4724, 4.2: consecutive restarts), but for those that may be kept for long (RFC
    /// 9494, 4.2); and those whose routes are stale from now on.
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
        if let Some(restart) = restart.filter(applies) {
            self.kept = SUPPORTED_FAMILIES
                .into_iter()
                .filter_map(|family| {
                    let known = before.kept.iter().find(|it| it.family == family);
                    let long_lived = known.and_then(|it| it.long_lived);
                    let (restart_time, stale_time) = times(restart, family);
                    let lasts = restart_time + stale_time > Duration::ZERO || long_lived.is_some();
                    let is_kept = lasts && known.is_none_or(|it| it.phase != Phase::Spent);
                    let phase = Phase::Restarting(now.checked_add(restart_time)?);
                    is_kept.then_some(Kept { family, phase, stale_time, long_lived })
                })
                .collect();
        }
        let kept = |family| self.kept.iter().find(|it| it.family == family);
        let stays = |it: &Kept| {
            let is_long = |it: &Kept| !it.stale_time.is_zero() || it.long_lived.is_some();
            kept(it.family).is_some_and(|it| ending == Ending::Collided || is_long(it))
        };
        let swept = before.kept.iter().filter(|it| it.phase != Phase::Spent && !stays(it));
        // What it was refreshing is as good as the rest of its routes.
        let unfinished = before.refreshing.iter().map(|(it, _)| *it);
        let unfinished = unfinished.filter(|it| kept(*it).is_none());
        let swept = swept.map(|it| it.family).chain(unfinished).collect();
        (swept, self.kept.iter().map(|it| it.family).collect())
    }

    /// The peer is back. The families whose routes are not kept any longer: those whose forwarding
    /// state it has lost, or does not speak of (RFC 4724, 4.2; RFC 9494, 4.2).
    pub(super) fn returned(&mut self, now: Instant, negotiated: &Negotiated) -> Vec<Family> {
        let preserved = |it: &Kept| {
            let Some(restart) = &negotiated.graceful_restart else { return false };
            let mut tuples = restart.long_lived.iter().flatten();
            restart.families.contains(&(it.family, true))
                && (it.long_lived.is_none()
                    || tuples.any(|tuple| tuple.family == it.family && tuple.forwarding))
        };
        let limit = now.checked_add(STALE_TIME);
        let mut lost = Vec::new();
        self.kept.retain_mut(|it| match limit.filter(|_| preserved(it)) {
            Some(limit) => {
                it.phase = Phase::Back(limit);
                true
            }
            None => {
                lost.push(it.family);
                false
            }
        });
        lost
    }

    /// The peer has announced all routes of `family`; says whether some may be stale.
    pub(super) fn end_of_rib(&mut self, family: Family) -> bool {
        let mut known = self.kept.extract_if(.., |it| it.family == family);
        known.next().is_some_and(|it| it.phase != Phase::Spent)
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
        let kept = all.kept.into_iter().filter(|it| it.phase != Phase::Spent);
        kept.map(|it| it.family).chain(all.refreshing.into_iter().map(|(it, _)| it)).collect()
    }

    /// What becomes of what is kept, now that it is `now`.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Action> {
        let refreshing = self.refreshing.extract_if(.., |(_, limit)| *limit <= now);
        let mut actions: Vec<Action> = refreshing.map(|(it, _)| Action::Sweep(it)).collect();
        self.kept.retain_mut(|it| it.expire(now, &mut actions));
        actions
    }

    /// When there is something to [`expire`](Self::expire).
    pub(super) fn deadline(&self) -> Option<Instant> {
        let refreshing = self.refreshing.iter().map(|(_, limit)| *limit);
        refreshing.chain(self.kept.iter().filter_map(Kept::deadline)).min()
    }

    /// The families that are kept for long, each with until when.
    pub(super) fn long_lived(&self) -> impl Iterator<Item = (Family, Instant)> {
        self.kept.iter().filter_map(|it| Some((it.family, it.long_lived?)))
    }
}
