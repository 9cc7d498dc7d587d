//! Sessions that others cannot disturb: TCP MD5 (RFC 2385) and GTSM (RFC 5082).

use std::num::NonZeroU8;

use anyhow::{Result, ensure};
use tests::lab::wait::{SOON, eventually};
use tests::speakers::{Session, Speaker};
use tests::wire::{THEM, US};
use warren_speaker::{Distance, Password};

use crate::meeting::{Meeting, OURS, THEIRS, expect_announced, expect_established, expect_learned};
use crate::ours::Ours;

/// Both have the same password.
pub fn right_password(meeting: &Meeting) -> Result<()> {
    let session = Session { password: Some("correct-horse"), ..Session::internal() };
    let mut theirs = meeting.theirs(&session)?;
    let password = Password::new("correct-horse")?;
    let ours = meeting.ours_with(&session, |_, peer| peer.password = Some(password))?;
    expect_established(&ours, theirs.as_mut())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)
}

/// Ours has another one than theirs.
pub fn wrong_password(meeting: &Meeting) -> Result<()> {
    let session = Session { password: Some("correct-horse"), ..Session::internal() };
    let mut theirs = meeting.theirs(&session)?;
    let password = Password::new("battery-staple")?;
    let ours = meeting.ours_with(&session, |_, peer| peer.password = Some(password))?;
    expect_strangers(meeting, &ours, theirs.as_mut())
}

/// Only theirs has one, and then only ours.
pub fn missing_password(meeting: &Meeting) -> Result<()> {
    let session = Session { password: Some("correct-horse"), ..Session::internal() };
    let mut theirs = meeting.theirs(&session)?;
    let ours = meeting.ours(&session)?;
    expect_strangers(meeting, &ours, theirs.as_mut())
}

/// Both have tried to connect, more than once, and no segment was taken.
fn expect_strangers(meeting: &Meeting, ours: &Ours, theirs: &mut dyn Speaker) -> Result<()> {
    /// SYN, and SYN with ACK (RFC 9293, 3.1).
    const SYN: u8 = 0x02;
    const ANSWER: u8 = 0x12;
    eventually("both have tried to connect", SOON, || {
        let packets = meeting.capture.packets()?;
        let flags =
            |it: &tests::lab::packet::Packet| it.payload.get(13).map_or(0, |it| it & ANSWER);
        for from in [US[0], THEM] {
            let of = packets.iter().filter(|it| it.headers[0].source.to_string() == from);
            let tries = of.clone().filter(|it| flags(it) == SYN).count();
            ensure!(tries >= 2, "{from} has tried {tries} times");
            ensure!(!of.clone().any(|it| flags(it) == ANSWER), "{from} has answered");
        }
        Ok(())
    })?;
    meeting.is_silent.set(true);
    ensure!(ours.expect_established(THEM).is_err(), "ours is Established");
    ensure!(theirs.expect_established().is_err(), "theirs is Established");
    Ok(())
}

/// Both send with a TTL of 255 and take nothing less.
pub fn ttl_security(meeting: &Meeting) -> Result<()> {
    let session = Session { ttl_security: true, ..Session::external() };
    let mut theirs = meeting.theirs(&session)?;
    let ours =
        meeting.ours_with(&session, |_, peer| peer.distance = Distance::Checked(NonZeroU8::MIN))?;
    expect_established(&ours, theirs.as_mut())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)?;
    /// RST: the kernel's answer where nobody listens.
    const RST: u8 = 0x04;
    let packets = meeting.capture.packets()?;
    let mut ours = packets.iter().filter(|it| {
        let is_reset = it.payload.get(13).is_some_and(|flags| flags & RST != 0);
        it.headers[0].source.to_string() == US[0] && !is_reset
    });
    ensure!(ours.all(|it| it.headers[0].ttl == 255), "ours has sent with a TTL below 255");
    Ok(())
}
