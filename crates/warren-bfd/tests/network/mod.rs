//! Two namespaces with a wire between them, and what can be done in each.

use std::fs::File;
use std::future::Future;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use warren_bfd::{Bfd, Change, Event, Events, Hops, Key, SessionSnapshot, Settings, Timing};

/// For what must happen within a second or a few, on a machine that does much else besides.
const PATIENCE: Duration = Duration::from_secs(60);

/// A network namespace. It goes with the value, and with whatever runs in it.
pub struct Namespace(File);

impl Namespace {
    /// Empty but for `lo`.
    pub fn new() -> Self {
        let file = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("this test makes network namespaces: run it as root (CAP_SYS_ADMIN)");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = Self(file.join().unwrap());
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `act` on a thread in the namespace; what it starts stays there.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                act()
            });
            thread.join().unwrap()
        })
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        self.within(|| Command::new(program).args(arguments).output().unwrap())
    }

    /// Runs `ip` with these words.
    pub fn ip(&self, words: &str) {
        let words: Vec<&str> = words.split_whitespace().collect();
        let output = self.run("ip", &words);
        assert!(output.status.success(), "ip {words:?}: {output:?}");
    }

    /// Starts BFD here.
    pub fn bfd(&self) -> Station {
        let (bfd, events) = self.within(|| warren_bfd::start().unwrap());
        Station { bfd, events }
    }
}

/// Two namespaces, each with the interface `wire`, its addresses ready for use.
pub struct Wire {
    pub a: Namespace,
    pub b: Namespace,
}

pub const A: &str = "192.0.2.1";
pub const B: &str = "192.0.2.2";
pub const A6: &str = "2001:db8::1";
pub const B6: &str = "2001:db8::2";

impl Wire {
    pub fn new() -> Self {
        let (a, b) = (Namespace::new(), Namespace::new());
        let other = format!("/proc/{}/fd/{}", std::process::id(), b.0.as_raw_fd());
        a.ip(&format!("link add wire type veth peer name wire netns {other}"));
        for (end, v4, v6) in [(&a, A, A6), (&b, B, B6)] {
            end.ip(&format!("address add {v4}/24 dev wire"));
            end.ip(&format!("address add {v6}/64 dev wire nodad"));
            end.ip("link set wire up");
        }
        Self { a, b }
    }

    /// Has what each end sends get lost on the way, without either noticing.
    pub fn cut(&self) {
        for (end, other, other6) in [(&self.a, B, B6), (&self.b, A, A6)] {
            for other in [other, other6] {
                let nobody = "lladdr 02:00:00:00:00:99 nud permanent dev wire";
                end.ip(&format!("neigh replace {other} {nobody}"));
            }
        }
    }

    pub fn mend(&self) {
        for (end, other, other6) in [(&self.a, B, B6), (&self.b, A, A6)] {
            for other in [other, other6] {
                end.ip(&format!("neigh del {other} dev wire"));
            }
        }
    }
}

/// BFD at one end.
pub struct Station {
    pub bfd: Bfd,
    pub events: Events,
}

impl Station {
    /// The next event.
    pub fn event(&mut self) -> Event {
        let next = async { tokio::time::timeout(PATIENCE, self.events.recv()).await };
        block_on(next).expect("an event within a minute").expect("the thread lives")
    }

    /// Waits until this session is Up.
    pub fn expect_up(&mut self, key: Key) {
        let event = self.event();
        assert_eq!((event.key, event.change), (key, Change::Up));
    }

    /// How the session with this key is doing.
    pub fn session(&self, key: Key) -> SessionSnapshot {
        let snapshot = block_on(self.bfd.snapshot());
        snapshot.sessions.into_iter().find(|session| session.key == key).unwrap()
    }
}

/// Waits for something to become true.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not happen within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

pub fn key(peer: &str, hops: Hops) -> Key {
    Key { peer: peer.parse().unwrap(), hops }
}

pub fn settings(peer: &str, hops: Hops) -> Settings {
    Settings { key: key(peer, hops), source: None, timing: Timing::default() }
}

pub fn from(source: &str, settings: Settings) -> Settings {
    let source: IpAddr = source.parse().unwrap();
    Settings { source: Some(source), ..settings }
}
