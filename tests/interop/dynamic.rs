//! They are peers of ours that nobody has named: they connect from a prefix.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::lab::wait::{SOON, eventually};
use tests::speakers::Session;
use tests::wire::{THEM, US};
use warren_speaker::{Password, PeerSettings, PeerTemplate, RemoteAs};

use crate::meeting::{Meeting, OURS, THEIRS, expect_announced, expect_established, expect_learned};
use crate::ours::{self, Ours};

/// All that theirs may connect from.
const RANGE: &str = "10.0.0.0/24";

/// They connect, signed by the password of the prefix, from an AS that is not ours; when they have
/// gone nothing is left of them.
pub fn neighbors(meeting: &Meeting) -> Result<()> {
    let session = Session { password: Some("correct-horse"), ..Session::external() };
    let mut theirs = meeting.theirs(&session)?;
    let config = ours::config(US[0], session.our_as, US[0])?;
    let ours = Ours::start(&meeting.wire, config, &[OURS], Vec::new())?;
    let template = PeerTemplate {
        name: "rack".to_owned(),
        range: RANGE.parse()?,
        limit: 1,
        linger: Duration::ZERO,
        settings: PeerSettings {
            password: Some(Password::new("correct-horse")?),
            graceful_restart: None,
            ..PeerSettings::new(THEM.parse()?, RemoteAs::External)
        },
    };
    ours.speaker().set_templates(vec![template]);
    eventually("theirs is a dynamic neighbour", SOON, || ours.expect_established(THEM))?;
    expect_established(&ours, theirs.as_mut())?;
    let peer = ours.peer(THEM)?;
    ensure!(peer.template.as_deref() == Some("rack"), "ours: {peer:?}");
    ensure!(peer.as_number == session.their_as, "ours: {peer:?}");
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)?;

    theirs.crash()?;
    eventually("theirs is forgotten", SOON, || {
        let peer = ours.peer(THEM);
        ensure!(peer.is_err(), "ours: {peer:?}");
        ours.expect_no_route(THEIRS)
    })
}
