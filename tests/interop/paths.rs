//! Several paths to one destination (RFC 7911).

use anyhow::{Context, Result, ensure};
use tests::lab::wait::{SOON, eventually};
use tests::speakers::Session;
use tests::wire::{THEM, US};
use warren_speaker::PeerSettings;

use crate::meeting::{self, Meeting, THEIRS, expect_established, expect_learned};
use crate::ours::{self, Ours};

/// Another one of ours announces what they announce too, and they tell us of both paths; when it goes,
/// theirs is left.
pub fn of_theirs(meeting: &Meeting) -> Result<()> {
    let session =
        Session { clients: true, neighbors: US.to_vec(), add_paths: true, ..Session::internal() };
    let mut theirs = meeting.theirs(&session)?;
    // It announces nothing: FRR would tell it of its own routes too.
    let config = ours::config(US[0], session.our_as, US[0])?;
    let with_paths = PeerSettings { add_path: true, ..meeting::peer(&session)? };
    let ours = Ours::start(&meeting.wire, config, &[], vec![with_paths])?;
    let from_second = PeerSettings {
        source: Some(US[1].parse().context("is no address")?),
        graceful_restart: None,
        ..PeerSettings::new(THEM.parse().context("is no address")?, session.their_as)
    };
    let config = ours::config(US[1], session.our_as, US[1])?;
    let second = Ours::start(&meeting.wire, config, &[THEIRS], vec![from_second])?;
    expect_established(&ours, theirs.as_mut())?;
    expect_paths(&ours, 2)?;
    let capabilities = ours.peer(THEM)?.capabilities;
    ensure!(capabilities.iter().any(|it| it.contains("several paths")), "{capabilities:?}");

    second.crash();
    expect_paths(&ours, 1)?;
    expect_learned(&ours, THEIRS, THEM)
}

fn expect_paths(ours: &Ours, number: u64) -> Result<()> {
    eventually(&format!("paths of theirs: {number}"), SOON, || {
        let peer = ours.peer(THEM)?;
        ensure!(peer.prefixes_received == number, "ours: {peer:?}");
        Ok(())
    })
}
