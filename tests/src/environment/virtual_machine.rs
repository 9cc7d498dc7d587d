//! The same executable in a virtual machine whose kernel has ipip.
//!
//! `tests/vm/build` has fetched a kernel and QEMU. The machine's root file system is the host's, seen
//! through 9p and never written to (`tests/vm/init`), so whatever is built or installed on the host is
//! simply there. One directory goes both ways: what to run comes from it, and the exit code and the
//! kernel's console go to it. The executable's output comes through a console of its own.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal, Read, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Input, STAGE, Stage, this_program};

/// The script that the machine's first process goes on with.
const GUEST: &str = include_str!("../../vm/guest");

/// How long the machine may run before it is taken for stuck. The whole of the tests takes a fraction
/// of it; a CI run that hangs is worse than one that fails.
const LIMIT: Duration = Duration::from_secs(25 * 60);

/// `kvm` to use the processor's own virtualisation. Not the default: machines that are virtual
/// themselves offer it, and then a guest hangs in it.
const ACCELERATOR: &str = "WARREN_VM_ACCEL";

/// What else of our environment the executable needs there.
const PASSED_ON: [&str; 5] = ["PATH", "TERM", "HOME", "RUST_BACKTRACE", "RUST_LOG"];

/// Runs this executable, with its arguments, in the machine; its exit code.
///
/// # Errors
/// When the machine does not start, does not end in time, or ends without an exit code; with the end
/// of the kernel's console.
pub(super) fn run(parts: &Path, input: Input) -> Result<i32> {
    let directory = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(parts)
        .context("cannot make a directory for the virtual machine")?;
    let shared = directory.path();
    write_orders(shared, parts, input)?;

    eprintln!(
        "starting a virtual machine, because this kernel has no ipip; emulated, it takes some 20 s"
    );
    let started = Instant::now();
    let mut machine = qemu(parts, shared, input)
        .spawn()
        .context("cannot run setpriv of the package util-linux")?;
    let relay = machine.stdout.take().map(|out| std::thread::spawn(move || relay(out)));
    let limit = (input == Input::None).then_some(LIMIT);
    let in_time = wait(&mut machine, limit)?;
    if let Some(relay) = relay {
        let _ = relay.join();
    }

    let exit = fs::read_to_string(shared.join("exit")).unwrap_or_default();
    let seconds = started.elapsed().as_secs();
    match exit.trim().parse() {
        Ok(code) => {
            eprintln!("the virtual machine ran for {seconds} s");
            Ok(code)
        }
        Err(_) => {
            let console = fs::read(shared.join("console")).unwrap_or_default();
            let console = String::from_utf8_lossy(&console);
            let lines: Vec<_> = console.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            let why = if in_time { "ended without an exit code" } else { "did not end in time" };
            bail!("the virtual machine {why}, after {seconds} s; the end of its console:\n{tail}")
        }
    }
}

/// Writes what the machine reads when it has started.
fn write_orders(shared: &Path, parts: &Path, input: Input) -> Result<()> {
    let (program, arguments) = this_program()?;
    let here = std::env::current_dir().context("cannot find the current directory")?;
    let mut command = format!("cd {}\n", quoted(here.as_os_str()));
    let _ = writeln!(command, "export {STAGE}={}", Stage::VirtualMachine.as_str());
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            let _ = writeln!(command, "export {name}={}", quoted(&value));
        }
    }
    // Its console is a terminal in any case; ours need not be one.
    if !io::stdout().is_terminal() {
        command.push_str("export NO_COLOR=1 TERM=dumb\n");
    }
    let _ = write!(command, "exec {}", quoted(program.as_os_str()));
    for argument in &arguments {
        let _ = write!(command, " {}", quoted(argument));
    }
    command.push('\n');
    let modules = parts.join("lib/modules");
    let mut files = vec![
        ("guest", GUEST.as_bytes()),
        ("command", command.as_bytes()),
        ("modules", modules.as_os_str().as_bytes()),
    ];
    if input == Input::Terminal {
        files.push(("interactive", b""));
    }
    for (name, content) in files {
        let path = shared.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A word as the shell reads it.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))
}

fn qemu(parts: &Path, shared: &Path, input: Input) -> Command {
    let unpacked = parts.join("qemu");
    let mut program = unpacked.join("usr/bin/qemu-system-x86_64");
    // setpriv: the machine ends with this process, even if this process is killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    if program.exists() {
        // Unpacked and not installed, it finds neither its libraries nor its firmware by itself.
        let libraries =
            ["usr/lib", "lib"].map(|d| format!("{}/x86_64-linux-gnu", unpacked.join(d).display()));
        command.env("LD_LIBRARY_PATH", libraries.join(":"));
    } else {
        program = "qemu-system-x86_64".into();
    }
    command.arg(program);
    for data in ["qemu", "seabios"] {
        command.arg("-L").arg(unpacked.join("usr/share").join(data));
    }
    let accelerator = std::env::var(ACCELERATOR).unwrap_or_else(|_| "tcg,thread=multi".to_owned());
    let processor = if accelerator.starts_with("kvm") { "host" } else { "max" };
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.args(["-accel", &accelerator, "-cpu", processor, "-smp", "2", "-m", "2G"]);
    command.arg("-kernel").arg(parts.join("kernel"));
    command.arg("-initrd").arg(parts.join("initramfs"));
    // panic=-1: reboot at once, which ends QEMU. No mitigations: they only cost time here.
    command.args(["-append", "console=ttyS0 panic=-1 mitigations=off edd=off"]);
    command.arg("-serial").arg(format!("file:{}", shared.join("console").display()));
    let signal = if input == Input::Terminal { "off" } else { "on" };
    command.args(["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=output"]);
    command.arg("-chardev").arg(format!("stdio,id=output,signal={signal}"));
    command.args([
        "-virtfs",
        "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
        "-virtfs",
        &format!("local,path={},mount_tag=run,security_model=none", shared.display()),
    ]);
    if input == Input::None {
        // Its own pipe: QEMU makes its output non-blocking, which others that hold ours cannot take.
        command.stdin(Stdio::null()).stdout(Stdio::piped());
    }
    command
}

/// Passes the executable's output on as it comes.
fn relay(mut from: impl Read) {
    let mut buffer = [0; 4096];
    let mut out = io::stdout();
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || out.write_all(&buffer[..count]).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
}

/// Waits for the machine's end; false when it had to be ended.
fn wait(machine: &mut Child, limit: Option<Duration>) -> Result<bool> {
    let Some(limit) = limit else {
        machine.wait().context("cannot wait for QEMU")?;
        return Ok(true);
    };
    let deadline = Instant::now() + limit;
    while machine.try_wait().context("cannot wait for QEMU")?.is_none() {
        if Instant::now() >= deadline {
            machine.kill().context("cannot end QEMU")?;
            machine.wait().context("cannot wait for QEMU")?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(true)
}
