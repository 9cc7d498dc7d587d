//! The loop of the thread.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;
use tokio::sync::{mpsc, oneshot};

use super::Command;
use super::links::Links;
use super::receivers::{Kind, Receivers};
use super::transmitters::Transmitters;
use crate::engine::{Engine, Event, Output};
use crate::snapshot::{Priority, Snapshot};
use crate::sys;

/// How long to tell the peers at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// The niceness where there is no real-time priority: nearly the most that there is.
const NICENESS: i32 = -15;

/// Datagrams read of a socket before timers are seen to again, per session and at least: more than
/// a session sends while the thread is held up for a second, so that a flood costs at most these.
const DATAGRAMS: (usize, usize) = (16, 256);

pub(super) struct Thread {
    commands: mpsc::UnboundedReceiver<Command>,
    wake: Arc<EventFd>,
    events: mpsc::UnboundedSender<Event>,
    engine: Engine,
    receivers: Receivers,
    transmitters: Transmitters,
    links: Links,
    outputs: Vec<Output>,
    /// The engine's changes that the sockets were last looked over for.
    changes: u64,
    priority: Priority,
    /// By how much the thread has been late at worst.
    longest_delay: Duration,
    ending: Option<Ending>,
}

/// The peers are being told.
struct Ending {
    until: Instant,
    answer: Option<oneshot::Sender<()>>,
}

impl Thread {
    pub(super) fn new(
        commands: mpsc::UnboundedReceiver<Command>,
        wake: Arc<EventFd>,
        events: mpsc::UnboundedSender<Event>,
        seed: u64,
    ) -> io::Result<Self> {
        Ok(Self {
            commands,
            wake,
            events,
            engine: Engine::new(seed),
            receivers: Receivers::default(),
            transmitters: Transmitters::new(!seed),
            links: Links::open()?,
            outputs: Vec::new(),
            changes: 0,
            priority: Priority::Ordinary,
            longest_delay: Duration::ZERO,
            ending: None,
        })
    }

    pub(super) fn run(mut self) {
        self.priority = match (sys::run_in_real_time(), sys::run_with_niceness(NICENESS)) {
            (Ok(()), _) => Priority::RealTime,
            (Err(_), Ok(())) => Priority::Raised,
            (Err(_), Err(_)) => Priority::Ordinary,
        };
        loop {
            self.obey();
            self.listen();
            self.engine.turn(Instant::now(), &mut self.outputs);
            self.perform();
            if self.is_over() {
                break;
            }
            self.wait();
        }
        // Who asked may have gone away.
        if let Some(answer) = self.ending.and_then(|ending| ending.answer) {
            let _ = answer.send(());
        }
    }

    fn obey(&mut self) {
        // Nothing to read: something else woke the thread.
        let _ = self.wake.read();
        while let Ok(command) = self.commands.try_recv() {
            let now = Instant::now();
            match command {
                Command::Sessions(sessions) if self.ending.is_none() => {
                    self.engine.set_sessions(&sessions, now, &mut self.outputs);
                }
                Command::Sessions(_) => {}
                // Who asked may have gone away.
                Command::Snapshot(answer) => drop(answer.send(self.snapshot())),
                Command::Stop(answer) => {
                    self.engine.set_sessions(&[], now, &mut self.outputs);
                    self.ending = Some(Ending { until: now + FAREWELL, answer });
                }
            }
        }
        self.look_over_sockets();
    }

    /// Keeps the sockets that the sessions need, when these have changed or one was not to be had.
    fn look_over_sockets(&mut self) {
        let now = Instant::now();
        let is_time = self.receivers.retry_at().is_some_and(|at| at <= now);
        if self.engine.changes() != self.changes || is_time {
            self.changes = self.engine.changes();
            self.receivers.keep(&self.engine.keys().map(Kind::of).collect(), now);
            self.transmitters.keep(&self.engine);
        }
    }

    /// Takes what has arrived: before any timer, for a peer is not silent whose packets were not
    /// read because the thread was held up.
    fn listen(&mut self) {
        let (per_session, least) = DATAGRAMS;
        let limit = least.max(self.engine.keys().len() * per_session);
        let (engine, outputs) = (&mut self.engine, &mut self.outputs);
        self.receivers.receive(limit, |datagram| {
            engine.receive(datagram, Instant::now(), outputs);
        });
        for interface in self.links.that_went_down() {
            engine.interface_down(interface, Instant::now(), outputs);
        }
    }

    fn perform(&mut self) {
        for output in self.outputs.drain(..) {
            match output {
                Output::Send { key, source, payload } => {
                    self.transmitters.send(key, source, &payload);
                }
                // An error means that nobody cares any more.
                Output::Changed(event) => drop(self.events.send(event)),
            }
        }
    }

    fn is_over(&self) -> bool {
        self.ending
            .as_ref()
            .is_some_and(|ending| self.engine.is_empty() || Instant::now() >= ending.until)
    }

    fn wait(&mut self) {
        let deadline = [
            self.engine.next_deadline(),
            self.receivers.retry_at(),
            self.ending.as_ref().map(|ending| ending.until),
        ];
        let deadline = deadline.into_iter().flatten().min();
        let timeout = deadline
            .map(|at| TimeSpec::from_duration(at.saturating_duration_since(Instant::now())));
        let mut descriptors: Vec<PollFd<'_>> = [self.wake.as_fd(), self.links.as_fd()]
            .into_iter()
            .chain(self.receivers.descriptors())
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        // A signal may interrupt it, which is as good as any other reason to look around.
        let woken = ppoll(&mut descriptors, timeout, None);
        if woken == Ok(0)
            && let Some(deadline) = deadline
        {
            self.longest_delay = self.longest_delay.max(deadline.elapsed());
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.engine.snapshot();
        for session in &mut snapshot.sessions {
            let problem = self.receivers.problem(session.key);
            let problem = problem.or_else(|| self.transmitters.problem(session.key));
            session.problem = problem.map(str::to_owned);
        }
        Snapshot { priority: self.priority, longest_delay: self.longest_delay, ..snapshot }
    }
}
