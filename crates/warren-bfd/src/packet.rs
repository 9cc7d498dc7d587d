//! The BFD control packet (RFC 5880, 4.1).

use std::fmt;
use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

/// The octets of a packet without authentication, which is all that is ever sent.
pub const LENGTH: usize = 24;

/// The octets that a packet with an authentication section has at least (6.8.6).
const LENGTH_WITH_AUTHENTICATION: u8 = 26;

/// The version of RFC 5880.
const VERSION: u8 = 1;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATION_PRESENT: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// A session's name at one of its ends; zero stands for none and is no discriminator.
pub type Discriminator = NonZeroU32;

/// A time in microseconds, as packets carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Interval(u32);

impl Interval {
    /// None at all: what a system sends that wants no packets, or no echo.
    pub const ZERO: Self = Self(0);
    /// The value of bfd.RemoteMinRxInterval before the peer has said anything (6.8.1).
    pub const ONE_MICROSECOND: Self = Self(1);
    /// The shortest interval to ask for while a session is not Up (6.8.3).
    pub const ONE_SECOND: Self = Self(1_000_000);

    /// So many microseconds.
    pub const fn from_micros(micros: u32) -> Self {
        Self(micros)
    }

    /// So many milliseconds; more than fit (71 minutes) are as many as fit.
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// In microseconds.
    pub const fn as_micros(self) -> u32 {
        self.0
    }

    /// As the standard library has it.
    pub const fn as_duration(self) -> Duration {
        Duration::from_micros(self.0 as u64)
    }
}

/// The state of a session (4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Held down by the operator.
    AdminDown,
    /// Not there, or not heard of.
    Down,
    /// The peer is heard and has not said that it hears.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    /// The name of RFC 5880.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        }
    }

    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }
}

/// Why a system's session last left Up, or is not there (4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// Nothing is wrong.
    pub const NONE: Self = Self(0);
    /// The peer was silent for too long.
    pub const CONTROL_DETECTION_TIME_EXPIRED: Self = Self(1);
    /// The peer said that its session is down.
    pub const NEIGHBOR_SIGNALED_SESSION_DOWN: Self = Self(3);
    /// The way to the peer is known to be down: here, the interface.
    pub const PATH_DOWN: Self = Self(5);
    /// Held down by the operator.
    pub const ADMINISTRATIVELY_DOWN: Self = Self(7);

    /// The number of a packet; only its five lowest bits count.
    pub const fn from_code(code: u8) -> Self {
        Self(code & 0x1f)
    }

    /// The number of RFC 5880.
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "no diagnostic",
            1 => "control detection time expired",
            2 => "echo function failed",
            3 => "neighbor signaled session down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            other => return write!(f, "diagnostic {other}"),
        })
    }
}

/// A control packet that passed all checks which need no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender's session last left Up.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// P: the sender wants an answer to its new parameters.
    pub poll: bool,
    /// F: this is the answer.
    pub is_final: bool,
    /// C: the sender's BFD goes on while its control plane restarts.
    pub control_plane_independent: bool,
    /// A: there is an authentication section. It is not looked into.
    pub has_authentication: bool,
    /// D: the sender wants no periodic packets while both are Up.
    pub demand: bool,
    /// How many packets in a row must be missing until the session is down.
    pub detect_mult: NonZeroU8,
    /// The sender's name for the session.
    pub my_discriminator: Discriminator,
    /// The receiver's name for the session, if the sender has heard it.
    pub your_discriminator: Option<Discriminator>,
    /// How often the sender would like to send.
    pub desired_min_tx: Interval,
    /// How often the sender can receive; zero: it wants nothing.
    pub required_min_rx: Interval,
    /// How often the sender can send echo packets back; zero: not at all.
    pub required_min_echo_rx: Interval,
}

