//! The sockets and timers around `warren-bgp`: a BGP speaker on tokio.
//!
//! One task, the actor, owns every peer's state machine and all routes; no lock is taken anywhere.
//! Everything else moves octets:
//!
//! ```text
//!  Speaker (handles)          listener (1x)       connect (0..n per peer)
//!    | wanted (watch)            |                    |
//!    | requests (mpsc, 8)        |  events (mpsc, 64) |
//!    +------------------------> actor (1x) <----------+
//!                                |   ^
//!     path changes (mpsc, 1)     |   |  events
//!   <----------------------------+   |
//!                        outbox (mpsc, bounded by octets, see below)
//!                                v   |
//!                           connection (0..2 per peer and those being closed)
//! ```
//!
//! What bounds each way:
//! - `wanted` is a state, not a queue: the last call wins.
//! - `events` is one queue for all connections and fair: a connection reads from its socket only when
//!   it has a place in it. A peer that floods is slowed down by its own TCP window, and the actor
//!   sees to its timers after every few events.
//! - An outbox takes routes only while less than 64 KiB wait in it; what is
//!   beyond stays in the RIB, where a destination costs one entry however often it changes. The few
//!   other messages (OPEN, KEEPALIVE, NOTIFICATION) always fit. A peer that takes nothing for a hold
//!   time loses its session.
//! - Path changes wait in the RIB in the same way while the receiver is busy.
//!
//! Nothing is lost when a wait is cancelled: all that the actor waits for are queues, which keep what
//! was not received, and the deadline of the next timer, which the state machines keep.

mod actor;
mod connection;
mod error_words;
mod handle;
mod listener;
mod rate_limit;
mod settings;
mod socket;
mod sys;
mod transport;

use tokio::sync::mpsc;

pub use handle::{DynamicNeighbors, PathChanges, Speaker};
pub use settings::{
    DynamicNeighbor, LongLivedStale, MaxPrefixes, PeerSettings, PeerSnapshot, PeerTemplate,
    Restarted, SpeakerConfig, StartError,
};
pub use transport::{Distance, InvalidPassword, Password};
pub use warren_bgp::policy::{ImportPolicy, PeerPolicy, Refusal};
pub use warren_bgp::rib::{BestPath, PathChange};
pub use warren_bgp::role::{LocalRole, Role};
pub use warren_bgp::session::{
    BfdDown, ConnectRetry, GracefulRestart, HoldTime, RemoteAs, RestartTime, StaleTime, State,
    UpdateErrors,
};

/// Takes the port, and speaks BGP from then on, in tasks of the current tokio runtime; connections are
/// taken from [`Speaker::listen`] on. Until [`Speaker::set_import_policy`] is called, every route is
/// refused.
///
/// # Errors
/// The listening address cannot be had.
pub async fn start(config: SpeakerConfig) -> Result<(Speaker, PathChanges), StartError> {
    let port =
        socket::Port::take(config.listen).map_err(|error| StartError::at(config.listen, &error))?;
    let (changes, receiver) = mpsc::channel(1);
    let (speaker, inputs) = handle::new(port.address());
    tokio::spawn(actor::run(config, port, inputs, changes));
    Ok((speaker, receiver))
}

#[cfg(test)]
mod tests;
