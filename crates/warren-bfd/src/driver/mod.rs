//! The thread that runs the sessions.

mod links;
mod receivers;
mod thread;
mod transmitters;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc, oneshot};

use crate::engine::{Event, Settings};
use crate::snapshot::Snapshot;

/// What becomes of the sessions, each session's in order.
pub type Events = mpsc::UnboundedReceiver<Event>;

/// The running thread. Cheap to clone; when the last one is dropped the thread ends as with
/// [`shutdown`](Self::shutdown).
#[derive(Debug, Clone)]
pub struct Bfd(Arc<Line>);

#[derive(Debug)]
struct Line {
    commands: mpsc::UnboundedSender<Command>,
    wake: Arc<EventFd>,
}

/// What the thread is told.
#[derive(Debug)]
enum Command {
    Sessions(Vec<Settings>),
    Snapshot(oneshot::Sender<Snapshot>),
    Stop(Option<oneshot::Sender<()>>),
}

/// Why BFD did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel gives no file descriptor or no thread.
    #[error("cannot start the BFD thread: {0}")]
    Thread(#[from] io::Error),
}

/// Starts the thread in the calling thread's network namespace, without sessions.
///
/// # Errors
/// When the kernel gives no file descriptor or no thread.
pub fn start() -> Result<(Bfd, Events), StartError> {
    let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
        .map_err(io::Error::from)?;
    let wake = Arc::new(wake);
    let (commands, receiver) = mpsc::unbounded_channel();
    let (sender, events) = mpsc::unbounded_channel();
    // Randomly keyed by the standard library from the kernel's own source.
    let seed = RandomState::new().build_hasher().finish();
    let thread = thread::Thread::new(receiver, Arc::clone(&wake), sender, seed)?;
    std::thread::Builder::new().name("bfd".to_owned()).spawn(move || thread.run())?;
    Ok((Bfd(Arc::new(Line { commands, wake })), events))
}

impl Bfd {
    /// The sessions to have, in place of those before. One that is not in the list any more ends
    /// with AdminDown, which takes nothing down at the peer; changed intervals are negotiated anew
    /// without a flap.
    pub fn set_sessions(&self, sessions: Vec<Settings>) {
        self.0.tell(Command::Sessions(sessions));
    }

    /// How each session is doing; empty when the thread has ended.
    pub async fn snapshot(&self) -> Snapshot {
        let (answer, answered) = oneshot::channel();
        self.0.tell(Command::Snapshot(answer));
        answered.await.unwrap_or_default()
    }

    /// Ends every session with AdminDown, and the thread; returns when the peers have taken note,
    /// or after a second.
    pub async fn shutdown(&self) {
        let (answer, answered) = oneshot::channel();
        self.0.tell(Command::Stop(Some(answer)));
        // An error means that the thread has ended: that is what was asked for.
        let _ = answered.await;
    }
}

impl Line {
    fn tell(&self, command: Command) {
        // Errors mean that the thread has ended, or that it is about to wake up anyway.
        let _ = self.commands.send(command);
        let _ = self.wake.write(1);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.tell(Command::Stop(None));
    }
}
