//! Where the lab runs: as root, on a kernel with ipip, with the programs it uses installed, and in
//! namespaces that end with the process, however it ends.
//!
//! [`enter`] is called first thing by every executable that makes a lab. It goes through the stages
//! of [`Stage`], each of which starts the same executable again with the same arguments.

pub mod cluster;
pub mod groups;
pub(crate) mod isolation;
mod virtual_machine;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The environment variable that carries the [`Stage`] from one process to the next.
const STAGE: &str = "WARREN_LAB_STAGE";

/// How far this process has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// As the user started it.
    Start,
    /// The first process in the virtual machine.
    VirtualMachine,
    /// In namespaces of its own, on a kernel that has all that the lab needs.
    Isolated,
}

impl Stage {
    fn current() -> Result<Self> {
        match std::env::var(STAGE).as_deref() {
            Err(_) => Ok(Self::Start),
            Ok("virtual-machine") => Ok(Self::VirtualMachine),
            Ok("isolated") => Ok(Self::Isolated),
            Ok(other) => bail!("the environment variable {STAGE} is {other:?}; unset it"),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::VirtualMachine => "virtual-machine",
            Self::Isolated => "isolated",
        }
    }
}

/// Whether somebody types at the executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Nobody: a test.
    None,
    /// The terminal is the user's.
    Terminal,
}

/// Makes this process one that can make labs, or ends it.
///
/// Where it returns, the process is root on a kernel with ipip, the first one in namespaces of its
/// own, and everything that it starts or makes in there ends with it, even if it is killed. Where the
/// running kernel has no ipip, this function ends the process with the exit code that the same
/// executable had in a virtual machine.
///
/// # Errors
/// What is missing and cannot be set up, in a sentence.
pub fn enter(input: Input) -> Result<()> {
    let stage = Stage::current()?;
    if stage == Stage::Isolated {
        return isolation::settle();
    }
    expect_root()?;
    if stage == Stage::Start {
        run_script(&mut Command::new(source_root().join("scripts/packages")))?;
    }
    match (stage, missing_in_kernel()) {
        (_, None) => isolation::restart(|_| ()),
        (Stage::Start, Some(_)) => {
            run_script(&mut Command::new(source_root().join("tests/vm/build")))?;
            let code = virtual_machine::run(&source_root().join("target/vm"), input)?;
            std::process::exit(code)
        }
        (_, Some(missing)) => {
            bail!("the virtual machine's kernel does not serve either: {missing}")
        }
    }
}

/// As [`enter`], for what needs no tunnel: on the running kernel, whatever it has. `programs` are needed
/// besides, each with the package that has it, and there is a [control group](groups::group).
///
/// # Errors
/// What is missing and cannot be set up, in a sentence.
pub fn enter_without_tunnel(programs: &[(&str, &str)]) -> Result<()> {
    if Stage::current()? == Stage::Isolated {
        isolation::settle()?;
        return groups::show();
    }
    expect_root()?;
    run_script(&mut Command::new(source_root().join("scripts/packages")))?;
    // Where a program is there its package is not asked for: it may be another's build of the same, and
    // the two exclude one another.
    let missing = programs.iter().filter(|(program, _)| !is_there(program));
    let packages: Vec<_> = missing.map(|(_, package)| package).collect();
    if !packages.is_empty() {
        run_script(Command::new(source_root().join("scripts/packages")).args(packages))?;
    }
    isolation::restart(groups::reserve()?)
}

fn expect_root() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the lab makes network namespaces and needs root; run this as root"
    );
    Ok(())
}

/// What the running kernel lacks, if anything.
fn missing_in_kernel() -> Option<String> {
    // Where modules cannot be loaded, ipip may be built in: only the device itself tells.
    let _ = Command::new("modprobe").args(["--quiet", "ipip"]).output();
    let look = Command::new("unshare").args(["--net", "ip", "link", "show", "tunl0"]).output();
    match look {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(e) => Some(format!("cannot run unshare: {e}")),
    }
}

/// Whether a program is on the PATH, or at its place.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Runs a script of this repository, its output going where ours goes.
fn run_script(script: &mut Command) -> Result<()> {
    let name = Path::new(script.get_program()).display().to_string();
    let status = script.status().with_context(|| format!("cannot run {name}"))?;
    ensure!(status.success(), "{name} failed; what it said stands above");
    Ok(())
}

/// The checkout that this executable was built from.
pub fn source_root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// This executable and its arguments, to start it again.
fn this_program() -> Result<(PathBuf, Vec<OsString>)> {
    let program = std::env::current_exe().context("cannot find this executable")?;
    Ok((program, std::env::args_os().skip(1).collect()))
}

/// A program of this project, as cargo has built it beside this executable.
///
/// # Errors
/// When it has not been built.
pub fn built(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this executable")?;
    program
        .ancestors()
        .skip(1)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .with_context(|| {
            format!("there is no executable {name} beside {}; run: cargo build", program.display())
        })
}
