//! Graceful restart between real speakers (RFC 4724).

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use warren_bgp::message::Family;

use super::node::*;
use crate::*;

/// A speaker that can be killed: it has a thread, a runtime, and with that sockets of its own.
struct Mortal {
    node: Node,
    life: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Mortal {
    async fn start(config: SpeakerConfig, originated: &[&str]) -> Self {
        let (born, birth) = oneshot::channel();
        let (life, end) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                drop(born.send(listening(config).await.unwrap()));
                let _: Result<(), _> = end.await;
            });
        });
        let (speaker, changes) = birth.await.unwrap();
        Self { node: Node::with(speaker, changes, originated), life, thread }
    }

    /// As by SIGKILL: the kernel closes its sockets, and nothing is said.
    fn kill(self) {
        drop(self.life);
        self.thread.join().unwrap();
    }
}

fn config(listen: SocketAddr) -> SpeakerConfig {
    let SocketAddr::V4(address) = listen else { panic!("{listen}") };
    SpeakerConfig::new(AS, *address.ip(), listen)
}

/// The same speaker again, after a restart. It waits for peers that are not there so long.
fn restarted(listen: SocketAddr, presence: Duration) -> SpeakerConfig {
    let restarted = Some(Restarted { selection_deferral: HOUR, presence });
    SpeakerConfig { restarted, ..config(listen) }
}

const HOUR: Duration = Duration::from_secs(3600);

/// One that stays, and one at the other address that announces two blocks.
async fn pair(graceful_restart: Option<GracefulRestart>) -> (Node, Mortal) {
    let mut one = Node::start(&["10.1.0.0/26"]).await;
    let listen = SocketAddr::new(fresh_address().into(), 0);
    let two = Mortal::start(config(listen), &["10.2.0.0/26", "10.2.0.64/26"]).await;
    let settings =
        |node: &Node, of: &Node| PeerSettings { graceful_restart, ..node.as_peer_of(of) };
    one.speaker.set_peers(vec![settings(&two.node, &one)]);
    two.node.speaker.set_peers(vec![settings(&one, &two.node)]);
    one.until_table(|table| table.len() == 2).await;
    one.until_peer(two.node.address, "end of rib", |peer| peer.end_of_rib).await;
    two.node.until_peer(one.address, "end of rib", |peer| peer.end_of_rib).await;
    (one, two)
}

fn is_up(peer: &PeerSnapshot) -> bool {
    peer.state == State::Established && peer.end_of_rib && peer.prefixes_stale == 0
}

#[tokio::test]
async fn a_speaker_that_is_killed_or_hands_over_and_returns_is_noticed_by_no_route() {
    for is_killed in [true, false] {
        let (mut one, two) = pair(Some(GracefulRestart::default())).await;
        let (listen, address) = (two.node.speaker.listening(), two.node.address);
        let since = one.peer(address).await.since;
        if is_killed {
            two.kill();
        } else {
            two.node.speaker.hand_over().await;
            two.kill();
        }
        let away = one.until_peer(address, "away", |peer| peer.state != State::Established).await;
        assert_eq!((away.prefixes_received, away.prefixes_stale), (0, 2));
        assert!(!away.last_error.unwrap().contains("Cease"), "not a word was said");

        let again = Mortal::start(restarted(listen, HOUR), &["10.2.0.0/26", "10.2.0.64/26"]).await;
        again.node.speaker.set_peers(vec![one.as_peer_of(&again.node)]);
        let back = one.until_peer(address, "back", is_up).await;
        assert!(back.since > since);
        assert_eq!(back.prefixes_received, 2);
        assert!(one.changes.try_recv().is_err(), "a route has changed");
        again.kill();
    }
}

/// What the peers are to hear does not depend on how fast the speaker is told of them.
#[tokio::test]
async fn a_speaker_that_hears_late_of_its_peers_has_restarted_all_the_same() {
    let of_something_else: fn(&Speaker) = |speaker| speaker.originate(blocks(&["10.1.0.0/26"]));
    let of_no_peers: fn(&Speaker) = |speaker| speaker.set_peers(Vec::new());
    // It waits for routes (R) and knows of notifications (N); where it was told that there are no
    // peers it has not waited. It has gone on forwarding in any case.
    for (hears_first, flags) in [(of_something_else, 0xC0), (of_no_peers, 0x40)] {
        let by_hand = fresh_address();
        let (speaker, _changes) =
            listening(restarted(SocketAddr::new(fresh_address().into(), 0), HOUR)).await.unwrap();
        hears_first(&speaker);
        speaker.watch().changed().await.unwrap();
        speaker.set_peers(vec![settings(SocketAddr::new(by_hand.into(), 1))]);
        until_peer(&speaker, by_hand.into(), "known", |_| true).await;
        let mut caller = ByHand::connect(by_hand, speaker.listening(), None).await;
        let open = caller.receive_until(OPEN).await;
        let expected = [64, 6, flags, 120, 0, 1, 1, 0x80];
        assert!(open.windows(8).any(|it| it == expected), "{flags:x}: {open:x?}");
    }
}

#[tokio::test]
async fn without_graceful_restart_the_same_is_noticed_by_all_routes() {
    let (mut one, two) = pair(None).await;
    two.kill();
    one.until_routes(&[]).await;
}

