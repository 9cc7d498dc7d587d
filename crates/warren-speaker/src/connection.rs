//! One TCP connection: octets in, octets out.
//!
//! One task for each, in which a reader and a writer wait side by side. Neither knows BGP.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::error_words;

/// Names one connection of the speaker; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionKey(pub(crate) u64);

/// What became of a connection, for the actor.
#[derive(Debug)]
pub(crate) enum Happened {
    /// An attempt to connect ended.
    Connected(ConnectionKey, io::Result<TcpStream>),
    /// Somebody connected.
    Accepted(TcpStream, SocketAddr),
    /// The peer sent this.
    Received(ConnectionKey, Bytes),
    /// So many octets of the outbox are written.
    Sent(ConnectionKey, usize),
    /// The peer has taken nothing for so long.
    Stuck(ConnectionKey, Duration),
    /// The connection is gone, for this reason.
    Closed(ConnectionKey, String),
}

/// What the actor puts into an outbox.
#[derive(Debug)]
enum Outgoing {
    /// To be written.
    Bytes(Bytes),
    /// How long the peer may take nothing; until then [`UNTIL_ESTABLISHED`].
    StuckAfter(Duration),
}

/// Before a hold time is agreed on, as RFC 4271 8.2.2 has for the hold timer in OpenSent.
const UNTIL_ESTABLISHED: Duration = Duration::from_secs(240);

/// At most so many octets are read, or written, at once: some four full messages.
const CHUNK: usize = 16 * 1024;

/// How long closing may take: writing what is in the outbox, and then the peer's own closing.
const CLOSING: Duration = Duration::from_secs(2);

/// The actor's end of a connection; dropped to close it, whereupon what is in the outbox is still
/// written.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: mpsc::UnboundedSender<Outgoing>,
    /// Its disappearance is seen even where the writer waits for the peer.
    _open: oneshot::Sender<()>,
}

impl Outbox {
    /// Octets to write. A connection that has failed takes them as well: its end is on the way.
    pub(crate) fn send(&self, bytes: Bytes) {
        drop(self.queue.send(Outgoing::Bytes(bytes)));
    }

    /// How long the peer may take nothing from now on.
    pub(crate) fn stuck_after(&self, limit: Duration) {
        drop(self.queue.send(Outgoing::StuckAfter(limit)));
    }
}

/// Starts to carry octets over `stream`, until the peer closes or the outbox is dropped.
pub(crate) fn start(
    key: ConnectionKey,
    stream: TcpStream,
    events: mpsc::Sender<Happened>,
) -> (Outbox, impl Future<Output = ()> + Send + 'static) {
    let (queue, outbox) = mpsc::unbounded_channel();
    let (open, closing) = oneshot::channel();
    let task = async move {
        let limit = async {
            // The sender never sends: this is its end.
            let _ = closing.await;
            sleep(CLOSING).await;
        };
        tokio::select! {
            () = carry(key, stream, events, outbox) => {}
            () = limit => {}
        }
    };
    (Outbox { queue, _open: open }, task)
}

async fn carry(
    key: ConnectionKey,
    stream: TcpStream,
    events: mpsc::Sender<Happened>,
    outbox: mpsc::UnboundedReceiver<Outgoing>,
) {
    let (mut input, mut output) = stream.into_split();
    let reason = tokio::select! {
        reason = read(key, &mut input, &events) => Some(reason),
        outcome = write(key, &mut output, &events, outbox) => match outcome {
            Ok(()) => None,
            // The peer may have said why before it went: that explains more than a broken pipe.
            Err(error) => timeout(CLOSING, read(key, &mut input, &events))
                .await
                .ok()
                .or_else(|| Some(error_words::of(&error))),
        },
    };
    match reason {
        // An error means that the actor has ended: then nobody needs to know.
        Some(reason) => drop(events.send(Happened::Closed(key, reason)).await),
        // Closing while octets of the peer are unread would make the kernel reset the connection,
        // and the peer might never see our NOTIFICATION.
        None => discard(&mut input).await,
    }
}

/// Hands over what the peer sends until there is no more, and says why.
///
/// A place in the queue comes first: what the actor has no time for stays in the kernel, and no
/// buffer is held for a silent peer.
async fn read(
    key: ConnectionKey,
    input: &mut OwnedReadHalf,
    events: &mpsc::Sender<Happened>,
) -> String {
    loop {
        if let Err(error) = input.readable().await {
            return error_words::of(&error);
        }
        let Ok(place) = events.reserve().await else { return pending().await };
        let mut chunk = BytesMut::with_capacity(CHUNK);
        match input.try_read_buf(&mut chunk) {
            Ok(0) => return "peer closed the connection".to_owned(),
            Ok(_) => place.send(Happened::Received(key, chunk.freeze())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return error_words::of(&error),
        }
    }
}

/// Reads to the end and keeps nothing.
async fn discard(input: &mut OwnedReadHalf) {
    let mut buffer = [0; 4096];
    while input.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Writes what comes through the outbox, and when that is closed the end of the stream.
async fn write(
    key: ConnectionKey,
    output: &mut OwnedWriteHalf,
    events: &mpsc::Sender<Happened>,
    mut outbox: mpsc::UnboundedReceiver<Outgoing>,
) -> io::Result<()> {
    let mut stuck_after = UNTIL_ESTABLISHED;
    let mut chunk = BytesMut::new();
    while let Some(first) = outbox.recv().await {
        let mut next = Some(first);
        while let Some(outgoing) = next {
            match outgoing {
                Outgoing::Bytes(bytes) => chunk.extend_from_slice(&bytes),
                Outgoing::StuckAfter(limit) => stuck_after = limit,
            }
            next = if chunk.len() < CHUNK { outbox.try_recv().ok() } else { None };
        }
        let length = chunk.len();
        while !chunk.is_empty() {
            match timeout(stuck_after, output.write_buf(&mut chunk)).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => drop(events.send(Happened::Stuck(key, stuck_after)).await),
            }
        }
        drop(events.send(Happened::Sent(key, length)).await);
    }
    output.shutdown().await
}
