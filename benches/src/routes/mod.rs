//! Routes from one peer, all in the kernel: the agent beside BIRD and FRR.
//!
//! Each round starts a contestant in a network namespace of its own, establishes a session with it,
//! and then measures from the first octet of the first UPDATE. The routes go to next hops in the
//! contestant's own network, through one card and no tunnel, so that any kernel will do.

pub(crate) mod contestants;
pub(crate) mod feeder;
pub(crate) mod process;

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::nodes::{Namespace, Node};
use crate::statistics::median;
use contestants::{CONTESTANTS, Contestant};
use feeder::{Feeder, Routes};
use process::Processes;

/// The addresses of both ends.
pub(crate) const CONTESTANT: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 1);
const FEEDER: Ipv4Addr = Ipv4Addr::new(172, 31, 255, 254);

/// How many routes, and how often each is measured.
const SIZES: [(u32, usize); 3] = [(1_000, 5), (10_000, 5), (100_000, 3)];

/// The nodes that the routes lead to.
const NEXT_HOPS: u32 = 1_000;

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often the kernel is looked at: often enough for small tables, and little beside large ones.
const PAUSE: Duration = Duration::from_millis(2);

/// What a contestant took in one round, in the order of the table's columns: seconds, and megabytes.
type Outcome = [f64; 5];

/// Measures all sizes and writes a table.
///
/// # Errors
/// A contestant is not there, or does not do what it should.
pub fn section(target: &Path) -> Result<String> {
    let mut text = String::from(
        "\n## Routes from one peer, all in the kernel\n\n\
         From the first UPDATE until the kernel has them all; then from the first withdrawal until it has none. CPU time is\n\
         that of all processes of the contestant, the kernel's work for them included. Medians. GoBGP is not among them: it has\n\
         routes put into the kernel by FRR's zebra only, and its client (3.10) panics with the zebra of Debian 12 (8.4.4).\n\n\
         | routes | | all, s | CPU, s | none, s | CPU, s | peak memory, MB |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (number, rounds) in SIZES {
        let routes = Routes { number, next_hops: NEXT_HOPS };
        let mut outcomes = CONTESTANTS.map(|contestant| (contestant, Vec::new()));
        for _ in 0..rounds {
            for (contestant, outcomes) in &mut outcomes {
                let outcome = round(contestant, target, routes)
                    .with_context(|| format!("{} with {number} routes", contestant.name))?;
                outcomes.push(outcome);
            }
        }
        for (Contestant { name, .. }, outcomes) in &outcomes {
            let of = |column: usize| median(outcomes.iter().map(|outcome| outcome[column]));
            let [all, all_cpu, none, none_cpu, memory] = std::array::from_fn(of);
            writeln!(
                text,
                "| {number} | {name} | {all:.3} | {all_cpu:.3} | {none:.3} | {none_cpu:.3} | {memory:.1} |"
            )?;
        }
    }
    Ok(text)
}

fn round(contestant: &Contestant, target: &Path, routes: Routes) -> Result<Outcome> {
    let (node, wire) = (Node::new()?, Namespace::new()?);
    let listener = network(&node, &wire)?;
    let running = node.within(|| contestant.start(target, node.directory(), &[FEEDER]))?;
    let processes = Processes::new(running.processes().collect());
    let log = || fs::read_to_string(node.directory().join("log0")).unwrap_or_default();
    let mut feeder = Feeder::establish(&listener, FEEDER)
        .with_context(|| format!("no session; what it says itself:\n{}", log()))?;
    // The card's routes are there, and the agent's own once it has come to rest.
    processes.settle()?;
    let present = processes.kernel_routes()?;

    let measure = |feed: &mut dyn FnMut() -> Result<()>, goal: u64| -> Result<[f64; 2]> {
        let (began, before) = (Instant::now(), processes.cpu()?);
        feed()?;
        until(PATIENCE, PAUSE, || Ok(processes.kernel_routes()? == goal))
            .with_context(|| format!("the kernel does not come to {goal} routes"))?;
        let wall = began.elapsed();
        processes.settle()?;
        Ok([wall, processes.cpu()? - before].map(|time| time.as_secs_f64()))
    };
    let expected = present + u64::from(routes.number);
    let [all, all_cpu] = measure(&mut || feeder.announce(routes), expected)?;
    let memory = processes.peak_memory()?;
    let [none, none_cpu] = measure(&mut || feeder.withdraw(routes), present)?;
    Ok([all, all_cpu, none, none_cpu, memory])
}

/// Joins both ends, and listens at the feeder's.
pub(crate) fn network(node: &Node, wire: &Namespace) -> Result<TcpListener> {
    node.within(|| {
        ip("link add eth0 type veth peer name wire")?;
        ip(&format!("link set wire netns {}", wire.path().display()))?;
        ip("link set eth0 up")?;
        ip(&format!("address add {CONTESTANT}/16 dev eth0"))
    })?;
    wire.within(|| {
        ip("link set wire up")?;
        ip(&format!("address add {FEEDER}/16 dev wire"))?;
        Ok(TcpListener::bind((FEEDER, 179))?)
    })
}

/// Runs `ip` with these words.
///
/// # Errors
/// It fails.
pub fn ip(arguments: &str) -> Result<()> {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    ensure!(status.context("cannot run ip")?.success(), "ip {arguments} failed");
    Ok(())
}

/// Looks again and again.
///
/// # Errors
/// That of `holds`, or it does not hold in time.
pub fn until(
    patience: Duration,
    pause: Duration,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let began = Instant::now();
    while !holds()? {
        ensure!(began.elapsed() < patience, "not so within {patience:?}");
        std::thread::sleep(pause);
    }
    Ok(())
}
