//! An agent that runs in a network namespace of its own.

pub mod config;

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Far more than any machine needs; what is waited for takes milliseconds, where nothing else is to do.
const PATIENCE: Duration = Duration::from_secs(240);

/// Between two looks, so that what is waited for has the processor.
const PAUSE: Duration = Duration::from_millis(10);

/// The executable under test.
pub fn agent() -> &'static str {
    env!("CARGO_BIN_EXE_agent")
}

/// A network namespace that has a node's address and its peer's, and a directory for an agent's files.
pub struct Namespace {
    handle: File,
    directory: TempDir,
}

impl Namespace {
    pub fn new() -> Self {
        let handle = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("network namespaces need root: run as root");
            run("ip link set lo up");
            run("ip link add enp1s0 up type veth peer name peer0");
            run("ip link set peer0 up");
            run("ip address add 192.168.0.176/24 dev enp1s0");
            run("ip address add 192.168.0.146/24 dev peer0");
            File::open("/proc/thread-self/ns/net").unwrap()
        })
        .join()
        .unwrap();
        Self { handle, directory: tempfile::tempdir().unwrap() }
    }

    /// Nothing but a loopback interface.
    pub fn empty() -> Self {
        let handle = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("network namespaces need root: run as root");
            run("ip link set lo up");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Self { handle: handle.join().unwrap(), directory: tempfile::tempdir().unwrap() }
    }

    /// Two nodes with a wire between them.
    pub fn pair() -> (Self, Self) {
        let (a, b) = (Self::empty(), Self::empty());
        a.wire("enp1s0", &b, "enp1s0");
        a.ip("address add 192.168.0.176/24 dev enp1s0");
        b.ip("address add 192.168.0.146/24 dev enp1s0");
        (a, b)
    }

    /// Connects an interface here with one there.
    pub fn wire(&self, here: &str, other: &Self, there: &str) {
        let namespace = format!("/proc/{}/fd/{}", std::process::id(), other.handle.as_raw_fd());
        self.ip(&format!("link add {here} up type veth peer name {there} netns {namespace}"));
        other.ip(&format!("link set {there} up"));
    }

    /// Runs `ip` with these words.
    pub fn ip(&self, words: &str) {
        self.within(|| run(&format!("ip {words}")));
    }

    /// Runs `work` inside, in a thread that does nothing else.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }

    /// A file or directory of this node.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The name of a file by which ip(8) finds the namespace.
    pub fn file(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd())
    }

    fn spawn(&self, config: &str) -> Child {
        std::fs::write(self.path("config.yaml"), config).unwrap();
        let log = File::create(self.path("log")).unwrap();
        self.within(|| {
            Command::new(agent())
                .args(["run", "--config"])
                .arg(self.path("config.yaml"))
                .arg("--run-dir")
                .arg(self.path("run"))
                .env("KUBECONFIG", self.path("kubeconfig"))
                .env("NODE_NAME", "node1")
                .stderr(log)
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        })
    }

    /// Starts an agent and waits until it answers.
    pub fn start(&self, config: &str) -> Running<'_> {
        let running = Running { namespace: self, child: self.spawn(config) };
        running.eventually("an agent that answers", |_| true);
        running
    }

    /// Starts an agent that must end by itself with an error; what it said.
    pub fn refused(&self, config: &str) -> String {
        let file = self.path("refused.yaml");
        std::fs::write(&file, config).unwrap();
        let output = self.within(|| {
            Command::new(agent())
                .args(["run", "--config"])
                .arg(&file)
                .arg("--run-dir")
                .arg(self.path("run"))
                .output()
                .unwrap()
        });
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        text
    }
}

/// A running agent; it is killed when this is dropped.
pub struct Running<'n> {
    namespace: &'n Namespace,
    child: Child,
}

impl Running<'_> {
    /// Runs a command of the operator's: its exit code and what it printed.
    pub fn ask(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(agent())
            .args(arguments)
            .arg("--run-dir")
            .arg(self.namespace.path("run"))
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `agent status -o json`.
    pub fn status(&self) -> serde_json::Value {
        let (code, text) = self.ask(&["status", "-o", "json"]);
        assert_eq!(code, Some(0), "{}", self.log());
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until the status is as `condition` says.
    pub fn eventually(&self, what: &str, condition: impl Fn(&serde_json::Value) -> bool) {
        wait(
            what,
            || self.log(),
            || {
                let (code, text) = self.ask(&["status", "-o", "json"]);
                code == Some(0) && condition(&serde_json::from_str(&text).unwrap())
            },
        );
    }

    /// Puts another configuration in place and has it read.
    pub fn reload(&self, config: &str) {
        std::fs::write(self.namespace.path("config.yaml"), config).unwrap();
        self.signal(Signal::SIGHUP);
    }

    /// Waits until the log has this text.
    pub fn logged(&self, text: &str) {
        wait(text, || self.log(), || self.log().contains(text));
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and how the agent ended.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        read(&self.namespace.path("log"))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A TCP connection to the BGP port of `to`.
pub fn connect_from(from: [u8; 4], to: [u8; 4]) -> TcpStream {
    call(from, to).unwrap()
}

/// A TCP connection to the BGP port of `to`, if somebody listens there.
pub fn call(from: [u8; 4], to: [u8; 4]) -> nix::Result<TcpStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
    let address = |ip: [u8; 4], port| {
        SockaddrIn::from(match SocketAddr::from((Ipv4Addr::from(ip), port)) {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(_) => unreachable!("made from an IPv4 address"),
        })
    };
    let stream =
        socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(stream.as_raw_fd(), &address(from, 0)).unwrap();
    connect(stream.as_raw_fd(), &address(to, 179))?;
    Ok(stream.into())
}

/// Waits until `condition` holds; `state` is for whoever has to find out why it never does.
pub fn wait(what: &str, state: impl Fn() -> String, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited for {what} in vain:\n{}", state());
        std::thread::sleep(PAUSE);
    }
}

/// Runs a command in the thread's namespace.
pub fn run(line: &str) {
    let mut words = line.split_whitespace();
    let status = Command::new(words.next().unwrap()).args(words).status();
    assert!(status.is_ok_and(|status| status.success()), "{line:?} failed");
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    let _ = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    text
}
