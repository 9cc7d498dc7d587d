//! `agent install` killed before each of its system calls in turn. Killed before a call is killed after
//! the one before it, so these are all the moments there are.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::running::agent;

/// What is in the image and what was there before: to the installer they are plugins by what they say.
const NEW: &[u8] = b"\x7fELF warren 0.2.0 is a CNI plugin: and a longer one";
const OLD: &[u8] = b"\x7fELF warren 0.1.0 is a CNI plugin";

/// The fewest system calls that it can do with; less were not traced.
const FEWEST: usize = 40;

fn install(node: &Path) -> Command {
    let mut command = Command::new(agent());
    command.args(["install", "--cni-bin-dir"]).arg(node.join("bin"));
    command.arg("--plugin").arg(node.join("image-warren"));
    command.arg("--proc-sys").arg(node.join("sys"));
    command
}

/// Runs it up to its system call of this number; whether it came to an end before.
#[expect(clippy::zombie_processes, reason = "it is waited for with waitpid, as it is traced")]
fn killed_at(command: &Command, number: usize) -> bool {
    // The shell says that it has begun, for as long as it is being started its own start is seen as the
    // installer's, and waits until it is traced.
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo && read -r line && exec \"$@\"", "sh"]).arg(command.get_program());
    shell.args(command.get_args()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    let options =
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let (mut is_installer, mut within_call, mut calls) = (false, false, 0);
    loop {
        let mut deliver = None;
        match waitpid(pid, None).unwrap() {
            WaitStatus::Exited(_, code) => {
                assert_eq!(code, 0);
                return true;
            }
            WaitStatus::Signaled(_, signal, _) => {
                assert_eq!(signal, Signal::SIGKILL);
                return false;
            }
            WaitStatus::PtraceEvent(_, _, nix::libc::PTRACE_EVENT_EXEC) => {
                // It is still within execve.
                (is_installer, within_call) = (true, true);
            }
            WaitStatus::PtraceSyscall(_) => {
                within_call = !within_call;
                calls += usize::from(within_call);
                if within_call && calls == number {
                    kill(pid, Signal::SIGKILL).unwrap();
                    continue;
                }
            }
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            _ => {}
        }
        let go_on = if is_installer { ptrace::syscall } else { ptrace::cont };
        // It may have been killed by then.
        assert!(matches!(go_on(pid, deliver), Ok(()) | Err(Errno::ESRCH)));
    }
}

#[test]
fn an_installation_that_is_killed_at_any_system_call_leaves_no_half_and_the_next_one_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let node = directory.path();
    let plugin = node.join("bin/warren");
    let forwarding = node.join("sys/net/ipv4/ip_forward");
    fs::create_dir(node.join("bin")).unwrap();
    fs::create_dir_all(forwarding.parent().unwrap()).unwrap();
    fs::write(node.join("image-warren"), NEW).unwrap();
    let mut replaced_by_killed = false;
    for call in 1.. {
        fs::write(&plugin, OLD).unwrap();
        fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&forwarding, "0\n").unwrap();
        let is_over = killed_at(&install(node), call);
        let there = fs::read(&plugin).unwrap();
        assert!(there == OLD || there == NEW, "call {call}: {}", there.escape_ascii());
        assert_eq!(fs::metadata(&plugin).unwrap().permissions().mode() & 0o7777, 0o755);
        replaced_by_killed |= !is_over && there == NEW;
        assert!(install(node).stdout(Stdio::null()).status().unwrap().success(), "call {call}");
        assert_eq!(fs::read(&plugin).unwrap(), NEW);
        assert_eq!(fs::read_dir(node.join("bin")).unwrap().count(), 1, "call {call}");
        assert_eq!(fs::read_to_string(&forwarding).unwrap().trim_end(), "1");
        if is_over {
            assert!(call > FEWEST && replaced_by_killed, "only {call} calls were seen");
            return;
        }
    }
}
