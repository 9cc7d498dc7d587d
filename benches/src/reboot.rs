//! How soon a node has its routes after a reboot, while another node of the mesh is dead.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::nodes::Node;
use crate::pair::{self, CONTESTANTS, DEFERRAL, End, PATIENCE, PAUSE, SETTLING, Speaker, Start};
use crate::routes::{ip, until};
use crate::statistics::Sample;

const ROUNDS: usize = 3;

const SURVIVOR: End = End::new(1);
const REBOOTED: End = End::new(2);
/// Nobody is there.
const DEAD: End = End::new(3);

/// Measures it and writes a table.
///
/// # Errors
/// A contestant is not there, or does not do what it should.
pub fn section(target: &Path) -> Result<String> {
    let mut text = format!(
        "\n## A node is rebooted beside a dead one, {ROUNDS} rounds\n\n\
         From the start of its speaker until the route of the node that lives is in its kernel, in milliseconds. BIRD is\n\
         started as Calico starts it, to restart gracefully, and with Calico's timers; but it waits for {DEFERRAL} s at most\n\
         for the dead node instead of 240.\n\n\
         | | p50 | slowest |\n| --- | --- | --- |\n",
    );
    for (name, start) in CONTESTANTS {
        let mut sample = Sample::default();
        for _ in 0..ROUNDS {
            sample.push(round(start, target).context(name)?);
        }
        let (middle, slowest) = (sample.percentile(50), sample.percentile(100));
        writeln!(text, "| {name} | {middle:.0} | {slowest:.0} |")?;
    }
    Ok(text)
}

fn round(start: Start, target: &Path) -> Result<Duration> {
    let (survivor, before, after) = (Node::new()?, Node::new()?, Node::new()?);
    let switch = pair::switch()?;
    for (node, end, port) in [
        (&survivor, SURVIVOR, "survivor"),
        (&before, REBOOTED, "before"),
        (&after, REBOOTED, "after"),
    ] {
        pair::plug(node, &switch, port)?;
        pair::address(node, end)?;
    }
    switch.within(|| ip("link set after down"))?;
    let here = Speaker::start(start, &survivor, SURVIVOR, &[REBOOTED, DEAD], target)?;
    let there = Speaker::start(start, &before, REBOOTED, &[SURVIVOR, DEAD], target)?;
    until(PATIENCE, PAUSE, || Ok(here.has_route(REBOOTED)? && there.has_route(SURVIVOR)?))
        .context("the routes do not come")?;
    std::thread::sleep(SETTLING);

    // The power goes: nothing of it is said. What comes back has no route and no connection.
    switch.within(|| ip("link set before down"))?;
    drop(there);
    std::thread::sleep(SETTLING);
    switch.within(|| ip("link set after up"))?;
    let started = Instant::now();
    let there = Speaker::start(start, &after, REBOOTED, &[SURVIVOR, DEAD], target)?;
    until(PATIENCE, PAUSE, || there.has_route(SURVIVOR)).context("the route does not come back")?;
    Ok(started.elapsed())
}
