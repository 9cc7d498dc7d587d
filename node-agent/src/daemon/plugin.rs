//! The socket at which the plugin tells what it did.

use std::io;
use std::os::unix::fs::PermissionsExt;

use anyhow::Context;
use tokio::net::UnixDatagram;
use tokio::sync::mpsc;
use tracing::warn;
use warren_types::report::{LONGEST, Report};
use warren_types::run_dir::RunDir;

/// Reports that may wait while the agent is busy. More wait in the socket, and what does not fit
/// there is lost to the metrics, not to the pods.
const DEPTH: usize = 64;

/// Listens at the run directory's socket; the reports arrive at the receiver.
///
/// # Errors
/// The socket cannot be made.
pub fn listen(run_dir: &RunDir) -> anyhow::Result<mpsc::Receiver<Report>> {
    let socket = bind(run_dir)
        .with_context(|| format!("cannot listen at {}", run_dir.reports().display()))?;
    let (reports, receiver) = mpsc::channel(DEPTH);
    tokio::spawn(async move {
        let mut buffer = [0; LONGEST];
        loop {
            let heard = match socket.recv(&mut buffer).await {
                Ok(length) => buffer.get(..length).unwrap_or_default(),
                Err(error) => {
                    warn!(%error, "the plugin is not heard any more");
                    return;
                }
            };
            match Report::parse(heard) {
                Ok(report) => {
                    if reports.send(report).await.is_err() {
                        return;
                    }
                }
                Err(error) => warn!(%error, "the plugin tells what is not understood"),
            }
        }
    });
    Ok(receiver)
}

fn bind(run_dir: &RunDir) -> io::Result<UnixDatagram> {
    let path = run_dir.reports();
    // That of an earlier life: that no other agent runs here is known by now.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixDatagram::bind(&path)?;
    // Only who starts pods knows what became of them.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(socket)
}
