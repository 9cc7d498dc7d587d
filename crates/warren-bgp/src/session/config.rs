//! What is configured of a peer.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::message::Family;
use crate::role::LocalRole;

/// What is configured of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// This speaker's AS number.
    pub local_as: u32,
    /// The peer's AS number: the same as `local_as` for an internal peer.
    pub peer_as: RemoteAs,
    /// This speaker's BGP identifier; never 0.0.0.0 (RFC 6286, 2.1).
    pub router_id: Ipv4Addr,
    /// The hold time to propose; the smaller of both sides' counts.
    pub hold_time: HoldTime,
    /// How often to send a KEEPALIVE: by default, and at the least, thrice in a hold time.
    pub keepalive: Option<Duration>,
    /// How often to try to connect.
    pub connect_retry: ConnectRetry,
    /// Whether to wait for the peer to connect rather than to connect as well
    /// (PassiveTcpEstablishment of RFC 4271, 8.1.1).
    pub passive: bool,
    /// The families to exchange routes of; see [`SUPPORTED_FAMILIES`].
    pub families: Vec<Family>,
    /// Whether a NEXT_HOP in 127.0.0.0/8 is taken: true only of a session that itself runs over
    /// loopback addresses, for such an address never appears on a wire (RFC 1122, 3.2.1.3).
    pub loopback_next_hops: bool,
    /// What to say of this speaker's restarts, and whether to keep a restarting peer's routes;
    /// neither where it is missing.
    pub graceful_restart: Option<GracefulRestart>,
    /// What this speaker is to an external peer, where that is settled (RFC 9234). An internal one has
    /// no role.
    pub role: Option<LocalRole>,
    /// Whether the peer may announce several paths to one destination (RFC 7911).
    pub add_path: bool,
}

impl PeerConfig {
    /// Whether the peer is internal (iBGP).
    pub fn is_internal(&self) -> bool {
        match self.peer_as {
            RemoteAs::Is(number) => self.local_as == number,
            RemoteAs::Internal => true,
            RemoteAs::External => false,
        }
    }

    /// This speaker's role, where the peer is external.
    pub(super) fn external_role(&self) -> Option<LocalRole> {
        self.role.filter(|_| !self.is_internal())
    }

    /// Whether a peer may have this AS number.
    pub(super) fn admits(&self, number: u32) -> bool {
        match self.peer_as {
            RemoteAs::Is(wanted) => number == wanted,
            RemoteAs::Internal => number == self.local_as,
            RemoteAs::External => number != self.local_as,
        }
    }
}

/// The AS number that a peer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteAs {
    /// This one.
    Is(u32),
    /// That of this speaker: an internal peer.
    Internal,
    /// Any other one: an external peer.
    External,
}

impl From<u32> for RemoteAs {
    fn from(number: u32) -> Self {
        Self::Is(number)
    }
}

/// As `64512`, `internal` or `external`.
impl fmt::Display for RemoteAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(number) => write!(f, "{number}"),
            Self::Internal => f.write_str("internal"),
            Self::External => f.write_str("external"),
        }
    }
}

/// How this speaker restarts (RFC 4724; RFC 8538).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GracefulRestart {
    /// How long peers may keep this speaker's routes while it is away.
    pub restart_time: RestartTime,
    /// Whether a NOTIFICATION and the hold timer count as a restart too (the N bit).
    pub notification: bool,
    /// How long peers may keep this speaker's routes beyond that, as the last resort (RFC 9494), and at
    /// most how long theirs are kept, if they ask for it; with none neither.
    pub long_lived: StaleTime,
}

impl Default for GracefulRestart {
    /// 120 s, the N bit, and nothing beyond.
    fn default() -> Self {
        Self {
            restart_time: RestartTime::DEFAULT,
            notification: true,
            long_lived: StaleTime::default(),
        }
    }
}

/// A restart time in seconds, at most 4095: it has 12 bits (RFC 4724, 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RestartTime(u16);

impl RestartTime {
    /// 120 s, as every known implementation has it.
    pub const DEFAULT: Self = Self(120);

    /// A restart time of that many seconds.
    ///
    /// # Errors
    /// More than 4095 have no room in the capability.
    pub fn from_secs(seconds: u16) -> Result<Self, InvalidRestartTime> {
        if seconds < 4096 { Ok(Self(seconds)) } else { Err(InvalidRestartTime(seconds)) }
    }

    /// In seconds.
    pub fn as_secs(self) -> u16 {
        self.0
    }
}

impl Default for RestartTime {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A restart time that has no room in the capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("restart time {0} s is not allowed: give 4095 s at most (RFC 4724, 3)")]
pub struct InvalidRestartTime(u16);

/// A long-lived stale time in seconds, at most 16777215: it has 24 bits (RFC 9494, 3.1). By default
/// none (RFC 9494, 5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StaleTime(u32);

impl StaleTime {
    /// A long-lived stale time of that many seconds.
    ///
    /// # Errors
    /// More than 16777215 have no room in the capability.
    pub fn from_secs(seconds: u32) -> Result<Self, InvalidStaleTime> {
        if seconds >> 24 == 0 { Ok(Self(seconds)) } else { Err(InvalidStaleTime(seconds)) }
    }

    /// In seconds.
    pub fn as_secs(self) -> u32 {
        self.0
    }
}

/// A long-lived stale time that has no room in the capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("long-lived stale time {0} s is not allowed: give 16777215 s at most (RFC 9494, 3.1)")]
pub struct InvalidStaleTime(u32);

/// The families that this speaker can exchange routes of. Others in [`PeerConfig::families`] are
/// not offered to the peer.
pub const SUPPORTED_FAMILIES: [Family; 2] = [Family::Ipv4Unicast, Family::Ipv6Unicast];

/// A hold time in seconds: 0, which means no keepalives, or at least 3 (RFC 4271, 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldTime(u16);

impl HoldTime {
    /// What RFC 4271, 10 suggests: 90 s, hence a keepalive every 30 s.
    pub const DEFAULT: Self = Self(90);

    /// A hold time of that many seconds.
    ///
    /// # Errors
    /// 1 and 2 are not hold times.
    pub fn from_secs(seconds: u16) -> Result<Self, InvalidHoldTime> {
        match seconds {
            1 | 2 => Err(InvalidHoldTime(seconds)),
            _ => Ok(Self(seconds)),
        }
    }

    /// In seconds.
    pub fn as_secs(self) -> u16 {
        self.0
    }
}

impl Default for HoldTime {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A hold time that RFC 4271 does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("hold time {0} s is not allowed: give 0 for no keepalives, or at least 3")]
pub struct InvalidHoldTime(u16);

/// How long to wait between attempts to connect: `initial` at first, twice as long after every
/// attempt up to `max`, each made up to a quarter shorter at random (RFC 4271, 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectRetry {
    /// Between the first attempt and the second.
    pub initial: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for ConnectRetry {
    /// 1 s to 16 s.
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), max: Duration::from_secs(16) }
    }
}
