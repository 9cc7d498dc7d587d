//! The Node's condition `NetworkUnavailable`: the scheduler keeps pods away while it is True.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::words;
use crate::datastore::Network;

/// The condition's type.
pub const TYPE: &str = "NetworkUnavailable";

/// What all reasons begin with that are written here.
const OURS: &str = "Warren";

/// How long the node must have been unable to carry pods before others are told: what a starting
/// agent puts right at once is nobody's business.
const GRACE: Duration = Duration::from_secs(5);

/// Between two writes lie at least this and at most [`LONGEST_PAUSE`], twice as long each time:
/// against a failing API server, and against somebody else who writes the same condition.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

/// Without a write for so long, the pause is the shortest again.
const CALM: Duration = Duration::from_secs(120);

/// How long the API server may take for an answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The condition as the API server has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    status: Option<String>,
    reason: String,
    message: String,
    since: Option<Timestamp>,
}

impl From<&Node> for Observed {
    fn from(node: &Node) -> Self {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let condition = conditions.into_iter().find(|condition| condition.type_ == TYPE);
        condition.map_or_else(Self::default, |condition| Self {
            status: Some(condition.status.clone()),
            reason: condition.reason.clone().unwrap_or_default(),
            message: condition.message.clone().unwrap_or_default(),
            since: condition.last_transition_time.as_ref().map(|time| time.0),
        })
    }
}

impl Observed {
    /// Whether an agent wrote it, or `agent cleanup`.
    pub fn is_ours(&self) -> bool {
        self.reason.starts_with(OURS)
    }
}

/// What the condition is to say.
#[derive(Debug, Clone, Copy)]
pub enum Word<'w> {
    /// The node carries pods.
    Up,
    /// It does not, and why.
    NotReady(&'w str),
    /// It has no agent any more.
    Removed,
}

impl<'w> From<&'w Network> for Word<'w> {
    fn from(network: &'w Network) -> Self {
        match network {
            Ok(()) => Self::Up,
            Err(why) => Self::NotReady(why),
        }
    }
}

/// What to write so that the condition says `word`; none where it does already.
pub fn due(word: Word<'_>, observed: &Observed, now: Timestamp) -> Option<NodeCondition> {
    let (status, reason, message) = match word {
        Word::Up => ("False", "WarrenIsUp", "Warren is running on this node"),
        Word::NotReady(why) => ("True", "WarrenIsNotReady", why),
        Word::Removed => ("True", "WarrenIsRemoved", "Warren was removed from this node"),
    };
    let same_status = observed.status.as_deref() == Some(status);
    if same_status && observed.reason == reason && observed.message == message {
        return None;
    }
    let since = observed.since.filter(|_| same_status).unwrap_or(now);
    Some(NodeCondition {
        type_: TYPE.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(Time(since)),
    })
}

/// Keeps the condition of one Node.
pub struct Keeper {
    /// The Node's name.
    pub name: String,
    /// Where it is.
    pub nodes: Api<Node>,
    /// What the condition should say; none while that is not known.
    pub network: watch::Receiver<Option<Network>>,
    /// What it says; none while there is no such Node. The watch writes it, and so does this, with
    /// what the API server answers.
    pub observed: watch::Sender<Option<Observed>>,
}

impl Keeper {
    /// Writes whenever the condition is not as it should be, and only then. It ends with its
    /// sources.
    pub async fn run(mut self) {
        let mut observed = self.observed.subscribe();
        let mut pause = Pause::default();
        loop {
            while self.due().is_none() {
                let changed = tokio::select! {
                    changed = self.network.changed() => changed,
                    changed = observed.changed() => changed,
                };
                if changed.is_err() {
                    return;
                }
            }
            let grace = if self.is_available() { Duration::ZERO } else { GRACE };
            tokio::time::sleep_until(pause.over().max(Instant::now() + grace)).await;
            // What was due may not be so any more.
            if let Some(condition) = self.due() {
                pause.begin();
                self.write(condition).await;
            }
        }
    }

    fn is_available(&self) -> bool {
        matches!(*self.network.borrow(), Some(Ok(())))
    }

    fn due(&self) -> Option<NodeCondition> {
        let (network, observed) = (self.network.borrow(), self.observed.borrow());
        due(network.as_ref()?.into(), observed.as_ref()?, Timestamp::now())
    }

    async fn write(&self, condition: NodeCondition) {
        match tokio::time::timeout(PATIENCE, write(&self.nodes, &self.name, &condition)).await {
            Ok(Ok(node)) => {
                info!(
                    status = condition.status,
                    why = condition.message,
                    "wrote the node's condition {TYPE}"
                );
                self.observed.send_replace(Some(Observed::from(&node)));
            }
            Ok(Err(error)) => {
                warn!(error = words::request(&error), "cannot write the node's condition {TYPE}");
            }
            Err(_) => warn!("cannot write the node's condition {TYPE}: no answer in time"),
        }
    }
}

/// Writes `condition` of the Node called `name`; the Node as it is then.
///
/// # Errors
/// The API server does not answer, or does not let us.
pub async fn write(
    nodes: &Api<Node>,
    name: &str,
    condition: &NodeCondition,
) -> Result<Node, kube::Error> {
    // Conditions merge by their type: the others of the Node stay.
    let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
    nodes.patch_status(name, &PatchParams::default(), &patch).await
}

/// The time between writes.
#[derive(Default)]
struct Pause {
    began: Option<Instant>,
    length: Duration,
}

impl Pause {
    fn over(&self) -> Instant {
        self.began.map_or_else(Instant::now, |began| began + self.length)
    }

    fn begin(&mut self) {
        let calm = self.began.is_none_or(|began| began.elapsed() > CALM);
        self.length = if calm { SHORTEST_PAUSE } else { (self.length * 2).min(LONGEST_PAUSE) };
        self.began = Some(Instant::now());
    }
}
