//! How much, how many, and what else a runtime may come with.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::ScopedJoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::lab::Lab;
use tests::lab::command::{Outcome, Process, run};
use tests::lab::wait::{SOON, eventually};
use tests::trial::trial;

use crate::runtime::{BLOCK, Runtime, Sandbox, TUNNEL_ADDRESS, address};
use crate::traced::{self, Fate};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("the 63rd address of a block of 64 is given and the 64th pod refused", full),
        trial("three hundred pods on a node are all connected, and leave nothing", many),
        trial("of two ADDs for one container at once one connects it", twice),
        trial("a DEL that comes at any system call of an ADD leaves all or nothing", overtaken),
        trial("a lock whose holder is killed keeps nobody waiting", stale_lock),
        trial("a path that is no network namespace is named, whatever it is", no_namespace),
        trial("the names in CNI_ARGS may be odd or long", odd_names),
        trial("a megabyte of configuration is read, and what is endless is refused", long_input),
    ]
}

/// The error that a command failed with.
fn error_of(outcome: &Outcome) -> Result<(u64, String)> {
    let answer: Value = serde_json::from_str(&outcome.stdout)
        .with_context(|| format!("it said {:?} {:?}", outcome.stdout, outcome.stderr))?;
    let code = answer["code"].as_u64().with_context(|| format!("no code in {answer}"))?;
    Ok((code, answer["msg"].as_str().unwrap_or_default().to_owned()))
}

fn full(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let pods = sandboxes(&runtime, 63)?;
    let mut addresses = BTreeSet::new();
    for pod in &pods {
        addresses.insert(address(&runtime.add(pod)?)?.to_string());
    }
    ensure!(addresses.len() == 63, "only {addresses:?}");
    // The first and the last of the block are as good as any; the tunnel has its own.
    ensure!(!addresses.contains(TUNNEL_ADDRESS), "{addresses:?}");
    ensure!(addresses.contains("172.16.52.191"), "{addresses:?}");

    let last = runtime.sandbox("one-too-many")?;
    let (code, said) = error_of(&runtime.call("ADD", &last, &Value::Null)?)?;
    ensure!(code == 100, "{code} {said}");
    ensure!(said == format!("no free address in {BLOCK} (63 of 63 in use)"), "{said}");
    ensure!(runtime.entries()?.len() == 63, "{:?}", runtime.entries()?);
    ensure!(runtime.host_interfaces()?.len() == 63, "{:?}", runtime.host_interfaces()?);

    runtime.del(&pods[30])?;
    let answer = runtime.add(&last)?;
    runtime.expect_connected(&last, &answer)?;
    runtime.del(&last)?;
    at_once(&pods, |pod| runtime.del(pod))?;
    runtime.expect_nothing_left()
}

fn many(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let blocks: Vec<_> = (0..5).map(|i| format!("172.16.{i}.0/26")).collect();
    let blocks: Vec<_> = blocks.iter().map(String::as_str).collect();
    runtime.describe(&blocks, &["172.16.0.0"])?;
    let pods = sandboxes(&runtime, 300)?;
    let answers = at_once(&pods, |pod| runtime.add(pod))?;
    let addresses: BTreeSet<_> = answers.iter().map(address).collect::<Result<_>>()?;
    let counts = [addresses.len(), runtime.host_interfaces()?.len(), runtime.pod_routes()?.len()];
    ensure!(counts == [300; 3], "addresses, interfaces and routes: {counts:?}");
    let both: Vec<_> = pods.iter().zip(&answers).collect();
    at_once(&both, |(pod, answer)| runtime.expect_connected(pod, answer))?;
    at_once(&pods, |pod| runtime.del(pod))?;
    ensure!(runtime.entries()?.is_empty(), "{:?}", runtime.entries()?);
    ensure!(runtime.host_interfaces()?.is_empty(), "{:?}", runtime.host_interfaces()?);
    ensure!(runtime.pod_routes()?.is_empty(), "{:?}", runtime.pod_routes()?);
    at_once(&pods, |pod| runtime.end(pod))?;
    runtime.expect_no_namespace_left()
}

