//! How long the routes of a node that has died stay elsewhere.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::nodes::{Namespace, Node};
use crate::pair::{self, CONTESTANTS, End, PATIENCE, PAUSE, SETTLING, Speaker, Start};
use crate::routes::{ip, until};
use crate::statistics::Sample;

const ROUNDS: usize = 5;

const SURVIVOR: End = End::new(1);
const VICTIM: End = End::new(2);

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
    let (survivor, victim, switch) = (Node::new()?, Node::new()?, pair::switch()?);
    connect(&survivor, &victim, &switch, death)?;
    let here = Speaker::start(start, &survivor, SURVIVOR, &[VICTIM], target)?;
    let _there = Speaker::start(start, &victim, VICTIM, &[SURVIVOR], target)?;
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
    match death {
        Death::Cut => {
            pair::plug(survivor, switch, "survivor")?;
            pair::plug(victim, switch, "victim")?;
        }
        Death::InterfaceDown => {
            // The kernel holds news of a carrier back for up to a second when it had other such news
            // just before, from any namespace: but not where the indices of a wire's ends differ.
            survivor.within(|| ip("link add another type bridge"))?;
            pair::wire(survivor, "eth0", &victim.path())?;
        }
    }
    pair::address(survivor, SURVIVOR)?;
    pair::address(victim, VICTIM)
}
