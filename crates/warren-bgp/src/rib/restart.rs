//! Graceful restart (RFC 4724): routes that outlive the session of the peer that announced them,
//! and route selection that waits after this speaker's own restart; and routes that the peer
//! announces again in the midst of a session (RFC 7313). What outlives its session for long (RFC 9494) is
//! marked LLGR_STALE as if the peer had done so.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::{Nlri, Rib, Session};
use crate::message::{Attributes, Family};
use crate::policy::{Community, LLGR_STALE, NO_LLGR};

/// Routes of sessions that have ended, or that the peer has begun to refresh, each with its session,
/// kept until the peer has announced them again. They stay in the Adj-RIB-In and count like any
/// others (RFC 4724, 4.2: no difference in forwarding).
pub(super) type Stale = HashMap<Nlri, Arc<Session>>;

impl Rib {
    /// A session has ended, and its peer is expected back: its routes of the `kept` families
    /// become stale, the others go. What is stale already stays so.
    pub fn peer_restarting(&mut self, peer: IpAddr, kept: &[Family]) {
        let Some(gone) = self.end_session(peer) else { return };
        let (kept, lost): (HashSet<_>, HashSet<_>) =
            gone.received.into_iter().partition(|it| kept.contains(&Family::of(&it.prefix)));
        for nlri in lost {
            self.remove_path(nlri, &gone.session);
        }
        if !kept.is_empty() {
            let kept = kept.into_iter().map(|nlri| (nlri, Arc::clone(&gone.session)));
            self.stale.entry(peer).or_default().extend(kept);
        }
    }

    /// The peer has begun to announce all its routes of a family again (RFC 7313, 4): they become
    /// stale.
    pub fn mark_stale(&mut self, peer: IpAddr, family: Family) {
        let Some(routes) = self.peers.get_mut(&peer) else { return };
        let of_family = routes.received.extract_if(|it| Family::of(&it.prefix) == family);
        let mut of_family = of_family.peekable();
        if of_family.peek().is_some() {
            let marked = of_family.map(|nlri| (nlri, Arc::clone(&routes.session)));
            self.stale.entry(peer).or_default().extend(marked);
        }
    }

    /// The stale routes of a peer and a family are kept for long from now on (RFC 9494, 4.2): they are
    /// marked, and those go that are not to be kept so.
    pub fn long_lived(&mut self, peer: IpAddr, family: Family) {
        let Some(stale) = self.stale.get(&peer) else { return };
        let of_family = stale.iter().filter(|(nlri, _)| Family::of(&nlri.prefix) == family);
        let of_family: Vec<_> = of_family.map(|(it, session)| (*it, Arc::clone(session))).collect();
        for (nlri, session) in of_family {
            let Nlri { prefix, path_id } = nlri;
            let paths = self.routes.get_mut(&prefix).into_iter().flat_map(|it| &mut it.paths);
            let mut paths =
                paths.filter(|it| it.path_id == path_id && Arc::ptr_eq(&it.from, &session));
            let Some(path) = paths.next() else { continue };
            if path.attributes.communities.contains(&NO_LLGR) {
                self.withdraw_stale(peer, nlri);
                continue;
            }
            let mut received = Attributes::clone(&path.received);
            Community::Standard(LLGR_STALE).add_to(&mut received);
            path.received = self.attributes.intern(Arc::new(received));
            self.judge_again(vec![prefix], Some(peer));
        }
    }

    /// The stale routes of a peer and a family go: it has announced all again, or it has not come
    /// back in time.
    pub fn sweep(&mut self, peer: IpAddr, family: Family) {
        let Some(stale) = self.stale.get_mut(&peer) else { return };
        let swept: Vec<_> = stale.extract_if(|it, _| Family::of(&it.prefix) == family).collect();
        if stale.is_empty() {
            self.stale.remove(&peer);
        }
        for (nlri, session) in swept {
            self.remove_path(nlri, &session);
        }
    }

    /// How many stale routes there are of a peer and a family.
    pub fn stale(&self, peer: IpAddr, family: Family) -> usize {
        let stale = self.stale.get(&peer).into_iter().flat_map(Stale::keys);
        stale.filter(|nlri| Family::of(&nlri.prefix) == family).count()
    }

    /// The peer has announced `nlri` again.
    pub(super) fn refresh_stale(&mut self, peer: IpAddr, nlri: &Nlri) {
        if let Some(stale) = self.stale.get_mut(&peer) {
            stale.remove(nlri);
        }
    }

    /// The peer has withdrawn `nlri`, which it had announced in the session before only.
    pub(super) fn withdraw_stale(&mut self, peer: IpAddr, nlri: Nlri) {
        if let Some(stale) = self.stale.get_mut(&peer)
            && let Some(session) = stale.remove(&nlri)
        {
            self.remove_path(nlri, &session);
        }
    }

    /// Defers route selection after a restart (RFC 4724, 4.1): until [`resume`](Self::resume)
    /// nothing is reported, peers are told of this node's own routes only, and not that that is
    /// all.
    pub fn defer(&mut self) {
        self.deferred = true;
    }

    /// Ends the deferral: all that was learned meanwhile is reported, and told.
    pub fn resume(&mut self) {
        if !std::mem::take(&mut self.deferred) {
            return;
        }
        for (peer, routes) in &mut self.peers {
            if routes.session.is_of_mesh() {
                self.for_mesh.iter().for_each(|prefix| routes.out.changed(*prefix));
            } else {
                self.routes.keys().for_each(|prefix| routes.out.changed(*prefix));
            }
            self.out_of_date.insert(*peer);
        }
    }
}
