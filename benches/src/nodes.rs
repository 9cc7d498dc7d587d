//! A node and its pods, as far as a plugin sees them: network namespaces and a directory.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns, unshare};
use tempfile::TempDir;
use warren_types::node::{FORMAT_VERSION, NodeDescription};
use warren_types::run_dir::RunDir;

/// A node: a network namespace, and a directory on a tmpfs for the state of its plugin.
pub struct Node {
    namespace: Namespace,
    directory: TempDir,
}

impl Node {
    /// A new one, with a block that is large enough for every measurement.
    ///
    /// # Errors
    /// The kernel refuses, or there is no tmpfs at `/dev/shm`.
    pub fn new() -> Result<Self> {
        let namespace = Namespace::new()?;
        namespace.within(|| {
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
            ensure!(up.context("cannot run ip")?.success(), "cannot set lo up");
            Ok(())
        })?;
        let directory =
            tempfile::tempdir_in("/dev/shm").context("cannot make a directory on a tmpfs")?;
        let description = NodeDescription {
            format_version: FORMAT_VERSION,
            name: "node1".into(),
            address: "192.168.0.176".parse()?,
            blocks: vec!["172.16.52.0/23".parse()?],
            reserved: vec!["172.16.52.0".parse()?],
            pod_mtu: 1480,
            cool_down_seconds: 0,
            tunnel: None,
        };
        description.write(&RunDir::new(directory.path().join("run")))?;
        Ok(Self { namespace, directory })
    }

    /// Where its plugin keeps its state.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where its namespace is to be found.
    pub fn path(&self) -> PathBuf {
        self.namespace.path()
    }

    /// Runs `act` on a thread that is in the node's namespace, and with it what `act` starts.
    ///
    /// # Errors
    /// That of `act`.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.namespace.within(act)
    }
}

/// A network namespace. It ends with this value.
pub struct Namespace(File);

impl Namespace {
    /// A new one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new() -> Result<Self> {
        thread::spawn(|| {
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

    /// Runs `act` on a thread that is in it, and with it what `act` starts.
    ///
    /// # Errors
    /// That of `act`.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let entered = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).context("cannot enter a namespace")?;
            act()
        };
        thread::scope(|scope| scope.spawn(entered).join())
            .map_err(|_| anyhow!("a thread in a namespace has panicked"))?
    }
}
