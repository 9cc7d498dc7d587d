//! Route reflection (RFC 4456), by either side.

use anyhow::{Result, ensure};
use tests::lab::wait::{SOON, eventually};
use tests::speakers::Session;
use tests::wire::{THEM, US};
use warren_speaker::PeerSettings;

use crate::meeting::{Meeting, OURS, THEIRS, expect_announced, expect_established, expect_learned};
use crate::ours::{self, Ours};

/// They are the reflector of two of ours.
pub fn by_them(meeting: &Meeting) -> Result<()> {
    let session = Session { clients: true, neighbors: US.to_vec(), ..Session::internal() };
    let mut theirs = meeting.theirs(&session)?;
    let first = meeting.ours(&session)?;
    let config = ours::config(US[1], session.our_as, US[1])?;
    let peer = || PeerSettings::new(address(THEM), session.their_as);
    let from_second = PeerSettings { source: Some(address(US[1])), ..peer() };
    let second = Ours::start(&meeting.wire, config, &["10.3.0.0/24"], vec![from_second])?;
    expect_established(&first, theirs.as_mut())?;
    expect_learned(&first, "10.3.0.0/24", US[1])?;
    expect_learned(&second, OURS, US[0])?;
    expect_learned(&second, THEIRS, THEM)
}

/// We are the reflector of them and of another one of ours.
pub fn by_us(meeting: &Meeting) -> Result<()> {
    let session = Session::internal();
    let mut theirs = meeting.theirs(&session)?;
    let config = ours::config(US[0], session.our_as, US[0])?;
    let client = |at: &str| PeerSettings {
        route_reflector_client: true,
        source: Some(address(US[0])),
        ..PeerSettings::new(address(at), session.their_as)
    };
    let clients = vec![client(THEM), client(US[1])];
    let reflector = Ours::start(&meeting.wire, config, &[OURS], clients)?;
    let config = ours::config(US[1], session.our_as, US[1])?;
    let peer = PeerSettings {
        source: Some(address(US[1])),
        ..PeerSettings::new(address(US[0]), session.our_as)
    };
    let other = Ours::start(&meeting.wire, config, &["10.3.0.0/24"], vec![peer])?;
    expect_established(&reflector, theirs.as_mut())?;
    expect_learned(&other, THEIRS, THEM)?;
    expect_announced(theirs.as_mut(), &[OURS, "10.3.0.0/24"])?;
    // Who is the route's originator, and whose cluster it has gone through (RFC 4456, 8).
    eventually("theirs tells of reflection", SOON, || {
        let route = theirs.route("10.3.0.0/24")?;
        for it in US {
            ensure!(route.contains(it), "there is no {it} in {route}");
        }
        Ok(())
    })
}

fn address(text: &str) -> std::net::IpAddr {
    text.parse().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into())
}
