//! Asking the agent of this node.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, bail};
use warren_types::control::{Request, Response};
use warren_types::run_dir::RunDir;

/// An agent that has not answered by then hangs: its own probes must not hang with it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Puts one question to the agent whose run directory this is.
///
/// # Errors
/// No agent there, no answer in time, or an answer that is none.
pub fn ask(run_dir: &RunDir, request: Request) -> anyhow::Result<Response> {
    let path = run_dir.agent_socket();
    let stream = UnixStream::connect(&path).with_context(|| {
        format!(
            "no agent answers at {}: is it running? (--run-dir selects another one)",
            path.display()
        )
    })?;
    let answer = exchange(stream, request)
        .with_context(|| format!("the agent at {} did not answer", path.display()))?;
    match answer {
        Response::Error(message) => bail!("the agent answered: {message}"),
        answer => Ok(answer),
    }
}

fn exchange(mut stream: UnixStream, request: Request) -> anyhow::Result<Response> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut answer)?;
    serde_json::from_slice(&answer)
        .context("its answer is not understood; are both of one version?")
}
