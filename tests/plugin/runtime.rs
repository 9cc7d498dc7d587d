//! What a container runtime does: sandboxes with a new container ID each, and the plugin called for
//! them.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use nix::libc;
use serde_json::{Value, json};
use tests::lab::Lab;
use tests::lab::command::{Outcome, run};
use tests::lab::node::Node;
use tests::lab::wait::{SOON, eventually};
use warren_ipam::{Entry, Store};
use warren_types::node::{FORMAT_VERSION, NodeDescription};
use warren_types::run_dir::RunDir;

/// The node's block of pod addresses, and the one of them that its tunnel has.
pub const BLOCK: &str = "172.16.52.128/26";
/// See [`BLOCK`].
pub const TUNNEL_ADDRESS: &str = "172.16.52.128";

/// The like of IPv6, for nodes that have both.
const BLOCK_IPV6: &str = "fd00:52::/122";
const TUNNEL_ADDRESS_IPV6: &str = "fd00:52::";

/// What all pod addresses here begin with, and nothing else does.
const PODS: [&str; 2] = ["172.16.", "fd00:52::"];

/// How many addresses a block has.
const BLOCK_SIZE: usize = 64;

/// A container runtime on a node that an agent has described.
pub struct Runtime {
    /// The node.
    pub node: Node,
    containers: AtomicU32,
}

/// A pod's network namespace, and the container that holds it.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The pod's name.
    pub pod: String,
    /// The container's ID.
    pub container: String,
    namespace: String,
}

impl Sandbox {
    /// The path of the namespace.
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.namespace)
    }
}

impl Runtime {
    /// On the lab's first node.
    pub fn new(lab: &Lab) -> Result<Self> {
        let node = lab.node("node1", "192.168.0.176/24", BLOCK)?;
        let runtime = Self { node, containers: AtomicU32::new(0) };
        runtime.describe(&[BLOCK], &[TUNNEL_ADDRESS])?;
        Ok(runtime)
    }

    /// As [`new`](Self::new), with addresses of both families.
    pub fn dual_stack(lab: &Lab) -> Result<Self> {
        let runtime = Self::new(lab)?;
        runtime.describe(&[BLOCK, BLOCK_IPV6], &[TUNNEL_ADDRESS, TUNNEL_ADDRESS_IPV6])?;
        // What the node calls its pods from.
        runtime.node.ip("address add fd00::176/128 dev lo")?;
        Ok(runtime)
    }

