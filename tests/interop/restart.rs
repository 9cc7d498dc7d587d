//! Graceful restart (RFC 4724), and that for long (RFC 9494), with either side as the one that restarts.

use anyhow::{Result, ensure};
use tests::lab::wait::{SOON, eventually};
use tests::speakers::{Session, Speaker};
use tests::wire::THEM;
use warren_speaker::{GracefulRestart, PeerSettings, RestartTime, Restarted, StaleTime};

use crate::dissect::OF_LONG_LIVED;
use crate::meeting::{Meeting, OURS, THEIRS, expect_announced, expect_established, expect_learned};
use crate::ours::Ours;

/// How long either may be away, in seconds. The test is over much sooner unless something is wrong.
const RESTART_TIME: u16 = 60;

/// A restart time that is soon over, in seconds.
const SHORT: u16 = 2;

/// How long either is kept beyond its restart time, in seconds (RFC 9494).
const STALE_TIME: u32 = 600;

/// A session in which theirs can do it.
pub fn session() -> Session {
    Session { restart_time: Some(RESTART_TIME), ..Session::internal() }
}

/// That ours may be away for so long, and is kept for so long beyond that.
fn restarts(seconds: u16, beyond: u32) -> Result<impl Fn(&mut PeerSettings)> {
    let restart_time = RestartTime::from_secs(seconds)?;
    let long_lived = StaleTime::from_secs(beyond)?;
    let settings = GracefulRestart { restart_time, long_lived, ..Default::default() };
    Ok(move |peer: &mut PeerSettings| peer.graceful_restart = Some(settings))
}

/// Ours, back from a restart, with the session Established again and their routes learned anew.
fn returned(
    meeting: &Meeting,
    session: &Session,
    theirs: &mut dyn Speaker,
    change: impl FnOnce(&mut PeerSettings),
) -> Result<Ours> {
    let deferral = std::time::Duration::from_secs(30);
    let ours = meeting.ours_with(session, |config, peer| {
        config.restarted = Some(Restarted::new(deferral));
        change(peer);
    })?;
    expect_established(&ours, theirs)?;
    expect_learned(&ours, THEIRS, THEM)?;
    Ok(ours)
}

/// Ours is killed and comes back: theirs keeps its routes meanwhile. When it is killed and stays
/// away, they go.
pub fn of_ours(meeting: &Meeting) -> Result<()> {
    let session = session();
    let short = restarts(4, 0)?;
    let long = restarts(RESTART_TIME, 0)?;
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

    let ours = returned(meeting, &session, theirs.as_mut(), short)?;
    expect_announced(theirs.as_mut(), &[OURS])?;

    ours.crash();
    expect_announced(theirs.as_mut(), &[])
}

/// Theirs is killed and comes back: ours keeps its routes, and has them confirmed.
pub fn of_theirs(meeting: &Meeting) -> Result<()> {
    let session = session();
    let long = restarts(RESTART_TIME, 0)?;
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

/// Whether theirs says that a route has the community LLGR_STALE, each in its words.
fn is_marked(route: &str) -> bool {
    let words = ["(65535,6)", "llgr-stale", "4294901766"];
    words.iter().any(|word| route.contains(word))
}

/// Ours is killed and stays away for longer than its restart time: theirs keeps its routes, marked.
/// When ours is back they are as they were, and when its stale time is over too they go.
pub fn of_ours_for_long(meeting: &Meeting) -> Result<()> {
    meeting.unnamed.set(OF_LONG_LIVED);
    let long_lived = Some(STALE_TIME);
    let session = Session { long_lived, restart_time: Some(RESTART_TIME), ..Session::internal() };
    let long = restarts(SHORT, STALE_TIME)?;
    let short = restarts(SHORT, 3)?;
    let mut theirs = meeting.theirs(&session)?;
    let ours = meeting.ours_with(&session, |_, peer| long(peer))?;
    expect_established(&ours, theirs.as_mut())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)?;
    ensure!(!is_marked(&theirs.route(OURS)?), "theirs: {}", theirs.route(OURS)?);
    let capabilities = ours.peer(THEM)?.capabilities;
    let wanted = "long-lived graceful restart".to_owned();
    ensure!(capabilities.contains(&wanted), "agreed on: {capabilities:?}");

    ours.crash();
    eventually("theirs keeps the route for long", SOON, || {
        let route = theirs.route(OURS)?;
        ensure!(is_marked(&route), "theirs: {route}");
        Ok(())
    })?;
    ensure!(theirs.routes()?.contains(OURS), "theirs has forgotten our route");

    let ours = returned(meeting, &session, theirs.as_mut(), short)?;
    eventually("theirs has the route anew", SOON, || {
        let route = theirs.route(OURS)?;
        ensure!(!is_marked(&route), "theirs: {route}");
        Ok(())
    })?;
    expect_announced(theirs.as_mut(), &[OURS])?;

    ours.crash();
    expect_announced(theirs.as_mut(), &[])
}

/// Theirs is killed and stays away for longer than its restart time: ours keeps its routes for long,
/// and has them confirmed when it is back.
pub fn of_theirs_for_long(meeting: &Meeting) -> Result<()> {
    meeting.unnamed.set(OF_LONG_LIVED);
    let long_lived = Some(STALE_TIME);
    let session = Session { long_lived, restart_time: Some(SHORT), ..Session::internal() };
    let long = restarts(RESTART_TIME, STALE_TIME)?;
    let mut theirs = meeting.theirs(&session)?;
    let ours = meeting.ours_with(&session, |_, peer| long(peer))?;
    expect_established(&ours, theirs.as_mut())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)?;

    theirs.crash()?;
    eventually("ours keeps the route for long", SOON, || {
        let peer = ours.peer(THEM)?;
        let kept: Vec<_> = peer.long_lived_stale.iter().map(|it| it.prefixes).collect();
        ensure!(kept == [1], "ours: {peer:?}");
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
        ensure!(peer.long_lived_stale.is_empty(), "ours: {peer:?}");
        Ok(())
    })?;
    let changes = ours.changes();
    let of_theirs = changes.iter().filter(|change| change.prefix.to_string() == THEIRS);
    ensure!(of_theirs.count() == 1, "a route has moved: {changes:?}");
    Ok(())
}
