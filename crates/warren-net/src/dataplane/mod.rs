//! Brings the kernel to what is desired, and keeps it there: the one place of the agent that
//! touches links, addresses and routes.
//!
//! ```text
//!   Known (watch) ────────┐
//!   the kernel's events ──┼─▶ pass: learn links ▶ tunl0 ▶ desired ▶ dump ▶ diff ▶ apply ─▶ Report
//!   retry, resync timers ─┘         └────────── all by one synchronous socket ─────┘
//! ```
//!
//! All of it is one thread (1x) with a runtime of its own, so that a large table holds nobody else
//! up and no lock is needed. A pass is the only thing it does. Whatever happened, it can look at the
//! whole again, and that makes it indifferent to lost events, to its own restart and to what others
//! do; only what is known to concern a few destinations, a changed path, a deleted route or one that
//! was led elsewhere, is carried out for those (the module `change`), and what goes otherwise than
//! expected there is for the whole again. Events decide *when* and *where* it looks, within
//! milliseconds, and those that agree with what the last pass wanted are not worth a look;
//! [`RESYNC`] is for what nobody told.
//!
//! It reconciles and never purges: see [`Known::settled`] for the time after a start, and
//! [`diff::Realm`] for whose routes it deletes. On [`Dataplane::stop`] everything stays in place.

mod change;
pub mod cleanup;
mod describe;
pub mod diff;
mod events;
mod forwarding;
mod kernel;
mod octets;
mod pass;
mod report;
#[cfg(test)]
mod tests;
mod tunnel;

use std::io;
use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, warn};

use crate::desired::Known;
use crate::netlink::{self, Socket};
use events::{Events, Stirred};
use pass::Reconciler;

pub use report::{NicState, Report, RouteReport, TunnelState};

/// How often everything is looked at although nothing seems to have happened.
pub const RESYNC: Duration = Duration::from_secs(60);

/// How soon a refused request is tried again, at first and at the latest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Bounds of the rest after a pass that others caused. It is as long as the pass took, so that whoever
/// keeps changing our routes costs half a core and no more.
const REST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// Why the dataplane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The socket for requests could not be opened.
    #[error("cannot start the dataplane: {0}")]
    Netlink(#[from] netlink::Error),
    /// The thread or its runtime could not be made.
    #[error("cannot start the dataplane's thread: {0}")]
    Thread(#[from] io::Error),
}

/// The running dataplane. Dropping it ends the thread too, without waiting for it.
#[derive(Debug)]
pub struct Dataplane {
    /// How the kernel stood after the last pass. If the sender is gone, the thread is.
    pub report: watch::Receiver<Arc<Report>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Dataplane {
    /// Ends the thread and waits for it, for as long as a pass takes. Routes, links and addresses
    /// stay as they are.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            error!("the dataplane's thread had panicked");
        }
    }
}

/// Starts the dataplane in the calling thread's network namespace.
///
/// # Errors
/// When the kernel gives no socket or no thread.
pub fn start(known: watch::Receiver<Arc<Known>>) -> Result<Dataplane, StartError> {
    let socket = Socket::open()?;
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let (report_to, report) = watch::channel(Arc::<Report>::default());
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("dataplane".to_owned())
        .spawn(move || work(&runtime, socket, known, &report_to, stopped))?;
    Ok(Dataplane { report, stop, thread })
}

fn work(
    runtime: &Runtime,
    socket: Socket,
    mut known: watch::Receiver<Arc<Known>>,
    report: &watch::Sender<Arc<Report>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let first = Arc::clone(&known.borrow_and_update());
    let mut reconciler = Reconciler::new(socket, first);
    let mut events = None;
    let mut retry = RETRY.0;
    let mut stirred = Stirred::everything();
    // Whether the next pass is for what others did.
    let mut was_stirred = false;
    // When to look at everything whatever happens.
    let mut due = Instant::now();
    runtime.block_on(async {
        loop {
            // Before the pass, so that nothing happens between looking and listening.
            if events.is_none() {
                stirred.everything = true;
                events = reconciler
                    .port()
                    .and_then(Events::open)
                    .inspect_err(|error| {
                        warn!("cannot listen to the kernel's events, only looking: {error}");
                    })
                    .ok();
            }
            let started = Instant::now();
            stirred.everything |= started >= due;
            let now_known = Arc::clone(&known.borrow_and_update());
            let outcome = reconciler.pass(now_known, &stirred);
            stirred = Stirred::default();
            report.send_replace(outcome.report);
            let ended = Instant::now();
            if outcome.whole {
                let again = if outcome.retry || events.is_none() {
                    let after = retry;
                    retry = (retry * 2).min(RETRY.1);
                    after
                } else {
                    retry = RETRY.0;
                    RESYNC
                };
                due = ended + again;
            } else if outcome.retry {
                due = due.min(ended + retry);
            }
            // What the peers say waits for nobody.
            if mem::take(&mut was_stirred) {
                let rest = (ended - started).clamp(REST.0, REST.1);
                tokio::select! {
                    biased;
                    _ = &mut stopped => return,
                    () = sleep(rest) => {}
                }
            }
            tokio::select! {
                biased;
                _ = &mut stopped => return,
                // First, so that what somebody did to a route is known before its path is looked at.
                happened = something_happens(&mut events, &reconciler) => {
                    was_stirred = true;
                    match happened {
                        Some(happened) => stirred = happened,
                        None => events = None,
                    }
                }
                // Once the sender is gone there is nothing more to learn, but much to keep.
                Ok(()) = known.changed() => {}
                () = sleep_until(due) => {}
            }
        }
    });
}

/// Waits for what matters; none if events can no longer be heard.
async fn something_happens(
    events: &mut Option<Events>,
    reconciler: &Reconciler,
) -> Option<Stirred> {
    match events {
        Some(events) => match events.relevant(reconciler.view(), &reconciler.realm()).await {
            Ok(stirred) => Some(stirred),
            Err(error) => {
                warn!("the kernel's events are lost, listening anew: {error}");
                None
            }
        },
        None => std::future::pending().await,
    }
}
