//! Container engines from Debian's packages, on nodes of the lab.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::environment::groups::group;
use tests::environment::{built, source_root};
use tests::lab::command::{Outcome, Process, run};
use tests::lab::node::Node;
use tests::lab::wait::{SOON, eventually};

/// The programs, each with the package that has it.
pub const PROGRAMS: [(&str, &str); 6] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("podman", "podman"),
    ("iptables", "iptables"),
    ("/usr/lib/cni/portmap", "containernetworking-plugins"),
];

/// A container's root directory, see `engines-setup`.
const ROOT: &str = "/run/rootfs";

/// What runs in the containers: it answers every connection with its own address and the other's.
const SERVER: &str = "$SIG{TERM} = sub { exit }; \
    my $server = IO::Socket::INET->new(LocalPort => 80, Listen => 9, ReuseAddr => 1) or die $!; \
    while (my $c = $server->accept) { print $c $c->sockhost, ' ', $c->peerhost; close $c }";

fn server() -> [&'static str; 4] {
    ["/usr/bin/perl", "-MIO::Socket::INET", "-e", SERVER]
}

/// Prepares this process's mount namespace, once.
fn prepare() -> Result<()> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    let prepare = || {
        let mut script = Command::new(source_root().join("tests/plugin/engines-setup"));
        run(script.arg(built("warren")?), "")?.ok().map(drop)
    };
    let done = DONE.get_or_init(|| prepare().map_err(|error| format!("{error:#}")));
    done.clone().map_err(anyhow::Error::msg)
}

/// A network's list of plugins, as engines load it.
fn conflist(name: &str, plugins: &[Value]) -> String {
    json!({"cniVersion": "1.0.0", "name": name, "plugins": plugins}).to_string()
}

/// containerd and its client `ctr`.
pub struct Containerd {
    node: Node,
    address: String,
    /// Dropped, it ends.
    _daemon: Process,
}

impl Containerd {
    /// Starts it. `ctr` knows one network only, and one place for its configuration: there can be one of
    /// these at a time.
    pub fn start(node: &Node, plugins: &[Value]) -> Result<Self> {
        prepare()?;
        fs::write("/etc/cni/net.d/10-warren.conflist", conflist("k8s-pod-network", plugins))?;
        let directory = node.directory().display().to_string();
        let address = format!("{directory}/containerd.sock");
        let configuration = format!(
            "version = 2\nroot = \"{directory}/containerd\"\nstate = \"{directory}/containerd-run\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{address}\"\n"
        );
        let file = node.directory().join("containerd.toml");
        fs::write(&file, configuration)?;
        let arguments = ["--config", &file.display().to_string()];
        let daemon = node.start("containerd", &arguments, "containerd.log")?;
        let containerd = Self { node: node.clone(), address, _daemon: daemon };
        eventually("containerd answers", SOON, || containerd.ctr(&["version"])?.ok())?;
        Ok(containerd)
    }

    /// Runs `ctr`.
    pub fn ctr(&self, arguments: &[&str]) -> Result<Outcome> {
        let mut all = vec!["--address", &self.address];
        all.extend(arguments);
        self.node.run("ctr", &all)
    }

    /// Has `ctr` run a container until it ends; what it says goes to the file `<id>.log`.
    pub fn run(&self, id: &str) -> Result<Process> {
        let group = format!("/{}/{id}", group()?);
        let mut all = vec!["--address", &self.address, "run", "--rm", "--cni", "--null-io"];
        all.extend(["--cgroup", &group, "--rootfs", ROOT, id]);
        all.extend(server());
        self.node.start("ctr", &all, &format!("{id}.log"))
    }
}

/// Podman, with networks by CNI plugins.
pub struct Podman {
    node: Node,
    directory: PathBuf,
}

impl Podman {
    /// With one network.
    pub fn new(node: &Node, network: &str, plugins: &[Value]) -> Result<Self> {
        prepare()?;
        let directory = node.directory().join("podman");
        let networks = directory.join("networks");
        fs::create_dir_all(&networks)?;
        fs::write(networks.join("87-warren.conflist"), conflist(network, plugins))?;
        let configuration = format!(
            "[network]\nnetwork_backend = \"cni\"\ncni_plugin_dirs = [\"/opt/cni/bin\"]\n\
             network_config_dir = \"{}\"\n\
             [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n\
             lock_type = \"file\"\nruntime = \"runc\"\n",
            networks.display()
        );
        fs::write(directory.join("containers.conf"), configuration)?;
        Ok(Self { node: node.clone(), directory })
    }

    /// Runs it.
    pub fn podman(&self, arguments: &[&str]) -> Result<Outcome> {
        let directory = self.directory.display();
        let own = [
            format!("CONTAINERS_CONF={directory}/containers.conf"),
            format!("HOME={directory}"),
            "podman".to_owned(),
            format!("--root={directory}/root"),
            format!("--runroot={directory}/runroot"),
            format!("--tmpdir={directory}/tmp"),
        ];
        let mut all: Vec<_> = own.iter().map(String::as_str).collect();
        all.extend(arguments);
        self.node.run("env", &all)
    }

    /// Starts a container and returns its ID.
    pub fn run(&self, name: &str, more: &[&str]) -> Result<String> {
        let group = format!("--cgroup-parent=/{}", group()?);
        let mut all = vec!["run", "--detach", "--name", name, "--cgroups=no-conmon", &group];
        all.extend(more);
        all.extend(["--rootfs", ROOT]);
        all.extend(server());
        Ok(self.podman(&all)?.ok()?.trim().to_owned())
    }
}

/// What the plugins of a network answered together for a container, as engines keep it for the DEL.
pub fn result(network: &str, container: &str) -> Result<Value> {
    let path = format!("/var/lib/cni/results/{network}-{container}-eth0");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(serde_json::from_str::<Value>(&text)?["result"].take())
}

/// What the server in a container answers to a node that connects to it: the container's address and
/// the address that the connection came from.
pub fn ask(from: &Node, address: &str, port: u16) -> Result<[String; 2]> {
    eventually("the container answers", SOON, || {
        let script = format!("exec 3<>/dev/tcp/{address}/{port} && cat <&3");
        let said = from.run("timeout", &["10", "bash", "-c", &script])?.ok()?;
        let (own, other) = said.split_once(' ').with_context(|| format!("it says {said:?}"))?;
        Ok([own.to_owned(), other.to_owned()])
    })
}

/// That nothing answers there.
pub fn expect_no_answer(from: &Node, address: &str, port: u16) -> Result<()> {
    let script = format!("exec 3<>/dev/tcp/{address}/{port}");
    let outcome = from.run("timeout", &["10", "bash", "-c", &script])?;
    ensure!(!outcome.success(), "{address}:{port} still answers");
    Ok(())
}
