//! What the speaker is told of the peers, and what it is told by BFD.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use warren_bfd::Change;
use warren_bgp::policy::ImportPolicy;
use warren_speaker::{
    BfdDown, GracefulRestart, PeerSettings, PeerTemplate, RestartTime, StaleTime,
};

use super::super::bfd;
use super::Agent;
use crate::config::Config;
use crate::datastore::{Peer, Snapshot, Template};

/// How long a dynamic neighbour is remembered that has gone: for as long as an operator may ask why.
const LINGER: Duration = Duration::from_secs(60);

impl Agent {
    /// Hands over the blocks to announce and the peers to have.
    pub(super) fn apply_peers(&mut self) {
        let Snapshot { blocks, peers, templates, .. } = &self.snapshot;
        self.speaker.originate(blocks.iter().copied().collect());
        let template = |it: &Template| PeerTemplate {
            name: it.name.clone(),
            range: it.range,
            limit: usize::try_from(it.limit).unwrap_or(usize::MAX),
            linger: LINGER,
            settings: self.settings(&it.peer),
        };
        self.speaker.set_templates(templates.iter().map(template).collect());
        self.speaker.set_peers(peers.iter().map(|peer| self.settings(peer)).collect());
    }

    /// This node's address of IPv4, or of IPv6.
    fn own(&self, is_ipv4: bool) -> Option<IpAddr> {
        let own = [Some(self.identity.address), self.snapshot.ipv6_address.map(IpAddr::V6)];
        own.into_iter().flatten().find(|own| own.is_ipv4() == is_ipv4)
    }

    /// This node's address towards a peer.
    fn source(&self, peer: &Peer) -> Option<IpAddr> {
        peer.source.or_else(|| self.own(peer.address.is_ipv4()))
    }

    fn settings(&self, peer: &Peer) -> PeerSettings {
        PeerSettings {
            port: peer.port,
            passive: peer.passive,
            hold_time: peer.timers.hold_time,
            keepalive: peer.timers.keepalive,
            connect_retry: peer.timers.connect_retry,
            send_hold_time: peer.timers.send_hold,
            source: self.source(peer),
            other_address: self.own(!peer.address.is_ipv4()),
            password: peer.password.clone(),
            distance: peer.distance,
            max_prefixes: peer.max_prefixes,
            shutdown: peer.shutdown.clone(),
            graceful_restart: graceful_restart(&self.config, peer.long_lived),
            local_as: peer.local_as,
            route_reflector_client: peer.route_reflector_client,
            role: peer.role,
            add_path: peer.add_path,
            ..PeerSettings::new(peer.address, peer.as_number)
        }
    }

    /// Hands over what holds for peers; in the order that lets a new peer meet its policy.
    pub(super) fn apply_policies(&self) {
        let Snapshot { pools, blocks, peers, templates, owners, .. } = &self.snapshot;
        self.speaker.set_import_policy(ImportPolicy {
            pools: pools.iter().map(|pool| pool.cidr).collect(),
            own_blocks: blocks.clone(),
            owners: owners.clone(),
        });
        let policies = peers.iter().map(|peer| (peer.address.into(), Arc::clone(&peer.policy)));
        // A peer's own address is longer than any prefix that it lies in.
        let of_templates = templates.iter().map(|it| (it.range, Arc::clone(&it.peer.policy)));
        self.speaker.set_peer_policies(of_templates.chain(policies).collect());
    }

    /// Has BFD sessions with the peers that are to have them, and with the dynamic neighbours that there
    /// are.
    pub fn set_bfd_sessions(&mut self) {
        let Snapshot { peers, templates, .. } = &self.snapshot;
        let with_peer = |it: &Peer| {
            let wish = |bfd| bfd::Wish { peer: it.address, source: self.source(it), bfd };
            it.bfd.map(wish)
        };
        let dynamic = self.dynamic.borrow();
        let of_templates = dynamic.iter().filter_map(|(peer, it)| {
            let template = templates.iter().find(|template| template.name == *it.template)?;
            // It is about to become a peer of its own otherwise.
            let is_dynamic = peers.iter().all(|known| known.address != *peer);
            let bfd = template.peer.bfd.filter(|_| is_dynamic)?;
            Some(bfd::Wish { peer: *peer, source: Some(it.local_address), bfd })
        });
        let wishes = peers.iter().filter_map(with_peer).chain(of_templates);
        let sessions = bfd::sessions(wishes, &bfd::networks(), &self.bfd_sessions);
        drop(dynamic);
        if sessions != self.bfd_sessions {
            self.bfd.set_sessions(sessions.clone());
            self.bfd_sessions = sessions;
        }
    }

    /// Takes what has become of a BFD session: a peer that cannot be reached any more loses its BGP
    /// session.
    pub async fn heed(&mut self, event: warren_bfd::Event) {
        let peer = event.key.peer;
        if matches!(event.change, Change::Down(_)) {
            self.metrics.bfd_down(peer, event.failure().is_some());
        }
        match (event.change, event.failure()) {
            (_, Some(cause)) => {
                warn!(%peer, reason = %cause, "BFD session is down");
                let failure = BfdDown {
                    reason: cause.to_string(),
                    last_up: event.last_up,
                    control_plane_independent: event.control_plane_independent,
                };
                self.speaker.bfd_down(peer, failure).await;
            }
            (Change::Down(cause), None) => info!(%peer, reason = %cause, "BFD session ended"),
            (Change::Up, None) => info!(%peer, "BFD session is up"),
        }
    }
}

fn graceful_restart(config: &Config, long_lived: Option<StaleTime>) -> Option<GracefulRestart> {
    let wanted = config.graceful_restart;
    wanted.enabled.then(|| GracefulRestart {
        restart_time: RestartTime::from_secs(wanted.restart_time_seconds).unwrap_or_default(),
        notification: wanted.notification,
        long_lived: long_lived.unwrap_or_else(|| {
            StaleTime::from_secs(wanted.long_lived_stale_time_seconds).unwrap_or_default()
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_long_lived_stale_time_is_its_own_or_the_nodes_and_off_by_default() {
        let stale_time = |restart: &str, own: Option<u32>| {
            let text = format!("gracefulRestart: {{{restart}}}\npools: [{{cidr: 172.16.0.0/16}}]");
            let config = Config::from_text(&text, "config.yaml".into()).unwrap();
            let own = own.map(|it| StaleTime::from_secs(it).unwrap());
            graceful_restart(&config, own).map(|it| it.long_lived.as_secs())
        };
        let node = "longLivedStaleTimeSeconds: 3600";
        assert_eq!(stale_time("", None), Some(0));
        assert_eq!(stale_time("", Some(60)), Some(60));
        assert_eq!(stale_time(node, None), Some(3600));
        assert_eq!(stale_time(node, Some(0)), Some(0));
        assert_eq!(stale_time("enabled: false", None), None);
    }
}
