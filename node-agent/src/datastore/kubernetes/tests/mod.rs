//! The datastore against an API server in this process. Time is tokio's paused one: it jumps ahead
//! whenever everybody waits, so that a minute's backoff takes no time and an event that never comes
//! is noticed.

mod conditions;
mod fake;
mod nodes;
mod settled;

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;

use self::fake::Fake;
use crate::config::Config;
use crate::datastore::{Network, Snapshot, State};

/// Longer than any backoff.
const LONG: Duration = Duration::from_secs(600);

/// A configuration with these lines besides.
fn config(lines: &str) -> Config {
    serde_saphyr::from_str(&format!("datastore: kubernetes\n{lines}")).unwrap()
}

const POOLS: &str = "pools: [{cidr: 10.244.0.0/16, blockSize: 24}]";

/// The datastore of `node1`, its server and its directory.
struct Running {
    states: watch::Receiver<Arc<State>>,
    configs: watch::Sender<Arc<Config>>,
    network: watch::Sender<Option<Network>>,
    state_dir: Arc<TempDir>,
}

impl Running {
    fn start(fake: &Fake, lines: &str) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), fake, lines)
    }

    fn start_in(state_dir: Arc<TempDir>, fake: &Fake, lines: &str) -> Self {
        let mut config = config(lines);
        config.state_dir = Some(state_dir.path().to_owned());
        let (configs, following) = watch::channel(Arc::new(config));
        let (network, networks) = watch::channel(None);
        let (client, heard) = fake.client();
        let states = super::run("node1", client, heard, following, networks);
        Self { states, configs, network, state_dir }
    }

    /// Waits for a state that is as `condition` says.
    async fn until(&self, what: &str, condition: impl Fn(&State) -> bool) -> Arc<State> {
        let mut states = self.states.clone();
        let found = tokio::time::timeout(LONG, states.wait_for(|state| condition(state))).await;
        match found {
            Ok(state) => state.unwrap().clone(),
            Err(_) => panic!("waited for {what} in vain: {:?}", self.states.borrow()),
        }
    }

    async fn peers(&self, names: &[&str]) -> Arc<State> {
        self.until(&format!("{names:?}"), |state| peers(&state.snapshot) == names).await
    }

    async fn in_touch(&self) -> Arc<State> {
        self.until("being in touch", |state| state.contact.problem.is_none()).await
    }

    async fn out_of_touch(&self) -> Arc<State> {
        self.until("a loss", |state| state.contact.problem.is_some()).await
    }
}

fn peers(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.peers.iter().filter_map(|peer| peer.name.as_deref()).collect()
}

/// Waits until `condition` holds of something that tells nobody.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            // Virtual time: everybody else gets to run until nobody can.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, holds).await.unwrap_or_else(|_| panic!("waited for {what} in vain"));
}

/// Lets virtual time go by: whatever is going to happen in it happens.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
