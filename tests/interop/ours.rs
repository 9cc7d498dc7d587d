//! Our speaker: the one that the agent has, at our end of the wire.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::lab::wait::{SOON, eventually};
use tests::wire::Wire;
use tokio::runtime;
use tokio::sync::oneshot;
use warren_speaker::{
    ImportPolicy, PathChange, PeerSettings, PeerSnapshot, Speaker, SpeakerConfig, State,
};

/// Where the routes of all tests are.
const POOLS: [&str; 2] = ["10.0.0.0/8", "2001:db8::/32"];

/// A speaker of ours that runs.
pub struct Ours {
    speaker: Speaker,
    changes: Arc<Mutex<Vec<PathChange>>>,
    errors: Arc<Mutex<Vec<String>>>,
    end: Option<oneshot::Sender<()>>,
    ended: mpsc::Receiver<()>,
}

impl Ours {
    /// Starts one that announces these prefixes to these peers.
    pub fn start(
        wire: &Wire,
        config: SpeakerConfig,
        announce: &[&str],
        peers: Vec<PeerSettings>,
    ) -> Result<Self> {
        // A program that another test starts has, until it runs, a copy of all sockets of this process:
        // one of them may be that of the speaker that was here before.
        eventually("the port is free", SOON, || {
            Self::start_once(wire, config.clone(), announce, peers.clone())
        })
    }

    fn start_once(
        wire: &Wire,
        config: SpeakerConfig,
        announce: &[&str],
        peers: Vec<PeerSettings>,
    ) -> Result<Self> {
        let parse = |it: &&str| it.parse().with_context(|| format!("{it} is no prefix"));
        let blocks: BTreeSet<_> = announce.iter().map(parse).collect::<Result<_>>()?;
        let pools = POOLS.iter().map(parse).collect::<Result<_>>()?;
        let changes = Arc::new(Mutex::new(Vec::new()));
        let (end, end_wanted) = oneshot::channel();
        let (start, started) = mpsc::channel();
        let (is_ended, ended) = mpsc::channel::<()>();
        let errors = Arc::new(Mutex::new(Vec::new()));
        let (seen, told) = (Arc::clone(&changes), Arc::clone(&errors));
        wire.spawn(move || {
            // It goes when the thread does, and says so by that.
            let _is_ended = is_ended;
            let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                let (speaker, mut receiver) = match warren_speaker::start(config).await {
                    Ok(both) => both,
                    Err(error) => {
                        // Who waits for it waits as long as this takes.
                        let _ = start.send(Err(error));
                        return;
                    }
                };
                let _ = start.send(Ok(speaker.clone()));
                let collect = async {
                    while let Some(batch) = receiver.recv().await {
                        seen.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
                    }
                };
                let mut news = speaker.watch();
                let listen = async {
                    while news.changed().await.is_ok() {
                        for peer in speaker.peers().await {
                            told.lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .extend(peer.last_error);
                        }
                    }
                };
                tokio::select! {
                    () = collect => {}
                    () = listen => {}
                    _ = end_wanted => {}
                }
            });
            // Its sockets are closed, without a word, like those of a process that is killed.
            drop(runtime);
        })?;
        let speaker: Speaker = started.recv().context("the speaker's thread ended")??;
        speaker.set_import_policy(ImportPolicy {
            pools,
            own_blocks: Vec::new(),
            owners: Vec::new(),
        });
        speaker.originate(blocks);
        speaker.set_peers(peers);
        wait(speaker.listen())??;
        Ok(Self { speaker, changes, errors, end: Some(end), ended })
    }

    /// Ends it as a crash would, and waits for that.
    pub fn crash(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(end) = self.end.take() {
            // An error of either means that it has ended already.
            let _ = end.send(());
            let _ = self.ended.recv_timeout(Duration::from_secs(60));
        }
    }

    /// How the peer there is doing.
    pub fn peer(&self, address: &str) -> Result<PeerSnapshot> {
        let address: IpAddr = address.parse().context("is no address")?;
        let peers = wait(self.speaker.peers())?;
        peers
            .into_iter()
            .find(|peer| peer.address == address)
            .with_context(|| format!("there is no peer {address}"))
    }

    /// That the session with the peer there is Established.
    pub fn expect_established(&self, address: &str) -> Result<()> {
        let peer = self.peer(address)?;
        ensure!(peer.state == State::Established, "ours: {peer:?}");
        Ok(())
    }

    /// That a session has ended for a reason with these words, whatever has happened since.
    pub fn expect_ended(&self, words: &str) -> Result<()> {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        errors.dedup();
        ensure!(errors.iter().any(|it| it.contains(words)), "no {words:?} among {errors:?}");
        Ok(())
    }

    /// All changes of its best paths so far.
    pub fn changes(&self) -> Vec<PathChange> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next hop of the best path to a prefix.
    pub fn expect_route(&self, prefix: &str) -> Result<IpAddr> {
        let changes = self.changes();
        let latest = changes.iter().rev().find(|change| change.prefix.to_string() == prefix);
        latest
            .and_then(|change| change.best)
            .map(|best| best.next_hop)
            .with_context(|| format!("there is no path to {prefix}: {changes:?}"))
    }

    /// That there is no path to a prefix.
    pub fn expect_no_route(&self, prefix: &str) -> Result<()> {
        let found = self.expect_route(prefix);
        ensure!(found.is_err(), "there is a path to {prefix}: {found:?}");
        Ok(())
    }

    /// The speaker itself.
    pub fn speaker(&self) -> &Speaker {
        &self.speaker
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a speaker has where it listens at this address.
pub fn config(address: &str, local_as: u32, router_id: &str) -> Result<SpeakerConfig> {
    let listen = SocketAddr::new(address.parse().context("is no address")?, 179);
    Ok(SpeakerConfig::new(local_as, router_id.parse().context("is no identifier")?, listen))
}

/// What comes of this work, which is waited for.
pub fn wait<T>(work: impl Future<Output = T>) -> Result<T> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("cannot make a runtime")?.block_on(work))
}
