//! Bidirectional Forwarding Detection (RFC 5880 to 5883): both ends send a small packet every few
//! hundred milliseconds, and who is not heard for a few of them is not there.
//!
//! [`packet`], [`session`] and [`engine`] have no socket and no clock. [`start`] starts a thread with
//! sockets of its own around an [`engine::Engine`]:
//!
//! ```text
//!   Bfd (handles) ── commands (unbounded), eventfd ──> driver (1 thread) ──> events (unbounded)
//!                                                       │  ^    ^
//!                              one socket per session <─┘  │    └── links (netlink)
//!                                     ports 3784 and 4784 ─┘
//! ```
//!
//! A peer gives this node up when it is not heard for a second, so the thread depends on nobody: it
//! takes no lock, writes no log, waits for no other thread, and asks the kernel for a real-time
//! priority. Neither queue can fill: a command is a whole new state or a question, and an event
//! needs a session that came or went.

mod address;
mod driver;
pub mod engine;
pub mod packet;
pub mod session;
mod snapshot;
mod sys;

pub use address::ip;
pub use driver::{Bfd, Events, StartError, start};
pub use engine::{Event, Hops, Key, Settings};
pub use session::{Cause, Change, Timing};
pub use snapshot::{LastDown, Priority, SessionSnapshot, Snapshot};
