//! The dataplane with many routes: the agent's own part between a best path and the kernel.
//!
//! Each size is measured in a process of its own, for its memory, and in a network namespace of its
//! own. A veth pair stands in for `tunl0`, so that any kernel will do; the routes through it cost the
//! same.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use tokio::sync::watch;
use warren_net::dataplane::{self, Dataplane, Report};
use warren_net::desired::{Known, Path};
use warren_types::pool::{Encapsulation, Pool};

use crate::routes::ip;
use crate::statistics::median;

/// The argument by which the benchmark starts itself again.
pub const ARGUMENT: &str = "dataplane";

/// Routes, and nodes that they lead to.
const SIZES: [(u32, u32); 3] = [(1_000, 1_000), (10_000, 1_000), (100_000, 1_000)];

/// How often one route is changed, or deleted by hand.
const ROUNDS: usize = 20;

/// How long a step may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures every size and writes a table.
///
/// # Errors
/// A process could not be started, or has failed.
pub fn section() -> Result<String> {
    let mut report = String::new();
    writeln!(
        report,
        "\n## The dataplane: routes through the tunnel\n\n\
         From paths told to routes in the kernel; then, with all of them there, one path that changes and one route that\n\
         is deleted by hand (medians of {ROUNDS}). CPU is the process's, the kernel's work for it included.\n\n\
         | routes | nodes | all, s | CPU, s | one changed, ms | CPU, ms | one repaired, ms | CPU, ms | peak memory, MB |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )?;
    for (routes, nodes) in SIZES {
        let output = Command::new(std::env::current_exe()?)
            .args([ARGUMENT, &routes.to_string(), &nodes.to_string()])
            .output()?;
        ensure!(
            output.status.success(),
            "the measurement with {routes} routes failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        report.push_str(&String::from_utf8(output.stdout)?);
    }
    Ok(report)
}

/// Measures one size in this process and prints its row.
///
/// # Errors
/// The arguments are no numbers, the kernel refuses something, or a step takes too long.
pub fn measure(arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let numbers: Vec<u32> =
        arguments.map(|number| Ok(number.to_string_lossy().parse()?)).collect::<Result<_>>()?;
    let &[routes, nodes] = numbers.as_slice() else {
        bail!("usage: bench {ARGUMENT} ROUTES NODES")
    };
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    ip("link add tunl0 type veth peer name tunl0-end")?;
    ip("link add enp1s0 type veth peer name wire")?;
    ip("link set wire up")?;
    ip("link set enp1s0 up")?;
    ip("address add 192.168.0.176/24 dev enp1s0")?;

    let (known, told) = watch::channel(Arc::new(known()));
    let mut dataplane = dataplane::start(told)?;
    wait(&mut dataplane, |report| report.problems.is_empty() && programmed(report) == 1)?;

    let (began, cpu) = (Instant::now(), cpu()?);
    known.send_modify(|known| {
        let paths = &mut Arc::make_mut(known).paths;
        for number in 0..routes {
            paths.insert(prefix(number), path(number % nodes));
        }
    });
    let expected = routes as usize + 1;
    wait(&mut dataplane, |report| programmed(report) == expected)?;
    let (all, all_cpu) = (began.elapsed().as_secs_f64(), self::cpu()? - cpu);

    let mut changed = Vec::new();
    let mut repaired = Vec::new();
    let mut changed_cpu = 0.0;
    let mut repaired_cpu = 0.0;
    for round in 0..ROUNDS as u32 {
        let number = round * 37 % routes;
        let (began, cpu) = (Instant::now(), self::cpu()?);
        known.send_modify(|known| {
            Arc::make_mut(known).paths.insert(prefix(number), path((number + 1) % nodes));
        });
        let next_hop = gateway((number + 1) % nodes).to_string();
        until(|| route(number).is_ok_and(|route| route.contains(&next_hop)))?;
        changed.push(began.elapsed().as_secs_f64() * 1e3);
        settle(&mut dataplane)?;
        changed_cpu += self::cpu()? - cpu;

        ip(&format!("route del {}", prefix(number)))?;
        let (began, cpu) = (Instant::now(), self::cpu()?);
        until(|| route(number).is_ok_and(|route| route.contains(&next_hop)))?;
        repaired.push(began.elapsed().as_secs_f64() * 1e3);
        settle(&mut dataplane)?;
        repaired_cpu += self::cpu()? - cpu;
    }
    let per_round = |seconds: f64| seconds * 1e3 / ROUNDS as f64;
    println!(
        "| {routes} | {nodes} | {all:.2} | {all_cpu:.2} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
        median(changed.into_iter()),
        per_round(changed_cpu),
        median(repaired.into_iter()),
        per_round(repaired_cpu),
        peak_memory()?
    );
    dataplane.stop();
    Ok(())
}

fn known() -> Known {
    Known {
        node_address: Some(Ipv4Addr::new(192, 168, 0, 176).into()),
        nodes: BTreeSet::new(),
        pools: vec![Pool {
            cidr: "10.0.0.0/8".parse().unwrap_or_else(|_| unreachable!()),
            block_size: 26,
            encapsulation: Encapsulation::IpIp,
            nat_outgoing: false,
        }],
        blocks: vec![prefix(200_000)],
        paths: [].into_iter().collect(),
        route_protocol: 12,
        settled: true,
    }
}

fn prefix(number: u32) -> ipnetwork::IpNetwork {
    let address = Ipv4Addr::from_bits(0x0A00_0000 + (number << 6));
    ipnetwork::IpNetwork::V4(
        ipnetwork::Ipv4Network::new_checked(address, 26).unwrap_or_else(|| unreachable!()),
    )
}

fn gateway(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0xAC10_0001 + number).into()
}

fn path(node: u32) -> Path {
    Path { next_hop: gateway(node), learned_from: gateway(node) }
}

fn programmed(report: &Report) -> usize {
    report.programmed
}

fn wait(dataplane: &mut Dataplane, holds: impl Fn(&Report) -> bool) -> Result<()> {
    until(|| {
        let report = Arc::clone(&dataplane.report.borrow_and_update());
        holds(&report)
    })
}

/// Waits until the dataplane has nothing to do any more.
fn settle(dataplane: &mut Dataplane) -> Result<()> {
    let began = Instant::now();
    let mut quiet_since = Instant::now();
    let mut taken = cpu()?;
    while quiet_since.elapsed() < Duration::from_millis(60) {
        std::thread::sleep(Duration::from_millis(10));
        let now = cpu()?;
        if dataplane.report.has_changed()? || now > taken + 0.002 {
            dataplane.report.borrow_and_update();
            (quiet_since, taken) = (Instant::now(), now);
        }
        ensure!(began.elapsed() < PATIENCE, "the dataplane does not come to rest");
    }
    Ok(())
}

fn until(holds: impl FnMut() -> bool) -> Result<()> {
    let mut holds = holds;
    let began = Instant::now();
    while !holds() {
        ensure!(began.elapsed() < PATIENCE, "not so within {PATIENCE:?}");
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

fn route(number: u32) -> Result<String> {
    // Not `show`: it reads the whole table.
    let address = prefix(number).ip().to_string();
    let output = Command::new("ip").args(["route", "get", &address]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Seconds of CPU that this process has taken; not those of the programs that it ran.
fn cpu() -> Result<f64> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The most memory that this process has had, in megabytes.
fn peak_memory() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: f64 =
        line.and_then(|line| line.split_whitespace().next()).context("no VmHWM")?.parse()?;
    Ok(kilobytes / 1024.0)
}
