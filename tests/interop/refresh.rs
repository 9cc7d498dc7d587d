//! Route refresh (RFC 2918; RFC 7313), in both directions.

use anyhow::{Result, ensure};
use tests::lab::wait::{SOON, eventually};
use tests::speakers::Session;
use tests::wire::{THEM, US};

use crate::meeting::{Meeting, OURS, THEIRS, expect_announced, expect_learned};
use crate::messages::{ROUTE_REFRESH, UPDATE, messages};

/// They want all routes again, and get them.
pub fn refresh(meeting: &Meeting) -> Result<()> {
    let (_ours, mut theirs) = meeting.established(&Session::internal())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    theirs.refresh()?;
    eventually("routes have been asked for and sent again", SOON, || {
        let seen = messages(&meeting.capture.packets()?);
        let mut rest = seen.iter();
        let asked = rest.any(|it| it.from == THEM && it.kind == ROUTE_REFRESH);
        let answered = asked && rest.any(|it| it.from == US[0] && it.kind == UPDATE);
        ensure!(answered, "the messages so far are {seen:?}");
        Ok(())
    })?;
    expect_announced(theirs.as_mut(), &[OURS])
}

/// They want all routes again, and are told where those begin and where they end.
pub fn enhanced_refresh(meeting: &Meeting) -> Result<()> {
    let session = Session { enhanced_refresh: true, ..Session::internal() };
    let (ours, mut theirs) = meeting.established(&session)?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)?;
    let capabilities = ours.peer(THEM)?.capabilities;
    ensure!(capabilities.iter().any(|it| it == "enhanced route refresh"), "{capabilities:?}");
    theirs.refresh()?;
    expect_marks(meeting, US[0])?;
    expect_announced(theirs.as_mut(), &[OURS])
}

/// They announce all routes again, and say where those begin and where they end: none moves.
pub fn their_refresh(meeting: &Meeting) -> Result<()> {
    let (ours, mut theirs) = meeting.established(&Session::internal())?;
    expect_learned(&ours, THEIRS, THEM)?;
    theirs.announce_again()?;
    expect_marks(meeting, THEM)?;
    eventually("the refresh has ended", SOON, || {
        let peer = ours.peer(THEM)?;
        ensure!((peer.prefixes_received, peer.prefixes_stale) == (1, 0), "ours: {peer:?}");
        Ok(())
    })?;
    ensure!(ours.changes().len() == 1, "a route has moved: {:?}", ours.changes());
    Ok(())
}

/// That this speaker has sent a beginning, routes, and an end (RFC 7313, 4), in this order.
fn expect_marks(meeting: &Meeting, from: &str) -> Result<()> {
    let wanted = [(ROUTE_REFRESH, 1), (UPDATE, 0), (ROUTE_REFRESH, 2)];
    eventually("routes have been sent again between two marks", SOON, || {
        let seen = messages(&meeting.capture.packets()?);
        let mut theirs = seen.iter().filter(|it| it.from == from);
        let found = wanted.iter().all(|wanted| {
            theirs.any(|it| (it.kind, if it.kind == UPDATE { 0 } else { it.subtype }) == *wanted)
        });
        ensure!(found, "the messages so far are {seen:?}");
        Ok(())
    })
}
