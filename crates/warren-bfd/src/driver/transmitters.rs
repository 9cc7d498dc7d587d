//! The sockets that packets leave by: one per session, for its source port is its own (RFC 5881, 4).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fastrand::Rng;
use socket2::{Domain, Protocol, Socket, Type};

use crate::engine::{Engine, Key};
use crate::packet::LENGTH;

/// The ports to send from (RFC 5881, 4).
const PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

/// Ports to try before giving up until the next packet: most are free.
const ATTEMPTS: usize = 64;

/// The TTL of every packet, by which a single-hop peer knows that no router has passed it on.
const TTL: u32 = 255;

/// CS6, network control (RFC 4594, 3.1), so that a link full of other traffic costs no session.
const NETWORK_CONTROL: u32 = 0xC0;

#[derive(Debug)]
pub(super) struct Transmitters {
    sockets: HashMap<Key, (Option<IpAddr>, Socket)>,
    problems: HashMap<Key, String>,
    random: Rng,
}

impl Transmitters {
    pub(super) fn new(seed: u64) -> Self {
        Self { sockets: HashMap::new(), problems: HashMap::new(), random: Rng::with_seed(seed) }
    }

    /// Sends a packet, or notes why that cannot be done. It is not tried again: the next is due soon.
    pub(super) fn send(&mut self, key: Key, source: Option<IpAddr>, payload: &[u8; LENGTH]) {
        match self.try_send(key, source, payload) {
            Ok(()) => drop(self.problems.remove(&key)),
            // The session starts over with a socket of its own at the next packet.
            Err(error) => {
                let from = source.map(|source| format!(" from {source}")).unwrap_or_default();
                self.problems.insert(key, format!("cannot send to {}{from}: {error}", key.peer));
            }
        }
    }

    fn try_send(
        &mut self,
        key: Key,
        source: Option<IpAddr>,
        payload: &[u8; LENGTH],
    ) -> io::Result<()> {
        let target = SocketAddr::new(key.peer, key.hops.port()).into();
        if let Some((from, socket)) = self.sockets.get(&key)
            && *from == source
        {
            return socket.send_to(payload, &target).map(drop);
        }
        let socket = self.open(key, source)?;
        let outcome = socket.send_to(payload, &target).map(drop);
        self.sockets.insert(key, (source, socket));
        outcome
    }

    fn open(&mut self, key: Key, source: Option<IpAddr>) -> io::Result<Socket> {
        let socket = match key.peer {
            IpAddr::V4(_) => {
                let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
                socket.set_ttl_v4(TTL)?;
                socket.set_tos_v4(NETWORK_CONTROL)?;
                socket
            }
            IpAddr::V6(_) => {
                let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
                socket.set_unicast_hops_v6(TTL)?;
                socket.set_tclass_v6(NETWORK_CONTROL)?;
                socket
            }
        };
        socket.set_nonblocking(true)?;
        // Nobody reads what is sent to this port: the kernel need not keep it.
        socket.set_recv_buffer_size(0)?;
        let source = source.unwrap_or(match key.peer {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        });
        let mut outcome = Ok(());
        for _ in 0..ATTEMPTS {
            let port = self.random.u16(PORTS);
            outcome = socket.bind(&SocketAddr::new(source, port).into());
            match &outcome {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                _ => break,
            }
        }
        outcome.map(|()| socket)
    }

    /// Closes the sockets of sessions that are gone.
    pub(super) fn keep(&mut self, engine: &Engine) {
        self.sockets.retain(|key, _| engine.has(*key));
        self.problems.retain(|key, _| engine.has(*key));
    }

    /// Why the last packet of this session was not sent.
    pub(super) fn problem(&self, key: Key) -> Option<&str> {
        self.problems.get(&key).map(String::as_str)
    }
}
