//! A node for the plugin to run on: a network namespace, a run directory, and pods to connect.
//!
//! Each test has a thread of its own, and the namespace is that thread's: so tests run side by side,
//! and nothing is left of a namespace when the last that uses it ends.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use tempfile::TempDir;
use warren_ipam::Store;
use warren_types::node::{FORMAT_VERSION, NodeDescription};
use warren_types::run_dir::RunDir;

/// The namespace that the calling thread is in.
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// A node whose block is 172.16.52.128/26, with its first address taken by the tunnel.
pub struct Node {
    dir: TempDir,
    /// The CNI version that it is called in.
    pub version: &'static str,
}

/// A pod's network namespace.
pub struct Sandbox {
    file: File,
}

/// What the plugin is called with.
#[derive(Clone, Default)]
pub struct Call {
    pub container: String,
    pub netns: String,
    pub ifname: String,
    pub args: String,
    /// Keys of the network configuration, above the usual ones.
    pub conf: Value,
}

/// What it answered.
#[derive(Debug)]
pub struct Outcome {
    pub success: bool,
    /// `Null` where nothing was printed.
    pub answer: Value,
    pub log: String,
}

impl Outcome {
    /// The answer to a command that has to succeed.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.success, "{self:#?}");
        self.answer
    }

    /// Code and sentence of a command that has to fail.
    #[track_caller]
    pub fn error(self) -> (u64, String) {
        assert!(!self.success, "{self:#?}");
        let text = |key: &str| self.answer[key].as_str().unwrap_or_default().to_owned();
        let code = self.answer["code"].as_u64().unwrap_or_else(|| panic!("{self:#?}"));
        let all = [text("msg"), text("details")].join("; ");
        (code, all.trim_end_matches("; ").to_owned())
    }
}

impl Node {
    /// Puts the calling thread into a new namespace, and describes the node there.
    pub fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test makes network namespaces: it has to run as root"
        );
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of its own");
        // The node's own address: without it, running pods would be cut off.
        ip("link set lo up");
        ip("address add 192.168.0.176/32 dev lo");
        let node = Self::undescribed();
        node.describe("172.16.52.128/26", &["172.16.52.128"]);
        node
    }

    /// The same without a namespace and without an agent that ever ran.
    pub fn undescribed() -> Self {
        Self { dir: TempDir::new().expect("a temporary directory"), version: "1.1.0" }
    }

    pub fn run_dir(&self) -> RunDir {
        RunDir::new(self.dir.path())
    }

    pub fn store(&self) -> Store {
        Store::new(&self.run_dir())
    }

    /// Writes what the agent would.
    pub fn describe(&self, block: &str, reserved: &[&str]) {
        self.describe_blocks(&[block], reserved);
    }

    /// The same with several blocks.
    pub fn describe_blocks(&self, blocks: &[&str], reserved: &[&str]) {
        let node = NodeDescription {
            format_version: FORMAT_VERSION,
            name: "node1".into(),
            address: "192.168.0.176".parse().unwrap(),
            blocks: blocks.iter().map(|b| b.parse().unwrap()).collect(),
            reserved: reserved.iter().map(|r| r.parse().unwrap()).collect(),
            pod_mtu: 1480,
            cool_down_seconds: 0,
            tunnel: None,
        };
        node.write(&self.run_dir()).unwrap();
    }

    /// The configuration of a call.
    pub fn conf(&self, more: &Value) -> Value {
        let mut conf = json!({
            "cniVersion": self.version,
            "name": "k8s",
            "type": "warren",
            "runDir": self.dir.path(),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            conf[key] = value.clone();
        }
        conf
    }

    /// Calls the plugin as a runtime does.
    pub fn call(&self, command: &str, call: &Call) -> Outcome {
        let variables = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", &call.container),
            ("CNI_NETNS", &call.netns),
            ("CNI_IFNAME", if call.ifname.is_empty() { "eth0" } else { &call.ifname }),
            ("CNI_ARGS", &call.args),
            ("CNI_PATH", "/opt/cni/bin"),
        ];
        run(&variables, self.conf(&call.conf).to_string().as_bytes())
    }

    /// Fails if anything of a pod is left: an interface (and with it its routes) or a record.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        assert_eq!(warren_net::pod::host_interfaces().unwrap(), [""; 0]);
        assert_eq!(self.store().list().unwrap(), warren_ipam::Listing::default());
    }
}

impl Sandbox {
    /// A new namespace.
    pub fn new() -> Self {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open(OWN_NAMESPACE)
        };
        let file = std::thread::scope(|scope| scope.spawn(make).join()).unwrap();
        Self { file: file.expect("a network namespace for a pod") }
    }

    /// A path to it, for as long as this is there.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Runs `act` in it.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        warren_net::namespace::Namespace::open(self.path()).unwrap().within(act).unwrap()
    }

    /// Runs an `ip` command in it.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        self.within(|| ip(arguments))
    }
}

/// A call for the pod `default/<name>`, whose container's ID is `container`.
pub fn pod(name: &str, container: &str, sandbox: &Sandbox) -> Call {
    Call {
        container: container.into(),
        netns: sandbox.path(),
        args: format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}"),
        ..Call::default()
    }
}

/// The same call, with what `ADD` answered.
pub fn with_result(call: &Call, result: &Value) -> Call {
    Call { conf: json!({"prevResult": result}), ..call.clone() }
}

/// Runs the plugin.
pub fn run(variables: &[(&str, &str)], input: &[u8]) -> Outcome {
    let mut child = Command::new(env!("CARGO_BIN_EXE_warren"))
        .env_clear()
        .envs(variables.iter().filter(|(_, value)| !value.is_empty()).copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the plugin starts");
    // One that refuses its environment need not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let answer = if output.stdout.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
    };
    let log = String::from_utf8(output.stderr).unwrap();
    Outcome { success: output.status.success(), answer, log }
}

/// Runs an `ip` command in the calling thread's namespace.
#[track_caller]
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("this test needs `ip`, of the package iproute2");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
