//! BFD (RFC 5880, 5881) beside BGP, as RFC 5882 has it.

use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::lab::wait::{SOON, eventually};
use tests::speakers::Session;
use tests::wire::{THEM, US};
use warren_bfd::packet::{Interval, State};
use warren_bfd::{Bfd, Hops, Key, Settings, Timing};
use warren_speaker::{BfdDown, Restarted};

use crate::meeting::{Meeting, OURS, THEIRS, expect_announced, expect_established, expect_learned};
use crate::ours::{Ours, wait};
use crate::restart;

/// What is sent gets lost: both notice by BFD, and they meet again when it is over.
pub fn ends_sessions(meeting: &Meeting) -> Result<()> {
    // Far longer than anything is waited for here.
    let session = Session { hold_time: 240, bfd: true, ..Session::internal() };
    let mut theirs = meeting.theirs(&session)?;
    // With it, routes would stay.
    let ours = meeting.ours_with(&session, |_, peer| peer.graceful_restart = None)?;
    let bfd = beside(meeting, &ours)?;
    expect_up(&bfd)?;
    expect_established(&ours, theirs.as_mut())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)?;

    meeting.wire.cut()?;
    eventually("BFD has ended the sessions", SOON, || {
        ours.expect_ended("BFD down")?;
        ensure!(theirs.expect_established().is_err(), "theirs is Established still");
        ours.expect_no_route(THEIRS)
    })?;
    expect_announced(theirs.as_mut(), &[])?;
    meeting.wire.mend()?;
    expect_up(&bfd)?;
    expect_established(&ours, theirs.as_mut())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)
}

/// Ours ends as an agent does that is replaced, BGP before BFD: theirs keeps its routes until the next
/// one is there.
pub fn spares_restarts(meeting: &Meeting) -> Result<()> {
    let session = Session { bfd: true, ..restart::session() };
    let mut theirs = meeting.theirs(&session)?;
    let ours = meeting.ours(&session)?;
    let bfd = beside(meeting, &ours)?;
    expect_up(&bfd)?;
    expect_established(&ours, theirs.as_mut())?;
    expect_announced(theirs.as_mut(), &[OURS])?;

    wait(ours.speaker().hand_over())?;
    wait(bfd.shutdown())?;
    drop(ours);
    eventually("theirs has noticed", SOON, || {
        ensure!(theirs.expect_established().is_err(), "theirs is Established still");
        Ok(())
    })?;
    ensure!(theirs.routes()?.contains(OURS), "theirs has forgotten our route");

    let deferral = Duration::from_secs(30);
    let ours = meeting
        .ours_with(&session, |config, _| config.restarted = Some(Restarted::new(deferral)))?;
    let bfd = beside(meeting, &ours)?;
    expect_up(&bfd)?;
    expect_established(&ours, theirs.as_mut())?;
    expect_learned(&ours, THEIRS, THEM)?;
    expect_announced(theirs.as_mut(), &[OURS])
}

/// Starts BFD with theirs; its failures are told to our speaker, as the agent does.
fn beside(meeting: &Meeting, ours: &Ours) -> Result<Bfd> {
    let (start, started) = mpsc::channel();
    meeting.wire.spawn(move || {
        // Whoever waits for it waits as long as this takes.
        let _ = start.send(warren_bfd::start());
    })?;
    let (bfd, mut events) = started.recv().context("BFD's thread ended")??;
    let speaker = ours.speaker().clone();
    std::thread::spawn(move || {
        while let Some(event) = events.blocking_recv() {
            let Some(cause) = event.failure() else { continue };
            let failure = BfdDown {
                reason: cause.to_string(),
                last_up: event.last_up,
                control_plane_independent: event.control_plane_independent,
            };
            if wait(speaker.bfd_down(event.key.peer, failure)).is_err() {
                return;
            }
        }
    });
    // So slow that nobody is given up because the machine is loaded.
    let slow = Interval::from_millis(1000);
    let timing = Timing { desired_min_tx: slow, required_min_rx: slow, ..Timing::default() };
    let key = Key { peer: THEM.parse().context("is no address")?, hops: Hops::Single };
    let source = Some(US[0].parse().context("is no address")?);
    bfd.set_sessions(vec![Settings { key, source, timing }]);
    Ok(bfd)
}

/// Waits until both ends say that it is up.
fn expect_up(bfd: &Bfd) -> Result<()> {
    eventually("BFD is up", SOON, || {
        let sessions = wait(bfd.snapshot())?.sessions;
        let is_up = |it: &warren_bfd::SessionSnapshot| it.state == State::Up;
        ensure!(sessions.iter().any(is_up), "ours: {sessions:?}");
        Ok(())
    })
}
