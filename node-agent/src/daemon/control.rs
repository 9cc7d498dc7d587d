//! The socket at which the agent answers the operator.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};
use warren_types::control::{Request, Response};
use warren_types::file;
use warren_types::run_dir::RunDir;

/// A request is a word; more than this is none.
const LONGEST_REQUEST: u64 = 4096;

/// Who connects and says nothing is sent away after this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Questions that may wait while the agent is busy. Each holds a connection of its own, and a
/// question more waits there.
const DEPTH: usize = 16;

/// A question and where its answer goes.
pub struct Query {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes; nobody may be waiting any more.
    pub answer: oneshot::Sender<Response>,
}

/// Listens at the run directory's socket; the queries arrive at the receiver.
///
/// # Errors
/// Another agent answers there, or the socket cannot be made.
pub async fn listen(run_dir: &RunDir) -> anyhow::Result<mpsc::Receiver<Query>> {
    run_dir.examine()?;
    let path = run_dir.agent_socket();
    let listener =
        bind(&path).await.with_context(|| format!("cannot listen at {}", path.display()))?;
    let (queries, receiver) = mpsc::channel(DEPTH);
    tokio::spawn(serve(listener, queries));
    Ok(receiver)
}

async fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if UnixStream::connect(path).await.is_ok() {
        bail!("another agent runs there; stop it, or give this one a run directory of its own");
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    if let Some(directory) = path.parent() {
        file::create_directory(directory)?;
    }
    let listener = UnixListener::bind(path)?;
    // Peers, prefixes and reasons are the business of the node's administrator.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve(listener: UnixListener, queries: mpsc::Sender<Query>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(answer(stream, queries.clone()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: others close theirs meanwhile.
                warn!(%error, "cannot accept an operator's connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, queries: mpsc::Sender<Query>) {
    match tokio::time::timeout(PATIENCE, exchange(stream, queries)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "an operator's connection failed"),
        Err(_) => debug!("an operator's connection took too long"),
    }
}

async fn exchange(mut stream: UnixStream, queries: mpsc::Sender<Query>) -> anyhow::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = Vec::new();
    BufReader::new(read.take(LONGEST_REQUEST)).read_until(b'\n', &mut line).await?;
    let response = match serde_json::from_slice(&line) {
        Err(error) => Response::Error(format!("the request is not understood: {error}")),
        Ok(request) => {
            let (answer, answered) = oneshot::channel();
            queries.send(Query { request, answer }).await?;
            answered.await?
        }
    };
    let mut text = serde_json::to_vec(&response)?;
    text.push(b'\n');
    write.write_all(&text).await?;
    Ok(())
}
