//! Captures by tcpdump.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::command::{Process, within};
use super::packet::{Packet, parse};
use super::wait::{SOON, eventually};

/// A capture that runs.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts a capture in a namespace; when this returns, no packet that follows is missed.
    pub(crate) fn start(
        namespace: &str,
        interface: &str,
        filter: &str,
        directory: &Path,
    ) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("capture-")
            .tempdir_in(directory)
            .context("cannot make a directory for a capture")?
            .keep();
        let file = directory.join("packets");
        // -Z root: it would give up its rights and then could not write here.
        let mut command = within(namespace, "tcpdump");
        command.args(["-n", "-U", "--immediate-mode", "-Z", "root", "-i", interface, "-w"]);
        command.arg(&file).arg(filter);
        let mut process = Process::start(&mut command, &directory.join("log"))?;
        eventually("tcpdump listens", SOON, || {
            process.check()?;
            let said = process.output();
            ensure!(said.contains("listening on"), "it said: {said}");
            Ok(())
        })?;
        Ok(Self { process, file })
    }

    /// The file that it is written to.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The packets so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn packets(&self) -> Result<Vec<Packet>> {
        parse(&fs::read(&self.file).context("cannot read a capture")?)
    }

    /// Waits until as many packets as that have been captured.
    ///
    /// # Errors
    /// When they do not come.
    pub fn wait_for(&self, count: usize) -> Result<Vec<Packet>> {
        eventually(&format!("{count} captured packets"), SOON, || {
            let packets = self.packets()?;
            ensure!(packets.len() >= count, "there are {}", packets.len());
            Ok(packets)
        })
    }

    /// Ends the capture: all packets.
    ///
    /// # Errors
    /// When tcpdump had ended before.
    pub fn finish(mut self) -> Result<Vec<Packet>> {
        self.process.end(Signal::SIGTERM)?;
        self.packets()
    }
}
