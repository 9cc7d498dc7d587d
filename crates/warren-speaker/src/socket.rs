//! Sockets with the options that BGP wants.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// CS6, network control (RFC 4594, 3.1): as every router marks BGP, so that a link full of other
/// traffic does not cost the sessions.
const NETWORK_CONTROL: u32 = 0xC0;

/// Octets that the kernel takes for a peer beyond what is under way to it. Without a limit it takes
/// megabytes for a peer that does not read: memory, and news that nobody can take back.
const UNSENT: u32 = 64 * 1024;

/// Connections that the kernel completes while the listener is busy: a whole mesh may come at once.
const BACKLOG: i32 = 1024;

/// A listening socket.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted speaker must not wait for its old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    mark(&SockRef::from(&socket), address)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connects, from `source` if one is given.
pub(crate) async fn connect(source: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    mark(&SockRef::from(&socket), target)?;
    if let Some(source) = source {
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

/// Prepares a connection; an accepted one has its mark from the listener.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    // KEEPALIVE and small updates are not to wait for more.
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)
}

fn mark(socket: &SockRef<'_>, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() {
        socket.set_tos_v4(NETWORK_CONTROL)
    } else {
        socket.set_tclass_v6(NETWORK_CONTROL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ends_are_marked_and_the_source_is_as_asked_for() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let source = "127.77.1.1".parse().unwrap();
        let target = listener.local_addr().unwrap();
        let (stream, incoming) = tokio::join!(connect(Some(source), target), listener.accept());
        let (incoming, from) = incoming.unwrap();
        prepare(&incoming).unwrap();
        assert_eq!(from.ip(), source);
        for stream in [stream.unwrap(), incoming] {
            let socket = SockRef::from(&stream);
            assert_eq!(socket.tos_v4().unwrap(), NETWORK_CONTROL);
            assert!(stream.nodelay().unwrap());
        }
    }

    #[tokio::test]
    async fn a_listener_on_all_ipv6_addresses_takes_ipv4_as_well() {
        let listener = listen("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = SocketAddr::new("127.0.0.1".parse().unwrap(), port);
        let (stream, incoming) = tokio::join!(connect(None, target), listener.accept());
        stream.unwrap();
        assert_eq!(incoming.unwrap().1.ip().to_canonical().to_string(), "127.0.0.1");
    }
}
