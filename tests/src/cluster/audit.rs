//! The API server's audit log: who asked it for what.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// The service account that the agents have.
const AGENTS: &str = "system:serviceaccount:kube-system:warren";

/// A line for each request that a service account of ours makes, when it has been answered, or has
/// begun to be, as a watch.
const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: ["system:serviceaccount:kube-system:warren"]}
- {level: None}
"#;

/// The log.
#[derive(Debug)]
pub struct Audit {
    log: PathBuf,
}

impl Audit {
    pub(super) fn new(directory: &Path) -> Self {
        Self { log: directory.join("audit.json") }
    }

    /// The requests of all agents since the API server's first start, oldest first: verb and
    /// address. A watch is there when it begins, and once more when it ends.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn requests(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(&self.log).context("cannot read the audit log")?;
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ours = events.filter(|event| event["user"]["username"] == AGENTS);
        Ok(ours
            .map(|event| format!("{} {}", word(&event["verb"]), word(&event["requestURI"])))
            .collect())
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

pub(super) fn write_policy(directory: &Path) -> Result<()> {
    fs::write(directory.join("audit-policy.yaml"), POLICY).context("cannot write the audit policy")
}

/// The API server's flags for it.
pub(super) fn flags(directory: &Path) -> [String; 3] {
    [
        format!("--audit-policy-file={}", directory.join("audit-policy.yaml").display()),
        format!("--audit-log-path={}", directory.join("audit.json").display()),
        // Lines as they come, and not once in a while.
        "--audit-log-mode=blocking".to_owned(),
    ]
}
