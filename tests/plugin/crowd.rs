//! Many at a time, and killed at random.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::command::{Outcome, run_and_kill};
use tests::trial::trial;

use crate::runtime::{Runtime, Sandbox, TUNNEL_ADDRESS, address};
use crate::traced::{self, Fate};

pub fn trials() -> Vec<Trial> {
    vec![trial(
        "a thousand random kills among twenty parallel ADDs and DELs add up to nothing",
        kills,
    )]
}

/// How many pods come and go side by side.
const WORKERS: usize = 20;

/// How many commands are killed in all.
const KILLS: usize = 1000;

/// A bound for a machine that is busy with other things: it takes some fifteen seconds on two idle
/// processors.
const LIMIT: Duration = Duration::from_secs(300);

/// The environment variable that repeats a run.
const SEED: &str = "WARREN_TEST_SEED";

/// What the workers share.
struct Crowd<'a> {
    runtime: &'a Runtime,
    /// How many system calls an ADD makes, and a DEL.
    calls: [usize; 2],
    killed: AtomicUsize,
    deadline: Instant,
    /// Who is connected, by address.
    connected: Mutex<BTreeMap<IpAddr, String>>,
}

/// What a worker goes by.
struct Worker {
    random: Rng,
    /// How long the last command took that was not killed.
    pace: Duration,
}

fn kills(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    // Hardly more than there are pods: an address that becomes free is given again before long.
    runtime.describe(&["172.16.52.128/28", "172.16.52.144/29"], &[TUNNEL_ADDRESS])?;
    let seed = seed()?;
    eprintln!("the random kills' seed is {seed}; {SEED}={seed} repeats them");
    let crowd = Crowd {
        runtime: &runtime,
        calls: count_calls(&runtime)?,
        killed: AtomicUsize::new(0),
        deadline: Instant::now() + LIMIT,
        connected: Mutex::default(),
    };
    let crowd = &crowd;
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let work =
            |worker| scope.spawn(move || crowd.work(worker, Rng::with_seed(seed + worker as u64)));
        let threads: Vec<_> = (0..WORKERS).map(work).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    let mut pods = Vec::new();
    for outcome in outcomes {
        pods.push(outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
    }
    ensure!(crowd.killed.load(Ordering::Relaxed) >= KILLS, "too slow to kill {KILLS}");

    // Each pod has its connection and there is no other.
    for (sandbox, answer) in &pods {
        runtime.expect_connected(sandbox, answer)?;
    }
    let entries = runtime.entries()?;
    let links = runtime.host_interfaces()?;
    let routes = runtime.pod_routes()?;
    let counts = [entries.len(), links.len(), routes.len()];
    ensure!(counts == [WORKERS; 3], "there are {entries:#?} {links:#?} {routes:#?}");
    for (sandbox, _) in &pods {
        runtime.del(sandbox)?;
        runtime.end(sandbox)?;
    }
    runtime.expect_nothing_left()?;
    runtime.expect_no_namespace_left()
}

impl Crowd<'_> {
    /// One pod that comes and goes, and is there at the end.
    fn work(&self, worker: usize, random: Rng) -> Result<(Sandbox, Value)> {
        let mut state = Worker { random, pace: Duration::from_millis(20) };
        let context = || format!("pod {worker}");
        let mut sandbox = self.runtime.sandbox(&format!("pod-{worker}"))?;
        while self.killed.load(Ordering::Relaxed) < KILLS && Instant::now() < self.deadline {
            self.forget(&sandbox);
            sandbox = self.runtime.next_container(&sandbox);
            if let Some(outcome) = self.run("ADD", &sandbox, &mut state).with_context(context)? {
                self.note(&sandbox, &outcome.ok().with_context(context)?)?;
            }
            // The DEL comes, is repeated until it succeeds, or never comes: then the next ADD finds
            // what there is.
            while state.random.u8(..4) != 0 {
                self.forget(&sandbox);
                if let Some(outcome) =
                    self.run("DEL", &sandbox, &mut state).with_context(context)?
                {
                    outcome.ok().with_context(context)?;
                    break;
                }
            }
        }
        self.forget(&sandbox);
        let last = self.runtime.next_container(&sandbox);
        let answer = self.runtime.add(&last).with_context(context)?;
        self.note(&last, &answer.to_string())?;
        Ok((last, answer))
    }

    /// Runs a command; none if it was killed, as half of them are: one before a random system call,
    /// another at a random moment.
    fn run(
        &self,
        verb: &str,
        sandbox: &Sandbox,
        Worker { random, pace }: &mut Worker,
    ) -> Result<Option<Outcome>> {
        let start = Instant::now();
        let mut command = self.runtime.command(verb, sandbox)?;
        let input = self.runtime.netconf(&Value::Null).to_string();
        let calls = self.calls[usize::from(verb == "DEL")];
        let outcome = match random.u8(..4) {
            0 | 1 => {
                let position = random.usize(1..=calls);
                traced::run(&command, &input, |call| {
                    if call.position == position { Fate::Kills } else { Fate::Happens }
                })?
            }
            2 => {
                let moment = Duration::from_micros(random.u64(..pace.as_micros() as u64));
                run_and_kill(&mut command, &input, moment)?
            }
            _ => tests::lab::command::run(&mut command, &input)?,
        };
        if outcome.status.signal() == Some(Signal::SIGKILL as i32) {
            self.killed.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        }
        *pace = start.elapsed();
        Ok(Some(outcome))
    }

    /// Notes who has the address that an ADD answered with: nobody else.
    fn note(&self, sandbox: &Sandbox, answer: &str) -> Result<()> {
        let address = address(&serde_json::from_str(answer)?)?;
        let mut connected = self.connected.lock().map_err(|_| anyhow::anyhow!("a pod failed"))?;
        match connected.insert(address, sandbox.container.clone()) {
            None => Ok(()),
            Some(other) => anyhow::bail!("{address} was given to {sandbox:?} and is {other}'s"),
        }
    }

    /// From now on the sandbox's address may be another's.
    fn forget(&self, sandbox: &Sandbox) {
        if let Ok(mut connected) = self.connected.lock() {
            connected.retain(|_, container| *container != sandbox.container);
        }
    }
}

fn count_calls(runtime: &Runtime) -> Result<[usize; 2]> {
    let sandbox = runtime.sandbox("counted")?;
    let count = |verb: &str| -> Result<usize> {
        let mut calls = 0;
        let input = runtime.netconf(&Value::Null).to_string();
        traced::run(&runtime.command(verb, &sandbox)?, &input, |call| {
            calls = call.position;
            Fate::Happens
        })?
        .ok()?;
        Ok(calls)
    };
    let calls = [count("ADD")?, count("DEL")?];
    runtime.end(&sandbox)?;
    Ok(calls)
}

fn seed() -> Result<u64> {
    match std::env::var(SEED) {
        Ok(text) => text.parse().with_context(|| format!("{SEED}={text} is no number")),
        // Short enough to be typed.
        Err(_) => Ok(u64::from(SystemTime::UNIX_EPOCH.elapsed()?.subsec_nanos())),
    }
}
