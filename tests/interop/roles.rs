//! Roles (RFC 9234): what ours and theirs are to each other.

use anyhow::{Result, ensure};
use tests::lab::wait::{SOON, eventually};
use tests::speakers::{Kind, Session};
use tests::wire::THEM;
use warren_speaker::{LocalRole, Role};

use crate::dissect::OF_ROLES;
use crate::meeting::{Meeting, OURS, THEIRS, expect_announced, expect_established, expect_learned};

/// Ours is the provider and theirs the customer, and both insist on it. What theirs is told is for its
/// customers only, and it says so.
pub fn roles(meeting: &Meeting) -> Result<()> {
    meeting.unnamed.set(OF_ROLES);
    let session = Session { role: Some("customer"), ..Session::external() };
    let mut theirs = meeting.theirs(&session)?;
    let role = Some(LocalRole { role: Role::Provider, strict: true });
    let ours = meeting.ours_with(&session, |_, peer| peer.role = role)?;
    expect_established(&ours, theirs.as_mut())?;
    let capabilities = ours.peer(THEM)?.capabilities;
    ensure!(capabilities.iter().any(|it| it == "role provider"), "{capabilities:?}");
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)?;
    let route = theirs.route(OURS)?.to_lowercase();
    let otc = route.split_once("otc").map_or("", |(_, after)| after);
    ensure!(meeting.kind == Kind::OpenBgpd || otc.contains("64512"), "theirs says: {route}");
    Ok(())
}

/// Both would be customers.
pub fn wrong_roles(meeting: &Meeting) -> Result<()> {
    meeting.unnamed.set(OF_ROLES);
    let session = Session { role: Some("customer"), ..Session::external() };
    let mut theirs = meeting.theirs(&session)?;
    let role = Some(LocalRole { role: Role::Customer, strict: false });
    let ours = meeting.ours_with(&session, |_, peer| peer.role = role)?;
    eventually("one of them has refused", SOON, || ours.expect_ended("Role Mismatch"))?;
    ensure!(theirs.expect_established().is_err(), "theirs is Established");
    Ok(())
}
