//! A peer that is shown anything at all.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{Action, ConnectionId, Event, PeerConfig, State, TooManyPrefixes};
use super::{Solo, config, message, seconds, their_open};
use crate::codec::open;
use crate::message::{Family, Open};

#[derive(Debug, Clone)]
enum Step {
    /// Time passes.
    Wait(u64),
    /// The driver does what it is to do at the next deadline.
    Deadline,
    /// A timer event that nobody asked for.
    Timer,
    Start,
    Stop,
    Deconfigured,
    Accept,
    Refresh,
    TooMany,
    Succeeded(usize),
    Failed(usize),
    Closed(usize),
    Garbage(usize, Vec<u8>),
    Message(usize, u8, Vec<u8>),
    Open(usize, Open),
    Keepalive(usize),
}

fn open_message() -> impl Strategy<Value = Open> {
    (prop_oneof![4 => Just(64512_u32), 1 => any::<u32>()], any::<u8>(), any::<u8>()).prop_map(
        |(as_number, hold_time, last)| Open {
            as_number,
            hold_time: hold_time.into(),
            router_id: [10, 0, 0, last].into(),
            capabilities: vec![crate::message::Capability::FourOctetAs(as_number)],
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0_usize..4;
    prop_oneof![
        2 => (0_u64..300_000).prop_map(Step::Wait),
        4 => Just(Step::Deadline),
        1 => Just(Step::Timer),
        2 => Just(Step::Start),
        1 => Just(Step::Stop),
        1 => Just(Step::Deconfigured),
        3 => Just(Step::Accept),
        1 => Just(Step::Refresh),
        1 => Just(Step::TooMany),
        6 => which.clone().prop_map(Step::Succeeded),
        2 => which.clone().prop_map(Step::Failed),
        2 => which.clone().prop_map(Step::Closed),
        1 => (which.clone(), prop::collection::vec(any::<u8>(), 0..64))
            .prop_map(|(which, octets)| Step::Garbage(which, octets)),
        4 => (which.clone(), 0_u8..7, prop::collection::vec(any::<u8>(), 0..64))
            .prop_map(|(which, kind, body)| Step::Message(which, kind, body)),
        8 => (which.clone(), open_message()).prop_map(|(which, open)| Step::Open(which, open)),
        8 => which.prop_map(Step::Keepalive),
    ]
}

/// A live connection, or one that never was.
fn pick(solo: &Solo, which: usize) -> ConnectionId {
    solo.live.iter().nth(which).copied().unwrap_or(ConnectionId(u32::MAX))
}

fn take(solo: &mut Solo, step: Step) -> Vec<String> {
    match step {
        Step::Wait(millis) => {
            solo.now += Duration::from_millis(millis);
            vec![]
        }
        Step::Deadline => {
            if let Some(deadline) = solo.peer.next_deadline() {
                solo.now = solo.now.max(deadline);
            }
            solo.event(Event::Timer)
        }
        Step::Timer => solo.event(Event::Timer),
        Step::Start => solo.event(Event::ManualStart),
        Step::Stop => solo.event(Event::ManualStop),
        Step::Deconfigured => solo.event(Event::Deconfigured),
        Step::Accept => solo.accept(),
        Step::Refresh => solo.event(Event::RequestRefresh(Family::Ipv4Unicast)),
        Step::TooMany => {
            let (family, idle) = (Family::Ipv4Unicast, Duration::from_secs(10));
            solo.event(Event::TooManyPrefixes(TooManyPrefixes { family, limit: 1, idle }))
        }
        Step::Succeeded(which) => solo.event(Event::ConnectSucceeded(pick(solo, which))),
        Step::Failed(which) => {
            solo.event(Event::ConnectFailed(pick(solo, which), "refused".to_owned()))
        }
        Step::Closed(which) => solo.event(Event::Closed(pick(solo, which), "closed".to_owned())),
        Step::Garbage(which, octets) => solo.event(Event::Bytes(pick(solo, which), octets.into())),
        Step::Message(which, kind, body) => {
            solo.event(Event::Bytes(pick(solo, which), message(kind, &body)))
        }
        Step::Open(which, it) => {
            solo.event(Event::Bytes(pick(solo, which), open::encode(&it).unwrap()))
        }
        Step::Keepalive(which) => solo.event(Event::Bytes(pick(solo, which), message(4, &[]))),
    }
}

/// A peer that does everything right from now on: how long until the session is Established.
fn heal(solo: &mut Solo) -> Duration {
    // What it was left alone for is over.
    solo.now += seconds(10);
    solo.event(Event::Timer);
    let start = solo.now;
    for id in solo.live.clone() {
        solo.event(Event::Closed(id, "closed".to_owned()));
    }
    solo.event(Event::ManualStart);
    for _ in 0..50 {
        if solo.state() == State::Established {
            return solo.now - start;
        }
        let fresh = match solo.live.first().copied() {
            Some(id) => {
                solo.event(Event::ConnectSucceeded(id));
                Some(id)
            }
            None if solo.peer.config().passive => {
                solo.accept();
                solo.live.first().copied()
            }
            None => None,
        };
        match fresh {
            Some(ConnectionId(number)) => {
                solo.open(number, &their_open());
                solo.keepalive(number);
            }
            None => {
                solo.timer();
            }
        }
    }
    panic!("stays in {}", solo.state());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_makes_it_panic_spin_or_give_up(
        passive: bool,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut solo = Solo::new(PeerConfig { passive, ..config() });
        let mut ups = 0_i32;
        for step in steps {
            let done = take(&mut solo, step.clone());
            // At most: end one session, refuse or replace a connection, begin another.
            prop_assert!(done.len() <= 8, "{:?}: {:?}", step, done);
            for line in &done {
                ups += match line.as_str() { "up" => 1, "down" => -1, _ => 0 };
            }
            // Up and Down alternate, and say what the state says.
            prop_assert_eq!(ups == 1, solo.state() == State::Established);
            prop_assert_eq!(solo.peer.negotiated().is_some(), ups == 1);
            prop_assert!(solo.live.len() <= 2);
            if matches!(step, Step::Deadline | Step::Timer) {
                prop_assert!(solo.peer.next_deadline().is_none_or(|it| it > solo.now));
            }
        }
        let healed = heal(&mut solo);
        prop_assert!(healed <= seconds(16), "{:?}", healed);
    }

    #[test]
    fn octets_of_any_kind_end_in_routes_or_a_notification(
        octets in prop::collection::vec(any::<u8>(), 0..300),
        kind in 1_u8..6,
    ) {
        let mut solo = Solo::established(config());
        solo.log.clear();
        solo.bytes(1, message(kind, &octets));
        let told = solo.log.iter().any(|it| matches!(it, Action::Send(..)));
        let said_goodbye = kind == 3 && octets.len() >= 2;
        let silent = solo.state() == State::Established || said_goodbye;
        prop_assert_eq!(told, !silent);
    }

    #[test]
    fn an_update_with_octets_changed_is_never_misread_into_a_panic(
        changes in prop::collection::vec((0_usize..60, any::<u8>()), 1..4),
    ) {
        let mut body = vec![0, 4, 24, 10, 1, 2, 0, 36];
        body.extend([0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe8, 0x40, 3, 4, 192, 168, 0, 2]);
        body.extend([0x40, 5, 4, 0, 0, 0, 100, 0xc0, 8, 4, 0xff, 0xff, 0xff, 1, 0x40, 6]);
        body.extend([0, 26, 10, 244, 1, 0, 0, 24, 10, 244, 9]);
        for (position, value) in changes {
            let length = body.len();
            body[position % length] = value;
        }
        let mut solo = Solo::established(config());
        solo.bytes(1, message(2, &body));
        for action in &solo.log {
            if let Action::Update(update) = action {
                prop_assert_eq!(update.attributes.is_some(), !update.announced.is_empty());
            }
        }
    }

    #[test]
    fn refusals_never_make_it_try_more_often_than_the_distances_allow(
        seed: u64,
        answers in prop::collection::vec(0_u8..3, 100),
    ) {
        let mut solo = Solo::new(config());
        solo.peer = super::super::Peer::new(config(), seed);
        let start = solo.now;
        solo.event(Event::ManualStart);
        let mut attempts = 1_u32;
        for answer in answers {
            if let Some(id) = solo.live.first().copied() {
                match answer {
                    0 => drop(solo.event(Event::ConnectFailed(id, "refused".to_owned()))),
                    1 => drop(solo.event(Event::Bytes(id, vec![0].into()))),
                    _ => {
                        solo.event(Event::ConnectSucceeded(id));
                        solo.event(Event::Bytes(id, vec![0].into()));
                    }
                }
            }
            let (waited, done) = solo.timer();
            prop_assert!(waited >= seconds(1) * 3 / 4);
            attempts += done.iter().filter(|line| line.starts_with("connect")).count() as u32;
        }
        // After the first few, 12 s apart at least.
        prop_assert!(solo.now - start >= seconds(12) * attempts.saturating_sub(6));
    }
}
