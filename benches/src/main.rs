//! `make bench`: what Warren takes beside what it replaces, measured in one run on one machine.
//!
//! Machines differ and are shared, so what counts in the result are the ratios of one run. Nothing
//! here passes or fails.

mod dataplane;
mod death;
mod measure;
mod mesh;
mod nodes;
mod pair;
mod plugin;
mod reboot;
mod report;
mod routes;
mod statistics;
mod trace;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::measure::Pods;
use crate::report::Report;

const USAGE: &str = "usage: bench DIRECTORY-OF-THE-EXECUTABLES [PERCENT-OF-THE-ROUNDS [plugin|routes|mesh|death|reboot|dataplane]]";

/// Pods of each plugin that are there already, while the others come and go.
const PRESENT: [usize; 2] = [0, 200];

/// How many pods come at once, and how many rounds make a sample.
const AT_ONCE: [(usize, usize); 2] = [(1, 200), (20, 20)];

/// What `make bench ONLY=...` chooses from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Plugin,
    Routes,
    Mesh,
    Death,
    Reboot,
    Dataplane,
}

fn main() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the benchmark makes network namespaces; run it as root"
    );
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == dataplane::ARGUMENT).is_some() {
        return dataplane::measure(arguments);
    }
    let target: PathBuf = arguments.next().context(USAGE)?.into();
    let percent: usize = match arguments.next() {
        None => 100,
        Some(percent) => percent.to_string_lossy().parse().context("a percentage of the rounds")?,
    };
    let only = arguments.next().map(|name| section(&name)).transpose()?;
    let wanted = |section| only.is_none_or(|only| only == section);

    let mut report = Report::new()?;
    if wanted(Section::Plugin) {
        plugins(&target, percent, &mut report)?;
    }
    if wanted(Section::Routes) {
        report.section(routes::section(&target)?);
    }
    if wanted(Section::Mesh) {
        report.section(mesh::section(&target)?);
    }
    if wanted(Section::Death) {
        report.section(death::section(&target)?);
    }
    if wanted(Section::Reboot) {
        report.section(reboot::section(&target)?);
    }
    if wanted(Section::Dataplane) {
        report.section(dataplane::section()?);
    }
    print!("{}", report.finish());
    Ok(())
}

fn section(name: &OsStr) -> Result<Section> {
    match name.to_str() {
        Some("plugin") => Ok(Section::Plugin),
        Some("routes") => Ok(Section::Routes),
        Some("mesh") => Ok(Section::Mesh),
        Some("death") => Ok(Section::Death),
        Some("reboot") => Ok(Section::Reboot),
        Some("dataplane") => Ok(Section::Dataplane),
        _ => bail!(USAGE),
    }
}

fn plugins(target: &Path, percent: usize, report: &mut Report) -> Result<()> {
    for present in PRESENT {
        let contestants = plugin::contestants(target)?;
        let mut settled = Vec::new();
        for contestant in &contestants {
            let pods = Pods::new(present)?;
            pods.settle(contestant)?;
            settled.push(pods);
        }
        for (at_once, rounds) in AT_ONCE {
            let rounds = (rounds * percent).div_ceil(100);
            let outcomes = measure::measure(&contestants, &Pods::new(at_once)?, rounds)?;
            report.times(present, at_once, rounds, &contestants, &outcomes);
        }
        if present == 0 {
            let counts: Vec<_> = contestants.iter().map(trace::add).collect::<Result<_>>()?;
            report.counts(&contestants, &counts)?;
        }
    }
    Ok(())
}
