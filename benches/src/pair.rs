//! Speakers that hear of each other's block, each on a node of its own: the agent as it is configured
//! by default, and BIRD with the same BFD intervals.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::nodes::{Namespace, Node};
use crate::routes::ip;

/// How long a step may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// After the route is there, until BFD is up with the intervals that were agreed on: it begins with
/// a packet a second.
pub const SETTLING: Duration = Duration::from_secs(5);

/// How long BIRD waits for all its peers after a start, in seconds; by default 240.
pub const DEFERRAL: u64 = 10;

/// How often the kernel is looked at.
pub const PAUSE: Duration = Duration::from_millis(1);

/// One end of a session.
#[derive(Clone, Copy)]
pub struct End {
    /// Its address.
    pub address: Ipv4Addr,
    /// The first address of its /26.
    pub block: Ipv4Addr,
}

impl End {
    /// The one with this number.
    pub const fn new(number: u8) -> Self {
        Self { address: Ipv4Addr::new(172, 31, 0, number), block: Ipv4Addr::new(10, 0, number, 0) }
    }
}

/// Makes the command of a speaker at this end, which announces its block to the others; its files are
/// to be in the last directory.
pub type Start = fn(End, &[End], &Path, &Path) -> Result<Command>;

/// Whom there is to compare.
pub const CONTESTANTS: [(&str, Start); 2] = [("agent", agent), ("BIRD", bird)];

/// Gives a node its interface, which the wire is at the end of already, and its address.
///
/// # Errors
/// `ip` fails.
pub fn address(node: &Node, end: End) -> Result<()> {
    node.within(|| {
        ip(&format!("address add {}/24 dev eth0", end.address))?;
        ip("link set eth0 up")
    })
}

/// A switch: whose ports' ends keep their carrier whatever happens at another.
///
/// # Errors
/// `ip` fails.
pub fn switch() -> Result<Namespace> {
    let switch = Namespace::new()?;
    switch.within(|| ip("link add switch up type bridge"))?;
    Ok(switch)
}

/// Connects a node with the port of this name.
///
/// # Errors
/// `ip` fails.
pub fn plug(node: &Node, switch: &Namespace, port: &str) -> Result<()> {
    wire(node, port, &switch.path())?;
    switch.within(|| ip(&format!("link set {port} master switch up")))
}

/// A wire from a node's `eth0` to a device in another namespace.
///
/// # Errors
/// `ip` fails.
pub fn wire(node: &Node, peer: &str, there: &Path) -> Result<()> {
    let there = there.display();
    node.within(|| ip(&format!("link add eth0 type veth peer name {peer} netns {there}")))
}

/// A running contestant. It ends with this value.
pub struct Speaker(Child);

impl Speaker {
    /// Starts it on a node.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        start: Start,
        node: &Node,
        own: End,
        others: &[End],
        target: &Path,
    ) -> Result<Self> {
        let mut command = start(own, others, target, node.directory())?;
        let log = File::create(node.directory().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        node.within(|| {
            command.spawn().map(Self).with_context(|| format!("cannot start {command:?}"))
        })
    }

    /// Whether its kernel has a route to the block of this end.
    ///
    /// # Errors
    /// It has ended.
    pub fn has_route(&self, end: End) -> Result<bool> {
        let table = fs::read_to_string(format!("/proc/{}/net/route", self.0.id()))?;
        // As the machine has the address in its memory.
        let block = format!("{:08X}", u32::from_ne_bytes(end.block.octets()));
        Ok(table.lines().any(|line| line.split_whitespace().nth(1) == Some(&*block)))
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn agent(own: End, others: &[End], target: &Path, directory: &Path) -> Result<Command> {
    let file = directory.join("agent.yaml");
    let peers: String =
        others.iter().map(|other| format!("- {{address: {}}}\n", other.address)).collect();
    let text = format!(
        "node: {{name: node1, address: {}}}\n\
         runDir: {}\n\
         pools: [{{cidr: 10.0.0.0/8, encapsulation: None}}]\n\
         blocks: [{}/26]\n\
         peers:\n{peers}",
        own.address,
        directory.join("run").display(),
        own.block,
    );
    fs::write(&file, text)?;
    let mut command = Command::new(target.join("agent"));
    command.arg("run").arg("--config").arg(file);
    Ok(command)
}

/// As Calico's, with BFD, which Calico has not. It waits less long for those that are dead.
fn bird(own: End, others: &[End], _: &Path, directory: &Path) -> Result<Command> {
    let file = directory.join("bird.conf");
    let End { address, block } = own;
    let mut text = format!(
        "log stderr {{ warning, error, fatal, bug }};\n\
         router id {address};\n\
         graceful restart wait {DEFERRAL};\n\
         protocol device {{ }}\n\
         protocol static {{ ipv4; route {block}/26 blackhole; }}\n\
         protocol kernel {{ ipv4 {{ import none; export all; }}; }}\n\
         protocol bfd {{ interface \"*\" {{\n\
         min rx interval 300 ms; min tx interval 300 ms; multiplier 3;\n\
         }}; }}\n"
    );
    for End { address: peer, .. } in others {
        writeln!(
            text,
            "protocol bgp {{\n\
             local {address} as 64512; neighbor {peer} as 64512; direct; bfd on;\n\
             connect delay time 2; connect retry time 5; error wait time 5, 30; graceful restart on;\n\
             ipv4 {{ import all; export where source = RTS_STATIC; gateway direct; next hop self; }};\n\
             }}"
        )?;
    }
    fs::write(&file, text)?;
    let mut command = Command::new("bird");
    command.arg("-f").arg("-R").arg("-c").arg(file).arg("-s").arg(directory.join("bird.ctl"));
    Ok(command)
}
