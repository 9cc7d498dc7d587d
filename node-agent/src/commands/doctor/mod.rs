//! `agent doctor`: looks for what keeps pods from each other, from the agent outwards, and says what to
//! do about it. It changes nothing.

mod machine;
mod neighbours;
mod probe;

use std::path::PathBuf;

use serde::Serialize;
use warren_types::control::{Request, Response};
use warren_types::run_dir::RunDir;
use warren_types::status::{Route, Status};

use crate::client::ask;
use crate::footprint::Footprint;

/// Where to look.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The directory that the plugin is in.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    cni_bin_dir: PathBuf,
    /// The TCP port at which the peers listen for BGP.
    #[arg(long, value_name = "PORT", default_value_t = 179)]
    port: u16,
}

/// How a part of the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It may be a reason for trouble.
    Warning,
    /// It is one.
    Problem,
}

impl Verdict {
    /// The word that people see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "WARNING",
            Self::Problem => "PROBLEM",
        }
    }
}

/// What was found out about one part of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// Which part.
    pub subject: &'static str,
    /// What was found.
    pub finding: String,
    /// What to do; none where there is nothing to do, or the finding says it.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(subject: &'static str, finding: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, subject, finding: finding.into(), advice: None }
    }

    fn warning(subject: &'static str, finding: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, ..Self::ok(subject, finding) }
    }

    fn problem(subject: &'static str, finding: impl Into<String>) -> Self {
        Self { verdict: Verdict::Problem, ..Self::ok(subject, finding) }
    }

    fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

/// Looks at everything. What cannot be looked at is a finding too.
pub fn examine(run_dir: &RunDir, options: &Options) -> Vec<Finding> {
    let mut findings = match agent(run_dir) {
        Ok((status, routes)) => {
            let mut findings = about_agent(&status);
            findings.extend(neighbours::sessions(&status, options.port));
            findings.extend(neighbours::tunnel(&status, &routes));
            findings
        }
        Err(error) => vec![
            Finding::problem("agent", format!("{error:#}"))
                .advise("start it, or read its log: it says why it ended"),
        ],
    };
    findings.push(machine::forwarding());
    findings.extend(machine::filters());
    let conflist = Footprint::read(run_dir).ok().flatten().and_then(|left| left.conflist);
    findings.extend(conflist.map(|conflist| machine::configuration(&conflist)));
    findings.extend(machine::plugin(&options.cni_bin_dir));
    findings
}

fn agent(run_dir: &RunDir) -> anyhow::Result<(Status, Vec<Route>)> {
    let Response::Status(status) = ask(run_dir, Request::Status)? else {
        anyhow::bail!("the agent answered another question; are both of one version?");
    };
    let Response::Routes(routes) = ask(run_dir, Request::Routes)? else {
        anyhow::bail!("the agent answered another question; are both of one version?");
    };
    Ok((*status, routes))
}

fn about_agent(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own = env!("CARGO_PKG_VERSION");
    let running = &status.node.version;
    findings.push(match running == own {
        true => Finding::ok("agent", format!("runs, version {running}")),
        false => Finding::warning("agent", format!("version {running} runs, this is {own}")),
    });
    findings.extend(status.reasons.iter().map(|reason| Finding::problem("readiness", reason)));
    if status.ready {
        findings.push(Finding::ok("readiness", "ready"));
    }
    if let Some(datastore) = &status.datastore {
        findings.push(match &datastore.problem {
            None => Finding::ok("datastore", format!("in touch with {}", datastore.kind)),
            Some(problem) => Finding::warning(
                "datastore",
                format!(
                    "out of touch with {} since {}: {problem}; what it said last holds",
                    datastore.kind, datastore.since
                ),
            ),
        });
    }
    let routes = &status.routes;
    findings.extend(
        routes.drift.iter().map(|drift| {
            Finding::problem("routes", format!("{}: {}", drift.prefix, drift.problem))
        }),
    );
    if routes.drift.is_empty() {
        findings.push(Finding::ok("routes", format!("{} in the kernel", routes.programmed)));
    }
    findings
}
