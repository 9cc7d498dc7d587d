//! Graceful restart (RFC 4724): routes that outlive the session of the peer that announced them,
//! and route selection that waits after this speaker's own restart.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::{Rib, Session};
use crate::message::Family;

/// Routes of a session that has ended, kept until the peer has announced them again. They stay in
/// the Adj-RIB-In and count like any others (RFC 4724, 4.2: no difference in forwarding).
#[derive(Debug)]
pub(super) struct Stale {
    session: Arc<Session>,
    prefixes: HashSet<IpNetwork>,
}

impl Stale {
    pub(super) fn len(&self) -> usize {
        self.prefixes.len()
    }
}

impl Rib {
    /// A session has ended, and its peer is expected back: its routes of the `kept` families
    /// become stale, the others go. So do those that were stale already (RFC 4724, 4.2: consecutive
    /// restarts).
    pub fn peer_restarting(&mut self, peer: IpAddr, kept: &[Family]) {
        for family in [Family::Ipv4Unicast, Family::Ipv6Unicast] {
            self.sweep(peer, family);
        }
        let Some(gone) = self.end_session(peer) else { return };
        let (kept, lost): (HashSet<_>, HashSet<_>) =
            gone.received.into_iter().partition(|prefix| kept.contains(&Family::of(prefix)));
        for prefix in lost {
            self.remove_path(prefix, &gone.session);
        }
        if !kept.is_empty() {
            self.stale.insert(peer, Stale { session: gone.session, prefixes: kept });
        }
    }

    /// The stale routes of a peer and a family go: it has announced all again, or it has not come
    /// back in time.
    pub fn sweep(&mut self, peer: IpAddr, family: Family) {
        let Some(stale) = self.stale.get_mut(&peer) else { return };
        let session = Arc::clone(&stale.session);
        let (swept, kept) = stale.prefixes.drain().partition(|prefix| Family::of(prefix) == family);
        stale.prefixes = kept;
        if stale.prefixes.is_empty() {
            self.stale.remove(&peer);
        }
        let swept: HashSet<IpNetwork> = swept;
        for prefix in swept {
            self.remove_path(prefix, &session);
        }
    }

    /// The peer has announced `prefix` again.
    pub(super) fn refresh_stale(&mut self, peer: IpAddr, prefix: &IpNetwork) {
        if let Some(stale) = self.stale.get_mut(&peer) {
            stale.prefixes.remove(prefix);
        }
    }

    /// The peer has withdrawn `prefix`, which it had announced in the session before only.
    pub(super) fn withdraw_stale(&mut self, peer: IpAddr, prefix: IpNetwork) {
        if let Some(stale) = self.stale.get_mut(&peer)
            && stale.prefixes.remove(&prefix)
        {
            let session = Arc::clone(&stale.session);
            self.remove_path(prefix, &session);
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
