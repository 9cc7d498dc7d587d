//! A real speaker on a loopback address of its own, and a peer made by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use ipnetwork::IpNetwork;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::*;

pub(super) const AS: u32 = 64512;

/// Much longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn prefix(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

pub(super) fn blocks(texts: &[&str]) -> BTreeSet<IpNetwork> {
    texts.iter().map(|text| prefix(text)).collect()
}

/// A loopback address that no other test of this process uses.
pub(super) fn fresh_address() -> Ipv4Addr {
    static LAST: AtomicU8 = AtomicU8::new(0);
    Ipv4Addr::new(127, 77, 0, LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

/// A speaker that takes connections, as of strangers at first.
pub(super) async fn listening(config: SpeakerConfig) -> Result<(Speaker, PathChanges), StartError> {
    let (speaker, changes) = start(config).await?;
    speaker.listen().await?;
    Ok((speaker, changes))
}

/// A speaker and what a node would make of it.
pub(super) struct Node {
    pub(super) speaker: Speaker,
    pub(super) changes: PathChanges,
    pub(super) address: IpAddr,
    /// The node's table: all path changes so far.
    pub(super) table: BTreeMap<IpNetwork, BestPath>,
}

impl Node {
    /// One that announces these blocks and believes all that lies in 10.0.0.0/8.
    pub(super) async fn start(originated: &[&str]) -> Self {
        let address = fresh_address();
        let config = SpeakerConfig::new(AS, address, SocketAddr::new(address.into(), 0));
        let (speaker, changes) = listening(config).await.unwrap();
        Self::with(speaker, changes, originated)
    }

    /// One around a speaker that runs already.
    pub(super) fn with(speaker: Speaker, changes: PathChanges, originated: &[&str]) -> Self {
        let address = speaker.listening().ip();
        speaker.set_import_policy(ImportPolicy {
            pools: vec![prefix("10.0.0.0/8")],
            own_blocks: originated.iter().map(|text| prefix(text)).collect(),
            owners: Vec::new(),
        });
        speaker.originate(blocks(originated));
        Self { speaker, changes, address, table: BTreeMap::new() }
    }

    /// The settings of this node as a peer of `other`.
    pub(super) fn as_peer_of(&self, other: &Node) -> PeerSettings {
        PeerSettings { source: Some(other.address), ..settings(self.speaker.listening()) }
    }

    pub(super) async fn peer(&self, address: IpAddr) -> PeerSnapshot {
        let peers = self.speaker.peers().await;
        peers.into_iter().find(|peer| peer.address == address).unwrap()
    }

    pub(super) async fn until_peer(
        &self,
        address: IpAddr,
        what: &str,
        is_so: impl Fn(&PeerSnapshot) -> bool,
    ) -> PeerSnapshot {
        until_peer(&self.speaker, address, what, is_so).await
    }

    pub(super) async fn until_established(&self, with: &Node) -> PeerSnapshot {
        let is_so = |peer: &PeerSnapshot| peer.state == State::Established;
        self.until_peer(with.address, "Established", is_so).await
    }

    /// Waits until the node's table is as it should be.
    pub(super) async fn until_table(
        &mut self,
        is_so: impl Fn(&BTreeMap<IpNetwork, BestPath>) -> bool,
    ) {
        let wait = async {
            while !is_so(&self.table) {
                let changes = self.changes.recv().await.unwrap();
                self.take(changes);
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            panic!("the table stays {} routes: {:.500?}", self.table.len(), self.table);
        }
    }

    fn take(&mut self, changes: Vec<PathChange>) {
        for change in changes {
            let before = match change.best {
                Some(best) => self.table.insert(change.prefix, best),
                None => self.table.remove(&change.prefix),
            };
            assert_ne!(before, change.best, "a change that changes nothing");
        }
    }

    /// Takes the changes that are there.
    pub(super) fn take_waiting(&mut self) {
        while let Ok(changes) = self.changes.try_recv() {
            self.take(changes);
        }
    }

    /// Waits until the table is exactly this.
    pub(super) async fn until_routes(&mut self, expected: &[(&str, IpAddr)]) {
        let expected: BTreeMap<_, _> = expected
            .iter()
            .map(|(text, via)| (prefix(text), BestPath { next_hop: *via, learned_from: *via }))
            .collect();
        self.until_table(|table| *table == expected).await;
    }
}

/// Waits until the peer at `address` is as it should be.
pub(super) async fn until_peer(
    speaker: &Speaker,
    address: IpAddr,
    what: &str,
    is_so: impl Fn(&PeerSnapshot) -> bool,
) -> PeerSnapshot {
    let mut version = speaker.watch();
    let wait = async {
        loop {
            version.borrow_and_update();
            let peers = speaker.peers().await;
            if let Some(peer) = peers.into_iter().find(|p| p.address == address && is_so(p)) {
                return peer;
            }
            version.changed().await.unwrap();
        }
    };
    match timeout(PATIENCE, wait).await {
        Ok(peer) => peer,
        Err(_) => panic!("not {what}: {:?}", speaker.peers().await),
    }
}

/// A peer that listens there, with this AS and the defaults.
pub(super) fn settings(at: SocketAddr) -> PeerSettings {
    PeerSettings { port: at.port(), ..PeerSettings::new(at.ip(), AS) }
}

/// Makes each of the nodes a peer of each other one.
pub(super) async fn mesh(nodes: &[&Node]) {
    for node in nodes {
        let others = nodes.iter().filter(|other| other.address != node.address);
        node.speaker.set_peers(others.map(|other| other.as_peer_of(node)).collect());
    }
    for node in nodes {
        for other in nodes.iter().filter(|other| other.address != node.address) {
            node.until_established(other).await;
        }
    }
}

/// The other end of a connection, by hand.
pub(super) struct ByHand {
    pub(super) stream: TcpStream,
}

pub(super) const OPEN: u8 = 1;
pub(super) const UPDATE: u8 = 2;
pub(super) const NOTIFICATION: u8 = 3;
pub(super) const KEEPALIVE: u8 = 4;

/// The capability of RFC 4724: N bit, 120 s, IPv4 unicast and its forwarding state.
pub(super) const GRACEFUL_RESTART: [u8; 10] = [2, 8, 64, 6, 0x40, 120, 0, 1, 1, 0x80];

impl ByHand {
    /// Connects from this address. A small window makes a peer that does not read noticed early.
    pub(super) async fn connect(from: Ipv4Addr, to: SocketAddr, window: Option<usize>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(window) = window {
            SockRef::from(&socket).set_recv_buffer_size(window).unwrap();
        }
        socket.bind(SocketAddr::new(from.into(), 0)).unwrap();
        Self { stream: socket.connect(to).await.unwrap() }
    }

    pub(super) async fn send(&mut self, kind: u8, body: &[u8]) {
        let mut message = vec![0xFF; 16];
        message.extend(u16::try_from(19 + body.len()).unwrap().to_be_bytes());
        message.push(kind);
        message.extend(body);
        self.stream.write_all(&message).await.unwrap();
    }

    pub(super) async fn send_open(&mut self, hold_time: u16, router_id: Ipv4Addr) {
        self.send_open_with(hold_time, router_id, &[]).await;
    }

    /// An OPEN with these optional parameters.
    pub(super) async fn send_open_with(
        &mut self,
        hold_time: u16,
        router_id: Ipv4Addr,
        parameters: &[u8],
    ) {
        let [h1, h2] = hold_time.to_be_bytes();
        let [a, b, c, d] = router_id.octets();
        let [n1, n2] = u16::try_from(AS).unwrap().to_be_bytes();
        let length = u8::try_from(parameters.len()).unwrap();
        let mut body = vec![4, n1, n2, h1, h2, a, b, c, d, length];
        body.extend(parameters);
        self.send(OPEN, &body).await;
    }

    /// The next message: its type and body; `None` at the end, which must not be a reset.
    pub(super) async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let receive = async {
            let mut header = [0; 19];
            match self.stream.read_exact(&mut header).await {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
                outcome => outcome.unwrap(),
            };
            assert_eq!(header[..16], [0xFF; 16]);
            let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
            let mut body = vec![0; length - 19];
            self.stream.read_exact(&mut body).await.unwrap();
            Some((header[18], body))
        };
        timeout(PATIENCE, receive).await.expect("a message or the end")
    }

    /// Reads up to the next message of this type.
    pub(super) async fn receive_until(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let (next, body) = self.receive().await.expect("a message");
            if next == kind {
                return body;
            }
        }
    }

    /// Waits until the speaker has closed.
    pub(super) async fn until_closed(&mut self) {
        while self.receive().await.is_some() {}
    }
}
