//! Whether another machine answers.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take; between nodes it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many are asked at a time: a cluster's worth of silence should not take an hour.
const AT_A_TIME: usize = 64;

/// What became of an attempt to connect by TCP.
#[derive(Debug)]
pub enum Reach {
    /// Somebody listens.
    Open,
    /// Nobody listens, and the machine says so.
    Refused,
    /// Nothing comes back.
    Silent,
    /// It could not even be tried, or something in between says no.
    Failed(io::Error),
}

impl Reach {
    /// Whether the machine itself answered.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Open | Self::Refused)
    }
}

/// Tries all of `targets`; the outcomes are in their order.
pub fn connect(targets: &[SocketAddr]) -> Vec<Reach> {
    let at_once = |targets: &[SocketAddr]| -> Vec<Reach> {
        std::thread::scope(|scope| {
            let attempts: Vec<_> =
                targets.iter().map(|target| scope.spawn(|| attempt(target))).collect();
            let lost = || Reach::Failed(io::Error::other("the attempt ended early"));
            attempts.into_iter().map(|attempt| attempt.join().unwrap_or_else(|_| lost())).collect()
        })
    };
    targets.chunks(AT_A_TIME).flat_map(at_once).collect()
}

fn attempt(target: &SocketAddr) -> Reach {
    match TcpStream::connect_timeout(target, PATIENCE) {
        Ok(_) => Reach::Open,
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Reach::Refused,
            ErrorKind::TimedOut => Reach::Silent,
            _ => Reach::Failed(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn each_target_gets_its_own_outcome() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let open = listener.local_addr().unwrap();
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        // The kernel has no TCP to a group.
        let nowhere = SocketAddr::from(([224, 0, 0, 1], 179));
        let found = connect(&[open, closed, nowhere, open]);
        assert!(
            matches!(found[..], [Reach::Open, Reach::Refused, Reach::Failed(_), Reach::Open]),
            "{found:?}"
        );
    }
}
