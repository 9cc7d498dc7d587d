//! When the node counts as ready.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use warren_bgp::session::State;
use warren_speaker::PeerSnapshot;

/// How long a starting agent waits for every one of its peers before one is enough. Pods that
/// start on a node whose routes are still on their way would fail for a moment; a node whose
/// neighbour is dead for good must not stay unready for ever.
const ALL_PEERS: Duration = Duration::from_secs(30);

/// How long a peer that restarts counts as Established while its routes are kept (RFC 4724, 4.2): to
/// this node's pods nothing has changed. An agent takes a second or two to be back. A peer that is
/// cut off has its routes kept for longer, but an operator is to hear of it.
const RESTART: Duration = Duration::from_secs(10);

/// Remembers since when the agent runs, whether all peers were there once, and who restarts.
#[derive(Debug)]
pub struct Readiness {
    started: Instant,
    all_were_established: bool,
    /// The peers that are not Established while their routes are kept, and since when they were not.
    restarting: BTreeMap<IpAddr, Instant>,
}

impl Readiness {
    /// For an agent that starts at `now`.
    pub fn new(now: Instant) -> Self {
        Self { started: now, all_were_established: false, restarting: BTreeMap::new() }
    }

    /// Why the node is not ready as far as BGP goes, in one sentence that names the peers. For the
    /// first 30 s, and until then, all peers must be Established; later on one is enough. One that
    /// restarts counts for a while longer. A dynamic neighbour that is not there is not missing.
    pub fn bgp(&mut self, peers: &[PeerSnapshot], now: Instant) -> Option<String> {
        let is_kept =
            |peer: &&PeerSnapshot| peer.state != State::Established && peer.prefixes_stale > 0;
        let kept = peers.iter().filter(is_kept).map(|peer| peer.address);
        self.restarting =
            kept.map(|peer| (peer, self.restarting.get(&peer).copied().unwrap_or(now))).collect();
        let restarts = |peer: &PeerSnapshot| {
            let since = self.restarting.get(&peer.address);
            since.is_some_and(|since| now.duration_since(*since) < RESTART)
        };
        let is_expected = |it: &&PeerSnapshot| {
            it.template.is_none() || it.state == State::Established || restarts(it)
        };
        let peers: Vec<&PeerSnapshot> = peers.iter().filter(is_expected).collect();
        let missing: Vec<String> = peers
            .iter()
            .filter(|peer| peer.state != State::Established && !restarts(peer))
            .map(|peer| peer.address.to_string())
            .collect();
        if missing.is_empty() {
            self.all_were_established = true;
            return None;
        }
        let one_is_enough =
            self.all_were_established || now.duration_since(self.started) >= ALL_PEERS;
        if one_is_enough && missing.len() < peers.len() {
            return None;
        }
        Some(format!("BGP not established with {}", missing.join(",")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use super::*;

    fn peer(last: u8, state: State) -> PeerSnapshot {
        PeerSnapshot {
            address: [10, 20, 1, last].into(),
            as_number: 64512,
            template: None,
            state,
            since: SystemTime::UNIX_EPOCH,
            last_error: None,
            prefixes_received: 0,
            prefixes_stale: 0,
            long_lived_stale: Vec::new(),
            prefixes_advertised: 0,
            refused: BTreeMap::new(),
            update_errors: Default::default(),
            end_of_rib: false,
            capabilities: Vec::new(),
        }
    }

    #[test]
    fn without_peers_there_is_nothing_to_wait_for() {
        let now = Instant::now();
        assert_eq!(Readiness::new(now).bgp(&[], now), None);
    }

    #[test]
    fn every_missing_peer_is_named() {
        let now = Instant::now();
        let peers = [peer(232, State::Connect), peer(67, State::Idle)];
        assert_eq!(
            Readiness::new(now).bgp(&peers, now).as_deref(),
            Some("BGP not established with 10.20.1.232,10.20.1.67")
        );
    }

    #[test]
    fn a_starting_agent_waits_for_all_peers_but_not_for_ever() {
        let start = Instant::now();
        let peers = [peer(1, State::Established), peer(2, State::Active)];
        let mut readiness = Readiness::new(start);
        let missing = Some("BGP not established with 10.20.1.2".to_owned());
        assert_eq!(readiness.bgp(&peers, start), missing);
        assert_eq!(readiness.bgp(&peers, start + ALL_PEERS), None);
    }

    #[test]
    fn a_peer_that_dies_later_does_not_make_the_node_unready_but_losing_all_does() {
        let now = Instant::now();
        let mut readiness = Readiness::new(now);
        let both = [peer(1, State::Established), peer(2, State::Established)];
        assert_eq!(readiness.bgp(&both, now), None);
        let one = [peer(1, State::Established), peer(2, State::Active)];
        assert_eq!(readiness.bgp(&one, now), None);
        let none = [peer(1, State::Active), peer(2, State::Active)];
        assert!(readiness.bgp(&none, now).is_some());
    }

    #[test]
    fn a_dynamic_neighbour_is_welcome_but_not_missed() {
        let now = Instant::now();
        let mut readiness = Readiness::new(now);
        let dynamic = |state| PeerSnapshot { template: Some("rack".into()), ..peer(3, state) };
        assert_eq!(readiness.bgp(&[dynamic(State::Active)], now), None);
        let peers = [peer(1, State::Active), dynamic(State::Active)];
        let missing = Some("BGP not established with 10.20.1.1".to_owned());
        assert_eq!(readiness.bgp(&peers, now), missing);
        assert_eq!(
            readiness.bgp(&[peer(1, State::Active), dynamic(State::Established)], now),
            None
        );
    }

    #[test]
    fn a_peer_that_restarts_leaves_the_node_ready_for_a_while_as_its_routes_are_kept() {
        let now = Instant::now();
        let mut readiness = Readiness::new(now);
        let there = [peer(1, State::Established)];
        let restarts = [PeerSnapshot { prefixes_stale: 1, ..peer(1, State::Active) }];
        let missing = Some("BGP not established with 10.20.1.1".to_owned());
        assert_eq!(readiness.bgp(&there, now), None);
        assert_eq!(readiness.bgp(&restarts, now), None);
        let second = Duration::from_secs(1);
        assert_eq!(readiness.bgp(&restarts, now + RESTART - second), None);
        assert_eq!(readiness.bgp(&restarts, now + RESTART), missing, "it does not come back");
        // The next restart is another one.
        assert_eq!(readiness.bgp(&there, now + RESTART), None);
        assert_eq!(readiness.bgp(&restarts, now + RESTART * 2), None);
        // Without its routes it is missing at once.
        let gone = [peer(1, State::Active)];
        assert_eq!(readiness.bgp(&gone, now + RESTART * 2), missing);
    }
}
