//! The agent's log: a line per event on standard error.

use tracing_subscriber::EnvFilter;

/// The Kubernetes client logs every error that it hands to the agent besides, which tells of it once
/// and in words. A `--log-level` that names these modules wins.
const QUIET: &str = "kube_client=off,kube_runtime=off";

/// Starts logging.
///
/// # Errors
/// `level` is no filter of tracing-subscriber's `EnvFilter`.
pub fn start(level: &str, json: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|e| {
        anyhow::anyhow!("--log-level {level}: {e}; use error, warn, info, debug or trace")
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        log.json().flatten_event(true).init();
    } else {
        log.with_ansi(false).with_target(false).init();
    }
    Ok(())
}
