//! That BFD shares nothing with what can block.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command};
use std::thread::available_parallelism;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use warren_bfd::{Bfd, Change, Events, Hops, Key, Settings, Timing};

use crate::running::{Namespace, Running, connect_from, wait};

const NODE: [u8; 4] = [192, 168, 0, 176];

const PEERS: u8 = 100;

const ROUTES: u32 = 100_000;

fn peer(number: u8) -> [u8; 4] {
    [192, 168, 0, number]
}

/// A node with a hundred peers, which do not connect by themselves.
fn config() -> String {
    let peers = (1..=PEERS)
        .map(|number| format!("- {{address: {}, passive: true}}\n", Ipv4Addr::from(peer(number))));
    format!(
        "node: {{name: node1, address: 192.168.0.176}}\n\
         pools: [{{cidr: 10.0.0.0/8, encapsulation: None}}]\n\
         blocks: [10.255.255.0/26]\n\
         peers:\n{}",
        peers.collect::<String>()
    )
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap();
    [&[0xff; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

/// A session of the first peer, without keepalives.
fn session() -> TcpStream {
    let mut stream = connect_from(peer(1), NODE);
    // Version 4, AS 64512, hold time 0, no capabilities.
    let open = [&[4, 0xfc, 0, 0, 0][..], &peer(1), &[0]].concat();
    stream.write_all(&message(1, &open)).unwrap();
    stream.write_all(&message(4, &[])).unwrap();
    stream
}

/// Announces that many blocks of 10.0.0.0/8.
fn announce(stream: &mut TcpStream) {
    // ORIGIN IGP, an empty AS_PATH, NEXT_HOP, LOCAL_PREF 100.
    let attributes =
        [&[0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4][..], &peer(1), &[0x40, 5, 4, 0, 0, 0, 100]]
            .concat();
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    let numbers: Vec<u32> = (0..ROUTES).collect();
    for numbers in numbers.chunks(800) {
        let mut body = [&[0, 0][..], &length, &attributes].concat();
        for number in numbers {
            body.push(26);
            body.extend((0x0a00_0000 | number << 6).to_be_bytes());
        }
        stream.write_all(&message(2, &body)).unwrap();
    }
}

/// A peer of which there is nothing but its BFD.
struct Peer {
    /// When it is dropped, the sessions end.
    _bfd: Bfd,
    events: Events,
    namespace: Namespace,
}

impl Peer {
    /// Starts it behind the switch.
    fn start(switch: &Namespace, number: u8) -> Self {
        let namespace = Namespace::empty();
        let port = format!("port{number}");
        switch.wire(&port, &namespace, "enp1s0");
        switch.ip(&format!("link set {port} master switch"));
        namespace.ip(&format!("address add {}/24 dev enp1s0", Ipv4Addr::from(peer(number))));
        let (bfd, events) = namespace.within(|| warren_bfd::start().unwrap());
        let key = Key { peer: Ipv4Addr::from(NODE).into(), hops: Hops::Single };
        bfd.set_sessions(vec![Settings { key, source: None, timing: Timing::default() }]);
        Self { _bfd: bfd, events, namespace }
    }

    /// What has become of its session since it was asked last.
    fn changes(&mut self) -> Vec<Change> {
        std::iter::from_fn(|| self.events.try_recv().ok()).map(|event| event.change).collect()
    }
}

#[test]
fn no_session_of_a_hundred_flaps_while_a_hundred_thousand_routes_come_and_go_on_busy_processors() {
    let (node, switch) = (Namespace::empty(), Namespace::empty());
    switch.ip("link add switch up type bridge");
    switch.wire("node", &node, "enp1s0");
    switch.ip("link set node master switch");
    node.ip("address add 192.168.0.176/24 dev enp1s0");
    // The first peer speaks BGP as well.
    let mut peers: Vec<Peer> = (1..=PEERS).map(|number| Peer::start(&switch, number)).collect();
    let agent = node.start(&config());
    let all_up = |status: &Value| {
        let peers = status["peers"].as_array().unwrap();
        peers.len() == usize::from(PEERS) && peers.iter().all(|peer| peer["bfd"] == "Up")
    };
    agent.eventually("a hundred sessions", all_up);
    for peer in &mut peers {
        wait("Up", String::new, || peer.changes() == [Change::Up]);
    }

    let busy = Busy::start();
    let mut speaker = peers[0].namespace.within(session);
    announce(&mut speaker);
    programmed(&agent, "the routes", u64::from(ROUTES) + 1);
    drop(speaker);
    programmed(&agent, "their end", 1);
    drop(busy);

    let status = agent.status();
    assert!(all_up(&status), "{status}");
    let flaps = |peer: &Value| peer["bfdSession"]["wentDown"].as_u64().unwrap();
    let flaps: u64 = status["peers"].as_array().unwrap().iter().map(flaps).sum();
    assert_eq!(flaps, 0, "{status}");
    for peer in &mut peers {
        assert_eq!(peer.changes(), []);
    }
    println!("{}", status["bfd"]);
}

/// Work for every processor, twice over, for as long as this lives. In processes of its own, so that
/// the peers share no memory with it.
struct Busy(Vec<Child>);

impl Busy {
    fn start() -> Self {
        // Were this test killed, they would end too.
        let spin = ["600", "sh", "-c", "while :; do :; done"];
        let processors = available_parallelism().unwrap().get();
        let start = |_| Command::new("timeout").args(spin).spawn().unwrap();
        Self((0..2 * processors).map(start).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Not SIGKILL: it hands on to its own child what it is sent.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

/// Waits for that many routes in the kernel, for as long as more of them come, or go.
fn programmed(agent: &Running<'_>, what: &str, routes: u64) {
    let count = || {
        // It may take more than a command's patience to answer.
        let (code, status) = agent.ask(&["status", "-o", "json"]);
        let status: Value = serde_json::from_str(&status).ok().filter(|_| code == Some(0))?;
        status["routes"]["programmed"].as_u64()
    };
    let mut last = count();
    while last != Some(routes) {
        let state = || format!("{last:?} of {routes} are there");
        let next = || count().filter(|count| Some(*count) != last);
        wait(what, state, || next().is_some());
        last = count();
    }
}
