//! Each file of the run directory is damaged or replaced while a pod is connected. What follows is a
//! clear error or nothing at all, and never a second use of the pod's address.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::command::{Outcome, run};
use tests::trial::trial;

use crate::runtime::{Runtime, Sandbox, address};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a damaged node description is named, and pods can still be deleted", description),
        trial("a lock that is none is named, and nothing happens without it", lock),
        trial("a damaged record keeps its address, and the pod can be deleted", record),
        trial("a directory that is none, or is another's, is named", directories),
        trial("without any record no address is used twice either", no_record),
        trial("what a pod asks for is named where it is damaged", wishes),
        trial("what is wrong with the place where the agent listens stops no pod", reports),
        trial("what is wrong among the markers of free addresses stops no pod", markers),
    ]
}

/// What happens to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Truncated,
    Empty,
    /// Its format version is one of a future program.
    Future,
    /// It belongs to another user.
    Foreign,
    Directory,
    File,
    Pipe,
    /// A symbolic link leads to what was there.
    Link,
}

/// What a command says of it: none, if it succeeds.
type Says = Option<&'static str>;

const FOREIGN: Says = Some("it belongs to user 1000 instead of root");
const DIRECTORY: Says = Some("it is a directory instead of a file");
const PIPE: Says = Some("it is a pipe instead of a file");
const LINK: Says = Some("it is a symbolic link instead of a file");
const TORN: Says = Some("is not a node description: EOF while parsing");
const FUTURE: Says = Some("has format version 99, this program reads up to ");

fn description(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let path = runtime.run_dir().node_description();
    for (damage, add) in [
        (Damage::Truncated, TORN),
        (Damage::Empty, TORN),
        (Damage::Future, FUTURE),
        (Damage::Foreign, FOREIGN),
        (Damage::Directory, DIRECTORY),
        (Damage::Pipe, PIPE),
        (Damage::Link, LINK),
    ] {
        play(&runtime, |_| Ok(path.clone()), damage, add, None)?;
    }
    Ok(())
}

