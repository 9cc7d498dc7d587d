//! Our speaker and another one at the two ends of a wire.

use std::cell::Cell;

use anyhow::{Context, Result, ensure};
use tests::lab::capture::Capture;
use tests::lab::wait::{SOON, eventually};
use tests::speakers::{Kind, Session, Speaker};
use tests::wire::{THEM, THEM6, US, US6, Wire};
use warren_speaker::{HoldTime, PeerSettings, SpeakerConfig};

use crate::dissect;
use crate::ours::{self, Ours};

/// What ours announces over IPv4 unless a test wants something else.
pub const OURS: &str = "10.1.0.0/24";

/// What theirs announces over IPv4 unless a test wants something else.
pub const THEIRS: &str = "10.2.0.0/24";

/// The two of them, before they run.
pub struct Meeting {
    /// Who is at the other end.
    pub kind: Kind,
    /// What is between them.
    pub wire: Wire,
    /// All that has gone over it.
    pub capture: Capture,
    /// Whether we have been able to say nothing.
    pub is_silent: Cell<bool>,
    /// What we mean to send and tshark has no name for.
    pub unnamed: Cell<&'static [&'static str]>,
}

impl Meeting {
    /// A wire with a capture of it.
    pub fn new(kind: Kind) -> Result<Self> {
        let wire = Wire::new()?;
        let capture = wire.capture()?;
        Ok(Self { kind, wire, capture, is_silent: Cell::new(false), unnamed: Cell::default() })
    }

    /// Starts the other speaker.
    pub fn theirs(&self, session: &Session) -> Result<Box<dyn Speaker>> {
        self.kind.start(&self.wire, session)
    }

    /// Starts ours with what fits such a session, and which announces [`OURS`].
    pub fn ours(&self, session: &Session) -> Result<Ours> {
        self.ours_with(session, |_, _| ())
    }

    /// The same, changed before it starts.
    pub fn ours_with(
        &self,
        session: &Session,
        change: impl FnOnce(&mut SpeakerConfig, &mut PeerSettings),
    ) -> Result<Ours> {
        let us = if session.is_ipv6() { US6 } else { US[0] };
        let mut config = ours::config(us, session.our_as, US[0])?;
        let mut peer = peer(session)?;
        change(&mut config, &mut peer);
        let announce = if session.is_ipv6() { "2001:db8:1::/48" } else { OURS };
        Ours::start(&self.wire, config, &[announce], vec![peer])
    }

    /// Starts both, with the session Established.
    pub fn established(&self, session: &Session) -> Result<(Ours, Box<dyn Speaker>)> {
        let mut theirs = self.theirs(session)?;
        let ours = self.ours(session)?;
        expect_established(&ours, theirs.as_mut())?;
        Ok((ours, theirs))
    }

    /// Ends the capture and has it read by other decoders: all that was sent was right.
    pub fn expect_clean(self) -> Result<()> {
        let file = self.capture.file().to_owned();
        self.capture.finish()?;
        dissect::expect_clean(&file, self.is_silent.get(), self.unnamed.get())
    }
}

/// What ours is told of the other speaker for such a session.
pub fn peer(session: &Session) -> Result<PeerSettings> {
    let them = if session.is_ipv6() { THEM6 } else { THEM };
    let mut peer = PeerSettings::new(them.parse().context("is no address")?, session.their_as);
    peer.hold_time = HoldTime::from_secs(session.hold_time)?;
    Ok(peer)
}

/// Waits until both say that the session is Established.
pub fn expect_established(ours: &Ours, theirs: &mut dyn Speaker) -> Result<()> {
    eventually("the session is Established", SOON, || {
        for them in [THEM, THEM6] {
            if ours.peer(them).is_ok() {
                ours.expect_established(them)?;
            }
        }
        theirs.expect_established()
    })
    .with_context(|| format!("theirs logged: {}", last_lines(&theirs.log())))
}

/// Waits until theirs uses exactly these prefixes of ours.
pub fn expect_announced(theirs: &mut dyn Speaker, prefixes: &[&str]) -> Result<()> {
    eventually("theirs has our routes", SOON, || {
        let routes = theirs.routes()?;
        let wanted = prefixes.iter().map(|it| (*it).to_owned()).collect();
        ensure!(routes == wanted, "theirs has {routes:?} and not {wanted:?}");
        Ok(())
    })
    .with_context(|| format!("theirs logged: {}", last_lines(&theirs.log())))
}

/// Waits until ours has a path to this prefix with this next hop.
pub fn expect_learned(ours: &Ours, prefix: &str, next_hop: &str) -> Result<()> {
    eventually(&format!("ours has a path to {prefix}"), SOON, || {
        let found = ours.expect_route(prefix)?.to_string();
        ensure!(found == next_hop, "the next hop of {prefix} is {found}, not {next_hop}");
        Ok(())
    })
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