fn twice(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let lock = make_lock(&runtime)?;
    for _ in 0..3 {
        let pod = runtime.sandbox("nginx")?;
        let held = fs::File::open(&lock)?;
        held.lock()?;
        let outcomes = std::thread::scope(|scope| {
            let adds = [(); 2].map(|()| scope.spawn(|| runtime.call("ADD", &pod, &Value::Null)));
            let both = eventually("both ADDs wait for the lock", SOON, || {
                let waiting = runtime.waiting()?;
                ensure!(waiting == 2, "{waiting} wait");
                Ok(())
            });
            // In any case, or they would never end.
            drop(held);
            let join = |add: ScopedJoinHandle<'_, Result<Outcome>>| {
                add.join().map_err(|_| anyhow!("an ADD panicked"))?
            };
            let outcomes: Result<Vec<_>> = adds.into_iter().map(join).collect();
            both.and(outcomes)
        })?;
        let (connected, refused): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(Outcome::success);
        let ([connected], [refused]) = (connected.as_slice(), refused.as_slice()) else {
            return Err(anyhow!("{connected:#?} {refused:#?}"));
        };
        let answer = serde_json::from_str(&connected.stdout)?;
        let expected = format!("eth0 of container {} has the address", pod.container);
        let (code, said) = error_of(refused)?;
        ensure!(code == 104 && said.starts_with(&expected), "{code} {said}");
        runtime.expect_connected_alone(&pod, &answer)?;
        runtime.del(&pod)?;
        runtime.end(&pod)?;
        runtime.expect_nothing_left()?;
    }
    Ok(())
}

fn overtaken(lab: &Lab) -> Result<()> {
    let runtime = Runtime::dual_stack(lab)?;
    let mut positions = 1..;
    let mut is_over = false;
    while let (false, Some(position)) = (is_over, positions.next()) {
        let pod = runtime.sandbox("nginx")?;
        let command = runtime.command("ADD", &pod)?;
        let input = runtime.netconf(&Value::Null).to_string();
        let (added, deleted) = std::thread::scope(|scope| {
            let mut del = None;
            let added = traced::run(&command, &input, |call| {
                if call.position == position {
                    let thread = scope.spawn(|| runtime.call("DEL", &pod, &Value::Null));
                    // A few milliseconds: it is not worth while to look more seldom.
                    let deadline = Instant::now() + SOON;
                    while !thread.is_finished()
                        && !runtime.waiting().is_ok_and(|waiting| waiting == 1)
                        && Instant::now() < deadline
                    {
                        std::thread::yield_now();
                    }
                    del = Some(thread);
                }
                Fate::Happens
            });
            let deleted = del.map(|thread| {
                let outcome = thread.join().map_err(|_| anyhow!("the DEL panicked"))?;
                outcome?.ok()
            });
            (added, deleted)
        });
        let answer = serde_json::from_str(&added?.ok()?)?;
        is_over = deleted.is_none();
        deleted.transpose()?;
        let context = || format!("the DEL came before system call {position}");
        if runtime.entries()?.is_empty() {
            runtime.expect_nothing_left().with_context(context)?;
        } else {
            runtime.expect_connected_alone(&pod, &answer).with_context(context)?;
            runtime.del(&pod)?;
            runtime.expect_nothing_left()?;
        }
        runtime.end(&pod)?;
    }
    Ok(())
}

fn stale_lock(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let lock = make_lock(&runtime)?;
    let pod = runtime.sandbox("nginx")?;
    let log = runtime.node.directory().join("holder");
    let mut command = Command::new("flock");
    command.arg("--no-fork").arg(&lock).args(["sh", "-c", "echo held; exec sleep infinity"]);
    let mut holder = Process::start(&mut command, &log)?;
    eventually("the lock is held", SOON, || {
        ensure!(fs::read_to_string(&log)? == "held\n", "it does not say so");
        Ok(())
    })?;
    let answer = std::thread::scope(|scope| {
        let add = scope.spawn(|| runtime.add(&pod));
        let waits = eventually("the ADD waits for it", SOON, || {
            ensure!(runtime.waiting()? == 1, "it does not");
            Ok(())
        });
        // In any case, or the ADD would never end.
        holder.end(Signal::SIGKILL)?;
        let answer = add.join().map_err(|_| anyhow!("the ADD panicked"))?;
        waits.and(answer)
    })?;
    runtime.expect_connected_alone(&pod, &answer)?;
    runtime.del(&pod)?;
    runtime.expect_nothing_left()
}

/// The lock that every ADD takes.
fn make_lock(runtime: &Runtime) -> Result<PathBuf> {
    let pod = runtime.sandbox("earlier")?;
    runtime.add(&pod)?;
    runtime.del(&pod)?;
    runtime.end(&pod)?;
    Ok(runtime.run_dir().ipam().join("lock"))
}