fn wishes(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let path = runtime.run_dir().wishes("default", "other").context("no name of a pod")?;
    fs::create_dir_all(path.parent().context("no directory")?)?;
    fs::write(&path, r#"{"pools":["172.16.0.0/16"]}"#)?;
    let torn = Some("does not say what addresses a pod asks for: EOF while parsing");
    for (damage, add) in [
        (Damage::Truncated, torn),
        (Damage::Empty, torn),
        (Damage::Foreign, FOREIGN),
        (Damage::Directory, DIRECTORY),
        (Damage::Pipe, PIPE),
        (Damage::Link, LINK),
    ] {
        play(&runtime, |_| Ok(path.clone()), damage, add, None)?;
    }
    Ok(())
}

fn reports(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let path = runtime.run_dir().reports();
    let _agent = UnixDatagram::bind(&path)?;
    for damage in [Damage::File, Damage::Foreign, Damage::Directory, Damage::Pipe, Damage::Link] {
        play(&runtime, |_| Ok(path.clone()), damage, None, None)?;
    }
    Ok(())
}

fn lock(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let path = runtime.run_dir().ipam().join("lock");
    for (damage, says) in [
        (Damage::Foreign, FOREIGN),
        (Damage::Directory, DIRECTORY),
        (Damage::Pipe, PIPE),
        (Damage::Link, LINK),
    ] {
        play(&runtime, |_| Ok(path.clone()), damage, says, says)?;
    }
    Ok(())
}

fn record(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    for (damage, check, del) in [
        (Damage::Truncated, "is not a record: EOF while parsing", None),
        (Damage::Empty, "is not a record: EOF while parsing", None),
        (Damage::Future, FUTURE.unwrap_or_default(), None),
        (Damage::Foreign, FOREIGN.unwrap_or_default(), None),
        (Damage::Directory, DIRECTORY.unwrap_or_default(), None),
        (Damage::Link, LINK.unwrap_or_default(), LINK),
    ] {
        let path = |sandbox: &Sandbox| record_of(&runtime, sandbox);
        let pod = play(&runtime, path, damage, None, del)?;
        // Once more for what says what is in it.
        let answer = runtime.add(&pod)?;
        let path = record_of(&runtime, &pod)?;
        let mend = inflict(&path, damage, runtime.node.directory())?;
        let outcome = runtime.call("CHECK", &pod, &answer)?;
        expect_error(&outcome, check, &path).with_context(|| format!("{damage:?}"))?;
        mend()?;
        runtime.del(&pod)?;
        runtime.end(&pod)?;
        runtime.expect_nothing_left()?;
    }
    Ok(())
}

fn directories(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let file = Some("it is a file instead of a directory");
    let link = Some("it is a symbolic link instead of a directory");
    let ipam = runtime.run_dir().ipam();
    for path in [ipam.clone(), ipam.join("addresses")] {
        for (damage, says) in
            [(Damage::Foreign, FOREIGN), (Damage::File, file), (Damage::Link, link)]
        {
            play(&runtime, |_| Ok(path.clone()), damage, says, says)?;
        }
    }
    let path = ipam.join("freed");
    // Where nothing is looked up there, it does not matter.
    for (damage, says, del) in
        [(Damage::Foreign, FOREIGN, None), (Damage::File, file, file), (Damage::Link, link, None)]
    {
        play(&runtime, |_| Ok(path.clone()), damage, says, del)?;
    }
    Ok(())
}

fn no_record(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let (first, other) = (runtime.sandbox("first")?, runtime.sandbox("other")?);
    let answer = runtime.add(&first)?;
    let taken = address(&answer)?;
    fs::remove_dir_all(runtime.run_dir().ipam())?;
    // The address seems to be free; the node's route to the pod tells otherwise.
    let said = runtime.call("ADD", &other, &Value::Null)?.stdout;
    ensure!(said.contains(&format!("the node has the route {taken} dev ")), "it said {said}");
    ensure!(runtime.node.ping(taken, 1)?.all_answered(), "{taken} is gone");
    // The next attempt is for the address that was not tried yet.
    let second = runtime.add(&other)?;
    ensure!(address(&second)? != taken, "{second}");
    for sandbox in [&first, &other] {
        runtime.del(sandbox)?;
    }
    runtime.expect_nothing_left()
}

fn markers(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    // Two addresses: each is used again before long.
    runtime.describe(&["172.16.52.128/31"], &[])?;
    let freed = runtime.run_dir().ipam().join("freed");
    for damage in [Damage::Empty, Damage::Foreign, Damage::Directory, Damage::Link, Damage::Pipe] {
        for _ in 0..2 {
            let pod = runtime.sandbox("earlier")?;
            runtime.add(&pod)?;
            runtime.del(&pod)?;
            runtime.end(&pod)?;
        }
        let marker = fs::read_dir(&freed)?.next().context("there is no marker")??.path();
        let mend = inflict(&marker, damage, runtime.node.directory())?;
        fs::write(freed.join("garbage"), "")?;
        let pods = [runtime.sandbox("a")?, runtime.sandbox("b")?];
        let answers = [runtime.add(&pods[0])?, runtime.add(&pods[1])?];
        for (pod, answer) in pods.iter().zip(&answers) {
            runtime.expect_connected(pod, answer).with_context(|| format!("{damage:?}"))?;
        }
        ensure!(address(&answers[0])? != address(&answers[1])?, "{damage:?}: {answers:?}");
        for pod in &pods {
            runtime.del(pod)?;
            runtime.end(pod)?;
        }
        mend()?;
        fs::remove_dir_all(&freed)?;
    }
    runtime.expect_nothing_left()
}

/// Connects a pod, damages what `path` says, adds another pod and deletes the first one: what each of
/// these commands has to say is given. Then the damage is mended, and all is well. Returns a sandbox
/// that is not connected.
fn play(
    runtime: &Runtime,
    path: impl Fn(&Sandbox) -> Result<PathBuf>,
    damage: Damage,
    add: Says,
    del: Says,
) -> Result<Sandbox> {
    let (first, other) = (runtime.sandbox("first")?, runtime.sandbox("other")?);
    let answer = runtime.add(&first)?;
    let path = path(&first)?;
    let context = || format!("{} is {damage:?}", path.display());

    let mend = inflict(&path, damage, runtime.node.directory())?;
    let outcome = runtime.call("ADD", &other, &Value::Null)?;
    if let Some(words) = add {
        expect_error(&outcome, words, &path).with_context(context)?;
    } else {
        let second: Value = serde_json::from_str(&outcome.ok().with_context(context)?)?;
        runtime.expect_connected(&other, &second).with_context(context)?;
        ensure!(address(&second)? != address(&answer)?, "{}: {second}", context());
    }
    let address = address(&answer)?;
    ensure!(runtime.node.ping(address, 1)?.all_answered(), "{}: {address} is gone", context());
    let outcome = runtime.call("DEL", &first, &answer)?;
    match del {
        Some(words) => expect_error(&outcome, words, &path).with_context(context)?,
        None => drop(outcome.ok().with_context(context)?),
    }

    mend()?;
    for sandbox in [&first, &other] {
        runtime.del(sandbox).with_context(context)?;
    }
    runtime.expect_nothing_left().with_context(context)?;
    let answer = runtime.add(&other)?;
    runtime.expect_connected_alone(&other, &answer).with_context(context)?;
    runtime.del(&other)?;
    runtime.end(&other)?;
    Ok(first)
}

/// That a command failed for what is at `path`, in these words.
fn expect_error(outcome: &Outcome, words: &str, path: &Path) -> Result<()> {
    let answer: Value = serde_json::from_str(&outcome.stdout)
        .with_context(|| format!("it said {:?} {:?}", outcome.stdout, outcome.stderr))?;
    ensure!(!outcome.success() && answer["code"] == 103, "it answered {answer}");
    let said = answer["msg"].as_str().unwrap_or_default();
    ensure!(said.contains(words), "not {words:?}, but {said:?}");
    ensure!(said.contains(&path.display().to_string()), "{} is not in {said:?}", path.display());
    Ok(())
}

fn record_of(runtime: &Runtime, sandbox: &Sandbox) -> Result<PathBuf> {
    let entries = runtime.entries()?;
    let entry = entries.iter().find(|entry| entry.owner.container_id() == sandbox.container);
    let entry = entry.with_context(|| format!("no record of {sandbox:?} among {entries:?}"))?;
    Ok(warren_ipam::Store::new(&runtime.run_dir()).path_of(entry))
}

/// Damages what is at `path`; what is returned mends it, unless there is nothing left to mend. Until
/// then the original is in `keep`.
fn inflict(
    path: &Path,
    damage: Damage,
    keep: &Path,
) -> Result<impl FnOnce() -> Result<()> + use<>> {
    let kept = keep.join("kept");
    let context = || format!("cannot damage {}", path.display());
    if matches!(damage, Damage::Foreign) {
        chown(path, Some(1000), None).with_context(context)?;
    } else {
        fs::rename(path, &kept).with_context(context)?;
        let content = || fs::read_to_string(&kept).with_context(context);
        match damage {
            Damage::Truncated => {
                let content = content()?;
                fs::write(path, &content[..content.len() / 2])
            }
            Damage::Future => {
                let (before, after) = content()?
                    .split_once("\"formatVersion\":")
                    .map(|(before, after)| (before.to_owned(), after.to_owned()))
                    .context("there is no version")?;
                let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
                fs::write(path, format!("{before}\"formatVersion\":99{after}"))
            }
            Damage::Empty | Damage::File => fs::write(path, ""),
            Damage::Directory => fs::create_dir(path),
            Damage::Link => symlink(&kept, path),
            Damage::Pipe => {
                run(Command::new("mkfifo").arg(path), "")?.ok()?;
                Ok(())
            }
            Damage::Foreign => bail!("a file that is another's is the same file"),
        }
        .with_context(context)?;
    }
    let path = path.to_owned();
    Ok(move || {
        let Ok(now) = fs::symlink_metadata(&path) else { return Ok(()) };
        if matches!(damage, Damage::Foreign) {
            return Ok(chown(&path, Some(0), None)?);
        }
        if now.is_dir() {
            fs::remove_dir_all(&path)?
        } else {
            fs::remove_file(&path)?
        }
        fs::rename(&kept, &path).with_context(|| format!("cannot mend {}", path.display()))
    })
}
