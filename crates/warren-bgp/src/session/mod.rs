//! A session with a peer: RFC 4271's state machine without sockets or clocks.
//!
//! ```text
//!            Event, now                    Action
//!   driver ------------> Peer  (1 x) ----------------> driver
//!                         |  collision detection, restart (RFC 4271, 6.8)
//!                         +-- outgoing Connection (1 x)   state, timers,
//!                         +-- incoming Connection (0-1 x) octets -> messages (8.2.2)
//! ```
//!
//! The driver owns the sockets and one sleep until [`Peer::next_deadline`]. Nothing here can fail:
//! what may not happen in a state is itself a transition, to Idle, with a NOTIFICATION.

mod api;
mod backoff;
mod config;
mod connection;
mod fsm;
mod negotiate;
mod peer;
mod restart;
mod timers;
mod update_errors;

pub use api::{
    Action, BfdDown, ConnectionId, Event, Negotiated, PeerRestart, State, TooManyPrefixes,
};
pub use config::{
    ConnectRetry, GracefulRestart, HoldTime, InvalidHoldTime, InvalidRestartTime, InvalidStaleTime,
    PeerConfig, RemoteAs, RestartTime, SUPPORTED_FAMILIES, StaleTime,
};
pub use peer::Peer;
pub use update_errors::{ErrorKind, UpdateErrors};

#[cfg(test)]
mod tests;
