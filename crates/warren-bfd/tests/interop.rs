//! Sessions with BIRD and FRR at the other end.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod network;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use network::{A, B, Namespace, Wire, from, key, settings, wait_for};
use tempfile::TempDir;
use warren_bfd::packet::State;
use warren_bfd::{Cause, Change, Hops};

/// A daemon in a namespace; it ends with the value.
struct Daemon(Child);

impl Daemon {
    fn start(namespace: &Namespace, directory: &Path, program: &str, arguments: &[String]) -> Self {
        let name = Path::new(program).file_name().unwrap().to_string_lossy().into_owned();
        let log = fs::File::create(directory.join(format!("{name}.log"))).unwrap();
        let child = namespace.within(|| {
            Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap_or_else(|error| panic!("{program}, of scripts/packages: {error}"))
        });
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What `program` says.
fn words(namespace: &Namespace, program: &str, arguments: &[&str]) -> String {
    String::from_utf8(namespace.run(program, arguments).stdout).unwrap()
}

/// The other speaker.
trait Other {
    /// Starts it at B with one session with A of each kind: it sends every 200 ms, takes a packet
    /// every 100 ms, and has a multiplier of 5.
    fn start(namespace: &Namespace) -> Self;
    /// Whether the session is Up by its own account, at this interval and detection time.
    fn is_up(&self, namespace: &Namespace, hops: Hops, millis: (u32, u32)) -> bool;
    /// Kills it without a word.
    fn kill(&mut self);
}

struct Bird {
    directory: TempDir,
    daemon: Daemon,
}

impl Other for Bird {
    fn start(namespace: &Namespace) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let intervals = "min rx interval 100 ms; min tx interval 200 ms; multiplier 5;";
        let configuration = format!(
            "router id {B};
            protocol device {{ }}
            protocol bfd {{
                interface \"*\" {{ {intervals} }};
                multihop {{ {intervals} }};
                neighbor {A} dev \"wire\" local {B};
                neighbor {A} local {B} multihop yes;
            }}"
        );
        fs::write(path("bird.conf"), configuration).unwrap();
        let arguments = ["-f", "-c", &path("bird.conf"), "-s", &path("ctl"), "-P", &path("pid")];
        let arguments = arguments.map(str::to_owned);
        let daemon = Daemon::start(namespace, directory.path(), "/usr/sbin/bird", &arguments);
        Self { directory, daemon }
    }

    fn is_up(&self, namespace: &Namespace, hops: Hops, (interval, detection): (u32, u32)) -> bool {
        let socket = self.directory.path().join("ctl").display().to_string();
        let sessions = words(namespace, "birdc", &["-s", &socket, "show", "bfd", "sessions"]);
        // IP address, interface, state, since, interval, timeout.
        let interface = if hops == Hops::Single { "wire" } else { "---" };
        sessions.lines().any(|line| {
            let line: Vec<&str> = line.split_whitespace().collect();
            let seconds = |millis: u32| format!("{}.{:03}", millis / 1000, millis % 1000);
            line.first() == Some(&A)
                && line.get(1..3) == Some(&[interface, "Up"])
                && line.ends_with(&[&seconds(interval), &seconds(detection)])
        })
    }

    fn kill(&mut self) {
        self.daemon.kill();
    }
}

struct Frr {
    directory: TempDir,
    // In the order in which they are to end.
    bfdd: Daemon,
    _zebra: Daemon,
}

impl Other for Frr {
    fn start(namespace: &Namespace) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let peer = |kind: &str| {
            format!(
                " peer {A} {kind}\n  transmit-interval 200\n  receive-interval 100\n  \
                 detect-multiplier 5\n  no shutdown\n exit\n"
            )
        };
        let single = peer(&format!("local-address {B} interface wire"));
        // The TTL that a packet from A still has.
        let multi = peer(&format!("multihop local-address {B}"));
        fs::write(path("bfdd.conf"), format!("bfd\n{single}{multi}exit\n")).unwrap();
        fs::write(path("zebra.conf"), "").unwrap();
        // The user that the daemons change to.
        words(namespace, "chown", &["-R", "frr:frr", &path("")]);
        let daemon = |name: &str, more: &[String]| {
            let mut arguments = Vec::new();
            for (flag, value) in [
                ("-f", path(&format!("{name}.conf"))),
                ("-i", path(&format!("{name}.pid"))),
                ("-z", path("zserv.api")),
                ("--vty_socket", directory.path().display().to_string()),
                ("-P", "0".to_owned()),
            ] {
                arguments.extend([flag.to_owned(), value]);
            }
            arguments.extend_from_slice(more);
            let program = format!("/usr/lib/frr/{name}");
            Daemon::start(namespace, directory.path(), &program, &arguments)
        };
        let zebra = daemon("zebra", &[]);
        wait_for("zebra's socket", || fs::metadata(path("zserv.api")).ok());
        let bfdd = daemon("bfdd", &["--bfdctl".to_owned(), path("bfdd.sock")]);
        Self { bfdd, _zebra: zebra, directory }
    }

