//! `agent run`: wires the parts together and passes events on.
//!
//! ```text
//!  configuration file ──> datastore::Datastore ─┬─> speaker (BGP; its own task) <── failures ── BFD
//!  SIGHUP, API server ─────────┘   Snapshot     │        │ path changes
//!                                               v        v
//!                                     dataplane::Known ──> dataplane (its own thread: the only
//!  operator ──> control socket ──┐                   │     one that touches the kernel)
//!                                v                   v
//!                             report::status <── Report ──> node description for the plugin
//!                                ^
//!  plugin ──> reports ──> metrics, addresses that are left
//! ```
//!
//! One loop holds all state of this program and never waits for anything but its events.

mod address;
mod addresses;
mod bfd;
mod control;
mod metrics;
mod plugin;
mod pods;
mod readiness;
mod report;
mod starting;
mod wiring;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};
use warren_types::control::{Request, Response};
use warren_types::run_dir::RunDir;

use crate::config::Config;
use crate::daemon::wiring::{Agent, Event};
use crate::datastore::Datastore;

/// How long an agent that was asked to shut down waits for its SIGTERM before it ends without.
const SIGTERM_FOLLOWS: Duration = Duration::from_secs(10);

/// Runs the daemon until SIGTERM or SIGINT, or until it is asked to shut down.
///
/// # Errors
/// The configuration cannot be used, or something that the agent cannot do without failed at the
/// start: the BGP port, the run directory, the kernel's netlink socket.
pub fn run(config_file: &Path, run_dir: Option<PathBuf>) -> anyhow::Result<()> {
    let config = Config::read(config_file)?;
    let run_dir =
        run_dir.or_else(|| config.run_dir.clone()).map_or_else(RunDir::default, RunDir::new);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?
        .block_on(serve(config_file, config, run_dir))
}

async fn serve(config_file: &Path, config: Config, run_dir: RunDir) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    // The socket first: it is what keeps a second agent of the same run directory away.
    let mut queries = control::listen(&run_dir).await?;
    let mut datastore = Datastore::start(config.clone()).await?;
    let identity = tokio::select! {
        identity = starting::identify(&config, &mut datastore, &mut queries) => Some(identity?),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    let Some(identity) = identity else {
        let _ = std::fs::remove_file(run_dir.agent_socket());
        return Ok(());
    };
    // A peer that is there has announced its routes long before, and one that is dead must not hold
    // a stale route for longer.
    let settle_after = config.graceful_restart.selection_deferral_seconds;
    let (mut agent, mut path_changes) =
        Agent::start(config, run_dir.clone(), identity, datastore).await?;
    let settle = tokio::time::sleep(Duration::from_secs(settle_after.into()));
    tokio::pin!(settle);
    let mut announced = agent.announced();

    let asked = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hangup.recv() => match Config::read(config_file) {
                Ok(config) => agent.reload(config),
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    error!(error = format!("{error:#}"), "the configuration stays as it was");
                }
            },
            Some(changes) = path_changes.recv() => agent.paths_changed(changes),
            event = agent.event() => match event? {
                Event::Datastore(state) => agent.learn(&state),
                Event::Report(report) => agent.follow(&report),
                Event::Bfd(event) => agent.heed(event).await,
                Event::Neighbors => agent.set_bfd_sessions(),
                Event::Plugin(report) => agent.hear(&report),
            },
            Ok(()) = announced.changed(), if !agent.is_settled() => {
                // The last of what was announced may wait here still.
                while let Ok(changes) = path_changes.try_recv() {
                    agent.paths_changed(changes);
                }
                agent.settle();
            }
            () = &mut settle, if !agent.is_settled() => agent.settle(),
            Some(query) = queries.recv() => {
                if query.request == Request::Shutdown {
                    break Some(query.answer);
                }
                let response = agent.answer(query.request).await;
                // Who asked may have gone away meanwhile.
                let _ = query.answer.send(response);
            }
        }
    };

    let by = if asked.is_some() { "agent shutdown" } else { "a signal" };
    info!(by, "shutting down: the routes stay, and peers that can restart keep theirs");
    agent.stop().await;
    if let Some(answer) = asked {
        let _ = answer.send(Response::Done);
        // Were this process gone at once, the container would be too, and with it the hook that
        // has yet to tell kubelet that all is well.
        let _ = tokio::time::timeout(SIGTERM_FOLLOWS, terminate.recv()).await;
    }
    for socket in [run_dir.agent_socket(), run_dir.reports()] {
        let _ = std::fs::remove_file(socket);
    }
    Ok(())
}
