//! Graceful restart (RFC 4724), with either side as the one that restarts.

use anyhow::{Result, ensure};
use tests::lab::wait::{SOON, eventually};
use tests::speakers::Session;
use tests::wire::THEM;
use warren_speaker::{GracefulRestart, PeerSettings, RestartTime, Restarted};

use crate::meeting::{Meeting, OURS, THEIRS, expect_announced, expect_established, expect_learned};

/// How long either may be away, in seconds. The test is over much sooner unless something is wrong.
const RESTART_TIME: u16 = 60;

/// A session in which theirs can do it.
pub fn session() -> Session {
    Session { restart_time: Some(RESTART_TIME), ..Session::internal() }
}

fn restarts(seconds: u16) -> Result<impl Fn(&mut PeerSettings)> {
    let restart_time = RestartTime::from_secs(seconds)?;
    let settings = GracefulRestart { restart_time, ..Default::default() };
    Ok(move |peer: &mut PeerSettings| peer.graceful_restart = Some(settings))
}

/// Ours is killed and comes back: theirs keeps its routes meanwhile. When it is killed and stays
/// away, they go.
pub fn of_ours(meeting: &Meeting) -> Result<()> {
    let session = session();
    let short = restarts(4)?;
    let long = restarts(RESTART_TIME)?;
    let mut theirs = meeting.theirs(&session)?;
    let ours = meeting.ours_with(&session, |_, peer| long(peer))?;
    expect_established(&ours, theirs.as_mut())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)?;
    eventually("theirs has said all", SOON, || {
        ensure!(ours.peer(THEM)?.end_of_rib, "no End-of-RIB: {:?}", ours.peer(THEM));
        Ok(())
    })?;

    ours.crash();
    eventually("theirs has noticed", SOON, || {
        ensure!(theirs.expect_established().is_err(), "theirs is Established still");
        Ok(())
    })?;
    ensure!(theirs.routes()?.contains(OURS), "theirs has forgotten our route");

    let deferral = std::time::Duration::from_secs(30);
    let ours = meeting.ours_with(&session, |config, peer| {
        config.restarted = Some(Restarted::new(deferral));
        short(peer);
    })?;
    expect_established(&ours, theirs.as_mut())?;
    expect_learned(&ours, THEIRS, THEM)?;
    expect_announced(theirs.as_mut(), &[OURS])?;

    ours.crash();
    expect_announced(theirs.as_mut(), &[])
}

/// Theirs is killed and comes back: ours keeps its routes, and has them confirmed.
pub fn of_theirs(meeting: &Meeting) -> Result<()> {
    let session = session();
    let long = restarts(RESTART_TIME)?;
    let mut theirs = meeting.theirs(&session)?;
    let ours = meeting.ours_with(&session, |_, peer| long(peer))?;
    expect_established(&ours, theirs.as_mut())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)?;

    theirs.crash()?;
    eventually("ours keeps the route as a stale one", SOON, || {
        let peer = ours.peer(THEM)?;
        ensure!(peer.prefixes_stale == 1, "ours: {peer:?}");
        Ok(())
    })?;
    // It is told its routes before it meets us: some are told by commands.
    meeting.wire.cut()?;
    theirs.start_again()?;
    meeting.wire.mend()?;
    expect_established(&ours, theirs.as_mut())?;
    eventually("the route is confirmed", SOON, || {
        let peer = ours.peer(THEM)?;
        ensure!(peer.prefixes_stale == 0 && peer.prefixes_received == 1, "ours: {peer:?}");
        ensure!(peer.end_of_rib, "ours: {peer:?}");
        Ok(())
    })?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    let changes = ours.changes();
    let of_theirs = changes.iter().filter(|change| change.prefix.to_string() == THEIRS);
    ensure!(of_theirs.count() == 1, "a route has moved: {changes:?}");
    Ok(())
}
