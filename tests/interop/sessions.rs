//! How sessions begin, what they carry, and how they end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::lab::wait::{SOON, eventually};
use tests::speakers::{Kind, Session};
use tests::wire::{THEM, THEM6, US, US6};
use warren_bgp::message::Family;
use warren_bgp::policy::{Action, Community, Match, Operation, PeerPolicy, Rule};
use warren_speaker::{MaxPrefixes, PeerSettings};

use crate::meeting::{
    Meeting, OURS, THEIRS, expect_announced, expect_established, expect_learned, peer,
};
use crate::messages::{Message, UPDATE, messages};

/// We wait; they connect.
pub fn they_connect(meeting: &Meeting) -> Result<()> {
    let session = Session::internal();
    let mut theirs = meeting.theirs(&session)?;
    let ours = meeting.ours_with(&session, |_, peer| peer.passive = true)?;
    expect_established(&ours, theirs.as_mut())?;
    let from = first_syn(meeting)?;
    ensure!(from == THEM, "{from} has connected");
    Ok(())
}

/// They wait; we connect.
pub fn we_connect(meeting: &Meeting) -> Result<()> {
    let session = Session { passive: true, ..Session::internal() };
    meeting.established(&session)?;
    let from = first_syn(meeting)?;
    ensure!(from == US[0], "{from} has connected");
    Ok(())
}

/// Whose connection was answered first.
fn first_syn(meeting: &Meeting) -> Result<String> {
    /// SYN and ACK (RFC 9293, 3.1).
    const ANSWER: u8 = 0x12;
    eventually("a connection has been answered", SOON, || {
        let packets = meeting.capture.packets()?;
        let answer = packets
            .iter()
            .find(|it| it.payload.get(13).is_some_and(|flags| flags & ANSWER == ANSWER));
        answer
            .map(|it| it.headers[0].destination.to_string())
            .ok_or_else(|| anyhow::anyhow!("none"))
    })
}

/// One AS: routes go both ways.
pub fn internal(meeting: &Meeting) -> Result<()> {
    let (ours, mut theirs) = meeting.established(&Session::internal())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)
}

/// Two: routes go both ways, and a withdrawal too.
pub fn external(meeting: &Meeting) -> Result<()> {
    let (ours, mut theirs) = meeting.established(&Session::external())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)?;
    let route = theirs.route(OURS)?;
    ensure!(route.contains("64512"), "the AS path is not ours: {route}");
    ours.speaker().originate(["10.1.1.0/24".parse()?].into());
    expect_announced(theirs.as_mut(), &["10.1.1.0/24"])
}

/// The same over IPv6.
pub fn ipv6(meeting: &Meeting) -> Result<()> {
    let session = Session {
        neighbors: vec![US6],
        announce: vec!["2001:db8:2::/48".to_owned()],
        ..Session::internal()
    };
    let (ours, mut theirs) = meeting.established(&session)?;
    expect_announced(theirs.as_mut(), &["2001:db8:1::/48"])?;
    expect_learned(&ours, "2001:db8:2::/48", THEM6)
}

/// AS numbers that have no room in two octets.
pub fn four_octets(meeting: &Meeting) -> Result<()> {
    let session = Session { their_as: 4_200_000_002, our_as: 4_200_000_001, ..Session::internal() };
    let (ours, mut theirs) = meeting.established(&session)?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)?;
    let route = theirs.route(OURS)?;
    ensure!(route.contains("4200000001"), "the AS path is not ours: {route}");
    Ok(())
}

/// So many communities that no message of 4096 octets has room for them, both ways.
pub fn long_attributes(meeting: &Meeting) -> Result<()> {
    const MANY: u16 = 1100;
    let session = Session { communities: MANY, ..Session::internal() };
    let mut theirs = meeting.theirs(&session)?;
    let ours = meeting.ours(&session)?;
    let add = |n| Operation::AddCommunity(Community::Standard(64512 << 16 | u32::from(n)));
    let rule = Rule {
        family: Family::Ipv4Unicast,
        matches: Match::default(),
        action: Action::Accept((1..=MANY).map(add).collect()),
    };
    let policy = PeerPolicy { export: vec![rule], ..PeerPolicy::default() };
    let peer: IpAddr = THEM.parse()?;
    ours.speaker().set_peer_policies([(peer.into(), Arc::new(policy))].into());
    expect_established(&ours, theirs.as_mut())?;
    let capabilities = ours.peer(THEM)?.capabilities;
    ensure!(capabilities.iter().any(|it| it == "extended messages"), "{capabilities:?}");
    expect_learned(&ours, THEIRS, THEM)?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    eventually("both have been seen to send a long message", SOON, || {
        let seen = messages(&meeting.capture.packets()?);
        for from in [US[0], THEM] {
            let is_long = |it: &Message| it.from == from && it.kind == UPDATE && it.length > 4096;
            ensure!(seen.iter().any(is_long), "{from} has sent {seen:?}");
        }
        Ok(())
    })
}

