//! Traffic with a count of what came back.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::command::{Process, run};
use super::wait::{SOON, eventually};

/// What came of some pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pings {
    /// How many were sent.
    pub sent: usize,
    /// How many were answered.
    pub answered: usize,
}

impl Pings {
    /// Whether some were sent, and all of them answered.
    pub fn all_answered(&self) -> bool {
        self.sent > 0 && self.sent == self.answered
    }
}

/// Sends `count` pings, five a second, and waits two seconds for the last answer; `command` is ping,
/// where they come from.
///
/// # Errors
/// When ping cannot be run. That nothing answers is no error.
pub(crate) fn ping(mut command: Command, to: IpAddr, count: usize) -> Result<Pings> {
    command.args(["-n", "-i", "0.2", "-W", "2", "-c", &count.to_string(), &to.to_string()]);
    let outcome = run(&mut command, "")?;
    // 1: something was not answered. 2: no ping could be sent; `ping` says so when no route is there.
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    if outcome.status.code() == Some(2) && said.contains("unreachable") {
        return Ok(Pings { sent: count, answered: 0 });
    }
    ensure!(outcome.status.code() != Some(2), "{}: {}", outcome.command, said.trim());
    Ok(Pings { sent: count, answered: answers(&said).len() })
}

/// Pings that go on, a hundred a second.
#[derive(Debug)]
pub struct Pinging {
    process: Process,
}

impl Pinging {
    /// Starts them; `command` is ping, where they come from.
    pub(crate) fn start(mut command: Command, to: IpAddr, directory: &Path) -> Result<Self> {
        let log = tempfile::Builder::new()
            .prefix("ping-")
            .tempfile_in(directory)
            .context("cannot make a file for pings")?
            .into_temp_path()
            .keep()
            .context("cannot keep a file for pings")?;
        command.args(["-n", "-i", "0.01", &to.to_string()]);
        Ok(Self { process: Process::start(&mut command, &log)? })
    }

    /// How many have been answered so far.
    pub fn answered(&self) -> usize {
        answers(&self.process.output()).len()
    }

    /// Waits until a good many more have been answered.
    ///
    /// # Errors
    /// When they are not.
    pub fn expect_more_answers(&self) -> Result<()> {
        let before = self.answered();
        eventually("pings are answered", SOON, || {
            let more = self.answered() - before;
            ensure!(more >= 50, "{more} answers");
            Ok(())
        })
    }

    /// Ends them, if they are still answered, as all must have been.
    ///
    /// # Errors
    /// When they were not.
    pub fn expect_no_loss(self) -> Result<()> {
        self.expect_more_answers()?;
        let pings = self.finish()?;
        ensure!(pings.all_answered(), "{} of {} pings were answered", pings.answered, pings.sent);
        Ok(())
    }

    /// Ends them: how many were sent before the last one that was answered, and answered. Those after
    /// it may still be on their way.
    fn finish(mut self) -> Result<Pings> {
        self.process.end(Signal::SIGINT)?;
        let answers = answers(&self.process.output());
        Ok(Pings { sent: answers.last().copied().unwrap_or_default(), answered: answers.len() })
    }
}

/// The sequence numbers, from 1, that were answered. An error report of a router is no answer.
fn answers(output: &str) -> BTreeSet<usize> {
    output
        .lines()
        .filter(|line| line.contains(" bytes from "))
        .filter_map(|line| line.split_once("icmp_seq=")?.1.split(' ').next()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_echo_replies_are_answers() {
        let output = "PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.\n\
            64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.05 ms\n\
            From 10.0.0.9 icmp_seq=2 Destination Host Unreachable\n\
            64 bytes from 10.0.0.1: icmp_seq=3 ttl=64 time=0.05 ms\n\
            64 bytes from 10.0.0.1: icmp_seq=3 ttl=64 time=0.05 ms (DUP!)\n\
            \n--- 10.0.0.1 ping statistics ---\n4 packets transmitted, 3 received\n";
        assert_eq!(super::answers(output).into_iter().collect::<Vec<_>>(), [1, 3]);
    }
}
