//! A node: a network namespace with a NIC, and what can be done to it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, Result, ensure};
use ipnetwork::Ipv4Network;

use super::capture::Capture;
use super::command::{NAMESPACES, Outcome, Process, ip, run, within};
use super::monitor::RouteMonitor;
use super::ping::{Pinging, Pings, ping};
use super::{ROUTER, Shared};

/// The node's NIC.
pub const NIC: &str = "enp1s0";

/// A node. All clones are the same node.
#[derive(Debug, Clone)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lab: Weak<Shared>,
    name: String,
    namespace: String,
    block: Ipv4Network,
    directory: PathBuf,
    state: Mutex<State>,
}

/// What changes in a node's life.
#[derive(Debug)]
pub(crate) struct State {
    /// Its address on the switch's network.
    pub(crate) address: Ipv4Network,
    /// What runs on it.
    pub(crate) speaker: Option<Process>,
}

/// What a node's firewall can be told to drop, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// TCP port 179.
    Bgp,
    /// IP protocol 4.
    Ipip,
}

impl Traffic {
    /// The firewall's table for it, and its rules.
    fn rules(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Bgp => ("no_bgp", &["tcp dport 179 drop", "tcp sport 179 drop"]),
            Self::Ipip => ("no_ipip", &["ip protocol 4 drop"]),
        }
    }
}

impl Node {
    pub(crate) fn new(
        lab: &Arc<Shared>,
        name: &str,
        address: Ipv4Network,
        block: Ipv4Network,
    ) -> Result<Self> {
        let namespace = lab.namespace(name);
        let directory = lab.directory().join(name);
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let state = Mutex::new(State { address, speaker: None });
        let inner = Inner {
            lab: Arc::downgrade(lab),
            name: name.to_owned(),
            namespace,
            block,
            directory,
            state,
        };
        let node = Self(Arc::new(inner));
        node.power_on()?;
        Ok(node)
    }

    /// Starts a node that has no power, and joins it to the switch: a kernel that knows nothing of a
    /// former life. Nothing runs on it yet.
    ///
    /// # Errors
    /// When it is on.
    pub fn power_on(&self) -> Result<()> {
        let Inner { name, namespace, .. } = &*self.0;
        let switch = self.lab()?.switch();
        ip(
            None,
            &[
                format!("netns add {namespace}"),
                format!(
                    "link add {name} netns {switch} type veth peer name {NIC} netns {namespace}"
                ),
            ],
        )?;
        ip(Some(&switch), &[format!("link set {name} master switch up")])?;
        let mut commands = vec!["link set lo up".to_owned(), format!("link set {NIC} up")];
        commands.extend(addressing(self.network()));
        ip(Some(namespace), &commands).map(drop)
    }