    fn is_up(&self, namespace: &Namespace, hops: Hops, (interval, detection): (u32, u32)) -> bool {
        let sockets = self.directory.path().display().to_string();
        let show = ["--vty_socket", &sockets, "-d", "bfdd", "-c", "show bfd peers"];
        let peers = words(namespace, "vtysh", &show);
        // It shows what each end asks for, not what follows from it.
        let ours = ["Remote timers:", "Receive interval: 300ms", "Transmission interval: 300ms"];
        let agreed = (interval, detection) == (300, 900);
        let kind = if hops == Hops::Single { "interface wire" } else { "multihop" };
        agreed
            && peers.split("\tpeer ").any(|peer| {
                peer.lines().next().unwrap_or_default().contains(kind)
                    && peer.contains("Status: up")
                    && ours.iter().all(|words| peer.contains(words))
            })
    }

    fn kill(&mut self) {
        self.bfdd.kill();
    }
}

/// The whole of it, for any speaker and kind of session.
fn works_with<O: Other>(hops: Hops) {
    let wire = Wire::new();
    let key = key(B, hops);
    let mut a = wire.a.bfd();
    a.bfd.set_sessions(vec![from(A, settings(B, hops))]);
    let mut other = O::start(&wire.b);
    a.expect_up(key);
    wait_for("the other's agreement", || other.is_up(&wire.b, hops, (300, 900)).then_some(()));
    wait_for("our agreement", || {
        let session = a.session(key);
        assert_eq!((session.state, session.remote.control_plane_independent), (State::Up, false));
        // They would send every 200 ms; we want no more than one every 300 ms. Their multiplier is 5.
        let agreed = (session.transmit_interval, session.detection_time);
        (agreed == (Some(Duration::from_millis(300)), Some(Duration::from_millis(1500))))
            .then_some(())
    });

    wire.cut();
    assert_eq!(a.event().failure(), Some(Cause::DetectionTimeExpired));
    wait_for("the other's notice", || (!other.is_up(&wire.b, hops, (300, 900))).then_some(()));
    wire.mend();
    a.expect_up(key);

    // A daemon that starts anew does not know the session any more.
    other.kill();
    drop(other);
    assert!(a.event().failure().is_some());
    let other = O::start(&wire.b);
    a.expect_up(key);
    wait_for("the other's return", || other.is_up(&wire.b, hops, (300, 900)).then_some(()));

    // An interface that goes down does so for both.
    wire.a.ip("link set wire down");
    assert_eq!(a.event().change, Change::Down(Cause::PathDown));
    wait_for("the other's notice", || (!other.is_up(&wire.b, hops, (300, 900))).then_some(()));
}

#[test]
fn bird_single_hop() {
    works_with::<Bird>(Hops::Single);
}

#[test]
fn bird_multihop() {
    works_with::<Bird>(Hops::Multi);
}

#[test]
fn frr_single_hop() {
    works_with::<Frr>(Hops::Single);
}

#[test]
fn frr_multihop() {
    works_with::<Frr>(Hops::Multi);
}
