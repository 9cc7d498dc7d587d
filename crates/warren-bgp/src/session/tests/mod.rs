//! Tests of the session: the table of the state machine, one peer driven by hand, two peers over
//! a simulated network, and a peer that is shown anything at all.

mod add_path;
mod bfd;
mod collision;
mod errors;
mod extended;
mod long_lived;
mod pair;
mod property;
mod refresh;
mod restart;
mod roles;
mod single;
mod table;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Action, ConnectRetry, ConnectionId, Event, HoldTime, Peer, PeerConfig, State};
use crate::codec::{KEEPALIVE, notification, open};
use crate::message::{Capability, Family, Notification, Open};

fn config() -> PeerConfig {
    PeerConfig {
        local_as: 64512,
        peer_as: 64512.into(),
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        hold_time: HoldTime::DEFAULT,
        keepalive: None,
        connect_retry: ConnectRetry::default(),
        passive: false,
        families: vec![Family::Ipv4Unicast],
        loopback_next_hops: false,
        graceful_restart: None,
        role: None,
        add_path: false,
    }
}

/// What a peer of `config()` says.
fn their_open() -> Open {
    Open {
        as_number: 64512,
        hold_time: 90,
        router_id: Ipv4Addr::new(10, 0, 0, 2),
        capabilities: vec![
            Capability::Multiprotocol(Family::Ipv4Unicast),
            Capability::RouteRefresh,
            Capability::FourOctetAs(64512),
        ],
    }
}

/// A message: header, type and body.
fn message(kind: u8, body: &[u8]) -> Bytes {
    let mut octets = vec![0xff; 16];
    octets.extend(((19 + body.len()) as u16).to_be_bytes());
    octets.push(kind);
    octets.extend(body);
    octets.into()
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// Actions in short, to be compared with what is expected: `connect 1`, `send 1 OPEN`,
/// `send 1 6/2`, `close 1`, `up`, `down`, ...
fn short(actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .map(|action| match action {
            Action::Connect(id) => format!("connect {id}"),
            Action::Send(id, octets) => match octets[18] {
                1 => format!("send {id} OPEN"),
                2 => format!("send {id} UPDATE"),
                3 => format!("send {id} {}/{}", octets[19], octets[20]),
                4 => format!("send {id} KEEPALIVE"),
                _ => format!("send {id} ROUTE-REFRESH"),
            },
            Action::Close(id) => format!("close {id}"),
            Action::Up(_) => "up".to_owned(),
            Action::Down { kept, .. } if kept.is_empty() => "down".to_owned(),
            Action::Down { .. } => "down, kept".to_owned(),
            Action::Sweep(_) => "sweep".to_owned(),
            Action::LongLived(_) => "long-lived".to_owned(),
            Action::MarkStale(_) => "stale".to_owned(),
            Action::Update(_) => "update".to_owned(),
            Action::Refresh(_) => "refresh".to_owned(),
        })
        .collect()
}

/// One peer with a clock and the connections that it believes to be open.
struct Solo {
    peer: Peer,
    now: Instant,
    live: BTreeSet<ConnectionId>,
    /// Every action so far.
    log: Vec<Action>,
}

impl Solo {
    fn new(config: PeerConfig) -> Self {
        Self { peer: Peer::new(config, 1), now: Instant::now(), live: BTreeSet::new(), log: vec![] }
    }

    /// Started, its attempt still open.
    fn started(config: PeerConfig) -> Self {
        let mut solo = Self::new(config);
        assert_eq!(solo.event(Event::ManualStart), ["connect 1"]);
        solo
    }

    /// Connection 1 is open and the OPEN is sent.
    fn open_sent(config: PeerConfig) -> Self {
        let mut solo = Self::started(config);
        let id = solo.id(1);
        assert_eq!(solo.event(Event::ConnectSucceeded(id)), ["send 1 OPEN"]);
        solo
    }

    fn open_confirm(config: PeerConfig) -> Self {
        let mut solo = Self::open_sent(config);
        assert_eq!(solo.bytes(1, open::encode(&their_open()).unwrap()), ["send 1 KEEPALIVE"]);
        solo
    }

    fn established(config: PeerConfig) -> Self {
        let mut solo = Self::open_confirm(config);
        assert_eq!(solo.keepalive(1), ["up"]);
        solo
    }

    fn id(&self, number: u32) -> ConnectionId {
        ConnectionId(number)
    }

    fn event(&mut self, event: Event) -> Vec<String> {
        if let Event::Closed(id, _) | Event::ConnectFailed(id, _) = &event {
            self.live.remove(id);
        }
        let actions = self.peer.handle(self.now, event);
        for action in &actions {
            match action {
                Action::Connect(id) => assert!(self.live.insert(*id)),
                Action::Close(id) => assert!(self.live.remove(id), "closed twice: {id}"),
                Action::Send(id, _) => assert!(self.live.contains(id), "sent to a dead {id}"),
                _ => {}
            }
        }
        self.log.extend(actions.clone());
        short(&actions)
    }

    fn accept(&mut self) -> Vec<String> {
        let id = self.peer.new_connection_id();
        self.live.insert(id);
        self.event(Event::Accepted(id))
    }

    fn bytes(&mut self, number: u32, octets: impl Into<Bytes>) -> Vec<String> {
        self.event(Event::Bytes(ConnectionId(number), octets.into()))
    }

    fn open(&mut self, number: u32, open: &Open) -> Vec<String> {
        self.bytes(number, open::encode(open).unwrap())
    }

    fn keepalive(&mut self, number: u32) -> Vec<String> {
        self.bytes(number, KEEPALIVE.to_vec())
    }

    fn notify(&mut self, number: u32, code: u8, subcode: u8, data: &[u8]) -> Vec<String> {
        let it = Notification { code, subcode, data: data.to_vec() };
        self.bytes(number, notification::encode(&it))
    }

    /// Goes to the next deadline; how long that took, and what was done then.
    fn timer(&mut self) -> (Duration, Vec<String>) {
        let deadline = self.peer.next_deadline().expect("a timer runs");
        let waited = deadline.saturating_duration_since(self.now);
        self.now = self.now.max(deadline);
        (waited, self.event(Event::Timer))
    }

    fn state(&self) -> State {
        self.peer.state()
    }

    fn error(&self) -> &str {
        self.peer.last_error().expect("an error")
    }

    /// The last NOTIFICATION that was sent.
    fn told(&self) -> Notification {
        let octets = self
            .log
            .iter()
            .rev()
            .find_map(|action| match action {
                Action::Send(_, octets) if octets[18] == 3 => Some(octets),
                _ => None,
            })
            .expect("a NOTIFICATION");
        Notification { code: octets[19], subcode: octets[20], data: octets[21..].to_vec() }
    }
}
