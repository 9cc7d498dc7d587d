//! Every state and every event of RFC 4271, 8.2.2.

use std::time::Instant;

use super::super::backoff::Backoff;
use super::super::connection::{Connection, Direction};
use super::super::fsm::{FsmEvent, Shared};
use super::super::negotiate::{Past, negotiate, our_open};
use super::super::restart::Stale;
use super::super::{ConnectionId, Negotiated, State, UpdateErrors};
use super::{config, short, their_open};
use crate::codec::{Decoded, SessionReset};
use crate::message::{Family, Notification, RouteRefresh, Update};

/// Rows: the events. Columns: the states from Idle to Established. A cell is the next state and
/// what is done; `=` is the same state and nothing.
const TABLE: [(&str, [&str; 6]); 19] = [
    ("ManualStart", ["Connect connect", "=", "=", "=", "=", "="]),
    (
        "ManualStop",
        [
            "=",
            "Idle close",
            "Idle",
            "Idle send 6/2 close",
            "Idle send 6/2 close",
            "Idle send 6/2 close down",
        ],
    ),
    (
        "AutomaticStop",
        [
            "=",
            "Idle close",
            "Idle",
            "Idle send 6/8 close",
            "Idle send 6/8 close",
            "Idle send 6/8 close down",
        ],
    ),
    (
        "ConnectRetryTimerExpires",
        [
            "=",
            "Connect close connect",
            "Connect connect",
            "Idle send 5/0 close",
            "Idle send 5/0 close",
            "Idle send 5/0 close down",
        ],
    ),
    (
        "HoldTimerExpires",
        [
            "=",
            "Idle close",
            "Idle",
            "Idle send 4/0 close",
            "Idle send 4/0 close",
            "Idle send 4/0 close down",
        ],
    ),
    (
        "KeepaliveTimerExpires",
        [
            "=",
            "Idle close",
            "Idle",
            "Idle send 5/0 close",
            "OpenConfirm send KEEPALIVE",
            "Established send KEEPALIVE",
        ],
    ),
    (
        "IdleHoldTimerExpires",
        [
            "Connect connect",
            "Idle close",
            "Idle",
            "Idle send 5/0 close",
            "Idle send 5/0 close",
            "Idle send 5/0 close down",
        ],
    ),
    ("TcpCrAcked", ["=", "OpenSent send OPEN", "Idle", "=", "=", "="]),
    ("TcpConnectionConfirmed", ["=", "Idle close", "OpenSent send OPEN", "=", "=", "="]),
    ("TcpConnectionFails", ["=", "Active", "Idle", "Active", "Idle", "Idle down"]),
    (
        "BgpOpen",
        [
            "=",
            "Idle close",
            "Idle",
            "OpenConfirm send KEEPALIVE",
            "Idle send 5/2 close",
            "Idle send 5/3 close down",
        ],
    ),
    (
        "BgpHeaderErr",
        [
            "=",
            "Idle close",
            "Idle",
            "Idle send 1/1 close",
            "Idle send 1/1 close",
            "Idle send 1/1 close down",
        ],
    ),
    (
        "BgpOpenMsgErr",
        [
            "=",
            "Idle close",
            "Idle",
            "Idle send 2/2 close",
            "Idle send 2/2 close",
            "Idle send 2/2 close down",
        ],
    ),
    (
        "OpenCollisionDump",
        [
            "=",
            "Idle close",
            "Idle",
            "Idle send 6/7 close",
            "Idle send 6/7 close",
            "Idle send 6/7 close down",
        ],
    ),
    ("NotifMsg", ["=", "Idle close", "Idle", "Idle close", "Idle close", "Idle close down"]),
    ("KeepAliveMsg", ["=", "Idle close", "Idle", "Idle send 5/1 close", "Established up", "="]),
    (
        "UpdateMsg",
        [
            "=",
            "Idle close",
            "Idle",
            "Idle send 5/1 close",
            "Idle send 5/2 close",
            "Established update",
        ],
    ),
    (
        "UpdateMsgErr",
        [
            "=",
            "Idle close",
            "Idle",
            "Idle send 3/1 close",
            "Idle send 3/1 close",
            "Idle send 3/1 close down",
        ],
    ),
    (
        "RouteRefreshMsg",
        [
            "=",
            "Idle close",
            "Idle",
            "Idle send 5/1 close",
            "Idle send 5/2 close",
            "Established refresh",
        ],
    ),
];

fn reset(code: u8, subcode: u8) -> SessionReset {
    SessionReset::new(code, subcode, vec![], "detail")
}

fn negotiated() -> Negotiated {
    negotiate(&config(), &our_open(&config(), false, Past::default()), &their_open()).unwrap()
}

