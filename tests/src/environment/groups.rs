//! A control group for those of the containers in the lab. Groups do not end with the processes in
//! them, so somebody has to stay who removes them.

use std::io::{PipeWriter, pipe};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::source_root;
use crate::lab::command::run;

/// The environment variable with the group's path.
const GROUP: &str = "WARREN_LAB_GROUP";

/// The script for control groups, with its verb.
pub(crate) fn cgroups(verb: &str) -> Command {
    let mut command = Command::new(source_root().join("tests/cluster/cgroups"));
    command.arg(verb);
    command
}

/// Chooses a group, which nobody has made yet and which is removed when all is over. What is returned
/// gives it to the command that goes on.
pub(super) fn reserve() -> Result<impl FnOnce(&mut Command)> {
    // The process stays the same one.
    let group = format!("warren-lab-{}", std::process::id());
    let end = sweep_at_the_end(&group)?;
    Ok(|command: &mut Command| {
        command.env(GROUP, group).stdin(end);
    })
}

/// Shows the groups where programs look for them.
pub(super) fn show() -> Result<()> {
    run(&mut cgroups("mount"), "")?.ok().map(drop)
}

/// The group that others are to be made in, in every hierarchy.
///
/// # Errors
/// When this process did not [enter](super::enter_without_tunnel) an environment that has one.
pub fn group() -> Result<String> {
    std::env::var(GROUP).with_context(|| format!("{GROUP} is not set"))
}

/// Starts what removes the control groups once nobody has this any more: the kernel takes with a
/// namespace's first process all but these. It outlives us, even where we are killed with our group.
fn sweep_at_the_end(group: &str) -> Result<PipeWriter> {
    let (input, end) = pipe().context("cannot make a pipe")?;
    let script = cgroups("sweep");
    Command::new("setsid")
        .args(["unshare", "--mount", "--"])
        .arg(script.get_program())
        .args(["sweep", group])
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run setsid of the package util-linux")?;
    Ok(end)
}
