//! How long the routes of a node that has died stay elsewhere: the agent as it is configured by
//! default, beside BIRD with the same BFD intervals.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::nodes::{Namespace, Node};
use crate::routes::{ip, until};
use crate::statistics::Sample;

const ROUNDS: usize = 5;

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// After the route is there, until BFD is up with the intervals that were agreed on: it begins with
/// a packet a second.
const SETTLING: Duration = Duration::from_secs(5);

/// How often the kernel is looked at.
const PAUSE: Duration = Duration::from_millis(1);

/// One end of the session.
#[derive(Clone, Copy)]
struct End {
    address: Ipv4Addr,
    /// The first address of its /26.
    block: Ipv4Addr,
}

const SURVIVOR: End =
    End { address: Ipv4Addr::new(172, 31, 0, 1), block: Ipv4Addr::new(10, 0, 1, 0) };
const VICTIM: End =
    End { address: Ipv4Addr::new(172, 31, 0, 2), block: Ipv4Addr::new(10, 0, 2, 0) };

/// Starts a speaker at this end, which announces its block to the other end; its files are to be in
/// the last directory.
type Start = fn(End, End, &Path, &Path) -> Result<Command>;

const CONTESTANTS: [(&str, Start); 2] = [("agent", agent), ("BIRD", bird)];

/// What happens to the victim.
#[derive(Clone, Copy)]
enum Death {
    /// Its cable is pulled from the switch that it shares with the survivor: whose own link stays.
    Cut,
    /// Its interface, at the other end of a wire to the survivor, goes down.
    InterfaceDown,
}

/// Measures all deaths and writes a table.
///
/// # Errors
/// A contestant is not there, or does not do what it should.
pub fn section(target: &Path) -> Result<String> {
    let mut text = format!(
        "\n## A node dies, {ROUNDS} rounds\n\n\
         From its death until its route is gone from another node's kernel, in milliseconds. The cable is pulled from a\n\
         switch, so that nothing but silence tells; the interface is at the other end of a wire, so that the carrier goes\n\
         too. BFD at 300 ms x 3, the agent's default.\n\n\
         | death | | p50 | slowest |\n| --- | --- | --- | --- |\n",
    );
    for (death, what) in
        [(Death::Cut, "cable pulled"), (Death::InterfaceDown, "interface goes down")]
    {
        let mut samples = CONTESTANTS.map(|contestant| (contestant, Sample::default()));
        for _ in 0..ROUNDS {
            for ((name, start), sample) in &mut samples {
                sample
                    .push(round(*start, target, death).with_context(|| format!("{name}: {what}"))?);
            }
        }
        for ((name, _), sample) in &samples {
            let (middle, slowest) = (sample.percentile(50), sample.percentile(100));
            writeln!(text, "| {what} | {name} | {middle:.0} | {slowest:.0} |")?;
        }
    }
    Ok(text)
}

fn round(start: Start, target: &Path, death: Death) -> Result<Duration> {
    let (survivor, victim, switch) = (Node::new()?, Node::new()?, Namespace::new()?);
    connect(&survivor, &victim, &switch, death)?;
    let speaker = |node: &Node, own, other| {
        node.within(|| Speaker::start(start(own, other, target, node.directory())?, node))
    };
    let (here, _there) =
        (speaker(&survivor, SURVIVOR, VICTIM)?, speaker(&victim, VICTIM, SURVIVOR)?);
    until(PATIENCE, PAUSE, || here.has_route(VICTIM)).context("the route does not come")?;
    // It runs already when it is to act: starting it takes as long as what is measured.
    let mut ip = match death {
        Death::Cut => switch.within(ip_that_reads)?,
        Death::InterfaceDown => victim.within(ip_that_reads)?,
    };
    let mut said = ip.stdin.take().context("no pipe to ip")?;
    std::thread::sleep(SETTLING);

    let died = Instant::now();
    said.write_all(match death {
        Death::Cut => b"link set victim down\n",
        Death::InterfaceDown => b"link set eth0 down\n",
    })?;
    until(PATIENCE, PAUSE, || Ok(!here.has_route(VICTIM)?)).context("the route stays")?;
    let took = died.elapsed();
    drop(said);
    ensure!(ip.wait()?.success(), "ip failed");
    Ok(took)
}

