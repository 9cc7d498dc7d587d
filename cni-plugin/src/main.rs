//! The CNI plugin `warren`: connects a pod to its node by one veth pair, one address and one route.
//!
//! A container runtime starts it for every pod that starts or stops. It asks nobody: what the node
//! is, it reads from a file that the agent wrote; which addresses are in use, from a directory.
//!
//! | module | what it is |
//! | --- | --- |
//! | `args`, `netconf`, `version` | what the runtime wants |
//! | `add`, `del`, `check`, `gc`, `status` | the commands |
//! | `node` | the node, as far as this kernel can carry it |
//! | `remove` | taking away what a record names |
//! | `result`, `error` | what the runtime is told; all error codes |
//! | `log` | one line per command |

mod add;
mod args;
mod check;
mod del;
mod error;
mod gc;
mod log;
mod netconf;
mod node;
mod remove;
mod result;
mod status;
mod version;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use warren_types::report::Command;

use crate::args::Attachment;
use crate::error::{Code, Failure};
use crate::log::{Level, Line, to_stderr};
use crate::netconf::{Document, NetConf};
use crate::version::Version;

/// The longest network configuration that is read, in bytes; what goes beyond is no configuration.
const INPUT_MAX: u64 = 16 << 20;

/// musl's asks the kernel for a page or two at a time and gives them back as often: nearly half of an
/// `ADD`'s system calls. See docs/decisions/0009-memory-in-large-pieces.md.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    answer_panics();
    let variable = |name: &str| std::env::var_os(name);
    let mut out = Stdout;
    match run(&variable, io::stdin(), &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err((version, failure)) => {
            if variable("CNI_COMMAND").is_none_or(|command| command.is_empty()) {
                to_stderr(&about());
            }
            // If even this cannot be written, the exit code still tells.
            let _ = out.write_all(format!("{}\n", failure.to_json(version)).as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Standard output without std's buffer. That would keep a result that could not be written, and
/// print it together with the error.
struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(io::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does what the environment and the input ask for. An error comes with the version to tell it in.
fn run(
    variable: &impl Fn(&str) -> Option<OsString>,
    input: impl Read + IsTerminal,
    out: &mut impl Write,
) -> Result<(), (Version, Failure)> {
    let newest = |failure| (Version::NEWEST, failure);
    let command = args::command(variable).map_err(newest)?;
    let mut line = Line::new(match command {
        Command::Add | Command::Del | Command::Gc => Level::Info,
        Command::Check | Command::Status | Command::Version => Level::Debug,
    });
    let input = read(input).map_err(newest)?;
    if command == Command::Version {
        return version(&input, out).map_err(newest);
    }

    let mut document = Document::parse(&input);
    let version = match &mut document {
        Ok(document) => document.version(),
        Err(_) => Ok(Version::NEWEST),
    };
    let told = |failure| (*version.as_ref().unwrap_or(&Version::NEWEST), failure);
    // What is wrong with the environment is told before what is wrong with the input.
    let attachment = match command {
        Command::Gc | Command::Status | Command::Version => None,
        _ => Some(Attachment::parse(command, variable).map_err(told)?),
    };
    let document = document.map_err(told)?;
    let version = version.map_err(|failure| (Version::NEWEST, failure))?;
    let told = |failure| (version, failure);
    if version < args::since(command) {
        let message = format!("CNI version {version} does not have the command {command}");
        return Err(told(Failure::new(Code::IncompatibleVersion, message)));
    }
    let mut conf = document.into_netconf().map_err(told)?;

    let outcome = match (command, &attachment) {
        (Command::Add, Some(attachment)) => {
            describe(&mut line, &conf, attachment);
            add::add(version, &mut conf, attachment, &mut line, out)
        }
        (Command::Del, Some(attachment)) => {
            describe(&mut line, &conf, attachment);
            del::del(&conf, attachment, &mut line)
        }
        (Command::Check, Some(attachment)) => {
            describe(&mut line, &conf, attachment);
            check::check(&conf, attachment, &mut line)
        }
        (Command::Gc, _) => gc::gc(&conf, &mut line),
        _ => status::status(&conf),
    };
    line.finish(command, &outcome, &conf);
    outcome.map_err(told)
}

fn describe(line: &mut Line, conf: &NetConf, attachment: &Attachment) {
    line.field("network", &conf.name);
    line.field("container", attachment.owner.container_id());
    line.field("ifname", attachment.owner.ifname());
    if let Some(pod) = &attachment.pod {
        line.field("pod", format_args!("{}/{}", pod.namespace, pod.name));
    }
}

/// Reads everything, unless a person at a terminal would have to type it.
fn read(input: impl Read + IsTerminal) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    if !input.is_terminal() {
        input.take(INPUT_MAX).read_to_end(&mut text).map_err(|error| {
            Failure::new(Code::Io, format!("cannot read the network configuration: {error}"))
        })?;
    }
    Ok(text)
}

/// `VERSION` answers in the version that it was asked in, which old runtimes do not say.
fn version(input: &[u8], out: &mut impl Write) -> Result<(), Failure> {
    let asked = Document::parse(input).ok().and_then(|mut document| document.version().ok());
    let answer = serde_json::json!({
        "cniVersion": asked.unwrap_or(Version::NEWEST).as_str(),
        "supportedVersions": Version::supported(),
    });
    out.write_all(format!("{answer}\n").as_bytes())
        .map_err(|error| Failure::new(Code::Io, format!("cannot write the result: {error}")))
}

/// For a person who runs it by hand.
fn about() -> String {
    format!(
        "warren {} is a CNI plugin: a container runtime such as containerd starts it, with CNI_*\n\
         environment variables and a network configuration on standard input. It speaks versions\n\
         {} of the specification (https://www.cni.dev/docs/spec/).\n\
         Try: CNI_COMMAND=VERSION warren\n",
        env!("CARGO_PKG_VERSION"),
        Version::supported().join(", "),
    )
}

/// A panic is a bug; the runtime is told of it in the protocol's words nevertheless.
fn answer_panics() {
    std::panic::set_hook(Box::new(|info| {
        to_stderr(&format!("{info}\n"));
        let failure = Failure::new(Code::Internal, format!("the plugin has a bug: {info}"));
        let _ = Stdout.write_all(format!("{}\n", failure.to_json(Version::NEWEST)).as_bytes());
        std::process::exit(1);
    }));
}