#[tokio::test]
async fn what_the_restarted_speaker_does_not_announce_again_goes() {
    let (mut one, two) = pair(Some(GracefulRestart::default())).await;
    let (listen, address) = (two.node.speaker.listening(), two.node.address);
    two.kill();
    let again = Mortal::start(restarted(listen, HOUR), &["10.2.0.64/26"]).await;
    again.node.speaker.set_peers(vec![one.as_peer_of(&again.node)]);
    one.until_routes(&[("10.2.0.64/26", address)]).await;
}

#[tokio::test]
async fn a_speaker_that_stays_away_loses_its_routes_after_its_restart_time() {
    let restart_time = RestartTime::from_secs(1).unwrap();
    let (mut one, two) = pair(Some(GracefulRestart { restart_time, ..Default::default() })).await;
    two.kill();
    one.until_routes(&[]).await;
}

#[tokio::test]
async fn with_a_long_lived_stale_time_they_stay_and_the_snapshot_says_for_how_long() {
    let restart_time = RestartTime::from_secs(0).unwrap();
    let long_lived = StaleTime::from_secs(3600).unwrap();
    let graceful_restart = GracefulRestart { restart_time, long_lived, ..Default::default() };
    let (mut one, two) = pair(Some(graceful_restart)).await;
    let (listen, address) = (two.node.speaker.listening(), two.node.address);
    two.kill();
    let away = one.until_peer(address, "away", |peer| peer.state != State::Established).await;
    let [kept] = away.long_lived_stale[..] else { panic!("{away:?}") };
    assert_eq!((kept.family, kept.prefixes), (Family::Ipv4Unicast, 2));
    let left = kept.until.duration_since(away.since).unwrap();
    assert!(left > HOUR / 2 && left <= HOUR + HOUR / 2, "{left:?}");
    // One prefix is announced again, the other one is not.
    let again = Mortal::start(restarted(listen, HOUR), &["10.2.0.64/26"]).await;
    let settings =
        PeerSettings { graceful_restart: Some(graceful_restart), ..one.as_peer_of(&again.node) };
    again.node.speaker.set_peers(vec![settings]);
    one.until_routes(&[("10.2.0.64/26", address)]).await;
    one.until_peer(address, "back", |peer| is_up(peer) && peer.long_lived_stale.is_empty()).await;
}

#[tokio::test]
async fn one_that_starts_anew_without_its_forwarding_state_loses_its_routes_at_once() {
    let (mut one, two) = pair(Some(GracefulRestart::default())).await;
    let listen = two.node.speaker.listening();
    two.kill();
    // Its pods are gone with the machine, and so is its block.
    let again = Mortal::start(config(listen), &[]).await;
    again.node.speaker.set_peers(vec![one.as_peer_of(&again.node)]);
    one.until_routes(&[]).await;
}

#[tokio::test]
async fn a_dead_peer_does_not_hold_back_the_routes_of_the_others() {
    let two = Node::start(&["10.2.0.0/26"]).await;
    let listen = SocketAddr::new(fresh_address().into(), 0);
    let mut one = Mortal::start(restarted(listen, Duration::from_secs(1)), &[]).await;
    let nobody = SocketAddr::new(fresh_address().into(), 1);
    one.node.speaker.set_peers(vec![two.as_peer_of(&one.node), settings(nobody)]);
    two.speaker.set_peers(vec![one.node.as_peer_of(&two)]);
    one.node.until_routes(&[("10.2.0.0/26", two.address)]).await;
}

#[tokio::test]
async fn a_peer_that_is_there_is_waited_for_before_routes_are_selected() {
    let mut two = Node::start(&["10.2.0.0/26"]).await;
    let by_hand = fresh_address();
    let listen = SocketAddr::new(fresh_address().into(), 0);
    let mut one = Mortal::start(restarted(listen, HOUR), &["10.1.0.0/26"]).await;
    let passive = PeerSettings { passive: true, ..settings(SocketAddr::new(by_hand.into(), 1)) };
    one.node.speaker.set_peers(vec![two.as_peer_of(&one.node), passive]);
    one.node.until_peer(by_hand.into(), "known", |peer| peer.state == State::Active).await;
    let mut slow = ByHand::connect(by_hand, one.node.speaker.listening(), None).await;
    slow.send_open_with(90, by_hand, &GRACEFUL_RESTART).await;
    slow.send(KEEPALIVE, &[]).await;
    one.node.until_peer(by_hand.into(), "up", |peer| peer.state == State::Established).await;
    two.speaker.set_peers(vec![one.node.as_peer_of(&two)]);
    // Own routes are told at once, the end of them is not.
    two.until_routes(&[("10.1.0.0/26", one.node.address)]).await;
    one.node.until_peer(two.address, "complete", |peer| peer.end_of_rib).await;
    assert!(!two.peer(one.node.address).await.end_of_rib);
    assert!(one.node.changes.try_recv().is_err());

    slow.send(UPDATE, &[0; 4]).await;
    one.node.until_routes(&[("10.2.0.0/26", two.address)]).await;
    two.until_peer(one.node.address, "complete", |peer| peer.end_of_rib).await;
}
