//! What the plugin tells the agent of each command that it carried out: one datagram to the
//! [agent's socket for it](crate::run_dir::RunDir::reports).
//!
//! It is told and not asked: an agent that is away, or busy, misses a report, and no pod waits for it.

use std::fmt;
use std::io;
use std::os::unix::net::UnixDatagram;

use serde::{Deserialize, Serialize};

use crate::run_dir::RunDir;

/// More than any report takes, in bytes.
pub const LONGEST: usize = 4096;

/// A command of the CNI specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Command {
    /// Connects a pod.
    Add,
    /// Disconnects a pod.
    Del,
    /// Compares what is there with what should be.
    Check,
    /// Removes what the runtime has forgotten.
    Gc,
    /// Tells whether pods can start.
    Status,
    /// Tells the versions of the specification.
    Version,
}

impl Command {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];

    /// The word in `CNI_COMMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A part of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Reading what the runtime and the agent say.
    Read,
    /// Getting an address.
    Allocate,
    /// Making the veth pair and its routes.
    Connect,
    /// Writing the answer.
    Answer,
    /// Removing what the records name.
    Remove,
    /// Looking for what no record names.
    Search,
    /// Comparing.
    Compare,
}

impl Phase {
    /// The word in the log and in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Allocate => "allocate",
            Self::Connect => "connect",
            Self::Answer => "answer",
            Self::Remove => "remove",
            Self::Search => "search",
            Self::Compare => "compare",
        }
    }
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Which.
    pub command: Command,
    /// The code of its error; 0 for success.
    pub code: u32,
    /// How long each part took, in microseconds.
    pub phases: Vec<(Phase, u64)>,
    /// How long all of it took, in microseconds.
    pub total_micros: u64,
}

impl Report {
    /// Tells the agent.
    ///
    /// # Errors
    /// Nobody listens, or the agent has not read what it was told before.
    pub fn send(&self, run_dir: &RunDir) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to(&text, run_dir.reports())?;
        Ok(())
    }

    /// Reads what was told.
    ///
    /// # Errors
    /// It is no report.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            command: Command::Add,
            code: 0,
            phases: vec![(Phase::Read, 120), (Phase::Connect, 900)],
            total_micros: 1400,
        }
    }

    #[test]
    fn is_heard_as_it_was_sent() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(dir.path());
        assert!(report().send(&run_dir).is_err(), "nobody listens");
        let agent = UnixDatagram::bind(run_dir.reports()).unwrap();
        report().send(&run_dir).unwrap();
        let mut buffer = [0; LONGEST];
        let length = agent.recv(&mut buffer).unwrap();
        assert_eq!(Report::parse(&buffer[..length]).unwrap(), report());
    }

    #[test]
    fn an_agent_that_does_not_listen_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(dir.path());
        let _agent = UnixDatagram::bind(run_dir.reports()).unwrap();
        let error = std::iter::repeat_with(|| report().send(&run_dir)).find_map(Result::err);
        assert_eq!(error.unwrap().kind(), io::ErrorKind::WouldBlock);
    }
}