fn event(name: &str) -> FsmEvent {
    match name {
        "ManualStart" => FsmEvent::ManualStart,
        "ManualStop" => FsmEvent::ManualStop(Notification::new(6, 2), "stop".into()),
        "AutomaticStop" => FsmEvent::AutomaticStop(Notification::new(6, 8), "stop".into()),
        "ConnectRetryTimerExpires" => FsmEvent::ConnectRetryTimerExpires,
        "HoldTimerExpires" => FsmEvent::HoldTimerExpires,
        "KeepaliveTimerExpires" => FsmEvent::KeepaliveTimerExpires,
        "IdleHoldTimerExpires" => FsmEvent::IdleHoldTimerExpires,
        "TcpCrAcked" => FsmEvent::TcpCrAcked,
        "TcpConnectionConfirmed" => FsmEvent::TcpConnectionConfirmed(ConnectionId(9)),
        "TcpConnectionFails" => FsmEvent::TcpConnectionFails("connection refused".into()),
        "BgpOpen" => FsmEvent::BgpOpen(negotiated()),
        "BgpHeaderErr" => FsmEvent::BgpHeaderErr(reset(1, 1)),
        "BgpOpenMsgErr" => FsmEvent::BgpOpenMsgErr(reset(2, 2)),
        "OpenCollisionDump" => FsmEvent::OpenCollisionDump,
        "NotifMsg" => FsmEvent::NotifMsg(Notification::new(6, 4)),
        "KeepAliveMsg" => FsmEvent::KeepAliveMsg,
        "UpdateMsg" => FsmEvent::UpdateMsg(Decoded {
            updates: vec![Update::end_of_rib(Family::Ipv4Unicast)],
            malformed: vec![],
        }),
        "UpdateMsgErr" => FsmEvent::UpdateMsgErr(reset(3, 1)),
        "RouteRefreshMsg" => {
            FsmEvent::RouteRefreshMsg(Some(RouteRefresh::Request(Family::Ipv4Unicast)))
        }
        other => panic!("no event {other}"),
    }
}

/// An outgoing connection in this state.
fn connection(state: State, now: Instant) -> (Connection, Shared) {
    let mut shared = Shared {
        backoff: Backoff::new(config().connect_retry, 1),
        config: config(),
        last_id: 0,
        last_error: None,
        update_errors: UpdateErrors::default(),
        plain_open: false,
        past: Past::default(),
        answered: false,
        banned_until: None,
        stale: Stale::default(),
        actions: vec![],
    };
    let mut connection = Connection::new(Direction::Outgoing);
    let path: &[&str] = match state {
        State::Idle => &[],
        State::Connect => &["ManualStart"],
        State::Active => &["ManualStart", "TcpConnectionFails"],
        State::OpenSent => &["ManualStart", "TcpCrAcked"],
        State::OpenConfirm => &["ManualStart", "TcpCrAcked", "BgpOpen"],
        State::Established => &["ManualStart", "TcpCrAcked", "BgpOpen", "KeepAliveMsg"],
    };
    for name in path {
        connection.handle(now, event(name), &mut shared);
    }
    assert_eq!(connection.state(), state);
    shared.actions.clear();
    shared.last_error = None;
    (connection, shared)
}

#[test]
fn every_event_in_every_state_does_what_the_table_says() {
    let states = [
        State::Idle,
        State::Connect,
        State::Active,
        State::OpenSent,
        State::OpenConfirm,
        State::Established,
    ];
    let now = Instant::now();
    for (name, cells) in TABLE {
        for (state, cell) in states.into_iter().zip(cells) {
            let (mut connection, mut shared) = connection(state, now);
            connection.handle(now, event(name), &mut shared);
            let mut done = connection.state().as_str().to_owned();
            for action in short(&shared.actions) {
                done.push(' ');
                done.push_str(action.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end());
                if let Some(told) = action.strip_prefix("send ") {
                    // Without the number of the connection.
                    let told = told.split_once(' ').unwrap().1;
                    done.truncate(done.rfind("send").unwrap());
                    done.push_str(&format!("send {told}"));
                }
            }
            let expected = match cell {
                "=" => state.as_str(),
                other => other,
            };
            assert_eq!(done, expected, "{name} in {state}");
        }
    }
}

#[test]
fn whatever_ends_in_idle_or_active_comes_back_by_a_timer_unless_it_was_told_to_stay() {
    let now = Instant::now();
    for (name, cells) in TABLE {
        for (state, _) in
            [State::Connect, State::Active, State::OpenSent, State::OpenConfirm, State::Established]
                .into_iter()
                .zip(&cells[1..])
        {
            let (mut connection, mut shared) = connection(state, now);
            connection.handle(now, event(name), &mut shared);
            let stays = matches!(name, "ManualStop" | "OpenCollisionDump");
            let deadline = connection.next_deadline();
            assert_eq!(deadline.is_none(), stays, "{name} in {state}");
            assert!(deadline.is_none_or(|deadline| deadline > now), "{name} in {state}");
            if connection.state() == State::Idle && !stays {
                assert!(shared.last_error.is_some(), "{name} in {state} says why");
            }
        }
    }
}