    /// Takes the power: what runs on the node ends without a word to anybody, and its kernel, its pods
    /// and what lay in its memory are gone.
    ///
    /// # Errors
    /// When it is off.
    pub fn power_off(&self) -> Result<()> {
        // First the cable: a kernel whose power goes closes no connections.
        self.lab()?.set_port(self, "down")?;
        self.end_processes();
        // The kernel takes a namespace apart later, at its leisure: the cable has to be gone now.
        self.ip(&format!("link delete {NIC}"))?;
        let mut namespaces = self.pod_namespaces()?;
        namespaces.push(self.0.namespace.clone());
        let commands: Vec<_> =
            namespaces.iter().map(|name| format!("netns delete {name}")).collect();
        ip(None, &commands)?;
        match fs::remove_dir_all(self.run_dir()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).context("cannot empty the run directory")
            }
            _ => Ok(()),
        }
    }

    fn pod_namespaces(&self) -> Result<Vec<String>> {
        let prefix = self.namespace_of("");
        let entries = fs::read_dir(NAMESPACES).context("cannot list the namespaces")?;
        Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(&prefix))
            .collect())
    }

    fn lab(&self) -> Result<Arc<Shared>> {
        self.0.lab.upgrade().context("the node's lab has ended")
    }

    /// Whether its agent is to do graceful restart.
    pub(crate) fn graceful_restart(&self) -> bool {
        self.0.lab.upgrade().is_none_or(|lab| lab.graceful_restart())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.state(|state| state.address.ip())
    }

    /// Its address with the prefix length of its network.
    pub fn network(&self) -> Ipv4Network {
        self.state(|state| state.address)
    }

    /// Its block of pod addresses.
    pub fn block(&self) -> Ipv4Network {
        self.0.block
    }

    /// The name of its network namespace.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Its files: configuration, logs, run state.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// The other nodes of the lab.
    pub fn others(&self) -> Vec<Self> {
        let nodes = self.0.lab.upgrade().map(|lab| lab.nodes()).unwrap_or_default();
        nodes.into_iter().filter(|node| node.name() != self.name()).collect()
    }

    pub(crate) fn state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        // A scenario that failed while it held the lock is being reported on: its state is still true.
        f(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The name of a further namespace of this node, for a pod.
    pub(crate) fn namespace_of(&self, pod: &str) -> String {
        format!("{}.{pod}", self.0.namespace)
    }

    pub(crate) fn end_processes(&self) {
        self.state(|state| state.speaker = None);
    }

    /// Runs a program on the node.
    ///
    /// # Errors
    /// When it cannot be run. That it fails is an outcome.
    pub fn run(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Result<Outcome> {
        run(within(&self.0.namespace, program).args(arguments), "")
    }

    /// Starts a program on the node. What it says goes to a file of this name in the node's directory.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        &self,
        program: impl AsRef<Path>,
        arguments: &[&str],
        log: &str,
    ) -> Result<Process> {
        let mut command = within(&self.0.namespace, program);
        Process::start(command.args(arguments), &self.0.directory.join(log))
    }

    /// Runs `ip` with these words on the node: what it prints.
    ///
    /// # Errors
    /// When it fails.
    pub fn ip(&self, words: &str) -> Result<String> {
        ip(Some(&self.0.namespace), &[words.to_owned()])
    }

    /// The lines of `ip route`, in the kernel's order.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn routes(&self) -> Result<Vec<String>> {
        Ok(self.ip("route show")?.lines().map(|line| line.trim_end().to_owned()).collect())
    }

    /// That each of these is a line of `ip route`.
    ///
    /// # Errors
    /// When one is not; with all that are.
    pub fn expect_routes(&self, lines: &[impl AsRef<str>]) -> Result<()> {
        let routes = self.routes()?;
        for line in lines.iter().map(AsRef::as_ref) {
            ensure!(
                routes.iter().any(|route| route == line),
                "{} has no route\n    {line}\n  but these:\n    {}",
                self.name(),
                routes.join("\n    ")
            );
        }
        Ok(())
    }

    /// That no line of `ip route` is about this destination.
    ///
    /// # Errors
    /// When one is.
    pub fn expect_no_route(&self, to: impl std::fmt::Display) -> Result<()> {
        let to = to.to_string();
        let found: Vec<_> = self
            .routes()?
            .into_iter()
            .filter(|route| route.split(' ').any(|word| word == to))
            .collect();
        ensure!(found.is_empty(), "{} still has: {}", self.name(), found.join("; "));
        Ok(())
    }

    /// The route to another node's block, as this node should have it.
    pub fn tunnel_route(&self, to: &Self) -> String {
        format!("{} via {} dev tunl0 proto bird onlink", to.block(), to.address())
    }

    /// Writes the setting of a name such as `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// When there is none.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let script = format!("echo {value} >{path}");
        self.run("sh", &["-c", &script])?.ok().map(drop)
    }

    /// Gives the node another address, and the default route again that goes with the old one.
    ///
    /// # Errors
    /// When that fails.
    pub fn set_address(&self, address: &str) -> Result<()> {
        let new: Ipv4Network = address.parse().with_context(|| address.to_owned())?;
        let mut commands = vec![format!("address flush dev {NIC} scope global")];
        commands.extend(addressing(new));
        ip(Some(&self.0.namespace), &commands)?;
        self.state(|state| state.address = new);
        Ok(())
    }

    /// Has the node's firewall drop this traffic, both ways.
    ///
    /// # Errors
    /// When nft fails.
    pub fn block_traffic(&self, traffic: Traffic) -> Result<()> {
        let (table, rules) = traffic.rules();
        let mut script = format!("add table inet {table}\n");
        for hook in ["input", "output"] {
            script.push_str(&format!(
                "add chain inet {table} {hook} {{ type filter hook {hook} priority 0; }}\n"
            ));
            for rule in rules {
                script.push_str(&format!("add rule inet {table} {hook} {rule}\n"));
            }
        }
        let mut command = within(&self.0.namespace, "nft");
        run(command.args(["-f", "-"]), &script)?.ok().map(drop)
    }

    /// Lets this traffic pass again.
    ///
    /// # Errors
    /// When it was not blocked.
    pub fn allow_traffic(&self, traffic: Traffic) -> Result<()> {
        self.run("nft", &["delete", "table", "inet", traffic.rules().0])?.ok().map(drop)
    }

    /// Captures what passes an interface of the node and `filter` (pcap-filter(7)).
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn capture(&self, interface: &str, filter: &str) -> Result<Capture> {
        Capture::start(&self.0.namespace, interface, filter, &self.0.directory)
    }

    /// Follows what happens to the node's routing table.
    ///
    /// # Errors
    /// When `ip monitor` does not start.
    pub fn monitor_routes(&self) -> Result<RouteMonitor> {
        RouteMonitor::start(&self.0.namespace, &self.0.directory)
    }

    /// Pings from the node itself.
    ///
    /// # Errors
    /// When ping cannot be run.
    pub fn ping(&self, to: impl Into<IpAddr>, count: usize) -> Result<Pings> {
        ping(within(&self.0.namespace, "ping"), to.into(), count)
    }

    /// Pings from the node itself until ended.
    ///
    /// # Errors
    /// When ping cannot be run.
    pub fn ping_on(&self, to: impl Into<IpAddr>) -> Result<Pinging> {
        Pinging::start(within(&self.0.namespace, "ping"), to.into(), &self.0.directory)
    }
}

/// What gives a node its address and its default route.
fn addressing(address: Ipv4Network) -> [String; 2] {
    [
        format!("address add {address} dev {NIC}"),
        format!("route replace default via {ROUTER} dev {NIC} proto static"),
    ]
}
