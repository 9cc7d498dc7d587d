//! A node's agent: the real executable, its configuration, and what it says of itself.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::command::{Outcome, Process, run, within};
use super::node::Node;
use super::wait::{SOON, eventually};
use super::{AS_NUMBER, POOL};
use crate::environment::built;

impl Node {
    /// The run directory of this node's agent and plugin.
    pub fn run_dir(&self) -> PathBuf {
        self.directory().join("run")
    }

    /// The agent's log.
    pub fn agent_log(&self) -> PathBuf {
        self.directory().join("agent.log")
    }

    /// The agent's configuration: this node, its block, all other nodes as peers.
    pub fn agent_configuration(&self) -> String {
        let mut text = format!(
            "node: {{name: {name}, address: {address}}}\n\
             runDir: {run_dir}\n\
             datastore: file\n\
             asNumber: {AS_NUMBER}\n\
             holdTimeSeconds: {hold_time}\n\
             gracefulRestart: {{enabled: {graceful_restart}, restartTimeSeconds: {hold_time}}}\n\
             pools:\n\
             - {{cidr: {POOL}, blockSize: 26, encapsulation: IPIP}}\n\
             blocks: [{block}]\n\
             peers:\n",
            name = self.name(),
            address = self.address(),
            run_dir = self.run_dir().display(),
            hold_time = self.hold_time(),
            graceful_restart = self.graceful_restart(),
            block = self.block(),
        );
        for peer in self.others() {
            let _ = writeln!(
                text,
                "- {{address: {}, name: {}, asNumber: {AS_NUMBER}, blocks: [{}]}}",
                peer.address(),
                peer.name(),
                peer.block()
            );
        }
        text
    }

    /// Starts the agent and waits until it answers.
    ///
    /// # Errors
    /// When it ends again, with what it said.
    pub fn start_agent(&self) -> Result<()> {
        self.start_agent_with(&self.agent_configuration())
    }

    /// Starts the agent with this configuration and waits until it answers.
    ///
    /// # Errors
    /// When it ends again, with what it said.
    pub fn start_agent_with(&self, configuration: &str) -> Result<()> {
        self.start_agent_from(&built("agent")?, configuration)
    }

    /// Starts the agent from another executable than before, as after an upgrade, and waits until it
    /// answers.
    ///
    /// # Errors
    /// When it ends again, with what it said.
    pub fn start_upgraded_agent(&self) -> Result<()> {
        let program = self.directory().join("agent-upgraded");
        fs::copy(built("agent")?, &program)
            .with_context(|| format!("cannot write {}", program.display()))?;
        self.start_agent_from(&program, &self.agent_configuration())
    }

    fn start_agent_from(&self, program: &Path, configuration: &str) -> Result<()> {
        self.write_agent_configuration(configuration)?;
        let mut command = within(self.namespace(), program);
        command.arg("run").arg("--config").arg(self.agent_configuration_file());
        let mut process = Process::start(&mut command, &self.agent_log())?;
        eventually("the agent answers", SOON, || {
            process.check()?;
            self.status().map(drop)
        })?;
        self.state(|state| state.speaker = Some(process));
        Ok(())
    }

    /// Writes the agent's configuration anew, with the nodes that there are now as peers, and has the
    /// agent read it.
    ///
    /// # Errors
    /// When no agent runs.
    pub fn reload_agent(&self) -> Result<()> {
        self.reload_agent_with(&self.agent_configuration())
    }

    /// Writes this configuration and has the agent read it.
    ///
    /// # Errors
    /// When no agent runs.
    pub fn reload_agent_with(&self, configuration: &str) -> Result<()> {
        self.write_agent_configuration(configuration)?;
        self.state(|state| {
            let process = state.speaker.as_mut();
            process
                .with_context(|| format!("nothing runs on {}", self.name()))?
                .signal(Signal::SIGHUP)
        })
    }

    fn agent_configuration_file(&self) -> PathBuf {
        self.directory().join("agent.yaml")
    }

    fn write_agent_configuration(&self, text: &str) -> Result<()> {
        let file = self.agent_configuration_file();
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Ends what runs on the node, an agent or BIRD, by a signal.
    ///
    /// # Errors
    /// When nothing runs, or it does not end.
    pub fn stop(&self, signal: Signal) -> Result<ExitStatus> {
        let mut process = self
            .state(|state| state.speaker.take())
            .with_context(|| format!("nothing runs on {}", self.name()))?;
        process.end(signal)
    }

    /// That what runs on the node has not ended.
    ///
    /// # Errors
    /// When it has, with what it said last.
    pub fn expect_running(&self) -> Result<()> {
        self.state(|state| {
            state
                .speaker
                .as_mut()
                .with_context(|| format!("nothing runs on {}", self.name()))?
                .check()
        })
    }

    /// Runs the operator's command on the node, such as `["ready"]`.
    ///
    /// # Errors
    /// When it cannot be run. That it fails is an outcome.
    pub fn agent(&self, words: &[&str]) -> Result<Outcome> {
        let mut command = within(self.namespace(), built("agent")?);
        run(command.args(words).arg("--run-dir").arg(self.run_dir()), "")
    }

    /// What `agent status` says.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn status(&self) -> Result<Value> {
        let said = self.agent(&["status", "-o", "json"])?.ok()?;
        serde_json::from_str(&said).with_context(|| format!("agent status is no JSON: {said}"))
    }

    /// What the agent says of a peer.
    ///
    /// # Errors
    /// When the agent does not answer, or knows no such peer.
    pub fn peer(&self, peer: &Self) -> Result<Value> {
        let status = self.status()?;
        let address = peer.address().to_string();
        let peers = status["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
        peers
            .iter()
            .find(|entry| entry["address"] == address.as_str())
            .cloned()
            .with_context(|| format!("no peer {address} in {status}"))
    }

    /// That the sessions with these peers are Established.
    ///
    /// # Errors
    /// When one is not; with its entry in the status.
    pub fn expect_established(&self, peers: &[&Self]) -> Result<()> {
        for peer in peers {
            let entry = self.peer(peer)?;
            ensure!(entry["state"] == "Established", "{}: {entry}", self.name());
        }
        Ok(())
    }

    /// That the session with this peer is not Established, and that the status says why in words.
    ///
    /// # Errors
    /// When it is Established, or no reason is there.
    pub fn expect_not_established(&self, peer: &Self) -> Result<()> {
        let entry = self.peer(peer)?;
        ensure!(entry["state"] != "Established", "{}: {entry}", self.name());
        ensure!(
            entry["lastError"].as_str().is_some_and(|words| !words.is_empty()),
            "{}: no lastError: {entry}",
            self.name()
        );
        Ok(())
    }

    /// That `agent ready` says so.
    ///
    /// # Errors
    /// When it does not; with its reason.
    pub fn expect_ready(&self) -> Result<()> {
        self.agent(&["ready"])?.ok().map(drop)
    }
}
