//! Policy at work: on a route as it comes, and on all that came before when policy changes.

use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::decision::Path;
use super::interner::Interner;
use super::{FirstRefusal, Rib, Session};
use crate::message::Attributes;
use crate::policy::{Import, ImportPolicy, PeerPolicy, PrefixMap};

impl Rib {
    /// What to believe from now on; routes that were announced before are judged again.
    pub fn set_import_policy(&mut self, policy: ImportPolicy) {
        if policy == self.policy {
            return;
        }
        self.import = Import::from(&policy);
        self.policy = policy;
        let prefixes: Vec<IpNetwork> = self.routes.keys().copied().collect();
        self.judge_again(prefixes, None);
    }

    /// What operators have settled for peers, by their addresses, in place of what was before; the
    /// longest prefix counts, and what is not here has the default. It takes effect at once, on
    /// what was announced before too, and touches no session.
    pub fn set_peer_policies(&mut self, policies: PrefixMap<Arc<PeerPolicy>>) {
        self.peer_policies = policies;
        let stale: Vec<(IpAddr, Vec<IpNetwork>)> = self
            .stale
            .iter()
            .map(|(peer, it)| (*peer, it.keys().map(|it| it.prefix).collect()))
            .collect();
        for (peer, prefixes) in stale {
            self.judge_again(prefixes, Some(peer));
        }
        let peers: Vec<IpAddr> = self.peers.keys().copied().collect();
        for peer in peers {
            let policy = policy_of(&self.peer_policies, peer);
            let Some(routes) = self.peers.get_mut(&peer) else { continue };
            let before = mem::replace(&mut routes.policy, Arc::clone(&policy));
            let judges = |policy: &'_ PeerPolicy| (policy.allow_own_as, policy.requires_rules);
            if judges(&before) != judges(&policy) || before.import != policy.import {
                let prefixes = routes.received.iter().map(|it| it.prefix).collect();
                self.judge_again(prefixes, Some(peer));
            }
            let tells = |policy: &'_ PeerPolicy| (policy.next_hop, policy.requires_rules);
            if tells(&before) != tells(&policy) || before.export != policy.export {
                self.tell_again(peer);
            }
        }
    }

    /// Whether this node is about to go away, so that peers are to prefer any other path (RFC 8326).
    pub fn set_graceful_shutdown(&mut self, is_on: bool) {
        if mem::replace(&mut self.graceful_shutdown, is_on) != is_on {
            let peers: Vec<IpAddr> = self.peers.keys().copied().collect();
            for peer in peers {
                self.tell_again(peer);
            }
        }
    }

    /// Runs import policy again over paths to these destinations, those of one peer or of all.
    pub(super) fn judge_again(&mut self, prefixes: Vec<IpNetwork>, of: Option<IpAddr>) {
        for prefix in prefixes {
            let Some(route) = self.routes.get_mut(&prefix) else { continue };
            let mut differs = false;
            let mut refused = Vec::new();
            for path in &mut route.paths {
                let peer = path.from.peer;
                if of.is_some_and(|of| of != peer) {
                    continue;
                }
                let policy = policy_of(&self.peer_policies, peer);
                let announced = Announced {
                    from: Arc::clone(&path.from),
                    path_id: path.path_id,
                    received: Arc::clone(&path.received),
                };
                let judged = judge(&self.import, &mut self.attributes, &policy, &prefix, announced);
                if judged.refusal != path.refusal {
                    refused.extend(judged.refusal.map(|refusal| (peer, refusal)));
                }
                if judged.refusal != path.refusal
                    || !Arc::ptr_eq(&judged.attributes, &path.attributes)
                {
                    *path = judged;
                    differs = true;
                }
            }
            for (peer, refusal) in refused {
                self.count_refusal(FirstRefusal { peer, prefix, refusal });
            }
            if differs {
                self.select(prefix);
            }
        }
    }

    /// Works out anew what a peer is to have; it hears of what has become another.
    fn tell_again(&mut self, peer: IpAddr) {
        let Some(routes) = self.peers.get_mut(&peer) else { return };
        if routes.session.is_of_mesh() {
            routes.out.all_changed(self.for_mesh.iter().copied());
        } else {
            routes.out.all_changed(self.routes.keys().copied());
        }
        if !routes.out.is_up_to_date() {
            self.out_of_date.insert(peer);
        }
    }
}

/// A route as it came.
pub(super) struct Announced {
    pub(super) from: Arc<Session>,
    pub(super) path_id: u32,
    pub(super) received: Arc<Attributes>,
}

/// Phase 1 (RFC 4271, 9.1.1): a route of a peer with what policy makes of it.
pub(super) fn judge(
    import: &Import,
    interner: &mut Interner,
    policy: &PeerPolicy,
    prefix: &IpNetwork,
    Announced { from, path_id, received }: Announced,
) -> Path {
    match import.judge(&from.arrival(), policy, prefix, &received) {
        Ok(changed) => {
            let attributes = match changed {
                Some(changed) => interner.intern(Arc::new(changed)),
                None => Arc::clone(&received),
            };
            Path { from, path_id, received, attributes, refusal: None }
        }
        Err(refusal) => {
            let attributes = Arc::clone(&received);
            Path { from, path_id, received, attributes, refusal: Some(refusal) }
        }
    }
}

pub(super) fn policy_of(policies: &PrefixMap<Arc<PeerPolicy>>, peer: IpAddr) -> Arc<PeerPolicy> {
    policies.holding(&peer.into()).cloned().unwrap_or_default()
}
