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
use crate::routes::contestants::{CONTESTANTS, Contestant};
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
/// seconds, megabytes, and parts of one processor in percent.
type Outcome = [f64; 5];

/// Measures all sizes and writes a table.
///
/// # Errors
/// A contestant is not there, or does not do what it should.
pub fn section(target: &Path) -> Result<String> {
    let mut text = String::from(
        "\n## A mesh of simulated peers, one route each\n\n\
         From the start of the process until the first route is in the kernel, and until all are, which takes all sessions\n\
         to be Established; then 30 s at rest, with KEEPALIVEs every 30 s and without BFD. BIRD and FRR wait for a second\n\
         before they connect, by their configuration. Medians.\n\n\
         | peers | | first, s | all, s | CPU, s | memory, MB | CPU at rest, % |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (number, rounds) in SIZES {
        for contestant in &CONTESTANTS {
            let mut outcomes = Vec::new();
            for _ in 0..rounds {
                let outcome = round(contestant, target, number)
                    .with_context(|| format!("{} with {number} peers", contestant.name))?;
                outcomes.push(outcome);
            }
            let of = |column: usize| median(outcomes.iter().map(|outcome| outcome[column]));
            let [first, all, cpu, memory, rest] = std::array::from_fn(of);
            let name = contestant.name;
            writeln!(
                text,
                "| {number} | {name} | {first:.3} | {all:.3} | {cpu:.3} | {memory:.1} | {rest:.2} |"
            )?;
        }
    }
    Ok(text)
}

fn round(contestant: &Contestant, target: &Path, number: u32) -> Result<Outcome> {
    let (node, wire) = (Node::new()?, Namespace::new()?);
    let peers: Vec<Ipv4Addr> = (0..number).map(address).collect();
    network(&node, &wire)?;
    wire.within(|| {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 179))?;
        // It ends with this process: a few idle threads each time.
        thread::Builder::new().spawn(move || listener.incoming().flatten().for_each(answer))?;
        Ok(())
    })?;

    let began = Instant::now();
    let running = node.within(|| contestant.start(target, node.directory(), &peers))?;
    let processes = Processes::new(running.processes().collect());
    let until_there = |goal: u64| -> Result<f64> {
        until(PATIENCE, PAUSE, || Ok(processes.routes_through_a_card()? >= goal))
            .with_context(|| format!("the kernel does not come to {goal} routes"))?;
        Ok(began.elapsed().as_secs_f64())
    };
    let first = until_there(1)?;
    let all = until_there(u64::from(number))?;
    processes.settle()?;
    let cpu = processes.cpu()?;
    thread::sleep(REST);
    let rest = (processes.cpu()? - cpu).as_secs_f64() / REST.as_secs_f64() * 100.0;
    Ok([first, all, cpu.as_secs_f64(), processes.memory()?, rest])
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
