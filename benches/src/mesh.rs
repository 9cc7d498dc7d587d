//! A mesh around one speaker: as many peers as a cluster has nodes, each with one route.
//!
//! The peers are threads of this process in a network namespace of their own, and are there before
//! the speaker starts: it is the one that is measured, from the start of its process.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::nodes::{Namespace, Node};
use crate::routes::contestants::{CONTESTANTS, Contestant, Running};
use crate::routes::process::Processes;
use crate::routes::{CONTESTANT, feeder, ip, until};
use crate::statistics::median;

/// How many peers, and how often each is measured.
const SIZES: [(u32, usize); 4] = [(1, 5), (100, 3), (500, 3), (1_000, 3)];

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often the kernel is looked at.
const PAUSE: Duration = Duration::from_millis(2);

/// How long it is watched at rest: one KEEPALIVE each way and for each peer.
const REST: Duration = Duration::from_secs(30);

/// What a contestant took in one round, in the order of the table's columns: seconds, seconds,
/// seconds, and megabytes.
type Outcome = [f64; 4];

/// Measures all sizes and writes a table.
///
/// # Errors
/// A contestant is not there, or does not do what it should.
pub fn section(target: &Path) -> Result<String> {
    let mut text = String::from(
        "\n## A mesh of simulated peers, one route each\n\n\
         From the start of the process until the first route is in the kernel, and until all are, which takes all sessions\n\
         to be Established, and the CPU time and the memory that it has taken by then; medians. Then 30 s at rest, once, with\n\
         KEEPALIVEs every 30 s and without BFD. BIRD and FRR wait for a second before they connect, by their configuration.\n\n\
         | peers | | first, s | all, s | CPU, s | memory, MB | KB a peer | CPU at rest, % |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut alone = [0.0; CONTESTANTS.len()];
    for (number, rounds) in SIZES {
        for (contestant, alone) in CONTESTANTS.iter().zip(&mut alone) {
            let mut outcomes = Vec::new();
            let mut rest = 0.0;
            for round in 1..=rounds {
                let mut started = Started::new(contestant, target, number)?;
                let outcome = started
                    .until_all(number)
                    .with_context(|| format!("{} with {number} peers", contestant.name))?;
                outcomes.push(outcome);
                if round == rounds {
                    rest = started.rest()?;
                }
            }
            let of = |column: usize| median(outcomes.iter().map(|outcome| outcome[column]));
            let [first, all, cpu, memory]: Outcome = std::array::from_fn(of);
            if number == 1 {
                *alone = memory;
            }
            let a_peer = match number {
                1 => String::new(),
                _ => format!("{:.1}", (memory - *alone) * 1024.0 / f64::from(number - 1)),
            };
            let name = contestant.name;
            writeln!(
                text,
                "| {number} | {name} | {first:.3} | {all:.3} | {cpu:.3} | {memory:.1} | {a_peer} | {rest:.2} |"
            )?;
        }
    }
    Ok(text)
}

/// A contestant with its peers, and where they are.
struct Started {
    began: Instant,
    processes: Processes,
    _running: Running,
    _namespaces: (Node, Namespace),
}

impl Started {
    fn new(contestant: &Contestant, target: &Path, number: u32) -> Result<Self> {
        let (node, wire) = (Node::new()?, Namespace::new()?);
        let peers: Vec<Ipv4Addr> = (0..number).map(address).collect();
        network(&node, &wire)?;
        wire.within(|| {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 179))?;
            // It ends with this process: an idle thread each time.
            thread::Builder::new().spawn(move || listener.incoming().flatten().for_each(answer))?;
            Ok(())
        })?;
        let began = Instant::now();
        let running = node.within(|| contestant.start(target, node.directory(), &peers))?;
        let processes = Processes::new(running.processes().collect());
        Ok(Self { began, processes, _running: running, _namespaces: (node, wire) })
    }

    fn until_all(&mut self, number: u32) -> Result<Outcome> {
        let first = self.until_there(1)?;
        let all = self.until_there(u64::from(number))?;
        self.processes.settle()?;
        Ok([first, all, self.processes.cpu()?.as_secs_f64(), self.processes.memory()?])
    }

    /// Waits until so many routes are in the kernel: how long after the start, in seconds.
    fn until_there(&self, goal: u64) -> Result<f64> {
        until(PATIENCE, PAUSE, || Ok(self.processes.routes_through_a_card()? >= goal))
            .with_context(|| format!("the kernel does not come to {goal} routes"))?;
        Ok(self.began.elapsed().as_secs_f64())
    }

    /// The part of one processor that it takes at rest, in percent.
    fn rest(&self) -> Result<f64> {
        let before = self.processes.cpu()?;
        thread::sleep(REST);
        let took = self.processes.cpu()? - before;
        Ok(took.as_secs_f64() / REST.as_secs_f64() * 100.0)
    }
}

/// Peer number `number`'s address, in 172.30.0.0/16.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xAC1E_0100 + number)
}

/// Serves one session in a thread of its own.
fn answer(mut stream: TcpStream) {
    let serve = move || -> Result<()> {
        let IpAddr::V4(own) = stream.local_addr()?.ip() else { bail!("not over IPv4") };
        feeder::be_a_node(&mut stream, own, own.to_bits() - address(0).to_bits())
    };
    // What goes wrong with a session shows in the routes that are missing.
    drop(thread::Builder::new().stack_size(64 << 10).spawn(serve));
}

/// Joins both ends; at the peers' end every address of theirs is answered for.
fn network(node: &Node, wire: &Namespace) -> Result<()> {
    node.within(|| {
        ip("link add eth0 type veth peer name wire")?;
        ip(&format!("link set wire netns {}", wire.path().display()))?;
        ip("link set eth0 up")?;
        ip(&format!("address add {CONTESTANT}/15 dev eth0"))
    })?;
    wire.within(|| {
        ip("link set lo up")?;
        ip("link set wire up")?;
        ip("address add 172.31.255.254/16 dev wire")?;
        ip("route add local 172.30.0.0/16 dev lo")
    })
}
