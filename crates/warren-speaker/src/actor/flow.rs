//! What goes out and how much of it at once: routes to peers, path changes to the agent.

use tokio::sync::mpsc;
use warren_bgp::rib::{PathChange, Rib};

use super::{Actor, Stage};

/// Octets in an outbox above which a peer is given no more routes: a few full writes.
pub(super) const OUTBOX_FULL: usize = 64 * 1024;

/// Destinations taken from the RIB at once: with the attributes of this program's own routes they
/// fill a message or two, and with the longest possible ones an outbox holds some 4 MiB, or 64 MiB
/// of extended messages (RFC 8654).
const ROUTES_PER_BATCH: usize = 1024;

/// Batches of one turn, over all peers.
const BATCHES_PER_TURN: usize = 16;

/// Path changes handed over at once.
const CHANGES_PER_BATCH: usize = 4096;

impl Actor {
    /// Gives routes to peers that have room for them, in turns; says whether some still have.
    pub(super) fn tell_peers(&mut self) -> bool {
        for _ in 0..BATCHES_PER_TURN {
            let next = self.rib.out_of_date(self.told_last).find_map(|peer| {
                let neighbor = self.neighbors.get(&peer)?;
                let key = neighbor.established?;
                match &self.connections.get(&key)?.stage {
                    Stage::Open { queued, .. } if *queued < OUTBOX_FULL => Some((peer, key)),
                    _ => None,
                }
            });
            let Some((peer, key)) = next else { return false };
            self.told_last = Some(peer);
            let updates = self.rib.take_updates(peer, ROUTES_PER_BATCH);
            let Some(neighbor) = self.neighbors.get(&peer) else { continue };
            for message in updates.iter().flat_map(|update| neighbor.machine.encode_update(update))
            {
                super::perform::send(&mut self.connections, key, message);
            }
            self.has_news = true;
        }
        true
    }

    pub(super) fn log_refusals(&mut self) {
        for first in self.rib.take_first_refusals() {
            tracing::warn!(
                peer = %first.peer, prefix = %first.prefix, reason = %first.refusal,
                "route refused; more of this peer for this reason are only counted"
            );
        }
    }
}

/// Hands over a batch of path changes, unless all of it has changed back. Without a place nobody
/// wants them any more.
pub(super) fn report(rib: &mut Rib, place: Option<mpsc::Permit<'_, Vec<PathChange>>>) {
    let batch = rib.take_changes(CHANGES_PER_BATCH);
    if let Some(place) = place.filter(|_| !batch.is_empty()) {
        place.send(batch);
    }
}
