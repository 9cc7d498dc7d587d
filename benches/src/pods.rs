//! A node and its pods, as far as a plugin sees them: network namespaces and a run directory.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;
use warren_types::node::{FORMAT_VERSION, NodeDescription};
use warren_types::run_dir::RunDir;

/// The node: the network namespace that this process is in from now on, and a directory on a tmpfs.
pub struct Node {
    directory: TempDir,
}

impl Node {
    /// Leaves the network namespace of before, with all that is in it, for a new one.
    ///
    /// # Errors
    /// The kernel refuses, or there is no tmpfs at `/dev/shm`.
    pub fn new() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        ensure!(up.context("cannot run ip")?.success(), "cannot set lo up");
        let directory =
            tempfile::tempdir_in("/dev/shm").context("cannot make a directory on a tmpfs")?;
        let description = NodeDescription {
            format_version: FORMAT_VERSION,
            name: "node1".into(),
            address: "192.168.0.176".parse()?,
            blocks: vec!["172.16.52.0/24".parse()?],
            reserved: vec!["172.16.52.0".parse()?],
            pod_mtu: 1480,
        };
        description.write(&RunDir::new(directory.path().join("run")))?;
        Ok(Self { directory })
    }

    /// Where plugins keep their state.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// A pod's network namespace. It ends with this value.
pub struct Sandbox(File);

impl Sandbox {
    /// A new one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new() -> Result<Self> {
        std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            Ok(Self(File::open("/proc/thread-self/ns/net")?))
        })
        .join()
        .map_err(|_| anyhow!("the thread that makes a namespace has panicked"))?
    }

    /// Where a plugin finds it.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}
