//! `make bench`: what Warren takes beside what it replaces, measured in one run on one machine.
//!
//! Machines differ and are shared, so what counts in the result are the ratios of one run. Nothing
//! here passes or fails.

mod cni;
mod dataplane;
mod pods;
mod statistics;

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::pods::Node;
use crate::statistics::Sample;

/// Rounds per number of present pods. Each round calls every plugin once, in turn, so that a machine
/// that is slow for a while is slow for all of them.
const ROUNDS: usize = 200;

/// Pods that are there already, with an address each, while the others come and go.
const PRESENT: [usize; 2] = [0, 60];

fn main() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the benchmark makes network namespaces; run it as root"
    );
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((_, rest)) =
        arguments.split_first().filter(|(first, _)| *first == dataplane::ARGUMENT)
    {
        return dataplane::measure(rest);
    }
    let target: PathBuf =
        arguments.first().context("usage: bench DIRECTORY-OF-THE-EXECUTABLES")?.into();
    let mut report = String::from(HEADER);
    for present in PRESENT {
        let node = Node::new()?;
        let contestants = cni::contestants(&target, node.directory())?;
        for i in 0..present {
            contestants[0].add(&format!("present{i}"), &pods::Sandbox::new()?)?;
        }
        let results = cni::measure(&contestants, ROUNDS)?;
        write_section(&mut report, present, &results)?;
    }
    dataplane::section(&mut report)?;
    print!("{report}");
    Ok(())
}

const HEADER: &str = "# Measurements

Written by `make bench`. Whole processes, from their start to their end, as a container runtime sees them; each in a
network namespace of its own. One round calls every plugin once, in turn. Times in milliseconds; compare within a
table only.
";

fn write_section(report: &mut String, present: usize, results: &[cni::Outcome]) -> Result<()> {
    writeln!(report, "\n## One pod, {present} pods present, {ROUNDS} rounds\n")?;
    writeln!(
        report,
        "| | ADD p50 | p90 | p99 | to reference | DEL p50 | p90 | p99 | to reference |"
    )?;
    writeln!(report, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
    let Some(reference) = results.iter().find(|result| result.reference) else {
        return Ok(());
    };
    for result in results {
        let cells = |own: &Sample, reference: &Sample| {
            format!(
                "{:.2} | {:.2} | {:.2} | {:.2}",
                own.percentile(50),
                own.percentile(90),
                own.percentile(99),
                own.percentile(50) / reference.percentile(50)
            )
        };
        writeln!(
            report,
            "| {} | {} | {} |",
            result.name,
            cells(&result.add, &reference.add),
            cells(&result.del, &reference.del)
        )?;
    }
    Ok(())
}