    /// Writes what the agent would.
    pub fn describe(&self, blocks: &[&str], reserved: &[&str]) -> Result<()> {
        let description = json!({
            "formatVersion": FORMAT_VERSION, "name": self.node.name(),
            "address": self.node.address(), "blocks": blocks, "reserved": reserved, "podMtu": 1480,
        });
        let path = self.run_dir().node_description();
        fs::create_dir_all(self.run_dir().path()).context("cannot make the run directory")?;
        fs::write(&path, description.to_string())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The node's run directory.
    pub fn run_dir(&self) -> RunDir {
        RunDir::new(self.node.run_dir())
    }

    /// A new sandbox of a pod: another namespace and another container ID each time.
    pub fn sandbox(&self, pod: &str) -> Result<Sandbox> {
        let container = self.container_id();
        let namespace = format!("{}.{container}", self.node.namespace());
        ip(&["netns", "add", &namespace])?;
        Ok(Sandbox { pod: pod.to_owned(), container, namespace })
    }

    /// The same namespace with another container ID.
    pub fn next_container(&self, sandbox: &Sandbox) -> Sandbox {
        Sandbox { container: self.container_id(), ..sandbox.clone() }
    }

    fn container_id(&self) -> String {
        format!("c{}", self.containers.fetch_add(1, Ordering::Relaxed))
    }

    /// Ends a sandbox's namespace.
    pub fn end(&self, sandbox: &Sandbox) -> Result<()> {
        ip(&["netns", "delete", &sandbox.namespace])
    }

    /// The plugin's command line for a sandbox.
    pub fn command(&self, verb: &str, sandbox: &Sandbox) -> Result<Command> {
        self.command_with(verb, sandbox, &[])
    }

    fn command_with(
        &self,
        verb: &str,
        sandbox: &Sandbox,
        environment: &[(&str, &str)],
    ) -> Result<Command> {
        let path = sandbox.path();
        let mut all = vec![("CNI_CONTAINERID", sandbox.container.as_str()), ("CNI_NETNS", &path)];
        all.extend(environment);
        self.node.cni_command(verb, &sandbox.pod, &all)
    }

    /// What the plugin reads: with `previous`, what an ADD answered, unless that is null.
    pub fn netconf(&self, previous: &Value) -> Value {
        let mut netconf = self.node.netconf();
        if !previous.is_null() {
            netconf["prevResult"] = previous.clone();
        }
        netconf
    }

    /// Calls the plugin.
    pub fn call(&self, verb: &str, sandbox: &Sandbox, previous: &Value) -> Result<Outcome> {
        run(&mut self.command(verb, sandbox)?, &self.netconf(previous).to_string())
    }

    /// Calls the plugin with environment variables that differ from the usual ones.
    pub fn call_with(
        &self,
        verb: &str,
        sandbox: &Sandbox,
        previous: &Value,
        environment: &[(&str, &str)],
    ) -> Result<Outcome> {
        let mut command = self.command_with(verb, sandbox, environment)?;
        run(&mut command, &self.netconf(previous).to_string())
    }

    /// An ADD that has to succeed, and what it answered.
    pub fn add(&self, sandbox: &Sandbox) -> Result<Value> {
        let said = self.call("ADD", sandbox, &Value::Null)?.ok()?;
        serde_json::from_str(&said).with_context(|| format!("{said:?} is no result"))
    }

    /// A DEL that has to succeed.
    pub fn del(&self, sandbox: &Sandbox) -> Result<()> {
        let said = self.call("DEL", sandbox, &Value::Null)?.ok()?;
        ensure!(said.is_empty(), "DEL answered {said}");
        Ok(())
    }

    /// A GC for which only these containers' interfaces are valid.
    pub fn gc(&self, valid: &[&str]) -> Result<Outcome> {
        let mut netconf = self.node.netconf();
        let attachment = |id: &&str| json!({"containerID": id, "ifname": "eth0"});
        netconf["cniVersion"] = "1.1.0".into();
        netconf["cni.dev/valid-attachments"] = valid.iter().map(attachment).collect();
        run(&mut self.node.cni_command("GC", "", &[])?, &netconf.to_string())
    }

    /// That the sandbox is connected, and that it is the only one that is.
    pub fn expect_connected_alone(&self, sandbox: &Sandbox, answer: &Value) -> Result<()> {
        self.expect_connected(sandbox, answer)?;
        let mut addresses = addresses(answer)?;
        addresses.sort_unstable();
        let entries = self.entries()?;
        let recorded: Vec<_> = entries.iter().map(|entry| entry.address).collect();
        ensure!(recorded == addresses, "the records are {entries:?}, the addresses {addresses:?}");
        let is_ours = |entry: &Entry| entry.owner.container_id() == sandbox.container;
        ensure!(entries.iter().all(is_ours), "the records are {entries:?}");
        let links = self.host_interfaces()?;
        ensure!(links == [entries[0].host_interface.as_str()], "there are links: {links:?}");
        let routes = self.pod_routes()?;
        ensure!(routes.len() == addresses.len(), "there are routes: {routes:?}");
        Ok(())
    }

    /// That the sandbox has all that the answer says, and answers a ping of the node.
    pub fn expect_connected(&self, sandbox: &Sandbox, answer: &Value) -> Result<()> {
        self.call("CHECK", sandbox, answer)?.ok()?;
        let addresses = addresses(answer)?;
        let families = self.families()?;
        ensure!(addresses.len() == families, "{addresses:?} are not of {families} families");
        for address in addresses {
            ensure!(self.node.ping(address, 1)?.all_answered(), "{address} does not answer");
        }
        Ok(())
    }

    /// That nothing is left of any pod: no record, no interface, no route, no file.
    pub fn expect_nothing_left(&self) -> Result<()> {
        let entries = self.entries()?;
        ensure!(entries.is_empty(), "there are records: {entries:?}");
        let links = self.host_interfaces()?;
        ensure!(links.is_empty(), "there are links: {links:?}");
        let routes = self.pod_routes()?;
        ensure!(routes.is_empty(), "there are routes: {routes:?}");
        let files = files(self.run_dir().path().to_owned())?;
        // The node description, where the agent listens, what pods ask for, a lock, and per address when
        // it became free.
        let wishes = self.run_dir().path().join("wishes");
        let allowed = |path: &PathBuf| {
            path.ends_with("node.json")
                || path.ends_with("reports.sock")
                || path.ends_with("ipam/lock")
                || path.starts_with(&wishes)
                || in_directory(path, "freed")
        };
        let others: Vec<_> = files.iter().filter(|path| !allowed(path)).collect();
        ensure!(others.is_empty(), "there are files: {others:?}");
        let markers = files.iter().filter(|path| in_directory(path, "freed")).count();
        ensure!(markers <= BLOCK_SIZE * self.families()?, "there are {markers} markers: {files:?}");
        Ok(())
    }

    /// That no namespace is kept alive that has ended. What could keep one is a process, a mount or an
    /// interface whose other end is in it; of the first two the plugin leaves nothing when it ends.
    pub fn expect_no_namespace_left(&self) -> Result<()> {
        // The node gives a number to every namespace that one of its veth pairs leads to. The kernel
        // takes it back when it takes that namespace apart, which it does at its leisure.
        eventually("the sandboxes' namespaces are gone", SOON, || {
            let numbers = self.node.ip("netns list-id")?;
            ensure!(numbers.lines().count() <= 1, "there are namespaces:\n{numbers}");
            Ok(())
        })
    }

    /// How many address families the node has.
    fn families(&self) -> Result<usize> {
        let blocks = NodeDescription::read(&self.run_dir())?.blocks;
        let has = |is_ipv6| blocks.iter().any(|block| block.is_ipv6() == is_ipv6);
        Ok([false, true].into_iter().filter(|is_ipv6| has(*is_ipv6)).count())
    }

    /// The records of addresses in use.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let listing = Store::new(&self.run_dir()).list().context("cannot list the records")?;
        ensure!(listing.unknown.is_empty(), "there are files: {:?}", listing.unknown);
        Ok(listing.entries)
    }

