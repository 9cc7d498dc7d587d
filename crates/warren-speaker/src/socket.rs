//! Sockets with the options that BGP wants.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use ipnetwork::IpNetwork;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::settings::PeerSettings;
use crate::sys;
use crate::transport::{Distance, Password};

/// CS6, network control (RFC 4594, 3.1): as every router marks BGP, so that a link full of other
/// traffic does not cost the sessions.
const NETWORK_CONTROL: u32 = 0xC0;

/// Octets that the kernel takes for a peer beyond what is under way to it. Without a limit it takes
/// megabytes for a peer that does not read: memory, and news that nobody can take back.
const UNSENT: u32 = 64 * 1024;

/// Connections that the kernel completes while the listener is busy: a whole mesh may come at once.
const BACKLOG: i32 = 1024;

/// The port that peers connect to, whose connections can be made to be signed.
#[derive(Debug)]
pub(crate) struct Port {
    socket: Socket,
    address: SocketAddr,
}

impl Port {
    /// Takes the port. Whoever connects is refused by the kernel until [`listen`](Self::listen).
    pub(crate) fn take(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restarted speaker must not wait for its old connections' TIME_WAIT.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        mark(&SockRef::from(&socket), address.is_ipv6())?;
        // The answer to a connection is sent before its peer is known.
        limit(&socket, address.is_ipv6(), Distance::Any)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { socket, address })
    }

    /// Where peers connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has connections of `peers` taken only if they are signed by this password; without one, only
    /// if they are not.
    pub(crate) fn set_key(&self, peers: IpNetwork, password: Option<&Password>) -> io::Result<()> {
        sys::sign(&self.socket, self.address.is_ipv6(), peers, password.map(Password::octets))
    }

    /// Has connections taken from now on.
    pub(crate) fn listen(&self) -> io::Result<TcpListener> {
        self.socket.listen(BACKLOG)?;
        TcpListener::from_std(self.socket.try_clone()?.into())
    }
}

/// Connects to a peer.
pub(crate) async fn connect(peer: PeerSettings) -> io::Result<TcpStream> {
    let target = SocketAddr::new(peer.address, peer.port);
    let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    mark(&SockRef::from(&socket), target.is_ipv6())?;
    limit(&socket, target.is_ipv6(), peer.distance)?;
    if let Some(password) = &peer.password {
        sys::sign(&socket, target.is_ipv6(), target.ip().into(), Some(password.octets()))?;
    }
    if let Some(source) = peer.source {
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(source, 0)).map_err(|error| {
            let reason = crate::error_words::of(&error);
            io::Error::new(error.kind(), format!("cannot connect from {source}: {reason}"))
        })?;
    }
    let stream = socket.connect(target).await?;
    prepare(&stream)?;
    Ok(stream)
}

/// Prepares a connection that a peer has opened; its mark it has from the listener.
pub(crate) fn accepted(stream: &TcpStream, peer: &PeerSettings) -> io::Result<()> {
    limit(stream, stream.local_addr()?.is_ipv6(), peer.distance)?;
    prepare(stream)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // KEEPALIVE and small updates are not to wait for more.
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)
}

/// A socket of IPv6 may carry IPv4 as well, and each has an option of its own.
fn limit(socket: &impl AsFd, is_ipv6: bool, distance: Distance) -> io::Result<()> {
    let options = SockRef::from(socket);
    options.set_ttl_v4(distance.ttl().into())?;
    if is_ipv6 {
        options.set_unicast_hops_v6(distance.ttl().into())?;
    }
    if let Some(least) = distance.least_ttl() {
        sys::drop_below(socket, false, least)?;
        if is_ipv6 {
            sys::drop_below(socket, true, least)?;
        }
    }
    Ok(())
}

fn mark(socket: &SockRef<'_>, is_ipv6: bool) -> io::Result<()> {
    socket.set_tos_v4(NETWORK_CONTROL)?;
    if is_ipv6 { socket.set_tclass_v6(NETWORK_CONTROL) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(address: &str) -> TcpListener {
        Port::take(address.parse().unwrap()).unwrap().listen().unwrap()
    }

    /// Whoever listens there.
    fn peer(listener: &TcpListener) -> PeerSettings {
        let at = listener.local_addr().unwrap();
        let address = if at.is_ipv4() { at.ip() } else { "127.0.0.1".parse().unwrap() };
        PeerSettings { port: at.port(), ..PeerSettings::new(address, 64512) }
    }

    #[tokio::test]
    async fn both_ends_are_marked_and_the_source_is_as_asked_for() {
        let listener = listening("127.0.0.1:0");
        let source = "127.77.1.1".parse().unwrap();
        let peer = PeerSettings { source: Some(source), ..peer(&listener) };
        let (stream, incoming) = tokio::join!(connect(peer.clone()), listener.accept());
        let (incoming, from) = incoming.unwrap();
        accepted(&incoming, &peer).unwrap();
        assert_eq!(from.ip(), source);
        for stream in [stream.unwrap(), incoming] {
            let socket = SockRef::from(&stream);
            assert_eq!(socket.tos_v4().unwrap(), NETWORK_CONTROL);
            assert!(stream.nodelay().unwrap());
        }
    }

    #[tokio::test]
    async fn a_listener_on_all_ipv6_addresses_takes_ipv4_as_well() {
        let listener = listening("[::]:0");
        let (stream, incoming) = tokio::join!(connect(peer(&listener)), listener.accept());
        stream.unwrap();
        let (incoming, from) = incoming.unwrap();
        assert_eq!(from.ip().to_canonical().to_string(), "127.0.0.1");
        let near = Distance::Checked(1.try_into().unwrap());
        accepted(&incoming, &PeerSettings { distance: near, ..peer(&listener) }).unwrap();
    }
}
