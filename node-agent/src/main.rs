//! `agent`: the node agent, and the operator's command to see what it does.

mod client;
mod commands;
mod config;
mod conflist;
mod daemon;
mod datastore;
mod durable;
mod footprint;
mod log;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use warren_types::run_dir::{self, RunDir};

use crate::commands::Format;
use crate::commands::ipam::Action;

/// Warren's node agent: keeps this node's routes to the other nodes' pods, and shows them.
#[derive(Parser)]
#[command(name = "agent", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon.
    Run {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The run directory, over what the configuration says.
        #[arg(long, value_name = "DIR", env = run_dir::ENV)]
        run_dir: Option<PathBuf>,
        /// What to log: error, warn, info, debug, trace, or a filter by module.
        #[arg(long, value_name = "LEVEL", default_value = "info")]
        log_level: String,
        /// Log lines as JSON.
        #[arg(long)]
        log_json: bool,
    },
    /// Show this node, its peers and what is wrong.
    Status(Query),
    /// Show the BGP peers.
    Peers(Query),
    /// Show the routes that the agent keeps.
    Routes(Query),
    /// Show who has which of the node's addresses, compare that with the kernel, or mend it.
    Ipam {
        #[command(flatten)]
        query: Query,
        #[command(subcommand)]
        action: Option<Action>,
    },
    /// Look for what keeps pods from each other, and say what to do about it.
    Doctor {
        #[command(flatten)]
        query: Query,
        #[command(flatten)]
        options: commands::doctor::Options,
    },
    /// Put the plugin where the container runtime looks for it, and prepare the node.
    Install(commands::install::Options),
    /// Remove all that Warren put on this node, and nothing else.
    Cleanup {
        #[command(flatten)]
        query: Query,
        #[command(flatten)]
        options: commands::cleanup::Options,
    },
    /// Have the agent take leave of its peers, and wait until it has; for a preStop hook.
    Shutdown(Selection),
    /// Readiness probe: exit 0 when pod traffic can flow, else 1, with one line of reason.
    Ready(Selection),
    /// Liveness probe: exit 0 when the agent's loops turn, else 1, with one line of reason.
    Live(Selection),
}

/// Which agent to ask.
#[derive(Args)]
struct Selection {
    /// The run directory of the agent to ask.
    #[arg(long, global = true, value_name = "DIR", env = run_dir::ENV, default_value = run_dir::DEFAULT)]
    run_dir: PathBuf,
}

/// Which agent to ask, and how to print what it says.
#[derive(Args)]
struct Query {
    #[command(flatten)]
    selection: Selection,
    /// The form of the output.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { config, run_dir, log_level, log_json } => {
            log::start(&log_level, log_json)?;
            daemon::run(&config, run_dir)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Status(query) => shown(query, commands::status),
        Command::Peers(query) => shown(query, commands::peers),
        Command::Routes(query) => shown(query, commands::routes),
        Command::Ipam { query, action } => {
            let run_dir = RunDir::new(query.selection.run_dir);
            commands::addresses(&run_dir, action.unwrap_or(Action::Show), query.output)
        }
        Command::Doctor { query, options } => {
            commands::examine(&RunDir::new(query.selection.run_dir), &options, query.output)
        }
        Command::Install(options) => {
            commands::print(&commands::install::install(&options)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Cleanup { query, options } => {
            commands::clean(&RunDir::new(query.selection.run_dir), &options, query.output)
        }
        Command::Shutdown(selection) => {
            commands::shutdown(&RunDir::new(selection.run_dir))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Ready(selection) => Ok(commands::ready(&RunDir::new(selection.run_dir))),
        Command::Live(selection) => Ok(commands::live(&RunDir::new(selection.run_dir))),
    }
}

fn shown(
    query: Query,
    command: fn(&RunDir, Format) -> anyhow::Result<String>,
) -> anyhow::Result<ExitCode> {
    let text = command(&RunDir::new(query.selection.run_dir), query.output)?;
    commands::print(&text);
    Ok(ExitCode::SUCCESS)
}