    /// How many processes wait for a lock in the run directory.
    pub fn waiting(&self) -> Result<usize> {
        let locks = fs::read_to_string("/proc/locks").context("cannot read /proc/locks")?;
        let mut waiting = 0;
        for path in files(self.run_dir().path().to_owned())? {
            // It may have gone meanwhile, and nobody waits for it then.
            let Ok(file) = fs::symlink_metadata(&path) else { continue };
            let (major, minor) = (libc::major(file.dev()), libc::minor(file.dev()));
            let name = format!(" {major:02x}:{minor:02x}:{} ", file.ino());
            let waits = |line: &&str| line.contains("->") && line.contains(&name);
            waiting += locks.lines().filter(waits).count();
        }
        Ok(waiting)
    }

    /// The names of the pods' interfaces on the node.
    pub fn host_interfaces(&self) -> Result<Vec<String>> {
        // `4: cali…@if2: <…` and, on a line of its own, what is of no interest here.
        let lines = self.node.ip("link show")?;
        let names = lines.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next());
        Ok(names.filter(|name| name.starts_with("cali")).map(str::to_owned).collect())
    }

    /// The node's routes to pods, in all its tables.
    pub fn pod_routes(&self) -> Result<Vec<String>> {
        let lines = self.node.ip("route show table all")?;
        let to_pods = lines.lines().filter(|line| PODS.iter().any(|pods| line.contains(pods)));
        Ok(to_pods.map(str::to_owned).collect())
    }
}

/// The address that an ADD's answer gives the pod, the first of two.
pub fn address(answer: &Value) -> Result<IpAddr> {
    Ok(addresses(answer)?[0])
}

/// All of them.
fn addresses(answer: &Value) -> Result<Vec<IpAddr>> {
    let ips = answer["ips"].as_array().into_iter().flatten();
    let address = |ip: &Value| ip["address"].as_str()?.split('/').next()?.parse().ok();
    let addresses: Option<Vec<_>> = ips.map(address).collect();
    addresses.filter(|all| !all.is_empty()).with_context(|| format!("no address in {answer}"))
}

fn ip(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments), "")?.ok().map(drop)
}

/// All files below a directory.
fn files(directory: PathBuf) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![directory];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("in {}", directory.display()))?.path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

fn in_directory(path: &Path, name: &str) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with(name))
}
