//! How the sessions are doing, for people.

use std::collections::BTreeMap;
use std::num::NonZeroU8;
use std::time::{Duration, SystemTime};

use crate::engine::Key;
use crate::packet::{Diagnostic, Discard, Discriminator, State};
use crate::session::{Cause, Remote};

/// How all sessions are doing.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Each session, in the order of the peers' addresses.
    pub sessions: Vec<SessionSnapshot>,
    /// How many packets were discarded, by reason.
    pub discarded: BTreeMap<Discard, u64>,
    /// How the thread gets its share of the processor.
    pub priority: Priority,
    /// By how much the thread was late for a timer at worst.
    pub longest_delay: Duration,
}

/// How a thread gets its share of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Before all ordinary threads (SCHED_FIFO).
    RealTime,
    /// More than ordinary threads (niceness).
    Raised,
    /// As all others: the kernel allows nothing else.
    #[default]
    Ordinary,
}

/// How a session is doing.
#[derive(Debug, Clone)]
pub struct SessionSnapshot {
    /// Which.
    pub key: Key,
    /// Its state.
    pub state: State,
    /// Since when it is in that state.
    pub since: SystemTime,
    /// Why it last left Up.
    pub diagnostic: Diagnostic,
    /// What the peer says.
    pub remote: Remote,
    /// This end's name for it.
    pub discriminator: Discriminator,
    /// The time between two packets before jitter; none while the peer wants none.
    pub transmit_interval: Option<Duration>,
    /// How long the peer may be silent; none before it is heard.
    pub detection_time: Option<Duration>,
    /// How many packets in a row the peer must miss until it gives us up.
    pub detect_mult: NonZeroU8,
    /// When and why it last left Up.
    pub last_down: Option<LastDown>,
    /// How often it came Up.
    pub came_up: u64,
    /// How often it left Up.
    pub went_down: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets received and not discarded.
    pub received: u64,
    /// Why nothing can be sent or received, in words.
    pub problem: Option<String>,
}

/// When and why a session left Up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastDown {
    /// When.
    pub at: SystemTime,
    /// Why.
    pub cause: Cause,
}
