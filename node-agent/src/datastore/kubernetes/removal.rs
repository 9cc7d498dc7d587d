//! The last word on a node that Warren leaves: its condition `NetworkUnavailable` is True again, so
//! that the scheduler keeps pods away.

use std::time::Duration;

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use kube::Api;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::condition::{self, Observed, Word};
use super::{client, given_name, words};

/// One Node at the API server, for a program that has no event loop.
#[derive(Debug)]
pub struct Leaving {
    runtime: Runtime,
    nodes: Api<Node>,
    name: String,
}

impl Leaving {
    /// For the node that the pod's manifest names, or else for the one called `name`. None where no
    /// node is named, or nothing says where the API server is.
    ///
    /// # Errors
    /// What says so cannot be used.
    pub fn new(name: Option<String>) -> anyhow::Result<Option<Self>> {
        let Some(name) = given_name().or(name) else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start an event loop")?;
        let Some(access) = runtime.block_on(client::access())? else { return Ok(None) };
        let client = {
            let _inside = runtime.enter();
            client::client(access, watch::channel(()).0)?
        };
        Ok(Some(Self { runtime, nodes: Api::all(client), name }))
    }

    /// What is to be written, in words; none where that was done, where there is no such Node, or
    /// where somebody else has had the last word.
    ///
    /// # Errors
    /// The API server does not say.
    pub fn due(&self) -> anyhow::Result<Option<String>> {
        let due = self.condition()?;
        Ok(due.map(|due| format!("{} of node {} (set {})", due.type_, self.name, due.status)))
    }

    /// Writes it, if it is due.
    ///
    /// # Errors
    /// The API server does not take it.
    pub fn tell(&self) -> anyhow::Result<()> {
        let Some(due) = self.condition()? else { return Ok(()) };
        self.wait_for(condition::write(&self.nodes, &self.name, &due)).map(drop)
    }

    fn condition(&self) -> anyhow::Result<Option<NodeCondition>> {
        let node = self.wait_for(self.nodes.get_opt(&self.name))?;
        let observed = node.as_ref().map(Observed::from).filter(Observed::is_ours);
        Ok(observed.and_then(|observed| condition::due(Word::Removed, &observed, Timestamp::now())))
    }

    fn wait_for<T>(&self, request: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
        const PATIENCE: Duration = condition::PATIENCE;
        let answer = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, request).await });
        let answer = answer.map_err(|_| anyhow!("no answer in {} s", PATIENCE.as_secs()));
        answer
            .and_then(|answer| answer.map_err(|error| anyhow!(words::request(&error))))
            .with_context(|| format!("cannot reach node {} at the API server", self.name))
    }
}
