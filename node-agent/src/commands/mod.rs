//! The operator's commands: ask the agent, print what it says.

pub mod cleanup;
pub mod doctor;
pub mod install;
pub mod ipam;
mod table;

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use clap::ValueEnum;
use serde::Serialize;
use warren_types::control::{Request, Response};
use warren_types::run_dir::RunDir;
use warren_types::status::Status;

use crate::client::ask;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For people who look closer: of peers, what they sent that was malformed.
    Wide,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

/// `agent status`.
pub fn status(run_dir: &RunDir, format: Format) -> anyhow::Result<String> {
    let status = ask_status(run_dir)?;
    render(format, &status, |status| table::status(status, format == Format::Wide))
}

/// `agent peers`.
pub fn peers(run_dir: &RunDir, format: Format) -> anyhow::Result<String> {
    let status = ask_status(run_dir)?;
    render(format, &status.peers, |peers| table::peers(peers, format == Format::Wide))
}

/// `agent ipam`. A difference that is found, or cannot be mended, makes the exit code 1.
pub fn addresses(
    run_dir: &RunDir,
    action: ipam::Action,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let (text, is_well) = match action {
        ipam::Action::Show => (render(format, &ipam::show(run_dir)?, table::addresses)?, true),
        ipam::Action::Check => {
            let found = ipam::check(run_dir)?;
            (render(format, &found, table::findings)?, found.differences.is_empty())
        }
        ipam::Action::Repair { dry_run, force } => {
            let found = ipam::repair(run_dir, dry_run, force)?;
            let failed = found.differences.iter().any(|one| one.state == ipam::State::Failed);
            (render(format, &found, table::findings)?, !failed)
        }
    };
    print(&text);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `agent routes`.
pub fn routes(run_dir: &RunDir, format: Format) -> anyhow::Result<String> {
    let Response::Routes(routes) = ask(run_dir, Request::Routes)? else {
        bail!("the agent answered another question; are both of one version?");
    };
    render(format, &routes, |routes| table::routes(routes))
}

/// `agent cleanup`. What could not be removed makes the exit code 1.
pub fn clean(
    run_dir: &RunDir,
    options: &cleanup::Options,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let outcome = cleanup::cleanup(run_dir, options)?;
    print(&render(format, &outcome, table::cleanup)?);
    let failed = outcome.items.iter().any(|item| item.error.is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// `agent doctor`. A problem makes the exit code 1.
pub fn examine(
    run_dir: &RunDir,
    options: &doctor::Options,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let findings = doctor::examine(run_dir, options);
    print(&render(format, &findings, |findings| table::doctor(findings))?);
    let ill = findings.iter().any(|finding| finding.verdict == doctor::Verdict::Problem);
    Ok(if ill { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// `agent shutdown`: returns when the agent has taken leave of its peers.
pub fn shutdown(run_dir: &RunDir) -> anyhow::Result<()> {
    match ask(run_dir, Request::Shutdown)? {
        Response::Done => Ok(()),
        _ => bail!("the agent answered another question; are both of one version?"),
    }
}

/// `agent ready`: a probe, so the reason is one line and the exit code is the answer.
pub fn ready(run_dir: &RunDir) -> ExitCode {
    match ask_status(run_dir) {
        Ok(status) if status.ready => verdict(true, "ready"),
        Ok(status) => verdict(false, &status.reasons.join("; ")),
        Err(error) => verdict(false, &format!("{error:#}")),
    }
}

/// `agent live`: a probe like [`ready`].
pub fn live(run_dir: &RunDir) -> ExitCode {
    match ask(run_dir, Request::Live) {
        Ok(Response::Live(stuck)) if stuck.is_empty() => verdict(true, "live"),
        Ok(Response::Live(stuck)) => verdict(false, &stuck.join("; ")),
        Ok(_) => verdict(false, "the agent answered another question; are both of one version?"),
        Err(error) => verdict(false, &format!("{error:#}")),
    }
}

fn verdict(good: bool, line: &str) -> ExitCode {
    print(line);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints `text` as whole lines. A reader that went away, as `head` does, is no error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end());
}

fn ask_status(run_dir: &RunDir) -> anyhow::Result<Status> {
    match ask(run_dir, Request::Status)? {
        Response::Status(status) => Ok(*status),
        _ => bail!("the agent answered another question; are both of one version?"),
    }
}

fn render<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce(&T) -> String,
) -> anyhow::Result<String> {
    Ok(match format {
        Format::Table | Format::Wide => table(value),
        Format::Json => serde_json::to_string_pretty(value)?,
        Format::Yaml => serde_saphyr::to_string(value)?,
    })
}
