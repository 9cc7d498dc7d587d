//! kubectl, as the cluster's owner uses it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::PATIENCE;
use crate::lab::command::{Process, run};
use crate::lab::wait::eventually;

/// kubectl with the owner's rights.
#[derive(Debug, Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(super) fn new(kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned() }
    }

    /// Runs it.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.feed(arguments, "")
    }

    /// Applies a manifest.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        self.feed(&["apply", "--filename=-"], manifest)
    }

    /// Deletes what is in a manifest, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not go.
    pub fn delete_manifest(&self, manifest: &str) -> Result<()> {
        let arguments = ["delete", "--ignore-not-found", &timeout(), "--filename=-"];
        self.feed(&arguments, manifest).map(drop)
    }

    /// Deletes things, and waits until they are gone.
    ///
    /// # Errors
    /// When they do not go.
    pub fn delete(&self, kind: &str, name: &str) -> Result<()> {
        self.run(&["delete", kind, name, "--ignore-not-found", &timeout()]).map(drop)
    }

    /// Waits for a condition of things, such as `condition=Ready`.
    ///
    /// # Errors
    /// When it does not come.
    pub fn wait(&self, condition: &str, things: &[&str]) -> Result<()> {
        let condition = format!("--for={condition}");
        let timeout = timeout();
        let arguments = [&["wait", &condition, &timeout], things].concat();
        self.run(&arguments).map(drop)
    }

    /// Waits until all pods of something, such as `deployment/web`, are as it wants them.
    ///
    /// # Errors
    /// When they do not get there.
    pub fn rolled_out(&self, namespace: &str, what: &str) -> Result<()> {
        self.run(&["--namespace", namespace, "rollout", "status", what, &timeout()]).map(drop)
    }

    /// What the API server has: `arguments` are those of `kubectl get`.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[&["get", "--output=json"], arguments].concat())?;
        serde_json::from_str(&text).context("kubectl's answer is no JSON")
    }

    /// A field of a thing, by its JSONPath.
    ///
    /// # Errors
    /// When there is no such thing.
    pub fn field(&self, kind: &str, name: &str, path: &str) -> Result<String> {
        self.run(&["get", kind, name, &format!("--output=jsonpath={{{path}}}")])
    }

    /// What has been told of a thing, by kubelet and others.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn events(&self, namespace: &str, name: &str) -> Result<String> {
        let of = format!("--field-selector=involvedObject.name={name}");
        let columns = "--output=custom-columns=REASON:.reason,MESSAGE:.message";
        self.run(&["--namespace", namespace, "get", "events", &of, columns])
    }

    /// Follows what a pod's container says, up to its end.
    ///
    /// # Errors
    /// When it says nothing.
    pub fn follow_log(&self, namespace: &str, pod: &str, container: &str) -> Result<Process> {
        let container = format!("--container={container}");
        let mut command = self.command();
        command.args(["--namespace", namespace, "logs", "--follow", pod, &container]);
        let log = self.kubeconfig.with_file_name(format!("{pod}.log"));
        let mut process = Process::start(&mut command, &log)?;
        eventually("kubectl follows the log", PATIENCE, || {
            process.check()?;
            ensure!(!process.output().is_empty(), "{pod} has said nothing");
            Ok(())
        })?;
        Ok(process)
    }

    /// Runs a shell's commands in a pod.
    ///
    /// # Errors
    /// When one fails.
    pub fn exec(&self, pod: &str, script: &str) -> Result<String> {
        self.run(&["exec", pod, "--", "sh", "-euc", script])
    }

    fn feed(&self, arguments: &[&str], input: &str) -> Result<String> {
        run(self.command().args(arguments), input)?.ok()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }
}

fn timeout() -> String {
    format!("--timeout={}s", PATIENCE.as_secs())
}
