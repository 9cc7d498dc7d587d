//! A node of the cluster.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{CONTROL_PLANE, PATIENCE};
use crate::environment::groups::cgroups;
use crate::environment::source_root;
use crate::lab::command::{Process, ip, namespace_path, run};
use crate::lab::monitor::RouteMonitor;
use crate::lab::ping::{Pinging, Pings, ping};
use crate::lab::wait::eventually;

/// The image of the container that holds a pod's namespaces.
const SANDBOX_IMAGE: &str = "warren.test/pause:1";

/// Its NIC.
const NIC: &str = "eth0";

/// A node that runs: dropped, its power is cut.
#[derive(Debug)]
pub struct Node {
    number: u8,
    name: String,
    address: Ipv4Addr,
    directory: PathBuf,
    /// `unshare`, which waits for the node's first process and takes it along.
    process: Process,
}

impl Node {
    /// Has a node start; it registers itself.
    pub(super) fn start(number: u8, cluster: &Path, group: &str) -> Result<Self> {
        let name = format!("node{number}");
        let directory = cluster.join(&name);
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        ip(None, &[format!("netns add {name}")])?;
        let mut command = cgroups("node");
        command
            .arg(format!("{group}/{name}"))
            .args(["nsenter", &format!("--net={}", namespace_path(&name).display()), "--"])
            .args(["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"])
            .args(["--ipc", "--uts", "--"])
            .arg(source_root().join("tests/cluster/node"))
            .args([&name, &cluster.display().to_string(), SANDBOX_IMAGE])
            .current_dir("/");
        let process = Process::start(&mut command, &directory.join("node.log"))?;
        let address = Ipv4Addr::new(10, 77, 0, 10 + number);
        let node = Self { number, name, address, directory, process };
        node.plug_in()?;
        Ok(node)
    }

    /// Its number, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its name, which is that of its Node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its NIC's address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Gives its NIC another address in place of the one it has.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn change_address(&mut self, address: Ipv4Addr) -> Result<()> {
        let old = std::mem::replace(&mut self.address, address);
        ip(Some(&self.name), &[format!("address delete {old}/24 dev {NIC}")])?;
        self.configure_nic()
    }

    /// An error if its power is off, or its first process has failed.
    ///
    /// # Errors
    /// Then.
    pub fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    fn plug_in(&self) -> Result<()> {
        let name = &self.name;
        ip(
            None,
            &[
                format!("link add {name} type veth peer name {NIC} netns {name}"),
                format!("link set {name} master br0 up"),
            ],
        )?;
        self.configure_nic()
    }

    fn configure_nic(&self) -> Result<()> {
        ip(
            Some(&self.name),
            &[
                "link set lo up".to_owned(),
                format!("address replace {}/24 dev {NIC}", self.address()),
                format!("link set {NIC} up"),
                format!("route replace default via {CONTROL_PLANE}"),
            ],
        )
        .map(drop)
    }

    /// Runs a program there, in all of the node's namespaces; its output.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run(&self, command: &[&str]) -> Result<String> {
        run(self.enter().arg("--").args(command), "")?.ok()
    }

    /// The way into the node's namespaces. `unshare` has made the process namespace for its children
    /// only, and is in all others itself.
    fn enter(&self) -> Command {
        let id = self.process.id();
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &id.to_string(), "--mount", "--net", "--ipc", "--uts", "--cgroup"])
            .arg(format!("--pid=/proc/{id}/ns/pid_for_children"));
        command
    }

    /// Writes a file there, so that it appears whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        let script = "cat >\"${1%/*}/.new\" && mv \"${1%/*}/.new\" \"$1\"";
        run(self.enter().args(["--", "sh", "-c", script, "sh", path]), content)?.ok().map(drop)
    }

    /// Pings from one of its pods, a hundred a second.
    ///
    /// # Errors
    /// When no pod there has this address.
    pub fn start_pinging(&self, from: Ipv4Addr, to: Ipv4Addr) -> Result<Pinging> {
        Pinging::start(self.ping_of(from)?, to.into(), &self.directory)
    }

    /// Follows what happens to its routing table.
    ///
    /// # Errors
    /// When `ip monitor` does not start.
    pub fn monitor_routes(&self) -> Result<RouteMonitor> {
        RouteMonitor::start(&self.name, &self.directory)
    }

    /// Sends some pings from one of its pods.
    ///
    /// # Errors
    /// When no pod there has this address.
    pub fn ping_from(&self, from: Ipv4Addr, to: Ipv4Addr, count: usize) -> Result<Pings> {
        ping(self.ping_of(from)?, to.into(), count)
    }

    /// The program ping, in the network namespace of one of its pods.
    fn ping_of(&self, address: Ipv4Addr) -> Result<Command> {
        let namespace = self.pod_namespace(address)?;
        // Without a process namespace nsenter becomes ping, which is then ended as any program.
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.process.id().to_string(), "--mount", "--"]).args([
            "nsenter",
            &format!("--net=/run/netns/{namespace}"),
            "--",
            "ping",
        ]);
        Ok(command)
    }

    /// The name of a pod's network namespace.
    fn pod_namespace(&self, address: Ipv4Addr) -> Result<String> {
        let script = "for file in /run/netns/*; do \
             echo \"${file##*/} $(nsenter --net=$file ip -br -4 address show dev eth0)\"; done";
        let all = self.run(&["sh", "-c", script])?;
        let wanted = format!(" {address}/");
        let line = all.lines().find(|line| line.contains(&wanted));
        let line = line.with_context(|| format!("no pod of {} has {address}: {all}", self.name))?;
        Ok(line.split(' ').next().unwrap_or_default().to_owned())
    }

    /// Its routes to other nodes' blocks, as the operator sees them.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn block_routes(&self) -> Result<Vec<String>> {
        let all = self.run(&["ip", "route", "show", "proto", "bird"])?;
        Ok(all.lines().map(|line| line.trim().to_owned()).filter(|l| l.contains(" via ")).collect())
    }

    /// Its routes to its own pods.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn pod_routes(&self) -> Result<Vec<String>> {
        let all = self.run(&["ip", "route", "show", "scope", "link"])?;
        Ok(all.lines().filter(|line| line.contains(" dev cali")).map(str::to_owned).collect())
    }

    /// Waits until these are its routes to other nodes' blocks.
    ///
    /// # Errors
    /// When they do not come to be.
    pub fn expect_block_routes(&self, expected: &[String]) -> Result<()> {
        let mut expected = expected.to_vec();
        expected.sort();
        eventually(&format!("{} has these routes: {expected:?}", self.name), PATIENCE, || {
            let mut there = self.block_routes()?;
            there.sort();
            ensure!(there == expected, "it has {there:?}");
            Ok(())
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let name = &self.name;
        // Its cable first: the last that is seen of it is not the ending of what runs there.
        if let Err(error) =
            ip(None, &[format!("link delete {name}"), format!("netns delete {name}")])
        {
            eprintln!("cannot take {name} off the switch: {error:#}");
        }
    }
}
