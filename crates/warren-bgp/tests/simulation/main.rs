//! Many speakers on a simulated network with a simulated clock: the real state machines and the
//! real RIB, and a history of delays, lost connections, partitions, crashes, restarts and changes
//! of configuration that is drawn from a seed. Whatever happened, in the end everyone must have
//! exactly the routes of those that live.
//!
//! ```text
//! seed -> topology -> world (clock, queue) -- speaker (machines, RIB)   1 per node
//!      -> faults ------^        |          -- network (connections)
//!                               v
//!                            expected
//! ```
//!
//! `WARREN_SIMULATION_SEED=N` replays one history and tells it; `WARREN_SIMULATION_SEEDS=N` runs
//! as many as that.
#![cfg(test)]

mod expected;
mod faults;
mod network;
mod random;
mod speaker;
mod topology;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use speaker::Mistake;
use world::World;

/// Histories of one run.
const SEEDS: u64 = 3000;

/// After the last fault a speaker notices within a hold time that its connection is dead. Within this
/// time more every session is back and all routes with it: a ConnectRetryTimer (16 s), and what
/// retransmissions, a collision and another try add.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(60);

/// One history; a number that is another one if anything goes differently.
fn run(seed: u64, mistake: Option<Mistake>, says: bool) -> u64 {
    let mut world = World::new(seed, mistake, says);
    if world.random.one_in(2) {
        // Undisturbed, everybody has met everybody after some messages to and fro. Where a KEEPALIVE
        // overtakes the OPEN of the other of two connections, collision detection (RFC 4271, 6.8)
        // costs both, and it takes an IdleHoldTimer and another try.
        world.run(Duration::from_secs(4) + world.topology.latency * 16);
        expected::check_sessions(&world);
    }
    for _ in 0..1 + world.random.below(20) {
        let pause = faults::pause(&mut world);
        world.run(pause);
        faults::strike(&mut world);
    }
    faults::make_up(&mut world);
    let hold_time = world.topology.hold_time();
    let restart = Duration::from_secs(topology::LONGEST_RESTART.into());
    let stale = Duration::from_secs(topology::LONGEST_STALE.into());
    world.run(hold_time + restart + stale + COMES_BACK_WITHIN);
    expected::check(&world);
    let ups = |world: &World| -> Vec<Option<u32>> {
        world.nodes.iter().map(|node| node.speaker.as_ref().map(|it| it.ups())).collect()
    };
    let before = ups(&world);
    // Every timer would expire in this time if it were to.
    world.run(hold_time * 2);
    expected::check(&world);
    assert_eq!(before, ups(&world), "sessions came and went although nothing happened");
    world.digest()
}

/// A speaker in the midst of undisturbed ones ends, by force or in order, and is started again: no
/// route moves anywhere, on its own node neither.
fn restart(seed: u64, mistake: Option<Mistake>, says: bool) {
    let mut world = World::of_restarts(seed, mistake, says);
    world.run(Duration::from_secs(40));
    expected::check(&world);
    let moves = |world: &World, but: usize| -> Vec<u32> {
        let others = world.nodes.iter().enumerate().filter(|(node, _)| *node != but);
        others.filter_map(|(_, node)| Some(node.speaker.as_ref()?.moves())).collect()
    };
    for _ in 0..3 {
        let node = world.random.below(world.nodes.len());
        let before = moves(&world, node);
        if world.random.one_in(2) {
            world.say(format_args!("{node} is killed"));
            world.kill(node);
        } else {
            world.say(format_args!("{node} ends for another to take over"));
            world.hand_over(node);
        }
        let away = world.random.duration(Duration::from_millis(1), Duration::from_secs(2));
        world.run(away);
        world.say(format_args!("{node} starts"));
        world.boot(node);
        world.run(Duration::from_secs(40));
        expected::check(&world);
        assert_eq!(before, moves(&world, node), "routes moved elsewhere");
        let own = world.nodes[node].speaker.as_ref().map(|it| it.moves());
        assert_eq!(own, Some(0), "routes moved on {node}");
    }
}

/// Whether the simulation finds fault with a speaker that makes this mistake.
fn notices(mistake: Mistake) -> bool {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = (0..50).any(|seed| {
        catch_unwind(|| {
            run(seed, Some(mistake), false);
            restart(seed, Some(mistake), false);
        })
        .is_err()
    });
    std::panic::set_hook(hook);
    found
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// Runs the histories of all seeds, or tells the one that is asked for.
fn all(name: &str, seeds: u64, history: impl Fn(u64, bool) + Sync + std::panic::RefUnwindSafe) {
    if let Some(seed) = number("WARREN_SIMULATION_SEED") {
        history(seed, true);
        return;
    }
    let seeds = number("WARREN_SIMULATION_SEEDS").unwrap_or(seeds);
    let next = AtomicU64::new(0);
    let failing = std::sync::Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds || failing.lock().unwrap().len() >= 5 {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| history(seed, false))).is_err() {
                failing.lock().unwrap().push(seed);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |it| it.get());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let failing = failing.into_inner().unwrap();
    assert!(
        failing.is_empty(),
        "seeds {failing:?} fail; replay one by WARREN_SIMULATION_SEED={} \
         cargo test -p warren-bgp --test simulation {name} -- --nocapture",
        failing[0]
    );
}

#[test]
fn whatever_happened_everyone_has_exactly_the_routes_of_those_that_live() {
    all("whatever", SEEDS, |seed, says| {
        run(seed, None, says);
    });
}

#[test]
fn a_speaker_that_restarts_moves_no_route() {
    all("a_speaker", SEEDS / 3, |seed, says| restart(seed, None, says));
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..20 {
        assert_eq!(run(seed, None, false), run(seed, None, false), "seed {seed}");
    }
}

#[test]
fn it_notices_a_speaker_that_makes_mistakes() {
    for mistake in [
        Mistake::LosesUpdates,
        Mistake::KeepsRoutes,
        Mistake::LosesTimers,
        Mistake::ForgetsLateComers,
        Mistake::KeepsStaleRoutes,
        Mistake::SelectsTooEarly,
        Mistake::LeaksRoutes,
    ] {
        assert!(notices(mistake), "{mistake:?}");
    }
}
