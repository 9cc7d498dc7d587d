//! When the node counts as ready.

use std::time::{Duration, Instant};

use warren_bgp::session::State;
use warren_speaker::PeerSnapshot;

/// How long a starting agent waits for every one of its peers before one is enough. Pods that
/// start on a node whose routes are still on their way would fail for a moment; a node whose
/// neighbour is dead for good must not stay unready for ever.
const ALL_PEERS: Duration = Duration::from_secs(30);

/// Remembers since when the agent runs and whether all peers were there once.
#[derive(Debug)]
pub struct Readiness {
    started: Instant,
    all_were_established: bool,
}

impl Readiness {
    /// For an agent that starts at `now`.
    pub fn new(now: Instant) -> Self {
        Self { started: now, all_were_established: false }
    }

    /// Why the node is not ready as far as BGP goes, in one sentence that names the peers. For the
    /// first 30 s, and until then, all peers must be Established; later on one is enough.
    ///
    /// A dynamic neighbour that is not there is not missing.
    pub fn bgp(&mut self, peers: &[PeerSnapshot], now: Instant) -> Option<String> {
        let is_expected =
            |it: &&PeerSnapshot| it.template.is_none() || it.state == State::Established;
        let peers: Vec<&PeerSnapshot> = peers.iter().filter(is_expected).collect();
        let missing: Vec<String> = peers
            .iter()
            .filter(|peer| peer.state != State::Established)
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
}
