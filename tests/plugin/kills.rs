//! The plugin is killed at every system call in turn, and the runtime goes on as runtimes do.
//!
//! Killed before a call is killed after the one before it, so these are all the points there are: one
//! netlink send is carried out whole.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use tests::lab::Lab;
use tests::trial::trial;

use crate::runtime::{Runtime, Sandbox};
use crate::traced::{self, Fate};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("an ADD killed at any system call is cleaned up by the DEL", added),
        trial("an ADD killed at any system call gives way to the next without a DEL", added_anew),
        trial("an ADD killed while it replaces a leftover gives way to the next", replaced),
        trial("a DEL killed at any system call is finished by the next", deleted),
    ]
}

/// The fewest system calls that a command can do with; less were not traced.
const FEWEST: usize = 40;

fn added(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    at_every_call(&runtime, |kill| {
        let first = runtime.sandbox("nginx")?;
        kill("ADD", &first)?;
        runtime.del(&first).context("DEL after it")?;
        runtime.expect_nothing_left().context("after the DEL")?;
        runtime.end(&first)?;
        connect_anew(&runtime, &[])
    })
}

fn added_anew(lab: &Lab) -> Result<()> {
    let runtime = Runtime::dual_stack(lab)?;
    at_every_call(&runtime, |kill| {
        let first = runtime.sandbox("nginx")?;
        kill("ADD", &first)?;
        connect_anew(&runtime, &[first])
    })
}

fn replaced(lab: &Lab) -> Result<()> {
    let runtime = Runtime::dual_stack(lab)?;
    at_every_call(&runtime, |kill| {
        let (lost, first) = (runtime.sandbox("nginx")?, runtime.sandbox("nginx")?);
        runtime.add(&lost)?;
        kill("ADD", &first)?;
        connect_anew(&runtime, &[lost, first])
    })
}

fn deleted(lab: &Lab) -> Result<()> {
    let runtime = Runtime::dual_stack(lab)?;
    at_every_call(&runtime, |kill| {
        let first = runtime.sandbox("nginx")?;
        runtime.add(&first)?;
        kill("DEL", &first)?;
        runtime.del(&first).context("DEL after it")?;
        runtime.expect_nothing_left().context("after the DEL")?;
        runtime.end(&first)?;
        connect_anew(&runtime, &[])
    })
}

/// The pod's next container gets its connection, whatever was left of `late` ones, and keeps it when
/// their DELs arrive.
fn connect_anew(runtime: &Runtime, late: &[Sandbox]) -> Result<()> {
    let next = runtime.sandbox("nginx")?;
    let answer = runtime.add(&next).context("ADD anew")?;
    runtime.expect_connected_alone(&next, &answer).context("after ADD anew")?;
    for sandbox in late {
        runtime.del(sandbox).context("late DEL")?;
        runtime.end(sandbox)?;
    }
    if !late.is_empty() {
        runtime.expect_connected_alone(&next, &answer).context("after the late DELs")?;
    }
    runtime.del(&next)?;
    runtime.end(&next)?;
    runtime.expect_nothing_left()
}

/// Plays `scene` again and again. It has one command killed: before the first system call, then
/// before the second, until there are no more.
fn at_every_call(
    runtime: &Runtime,
    scene: impl Fn(&dyn Fn(&str, &Sandbox) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let ended = std::cell::Cell::new(false);
    let mut position = 0;
    while !ended.get() {
        position += 1;
        let kill = |verb: &str, sandbox: &Sandbox| {
            let command = runtime.command(verb, sandbox)?;
            let input = runtime.netconf(&Value::Null).to_string();
            let outcome = traced::run(&command, &input, |call| {
                if call.position == position { Fate::Kills } else { Fate::Happens }
            })?;
            if outcome.status.signal() != Some(Signal::SIGKILL as i32) {
                outcome.ok()?;
                ended.set(true);
            }
            Ok(())
        };
        scene(&kill).with_context(|| format!("killed at system call {position}"))?;
    }
    ensure!(position > FEWEST, "only {position} system calls were seen");
    runtime.expect_no_namespace_left()
}
