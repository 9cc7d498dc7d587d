//! Programs and what they say.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a program that was asked to end may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where `ip` keeps the network namespaces' names.
pub(crate) const NAMESPACES: &str = "/run/netns";

/// What a program that has ended left.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was run.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Outcome {
    /// Whether the exit code was 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// The standard output of a program that succeeded.
    ///
    /// # Errors
    /// When it failed, with all that it said.
    pub fn ok(self) -> Result<String> {
        ensure!(
            self.success(),
            "{} ended with {}: {}{}",
            self.command,
            self.status,
            self.stderr.trim(),
            self.stdout.trim()
        );
        Ok(self.stdout)
    }
}

/// A program that is to run in a network namespace.
pub(crate) fn within(namespace: &str, program: impl AsRef<Path>) -> Command {
    // nsenter replaces itself by the program: signals and exit codes are the program's own.
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", namespace_path(namespace).display()));
    command.arg("--").arg(program.as_ref());
    command
}

/// The file that stands for a named network namespace.
pub(crate) fn namespace_path(namespace: &str) -> PathBuf {
    Path::new(NAMESPACES).join(namespace)
}

/// Runs a program to its end, with `input` as its standard input.
///
/// # Errors
/// When it cannot be run. That it fails is an outcome.
pub fn run(command: &mut Command, input: &str) -> Result<Outcome> {
    collect(start(command, input)?, words(command))
}

/// Runs a program with `input` as its standard input, and kills it when `moment` has passed.
///
/// # Errors
/// When it cannot be run. How it ends is an outcome.
pub fn run_and_kill(command: &mut Command, input: &str, moment: Duration) -> Result<Outcome> {
    let mut child = start(command, input)?;
    std::thread::sleep(moment);
    child.kill().context("cannot kill a program")?;
    collect(child, words(command))
}

fn start(command: &mut Command, input: &str) -> Result<Child> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", words(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program need not read what it is given, and may have ended.
        let _ = stdin.write_all(input.as_bytes());
    }
    Ok(child)
}

fn collect(child: Child, command: String) -> Result<Outcome> {
    let output = child.wait_with_output().with_context(|| format!("cannot wait for {command}"))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Outcome {
        command,
        status: output.status,
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    })
}

/// Runs several `ip` commands by one process, in a namespace or, without one, in the lab's own.
///
/// # Errors
/// When one of them fails; those after it are not run.
pub(crate) fn ip(namespace: Option<&str>, commands: &[String]) -> Result<String> {
    let mut command = Command::new("ip");
    if let Some(namespace) = namespace {
        command.args(["-n", namespace]);
    }
    command.args(["-batch", "-"]);
    let mut lines = commands.join("\n");
    lines.push('\n');
    run(&mut command, &lines)?.ok().with_context(|| format!("ip commands:\n{lines}"))
}

/// The words of a command line, without the way into its namespace.
fn words(command: &Command) -> String {
    let all: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match all.iter().position(|word| word == "--") {
        Some(place) if all[0] == "nsenter" => all[place + 1..].join(" "),
        _ => all.join(" "),
    }
}

/// A program that runs until it is ended; dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    words: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose output is added to the file `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let words = words(command);
        let open =
            || -> std::io::Result<File> { OpenOptions::new().create(true).append(true).open(log) };
        let file = open().with_context(|| format!("cannot open {}", log.display()))?;
        let error = file.try_clone().with_context(|| format!("cannot open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(error)
            .spawn()
            .with_context(|| format!("cannot run {words}"))?;
        Ok(Self { child, words, log: log.to_owned() })
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has said so far.
    pub fn output(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// An error, with what it said last, if it has ended.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait().context("cannot wait for a program")? {
            None => Ok(()),
            Some(status) => {
                bail!("{} has ended with {status}: {}", self.words, tail(&self.output(), 10))
            }
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.check()?;
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
            .with_context(|| format!("cannot signal {}", self.words))
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Errors
    /// When it has ended before, or does not end; then it is killed.
    pub fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        self.signal(signal)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context("cannot wait for a program")? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        bail!("{} did not end within {PATIENCE:?} of {signal}", self.words)
    }

    fn kill(&mut self) {
        // It may have ended by itself, and then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
