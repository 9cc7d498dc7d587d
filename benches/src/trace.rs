//! What one ADD does, counted from strace's output.

use std::fs;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::nodes::Namespace;
use crate::plugin::{Call, Contestant};

/// Counts of one call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Processes, the plugin's own among them.
    pub processes: usize,
    /// Threads besides the processes' first ones.
    pub threads: usize,
    /// System calls.
    pub calls: usize,
    /// Sends on netlink sockets.
    pub sends: usize,
    /// Messages in these sends.
    pub messages: usize,
    /// Bytes in these sends, and written to files and pipes.
    pub bytes: usize,
}

/// Counts what an ADD of a pod does, which is deleted again.
///
/// # Errors
/// The plugin failed, or there is no strace.
pub fn add(contestant: &Contestant) -> Result<Counts> {
    let pod = Namespace::new()?;
    let trace = NamedTempFile::new()?;
    // Not the first of its node: what is made once is not counted.
    for (number, verb) in [(0, "ADD"), (0, "DEL")] {
        contestant.call(&Call { number, verb, pod: &pod })?;
    }
    contestant
        .traced(&Call { number: 1, verb: "ADD", pod: &pod }, trace.path())
        .context("a plugin under strace")?;
    contestant.call(&Call { number: 1, verb: "DEL", pod: &pod })?;
    Ok(count(&fs::read_to_string(trace.path())?))
}

/// `PID name(arguments) = result`, a line each; a call that is interrupted by another thread's has a
/// second line, which says so.
fn count(trace: &str) -> Counts {
    let mut counts = Counts { processes: 1, ..Counts::default() };
    for line in trace.lines() {
        let Some((_, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let result =
            || line.rsplit_once("= ").and_then(|(_, n)| n.trim().parse().ok()).unwrap_or(0);
        let resumed = call.starts_with("<... ");
        if call.starts_with("+++") || call.starts_with("---") {
            continue;
        }
        let name = call.trim_start_matches("<... ");
        let name = name.split(['(', ' ']).next().unwrap_or_default();
        counts.calls += usize::from(!resumed);
        match name {
            "clone" | "clone3" | "vfork" | "fork" if !resumed => {
                let thread = call.contains("CLONE_THREAD");
                *(if thread { &mut counts.threads } else { &mut counts.processes }) += 1;
            }
            "sendto" | "sendmsg" => {
                let messages = call.matches("nlmsg_len=").count();
                counts.sends += usize::from(messages > 0);
                counts.messages += messages;
                counts.bytes += result();
            }
            "write" | "writev" | "pwrite64" => counts.bytes += result(),
            _ => {}
        }
    }
    counts
}
