//! Namespaces of this process's own.
//!
//! The process becomes the first one of a process namespace. When such a process ends, for whatever
//! reason, the kernel kills all others in its namespace; with the last process go the mounts, and with
//! the mounts the named network namespaces. So nothing has to be cleaned up, and nothing can be left.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{STAGE, Stage, this_program};

/// Where labs keep their files: on a tmpfs that nobody else sees.
pub(crate) const LABS: &str = "/run/warren-lab";

/// Replaces this process by one that waits for the same executable in new namespaces; `prepare` has
/// the last word on how it is started.
///
/// # Errors
/// When there is no `unshare`. Otherwise this does not return.
pub(super) fn restart(prepare: impl FnOnce(&mut Command)) -> Result<()> {
    let (program, arguments) = this_program()?;
    let mut command = Command::new("unshare");
    command
        .args([
            "--pid",
            "--fork",
            "--kill-child",
            "--mount",
            "--mount-proc",
            "--net",
            "--ipc",
            "--uts",
        ])
        .arg("--")
        .arg(program)
        .args(arguments)
        .env(STAGE, Stage::Isolated.as_str());
    prepare(&mut command);
    Err(command.exec()).context("cannot run unshare of the package util-linux")
}

/// What is left to do inside the new namespaces.
///
/// # Errors
/// When a mount or an address cannot be made.
pub(super) fn settle() -> Result<()> {
    ensure!(std::process::id() == 1, "the environment variable {STAGE} is set by hand; unset it");
    // The kernel ignores every signal to a namespace's first process that it does not handle: without
    // this, nobody could interrupt a test.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot handle signals")?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _ = writeln!(std::io::stderr(), "interrupted");
            std::process::exit(128 + signal);
        }
    });
    // The machine's own /run stays out of reach, and what labs put there out of the machine's.
    mount(&["-t", "tmpfs", "-o", "mode=755", "lab", "/run"])?;
    // A view of this network namespace's devices, for tools that look there.
    mount(&["-t", "sysfs", "sys", "/sys"])?;
    for directory in [LABS, "/run/netns"] {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {directory}"))?;
    }
    std::fs::write("/proc/sys/kernel/hostname", "lab").context("cannot name the lab's host")?;
    ensure!(Path::new("/proc/self/ns/net").exists(), "/proc is not mounted");
    Ok(())
}

fn mount(arguments: &[&str]) -> Result<()> {
    let output = Command::new("mount").args(arguments).output().context("cannot run mount")?;
    ensure!(
        output.status.success(),
        "mount {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