fn no_namespace(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let pod = runtime.sandbox("nginx")?;
    let directory = runtime.node.directory().display().to_string();
    let [file, pipe, link] = ["file", "pipe", "link"].map(|name| format!("{directory}/{name}"));
    fs::write(&file, "")?;
    run(Command::new("mkfifo").arg(&pipe), "")?.ok()?;
    std::os::unix::fs::symlink("nowhere", &link)?;
    let long = format!("/{}", "x".repeat(5000));
    let own = format!("/run/netns/{}", runtime.node.namespace());
    for path in
        [&file, &pipe, &link, &long, &own, &directory, "/proc/self/ns/mnt", "/dev/null", "eth0"]
    {
        let outcome = runtime.call_with("ADD", &pod, &Value::Null, &[("CNI_NETNS", path)])?;
        let (code, said) = error_of(&outcome)?;
        let named = said.starts_with("CNI_NETNS: ") && said.contains(path);
        ensure!(code == 101 && named, "{path}: {code} {said}");
        runtime.expect_nothing_left()?;
        // What was never connected can be deleted all the same.
        runtime.call_with("DEL", &pod, &Value::Null, &[("CNI_NETNS", path)])?.ok()?;
    }
    Ok(())
}

fn odd_names(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let [long, namespace, name] = [100_000, 63, 253].map(|length| "x".repeat(length));
    for (namespace, name) in [
        ("../../etc", "a/b"),
        ("\u{1f980} \"a\"", "$(reboot)`x`"),
        ("%s%n", "\n\t\\"),
        ("-", "a=b=c"),
        ("@", "172.16.52.129@a@eth0@cali0"),
        (&long, "x"),
        // The longest that Kubernetes has.
        (&namespace, &name),
    ] {
        let pod = runtime.sandbox("odd")?;
        let args = format!("X=;K8S_POD_NAME={name};IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace}");
        let environment = [("CNI_ARGS", args.as_str())];
        let call = |verb, previous: &Value| runtime.call_with(verb, &pod, previous, &environment);
        let outcome = call("ADD", &Value::Null)?;
        ensure!(outcome.stderr.lines().count() == 1, "its log: {}", outcome.stderr);
        let answer: Value = serde_json::from_str(&outcome.ok()?)?;
        call("CHECK", &answer)?.ok()?;
        let address = address(&answer)?;
        ensure!(runtime.node.ping(address, 1)?.all_answered(), "{address} does not answer");
        let host = warren_types::ifname::for_pod(namespace, name);
        ensure!(runtime.host_interfaces()? == [host], "{:?}", runtime.host_interfaces()?);
        call("DEL", &answer)?.ok()?;
        runtime.expect_nothing_left()?;
    }
    Ok(())
}

fn long_input(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let pod = runtime.sandbox("nginx")?;
    let call = |verb: &str, netconf: &str| run(&mut runtime.command(verb, &pod)?, netconf);
    let mut netconf = runtime.netconf(&Value::Null);
    // Text, and many small things.
    netconf["text"] = "y".repeat(1 << 20).into();
    netconf["list"] = (0..200_000).map(|_| json!(0)).collect();
    let answer: Value = serde_json::from_str(&call("ADD", &netconf.to_string())?.ok()?)?;
    runtime.expect_connected_alone(&pod, &answer)?;
    netconf["prevResult"] = answer;
    call("CHECK", &netconf.to_string())?.ok()?;
    call("DEL", &netconf.to_string())?.ok()?;
    runtime.expect_nothing_left()?;

    let endless = format!("{{\"text\":\"{}\"}}", "y".repeat(17 << 20));
    let deep = "[".repeat(1 << 20);
    for (netconf, words) in [(endless, "EOF while parsing"), (deep, "recursion limit exceeded")] {
        for verb in ["ADD", "DEL"] {
            let (code, said) = error_of(&call(verb, &netconf)?)?;
            ensure!(code == 6 && said.contains(words), "{code} {said}");
        }
    }
    runtime.expect_nothing_left()
}

fn sandboxes(runtime: &Runtime, count: usize) -> Result<Vec<Sandbox>> {
    let numbers: Vec<_> = (0..count).collect();
    at_once(&numbers, |number| runtime.sandbox(&format!("pod-{number}")))
}

/// Does something for each of `all`, ten at a time; the results are in their order.
fn at_once<T: Sync, R: Send>(all: &[T], act: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let act = &act;
    std::thread::scope(|scope| {
        let share = all.len().div_ceil(10).max(1);
        let threads: Vec<_> = all
            .chunks(share)
            .map(|share| scope.spawn(move || share.iter().map(act).collect::<Result<Vec<_>>>()))
            .collect();
        let mut results = Vec::new();
        for thread in threads {
            results.extend(thread.join().map_err(|_| anyhow!("a thread panicked"))??);
        }
        Ok(results)
    })
}
