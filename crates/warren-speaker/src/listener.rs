//! Taking connections.

use std::io;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::connection::Happened;
use crate::error_words;

/// How long to leave the kernel alone when it has no file descriptor or memory for a connection.
const PAUSE: Duration = Duration::from_millis(200);

/// How often at most the log hears of that.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Hands over every connection; ends with the actor.
pub(crate) async fn run(listener: TcpListener, events: mpsc::Sender<Happened>) {
    let mut warned: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if events.send(Happened::Accepted(stream, from)).await.is_err() {
                    return;
                }
            }
            // A caller that hung up before it was answered.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // What is missing (EMFILE, ENFILE, ENOBUFS, ENOMEM) may come back; callers wait in the
            // backlog meanwhile.
            Err(error) => {
                if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                    warned = Some(Instant::now());
                    let reason = error_words::of(&error);
                    tracing::warn!(reason, "cannot accept BGP connections, trying again");
                }
                sleep(PAUSE).await;
            }
        }
    }
}
