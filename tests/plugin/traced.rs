//! Running a program system call by system call.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use tests::lab::command::Outcome;

use crate::registers::Registers;

/// A system call that the program is about to make.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Which one it is, counted from 1: the end of `execve`, which the program begins with, is none.
    pub position: usize,
    /// Its number, as in <sys/syscall.h>.
    pub number: i64,
    /// What it is called with.
    pub arguments: [u64; 6],
}

/// What becomes of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is made.
    Happens,
    /// The program is killed before it is made.
    Kills,
    /// It is not made and returns this error.
    Fails(Errno),
}

/// How many programs replace one another: the shell starts `nsenter`, and that the plugin.
const PROGRAMS: usize = 2;

/// Runs `command`, which enters a namespace first, to the end of the program in there; `decide` is
/// asked before each of its system calls.
///
/// # Errors
/// When it cannot be run or traced. That it fails or is killed is an outcome.
pub fn run(
    command: &Command,
    input: &str,
    mut decide: impl FnMut(&Call) -> Fate,
) -> Result<Outcome> {
    // The shell says that it has begun, for as long as it is being started its own start is seen as one
    // of a program, and waits for a line until it is traced. It reads not a byte beyond.
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo && read -r line && exec \"$@\"", "sh"]).arg(command.get_program());
    shell.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = shell.spawn().context("cannot run sh")?;
    let mut stdout = child.stdout.take().context("no standard output")?;
    stdout.read_exact(&mut [0]).context("sh does not begin")?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let options =
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).context("cannot trace the plugin")?;
    // Both fit into a pipe, so that this does not wait for the program.
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(format!("\n{input}").as_bytes()).context("cannot write to the plugin")?;
    drop(stdin);

    let status = follow(pid, &mut decide)?;
    let mut outcome = Outcome {
        command: format!("{command:?}"),
        status,
        stdout: String::new(),
        stderr: String::new(),
    };
    stdout.read_to_string(&mut outcome.stdout).context("cannot read what it said")?;
    let mut stderr = child.stderr.take().context("no standard error")?;
    stderr.read_to_string(&mut outcome.stderr).context("cannot read what it said")?;
    Ok(outcome)
}

fn follow(pid: Pid, decide: &mut impl FnMut(&Call) -> Fate) -> Result<ExitStatus> {
    let mut programs = 0;
    let mut position = 0;
    let mut within_call = false;
    let mut error = None;
    loop {
        let mut deliver = None;
        match waitpid(pid, None).context("cannot wait for the plugin")? {
            WaitStatus::Exited(_, code) => return Ok(ExitStatus::from_raw(code << 8)),
            WaitStatus::Signaled(_, signal, _) => return Ok(ExitStatus::from_raw(signal as i32)),
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => {
                programs += 1;
                // It is still within execve.
                within_call = true;
            }
            WaitStatus::PtraceEvent(..) => {}
            WaitStatus::PtraceSyscall(_) if within_call => {
                within_call = false;
                if let Some(error) = error.take() {
                    Registers::of(pid)?.return_error(error)?;
                }
            }
            WaitStatus::PtraceSyscall(_) => {
                within_call = true;
                position += 1;
                let registers = Registers::of(pid)?;
                let (number, arguments) = registers.call();
                match decide(&Call { position, number, arguments }) {
                    Fate::Happens => {}
                    Fate::Kills => {
                        kill(pid, Signal::SIGKILL).context("cannot kill the plugin")?;
                        continue;
                    }
                    Fate::Fails(errno) => {
                        registers.make_no_call()?;
                        error = Some(errno);
                    }
                }
            }
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            other => bail!("the plugin is {other:?}"),
        }
        let go_on = if programs < PROGRAMS { ptrace::cont } else { ptrace::syscall };
        match go_on(pid, deliver) {
            // It has just been killed.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).context("cannot let the plugin go on"),
        }
    }
}