/// Why a packet was discarded: the steps of RFC 5880, 6.8.6, in their order, with that of RFC 5881, 5
/// before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Discard {
    /// It came through a router, to a session that has none on its way (RFC 5881, 5).
    #[error("the TTL is not 255")]
    TtlNot255,
    /// Of a version other than 1.
    #[error("the version is not 1")]
    Version,
    /// The Length field is too small for a packet of its kind, or the packet has no such field.
    #[error("the length is too small")]
    LengthTooSmall,
    /// The Length field promises more octets than came.
    #[error("the length exceeds the payload")]
    LengthBeyondPayload,
    /// Detect Mult is zero.
    #[error("the detect multiplier is zero")]
    DetectMultZero,
    /// M is set.
    #[error("the multipoint bit is set")]
    Multipoint,
    /// My Discriminator is zero.
    #[error("my discriminator is zero")]
    MyDiscriminatorZero,
    /// Your Discriminator is of no session with this peer: one of before a restart, most likely.
    #[error("your discriminator is of no session")]
    UnknownDiscriminator,
    /// Your Discriminator is zero, in a state that is only reached knowing it.
    #[error("your discriminator is zero in state Init or Up")]
    YourDiscriminatorZero,
    /// Nobody is configured at the address that it came from.
    #[error("no session is configured with the sender")]
    UnknownPeer,
    /// A is set, and no authentication is configured.
    #[error("it has an authentication section and none is in use")]
    Authentication,
    /// The session is held down.
    #[error("the session is administratively down")]
    AdministrativelyDown,
}

impl Packet {
    /// Reads a packet, making the checks of 6.8.6 up to and with that of My Discriminator.
    ///
    /// # Errors
    /// The first check that it fails.
    pub fn decode(payload: &[u8]) -> Result<Self, Discard> {
        let [first, rest @ ..] = payload else { return Err(Discard::LengthTooSmall) };
        if first >> 5 != VERSION {
            return Err(Discard::Version);
        }
        let [flags, detect_mult, length, ..] = *rest else { return Err(Discard::LengthTooSmall) };
        let has_authentication = flags & AUTHENTICATION_PRESENT != 0;
        let least = if has_authentication { LENGTH_WITH_AUTHENTICATION } else { LENGTH as u8 };
        if length < least {
            return Err(Discard::LengthTooSmall);
        }
        if usize::from(length) > payload.len() {
            return Err(Discard::LengthBeyondPayload);
        }
        let detect_mult = NonZeroU8::new(detect_mult).ok_or(Discard::DetectMultZero)?;
        if flags & MULTIPOINT != 0 {
            return Err(Discard::Multipoint);
        }
        // Cannot fail: the length was checked above.
        let (words, _) = payload.as_chunks::<4>();
        let Some([_, mine, yours, tx, rx, echo]) = words.first_chunk::<6>() else {
            return Err(Discard::LengthBeyondPayload);
        };
        let my_discriminator =
            Discriminator::new(u32::from_be_bytes(*mine)).ok_or(Discard::MyDiscriminatorZero)?;
        Ok(Self {
            diagnostic: Diagnostic::from_code(*first),
            state: State::from_bits(flags >> 6),
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
            has_authentication,
            demand: flags & DEMAND != 0,
            detect_mult,
            my_discriminator,
            your_discriminator: Discriminator::new(u32::from_be_bytes(*yours)),
            desired_min_tx: Interval(u32::from_be_bytes(*tx)),
            required_min_rx: Interval(u32::from_be_bytes(*rx)),
            required_min_echo_rx: Interval(u32::from_be_bytes(*echo)),
        })
    }

    /// The octets to send. There is never an authentication section.
    pub fn encode(&self) -> [u8; LENGTH] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = self.state.bits() << 6
            | flag(self.poll, POLL)
            | flag(self.is_final, FINAL)
            | flag(self.control_plane_independent, CONTROL_PLANE_INDEPENDENT)
            | flag(self.demand, DEMAND);
        let words = [
            [VERSION << 5 | self.diagnostic.code(), flags, self.detect_mult.get(), LENGTH as u8],
            self.my_discriminator.get().to_be_bytes(),
            self.your_discriminator.map_or(0, Discriminator::get).to_be_bytes(),
            self.desired_min_tx.0.to_be_bytes(),
            self.required_min_rx.0.to_be_bytes(),
            self.required_min_echo_rx.0.to_be_bytes(),
        ];
        let mut octets = [0; LENGTH];
        octets.copy_from_slice(words.as_flattened());
        octets
    }
}

#[cfg(test)]
pub(crate) mod tests;
