//! One line per command, and a report of it to the agent. Standard output carries the protocol, so the
//! line goes to standard error, which runtimes put into their own log, or to a file.

use std::fmt::{Display, Write as _};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use warren_types::report::{Command, Phase, Report};

use crate::error::Failure;
use crate::netconf::NetConf;

/// How much is logged: the lines of this level and of those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Commands that failed.
    Error,
    /// And those that found something left behind.
    #[serde(alias = "warning")]
    Warn,
    /// And those that changed something.
    #[default]
    Info,
    /// And the others.
    Debug,
}

/// What is logged, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Up to which level.
    pub level: Level,
    /// Where, if not on standard error.
    pub file: Option<PathBuf>,
}

/// A command's line, while it grows.
#[derive(Debug)]
pub struct Line {
    level: Level,
    fields: String,
    phases: Vec<(Phase, u64)>,
    start: Instant,
    phase: Instant,
}

impl Line {
    /// Begins the line, with the level that it has if the command succeeds.
    pub fn new(level: Level) -> Self {
        let now = Instant::now();
        Self { level, fields: String::new(), phases: Vec::new(), start: now, phase: now }
    }

    /// Adds what is known.
    pub fn field(&mut self, key: &str, value: impl Display) {
        push(&mut self.fields, key, value);
    }

    /// Notes that something was found that should not have been there.
    pub fn warn(&mut self, key: &str, value: impl Display) {
        self.level = self.level.min(Level::Warn);
        self.field(key, value);
    }

    /// Ends a phase of the command: what happened since the last one ended.
    pub fn phase(&mut self, phase: Phase) {
        let now = Instant::now();
        self.phases.push((phase, micros(now.duration_since(self.phase))));
        self.phase = now;
    }

    /// Ends the command: tells the agent of it, and writes the line where the configuration says.
    pub fn finish(mut self, command: Command, outcome: &Result<(), Failure>, conf: &NetConf) {
        let report = Report {
            command,
            code: outcome.as_ref().map_or_else(|failure| failure.code as u32, |()| 0),
            phases: std::mem::take(&mut self.phases),
            total_micros: micros(self.start.elapsed()),
        };
        // An agent that is away has nothing to hear, and finds out by itself when it is back.
        let _ = report.send(&conf.run_dir);
        if let Err(failure) = outcome {
            self.level = Level::Error;
            self.field("code", failure.code as u32);
            self.field("error", &failure.msg);
            failure.details.iter().for_each(|details| self.field("details", details));
        }
        if self.level > conf.log.level {
            return;
        }
        let level = format!("{:?}", self.level).to_uppercase();
        for (phase, micros) in &report.phases {
            self.field(&format!("{}_us", phase.as_str()), micros);
        }
        self.field("total_us", report.total_micros);
        let line = format!("{} {level} {command}{}\n", Timestamp::now(), self.fields);
        write(&line, conf.log.file.as_deref());
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// ` key=value`, quoted where the value could be taken for several.
fn push(text: &mut String, key: &str, value: impl Display) {
    let value = value.to_string();
    let plain = |c: char| c.is_ascii_graphic() && c != '"';
    // Writing to a String does not fail.
    let _ = if !value.is_empty() && value.chars().all(plain) {
        write!(text, " {key}={value}")
    } else {
        write!(text, " {key}={value:?}")
    };
}

/// A log that cannot be written is no reason to fail a pod: it then goes to standard error.
fn write(line: &str, file: Option<&Path>) {
    if let Some(path) = file {
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        match written {
            Ok(()) => return,
            Err(error) => to_stderr(&format!("cannot log to {}: {error}\n", path.display())),
        }
    }
    to_stderr(line);
}

/// As `eprint!`, but a closed standard error is no panic.
pub fn to_stderr(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use warren_types::report::LONGEST;
    use warren_types::run_dir::RunDir;

    use super::*;
    use crate::error::Code;

    fn written(level: Level, line: Line, outcome: &Result<(), Failure>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log { level, file: Some(path.clone()) };
        let run_dir = RunDir::new(dir.path());
        line.finish(Command::Add, outcome, &NetConf { log, run_dir, ..NetConf::default() });
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn a_line_has_the_fields_and_the_time_of_each_phase() {
        let mut line = Line::new(Level::Info);
        line.field("container", "a1");
        line.field("pod", "a b\n\"c\"");
        line.phase(Phase::Read);
        let text = written(Level::Info, line, &Ok(()));
        assert!(text.contains(r#"Z INFO ADD container=a1 pod="a b\n\"c\"" read_us="#), "{text}");
        assert!(text.contains(" total_us=") && text.ends_with('\n'), "{text}");
    }

    #[test]
    fn a_line_below_the_level_is_not_written() {
        assert_eq!(written(Level::Warn, Line::new(Level::Info), &Ok(())), "");
        let mut line = Line::new(Level::Info);
        line.warn("replaced", "x");
        assert!(written(Level::Warn, line, &Ok(())).contains("WARN ADD replaced=x"));
        let failed = Err(Failure::new(Code::Kernel, "no such"));
        let text = written(Level::Error, Line::new(Level::Debug), &failed);
        assert!(text.contains(r#"ERROR ADD code=102 error="no such""#), "{text}");
    }

    #[test]
    fn the_agent_is_told_whatever_is_logged() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(dir.path());
        let agent = UnixDatagram::bind(run_dir.reports()).unwrap();
        let mut line = Line::new(Level::Debug);
        line.phase(Phase::Read);
        let failed = Err(Failure::new(Code::NoAddress, "no free address"));
        let log = Log { level: Level::Error, file: Some("/dev/null".into()) };
        line.finish(Command::Add, &failed, &NetConf { run_dir, log, ..NetConf::default() });
        let mut buffer = [0; LONGEST];
        let length = agent.recv(&mut buffer).unwrap();
        let report = Report::parse(&buffer[..length]).unwrap();
        assert_eq!((report.command, report.code), (Command::Add, 100));
        assert_eq!(report.phases.len(), 1);
        assert!(report.total_micros >= report.phases[0].1);
    }
}
