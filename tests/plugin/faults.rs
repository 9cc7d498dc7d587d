//! Every system call of a command fails in turn, with each error that it may come back with on a
//! machine in need: no space, no descriptors, a signal, no permission.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use nix::errno::Errno;
use nix::libc;
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::command::Outcome;
use tests::trial::trial;

use crate::runtime::{Runtime, Sandbox};
use crate::traced::{self, Call, Fate};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("an ADD whose system calls fail connects the pod or leaves nothing", added),
        trial("a DEL whose system calls fail says so, and the next one succeeds", deleted),
    ]
}

/// More errors than any call is made to return.
const ERRORS: usize = 4;

/// The errors that a system call is made to return. Those that programs need not expect of it are not
/// among them: nothing of stat, and nothing that only ends something, such as close.
fn errors_of(call: &Call) -> Vec<Errno> {
    use Errno::{EINTR, EMFILE, ENOSPC, EPERM};
    let creates = call.arguments[2] & (libc::O_CREAT | libc::O_TMPFILE).cast_unsigned() as u64 != 0;
    match call.number {
        libc::SYS_openat if creates => vec![EMFILE, EPERM, EINTR, ENOSPC],
        libc::SYS_openat => vec![EMFILE, EPERM, EINTR],
        libc::SYS_socket | libc::SYS_fcntl | libc::SYS_dup3 => vec![EMFILE, EPERM],
        libc::SYS_read | libc::SYS_recvfrom | libc::SYS_recvmsg | libc::SYS_flock => vec![EINTR],
        libc::SYS_write | libc::SYS_writev => vec![ENOSPC, EPERM, EINTR],
        libc::SYS_sendto | libc::SYS_sendmsg => vec![EPERM, EINTR],
        libc::SYS_mkdirat | libc::SYS_linkat | libc::SYS_renameat | libc::SYS_renameat2 => {
            vec![ENOSPC, EPERM]
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mkdir | libc::SYS_link | libc::SYS_rename => vec![ENOSPC, EPERM],
        #[cfg(target_arch = "x86_64")]
        libc::SYS_unlink => vec![EPERM],
        libc::SYS_unlinkat | libc::SYS_setns | libc::SYS_bind | libc::SYS_connect => vec![EPERM],
        libc::SYS_setsockopt => vec![EPERM],
        _ => Vec::new(),
    }
}

/// The calls that give a file another name.
#[cfg(target_arch = "x86_64")]
const RENAMES: [i64; 3] = [libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2];
#[cfg(not(target_arch = "x86_64"))]
const RENAMES: [i64; 2] = [libc::SYS_renameat, libc::SYS_renameat2];

/// Whether a command begins its work with this call: it looks at its standard input. What is before
/// is the loader's and the language's, which may end the program as they like.
fn begins(call: &Call) -> bool {
    matches!(call.number, libc::SYS_ioctl | libc::SYS_read) && call.arguments[0] == 0
}

/// One fault: the number of the system call among those that can fail, and its error among those of
/// the call.
#[derive(Debug, Clone, Copy)]
struct Fault {
    call: usize,
    error: usize,
}

/// What became of a fault. Which calls there are differs a little from one run to the next.
#[derive(Debug, Default)]
struct Tried {
    /// What was struck, and with what, unless the call has fewer errors.
    struck: Option<(Errno, Call)>,
    /// How many calls there were that can fail.
    calls: usize,
}

fn added(lab: &Lab) -> Result<()> {
    let runtime = Runtime::dual_stack(lab)?;
    let struck = with_every_fault(|fault| {
        let first = runtime.sandbox("nginx")?;
        let (outcome, tried) = run_with(&runtime, "ADD", &first, fault)?;
        if outcome.success() {
            let answer: Value = serde_json::from_str(&outcome.stdout).context("no answer")?;
            runtime.expect_connected_alone(&first, &answer).context("it succeeded")?;
        } else if !said_why(&outcome, tried.struck)?.contains("a DEL has to follow") {
            runtime.expect_nothing_left().context("it failed")?;
        }
        runtime.del(&first)?;
        runtime.expect_nothing_left().context("after the DEL")?;
        runtime.end(&first)?;
        connect_anew(&runtime)?;
        Ok(tried)
    })?;
    let answers = |call: &Call| call.number == libc::SYS_write && call.arguments[0] == 1;
    ensure!(struck.iter().any(answers), "it was not struck to the end: {struck:?}");
    runtime.expect_no_namespace_left()
}

fn deleted(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let struck = with_every_fault(|fault| {
        let first = runtime.sandbox("nginx")?;
        runtime.add(&first)?;
        let (outcome, tried) = run_with(&runtime, "DEL", &first, fault)?;
        if !outcome.success() {
            said_why(&outcome, tried.struck)?;
            runtime.del(&first).context("DEL again")?;
        }
        runtime.expect_nothing_left()?;
        runtime.end(&first)?;
        connect_anew(&runtime)?;
        Ok(tried)
    })?;
    // It frees the addresses last.
    let frees = |call: &Call| RENAMES.contains(&call.number);
    ensure!(struck.iter().any(frees), "it was not struck to the end: {struck:?}");
    runtime.expect_no_namespace_left()
}

fn connect_anew(runtime: &Runtime) -> Result<()> {
    let next = runtime.sandbox("nginx")?;
    let answer = runtime.add(&next).context("ADD anew")?;
    runtime.expect_connected_alone(&next, &answer).context("after ADD anew")?;
    runtime.del(&next)?;
    runtime.end(&next)?;
    runtime.expect_nothing_left()
}

/// Plays `scene` with each fault; what was struck.
fn with_every_fault(scene: impl Fn(Fault) -> Result<Tried>) -> Result<Vec<Call>> {
    let mut all = Vec::new();
    for call in 0.. {
        for error in 0..ERRORS {
            let fault = Fault { call, error };
            let Tried { struck, calls } =
                scene(fault).with_context(|| format!("with {fault:?}"))?;
            if calls <= call {
                return Ok(all);
            }
            let Some((_, call)) = struck else { break };
            all.push(call);
        }
    }
    Ok(all)
}

/// Runs a command with a fault: what came of it, and what was struck.
fn run_with(
    runtime: &Runtime,
    verb: &str,
    sandbox: &Sandbox,
    fault: Fault,
) -> Result<(Outcome, Tried)> {
    let mut begun = false;
    let mut tried = Tried::default();
    let command = runtime.command(verb, sandbox)?;
    let input = runtime.netconf(&Value::Null).to_string();
    let outcome = traced::run(&command, &input, |call| {
        begun |= begins(call);
        let errors = errors_of(call);
        if !begun || errors.is_empty() {
            return Fate::Happens;
        }
        tried.calls += 1;
        match errors.get(fault.error) {
            Some(&error) if tried.calls == fault.call + 1 => {
                tried.struck = Some((error, *call));
                Fate::Fails(error)
            }
            _ => Fate::Happens,
        }
    })?;
    Ok((outcome, tried))
}

/// That a command that failed says why in the protocol's words; what it says.
fn said_why(outcome: &Outcome, struck: Option<(Errno, Call)>) -> Result<String> {
    let (error, _) = struck.with_context(|| format!("it failed by itself: {outcome:?}"))?;
    let reason = std::io::Error::from_raw_os_error(error as i32).to_string();
    let reason = reason.split(" (os error").next().unwrap_or_default();
    // It gives up at once rather than do anything in the wrong namespace. Runtimes then show what is on
    // standard error.
    if outcome.stderr.starts_with("cannot return to the node's network namespace") {
        ensure!(outcome.stderr.contains(reason), "{reason}: it said {outcome:?}");
        return Ok("a DEL has to follow".to_owned());
    }
    let said = &outcome.stdout;
    let answer: Value =
        serde_json::from_str(said).with_context(|| format!("{error}: it said {outcome:?}"))?;
    ensure!(outcome.status.code() == Some(1), "{error}: it ended with {}", outcome.status);
    ensure!(answer["code"] != 105 && answer["code"].is_u64(), "{error}: it said {said}");
    ensure!(said.contains(reason), "{reason}: it said {said}");
    Ok(said.clone())
}