/// What is sent gets lost: each notices by its hold timer, and they meet again when it is over.
pub fn hold_timer(meeting: &Meeting) -> Result<()> {
    let session = Session { hold_time: 3, ..Session::internal() };
    let mut theirs = meeting.theirs(&session)?;
    // With it, routes would stay.
    let ours = meeting.ours_with(&session, |_, peer| peer.graceful_restart = None)?;
    expect_established(&ours, theirs.as_mut())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)?;
    meeting.wire.cut()?;
    eventually("the hold timers have expired", SOON, || {
        ours.expect_ended("hold timer")?;
        ensure!(theirs.expect_established().is_err(), "theirs is Established still");
        ours.expect_no_route(THEIRS)
    })?;
    expect_announced(theirs.as_mut(), &[])?;
    meeting.wire.mend()?;
    expect_established(&ours, theirs.as_mut())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)
}

/// They count our prefixes and have had enough.
pub fn their_limit(meeting: &Meeting) -> Result<()> {
    let session = Session { max_prefixes: Some(2), ..Session::internal() };
    let (ours, mut theirs) = meeting.established(&session)?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    let four = ["10.1.0.0/24", "10.1.1.0/24", "10.1.2.0/24", "10.1.3.0/24"];
    ours.speaker().originate(four.iter().map(|it| it.parse()).collect::<Result<_, _>>()?);
    eventually("theirs has ended the session", SOON, || {
        ours.expect_ended("Maximum Number of Prefixes Reached")
    })
}

/// They say why they end the session.
pub fn their_words(meeting: &Meeting) -> Result<()> {
    let (ours, mut theirs) = meeting.established(&Session::internal())?;
    theirs.shut_down("back at nine")?;
    eventually("theirs has ended the session", SOON, || ours.expect_ended("back at nine"))
}

/// We count their prefixes and have had enough; with no limit any more all is well again.
pub fn our_limit(meeting: &Meeting) -> Result<()> {
    let routes = ["10.2.0.0/24", "10.2.1.0/24", "10.2.2.0/24"];
    let session = Session { announce: routes.map(str::to_owned).to_vec(), ..Session::internal() };
    let mut theirs = meeting.theirs(&session)?;
    // Longer than anything is waited for here.
    let idle = Duration::from_secs(600);
    let limit = MaxPrefixes { limit: 2, warning: 2, idle };
    let ours = meeting.ours_with(&session, |_, peer| peer.max_prefixes = Some(limit))?;
    // Cease, Maximum Number of Prefixes Reached (RFC 4486), in their words.
    let words = match meeting.kind {
        Kind::Bird => "Received: Maximum number of prefixes reached",
        Kind::Frr => "(Cease/Maximum Number of Prefixes Reached)",
        Kind::GoBgp => "code 6(cease) subcode 1(maximum number of prefixes reached)",
        Kind::OpenBgpd => "received notification: Cease, received max-prefix exceeded",
    };
    eventually("ours has ended the session", SOON, || {
        ours.expect_ended("more than 2 prefixes")?;
        let log = theirs.log();
        ensure!(log.contains(words), "theirs logged: {log}");
        ensure!(theirs.expect_established().is_err(), "theirs is Established still");
        routes.iter().try_for_each(|it| ours.expect_no_route(it))
    })?;
    expect_announced(theirs.as_mut(), &[])?;

    ours.speaker().set_peers(vec![peer(&session)?]);
    expect_established(&ours, theirs.as_mut())?;
    routes.iter().try_for_each(|it| expect_learned(&ours, it, THEM))
}

/// We say why we end the session, and there is none until we want one again.
pub fn our_words(meeting: &Meeting) -> Result<()> {
    let session = Session::internal();
    let (ours, mut theirs) = meeting.established(&session)?;
    expect_learned(&ours, THEIRS, THEM)?;
    let shutdown = Some("back at nine".to_owned());
    ours.speaker().set_peers(vec![PeerSettings { shutdown, ..peer(&session)? }]);
    eventually("ours has ended the session", SOON, || {
        let log = theirs.log();
        ensure!(log.contains("back at nine"), "theirs logged: {log}");
        ensure!(theirs.expect_established().is_err(), "theirs is Established still");
        ours.expect_no_route(THEIRS)
    })?;
    expect_announced(theirs.as_mut(), &[])?;

    ours.speaker().set_peers(vec![peer(&session)?]);
    expect_established(&ours, theirs.as_mut())?;
    expect_announced(theirs.as_mut(), &[OURS])?;
    expect_learned(&ours, THEIRS, THEM)
}
