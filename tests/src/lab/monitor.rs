//! What happens to a node's routing table, as the kernel tells it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::command::{Process, ip, within};
use super::wait::{SOON, eventually};

/// A destination of nobody's (RFC 5737): its route marks a moment in what is told.
const MARK: &str = "198.51.100.1";

/// `ip monitor route` that runs.
#[derive(Debug)]
pub struct RouteMonitor {
    process: Process,
    namespace: String,
    marks: usize,
}

impl RouteMonitor {
    /// Starts in a namespace; when this returns, no change that follows is missed.
    pub(crate) fn start(namespace: &str, directory: &Path) -> Result<Self> {
        let log = tempfile::Builder::new()
            .prefix("monitor-")
            .tempfile_in(directory)
            .context("cannot make a file for a monitor")?
            .into_temp_path()
            .keep()
            .context("cannot keep a file for a monitor")?;
        let mut command = within(namespace, "ip");
        command.args(["monitor", "route"]);
        let process = Process::start(&mut command, &log)?;
        let mut monitor = Self { process, namespace: namespace.to_owned(), marks: 0 };
        monitor.mark()?;
        Ok(monitor)
    }

    /// Waits until the monitor has told of a change that is made now. The one before it may not be
    /// listening yet, so the change is made again until it is told.
    fn mark(&mut self) -> Result<()> {
        let before = self.marks;
        eventually("ip monitor tells of a route", SOON, || {
            self.process.check()?;
            let route = format!("blackhole {MARK}");
            ip(
                Some(&self.namespace),
                &[format!("route add {route}"), format!("route del {route}")],
            )?;
            self.marks = self.process.output().lines().filter(|it| it.contains(MARK)).count();
            ensure!(self.marks > before, "it does not");
            Ok(())
        })
    }

    /// Ends it: the changes that it told of, a line each.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn finish(mut self) -> Result<Vec<String>> {
        self.mark()?;
        self.process.end(Signal::SIGTERM)?;
        let told = self.process.output();
        Ok(told.lines().filter(|line| !line.contains(MARK)).map(str::to_owned).collect())
    }
}
