//! The measurements as Markdown.

use std::fs;

use anyhow::Result;

use crate::measure::Outcome;
use crate::plugin::{Contestant, REFERENCE};
use crate::statistics::Sample;
use crate::trace::Counts;

const HEADER: &str = "# Measurements

Written by `make bench`. Whole processes, from their start to their end, as a container runtime sees them; times in
milliseconds. One round calls every plugin once, in turn, each on a node of its own. Compare within a table only:
the machine is not the same at all times. `floor` is a program that does the kernel's part of the work with an
address that it is given, and nothing else.
";

/// What is written so far.
pub struct Report {
    text: String,
    counts: String,
}

impl Report {
    /// The beginning.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn new() -> Result<Self> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let load = fs::read_to_string("/proc/loadavg")?;
        let load = load.split(' ').next().unwrap_or_default();
        let processors = std::thread::available_parallelism()?;
        let machine = format!(
            "\nLinux {}, {processors} processors, load {load} before the first round.\n",
            kernel.trim()
        );
        Ok(Self { text: format!("{HEADER}{machine}"), counts: String::new() })
    }

    /// A table of times.
    pub fn times(
        &mut self,
        present: usize,
        at_once: usize,
        rounds: usize,
        contestants: &[Contestant],
        outcomes: &[Outcome],
    ) {
        let how = if at_once == 1 {
            "One pod at a time".into()
        } else {
            format!("{at_once} pods at once")
        };
        self.text.push_str(&format!(
            "\n## {how}, {present} pods present, {rounds} rounds\n\n\
             | | ADD p50 | p90 | p99 | to ptp | DEL p50 | p90 | p99 | to ptp |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        ));
        let Some((_, reference)) =
            contestants.iter().zip(outcomes).find(|(contestant, _)| contestant.name == REFERENCE)
        else {
            return;
        };
        for (contestant, outcome) in contestants.iter().zip(outcomes) {
            let cells = |own: &Sample, reference: &Sample| {
                format!(
                    "{:.2} | {:.2} | {:.2} | {:.2}",
                    own.percentile(50),
                    own.percentile(90),
                    own.percentile(99),
                    own.percentile(50) / reference.percentile(50)
                )
            };
            self.text.push_str(&format!(
                "| {} | {} | {} |\n",
                contestant.name,
                cells(&outcome.add, &reference.add),
                cells(&outcome.del, &reference.del)
            ));
        }
    }

    /// The table of what an ADD does and how large the programs are.
    ///
    /// # Errors
    /// An executable is not there any more.
    pub fn counts(&mut self, contestants: &[Contestant], counts: &[Counts]) -> Result<()> {
        self.counts.push_str(
            "\n## What one ADD does, counted by strace, and the size of what is run\n\n\
             | | processes | further threads | system calls | netlink sends | netlink messages | bytes sent and written | executables, MB |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for (contestant, counts) in contestants.iter().zip(counts) {
            let mut size = 0;
            for program in &contestant.programs {
                size += fs::metadata(program)?.len();
            }
            let Counts { processes, threads, calls, sends, messages, bytes } = counts;
            self.counts.push_str(&format!(
                "| {} | {processes} | {threads} | {calls} | {sends} | {messages} | {bytes} | {:.2} |\n",
                contestant.name,
                size as f64 / 1e6
            ));
        }
        Ok(())
    }

    /// A section that is written already.
    pub fn section(&mut self, text: String) {
        self.counts.push_str(&text);
    }

    /// All of it.
    pub fn finish(self) -> String {
        self.text + &self.counts
    }
}