/// Starts `ip` so that it does what it is told line by line.
fn ip_that_reads() -> Result<Child> {
    let mut ip = Command::new("ip");
    ip.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().context("cannot run ip")
}

/// By a switch, or by a wire.
fn connect(survivor: &Node, victim: &Node, switch: &Namespace, death: Death) -> Result<()> {
    let wire = |node: &Node, peer: &str, there: PathBuf| {
        let there = there.display();
        node.within(|| ip(&format!("link add eth0 type veth peer name {peer} netns {there}")))
    };
    match death {
        Death::Cut => {
            switch.within(|| ip("link add switch up type bridge"))?;
            for (node, port) in [(survivor, "survivor"), (victim, "victim")] {
                wire(node, port, switch.path())?;
                switch.within(|| ip(&format!("link set {port} master switch up")))?;
            }
        }
        Death::InterfaceDown => {
            // The kernel holds news of a carrier back for up to a second when it had other such news
            // just before, from any namespace: but not where the indices of a wire's ends differ.
            survivor.within(|| ip("link add another type bridge"))?;
            wire(survivor, "eth0", victim.path())?;
        }
    }
    for (node, end) in [(survivor, SURVIVOR), (victim, VICTIM)] {
        node.within(|| {
            ip(&format!("address add {}/24 dev eth0", end.address))?;
            ip("link set eth0 up")
        })?;
    }
    Ok(())
}

/// A running contestant. It ends with this value.
struct Speaker(Child);

impl Speaker {
    fn start(mut command: Command, node: &Node) -> Result<Self> {
        let log = File::create(node.directory().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().map(Self).with_context(|| format!("cannot start {command:?}"))
    }

    /// Whether its kernel has a route to the block of this end.
    fn has_route(&self, end: End) -> Result<bool> {
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

fn agent(own: End, other: End, target: &Path, directory: &Path) -> Result<Command> {
    let file = directory.join("agent.yaml");
    let text = format!(
        "node: {{name: node1, address: {}}}\n\
         runDir: {}\n\
         pools: [{{cidr: 10.0.0.0/8, encapsulation: None}}]\n\
         blocks: [{}/26]\n\
         peers: [{{address: {}}}]\n",
        own.address,
        directory.join("run").display(),
        own.block,
        other.address
    );
    fs::write(&file, text)?;
    let mut command = Command::new(target.join("agent"));
    command.arg("run").arg("--config").arg(file);
    Ok(command)
}

/// As Calico's, with BFD, which Calico has not.
fn bird(own: End, other: End, _: &Path, directory: &Path) -> Result<Command> {
    let file = directory.join("bird.conf");
    let (End { address, block }, peer) = (own, other.address);
    let text = format!(
        "log stderr {{ warning, error, fatal, bug }};\n\
         router id {address};\n\
         protocol device {{ }}\n\
         protocol static {{ ipv4; route {block}/26 blackhole; }}\n\
         protocol kernel {{ ipv4 {{ import none; export all; }}; }}\n\
         protocol bfd {{ interface \"*\" {{\n\
         min rx interval 300 ms; min tx interval 300 ms; multiplier 3;\n\
         }}; }}\n\
         protocol bgp peer {{\n\
         local {address} as 64512; neighbor {peer} as 64512; direct; bfd on;\n\
         connect delay time 1;\n\
         ipv4 {{ import all; export where source = RTS_STATIC; gateway direct; next hop self; }};\n\
         }}\n"
    );
    fs::write(&file, text)?;
    let mut command = Command::new("bird");
    command.arg("-f").arg("-c").arg(file).arg("-s").arg(directory.join("bird.ctl"));
    Ok(command)
}
