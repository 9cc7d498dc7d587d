//! Other people's BGP speakers, each configured for one session with ours.

mod bird;
mod frr;
mod gobgp;
mod openbgpd;

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};

pub use bird::Bird;
pub use frr::Frr;
pub use gobgp::GoBgp;
pub use openbgpd::OpenBgpd;

use crate::wire::{US, Wire};

/// A speaker of which there is a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// BIRD, of the package bird2.
    Bird,
    /// bgpd and zebra, of the package frr.
    Frr,
    /// gobgpd, of the package gobgpd.
    GoBgp,
    /// bgpd, of the package openbgpd.
    OpenBgpd,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bird, Self::Frr, Self::GoBgp, Self::OpenBgpd];

    /// What its makers call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bird => "BIRD",
            Self::Frr => "FRR",
            Self::GoBgp => "GoBGP",
            Self::OpenBgpd => "OpenBGPD",
        }
    }

    /// The package that it comes with.
    pub fn package(self) -> &'static str {
        match self {
            Self::Bird => "bird2",
            Self::Frr => "frr",
            Self::GoBgp => "gobgpd",
            Self::OpenBgpd => "openbgpd",
        }
    }

    /// Starts it at the other end of the wire.
    ///
    /// # Errors
    /// When it does not start, with what it said.
    pub fn start(self, wire: &Wire, session: &Session) -> Result<Box<dyn Speaker>> {
        Ok(match self {
            Self::Bird => Box::new(Bird::start(wire, session)?),
            Self::Frr => Box::new(Frr::start(wire, session)?),
            Self::GoBgp => Box::new(GoBgp::start(wire, session)?),
            Self::OpenBgpd => Box::new(OpenBgpd::start(wire, session)?),
        })
    }
}

/// What the other speaker is configured with.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its AS number.
    pub their_as: u32,
    /// Ours.
    pub our_as: u32,
    /// Whether it waits for us to connect.
    pub passive: bool,
    /// The hold time that it proposes, in seconds.
    pub hold_time: u16,
    /// The prefixes that it announces.
    pub announce: Vec<String>,
    /// Our addresses that it has sessions with, all of one family, which is also that of the routes.
    pub neighbors: Vec<&'static str>,
    /// Whether we are its clients (RFC 4456).
    pub clients: bool,
    /// How many prefixes it takes of us, if it counts.
    pub max_prefixes: Option<u32>,
    /// The password of TCP MD5 (RFC 2385), if there is one.
    pub password: Option<&'static str>,
    /// Whether it sends and expects packets that crossed no router (RFC 5082).
    pub ttl_security: bool,
    /// Whether it can do graceful restart, for this many seconds (RFC 4724).
    pub restart_time: Option<u16>,
    /// With how many seconds beyond that, in which its routes are the last resort (RFC 9494).
    pub long_lived: Option<u32>,
    /// Its role, by the names of RFC 9234, 3.1, which it insists on.
    pub role: Option<&'static str>,
    /// How many communities it adds to each of its routes; with some, it can do extended messages (RFC
    /// 8654).
    pub communities: u16,
    /// Whether it can do enhanced route refresh (RFC 7313), where it does not anyway.
    pub enhanced_refresh: bool,
    /// Whether it tells us of all its paths to a destination (RFC 7911).
    pub add_paths: bool,
    /// Whether it gives us up when BFD does (RFC 5882); only for those that have BFD.
    pub bfd: bool,
}

impl Session {
    /// An internal one in which both may connect, and in which it announces `10.2.0.0/24`.
    pub fn internal() -> Self {
        Self {
            their_as: 64512,
            our_as: 64512,
            passive: false,
            hold_time: 9,
            announce: vec!["10.2.0.0/24".to_owned()],
            neighbors: vec![US[0]],
            clients: false,
            max_prefixes: None,
            password: None,
            ttl_security: false,
            restart_time: None,
            long_lived: None,
            role: None,
            communities: 0,
            enhanced_refresh: false,
            add_paths: false,
            bfd: false,
        }
    }

    /// An external one.
    pub fn external() -> Self {
        Self { their_as: 65002, ..Self::internal() }
    }

    /// Our first address.
    pub fn us(&self) -> &'static str {
        self.neighbors.first().copied().unwrap_or(US[0])
    }

    /// Whether it runs over IPv6.
    pub fn is_ipv6(&self) -> bool {
        is_ipv6(self.us())
    }
}

/// A speaker that runs.
pub trait Speaker {
    /// That its session with our first address is Established.
    ///
    /// # Errors
    /// When it is not, with what it is.
    fn expect_established(&mut self) -> Result<()>;

    /// The prefixes that it uses of us.
    ///
    /// # Errors
    /// When it does not say.
    fn routes(&mut self) -> Result<BTreeSet<String>>;

    /// All it says of a route of ours.
    ///
    /// # Errors
    /// When it does not say.
    fn route(&mut self, prefix: &str) -> Result<String>;

    /// Asks us for all routes again (RFC 2918).
    ///
    /// # Errors
    /// When it does not.
    fn refresh(&mut self) -> Result<()>;

    /// Sends us all routes again although we have not asked.
    ///
    /// # Errors
    /// When it does not.
    fn announce_again(&mut self) -> Result<()> {
        bail!("it announces nothing again without being asked")
    }

    /// Shuts the session down with these words (RFC 9003).
    ///
    /// # Errors
    /// When it does not.
    fn shut_down(&mut self, words: &str) -> Result<()>;

    /// Ends it as a crash does.
    ///
    /// # Errors
    /// When it had ended before.
    fn crash(&mut self) -> Result<()>;

    /// Starts it again after a crash, as one whose routes have stayed in the kernel.
    ///
    /// # Errors
    /// When it does not start.
    fn start_again(&mut self) -> Result<()>;

    /// All that it has logged.
    fn log(&self) -> String;
}

/// Whether an address or a prefix is one of IPv6.
pub(crate) fn is_ipv6(text: &str) -> bool {
    text.contains(':')
}

/// That a text has these words.
pub(crate) fn expect_words(text: &str, words: &str) -> Result<()> {
    ensure!(text.contains(words), "there is no {words:?} in: {text}");
    Ok(())
}

/// A value of JSON text.
pub(crate) fn json(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).with_context(|| format!("is no JSON: {text}"))
}
