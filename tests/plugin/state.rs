//! Each file of the run directory is damaged or replaced while a pod is connected. What follows is a
//! clear error or nothing at all, and never a second use of the pod's address.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::command::Outcome;
use tests::trial::trial;

use crate::damage::{Damage, inflict};
use crate::runtime::{Runtime, Sandbox, address};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a damaged node description is named, and pods can still be deleted", |lab| {
            play_all(lab, &[What::Description])
        }),
        trial("a lock that is none is named, and nothing happens without it", |lab| {
            play_all(lab, &[What::Lock])
        }),
        trial("a damaged record keeps its address, and the pod can be deleted", |lab| {
            play_all(lab, &[What::Record])
        }),
        trial("a directory that is none, or is others' to change, is named", |lab| {
            play_all(lab, &[What::Addresses, What::Records, What::Markers])
        }),
        trial("the run directory itself is not relied on where others can change it", |lab| {
            play_all(lab, &[What::RunDirectory])
        }),
        trial(
            "a GC keeps the address of a record that it cannot read, and removes the rest",
            forgotten,
        ),
        trial("without any record no address is used twice either", no_record),
        trial("what a pod asks for is named where it is damaged", |lab| {
            play_all(lab, &[What::Wishes])
        }),
        trial("what is wrong with the place where the agent listens stops no pod", |lab| {
            play_all(lab, &[What::Reports])
        }),
        trial("what is wrong among the markers of free addresses stops no pod", markers),
    ]
}

/// What is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    RunDirectory,
    /// The node description.
    Description,
    /// What a pod asks for.
    Wishes,
    /// Where the agent listens.
    Reports,
    Lock,
    /// The directory of all that is known of addresses.
    Addresses,
    /// The directory of the records.
    Records,
    /// The directory of the markers.
    Markers,
    /// The first pod's record.
    Record,
}

/// What a command says of it: none, if it succeeds.
type Says = Option<&'static str>;

const FOREIGN: Says = Some("it belongs to user 1000 instead of root");
const WRITABLE: Says = Some("others than its owner can write to it (mode ");
const DIRECTORY: Says = Some("it is a directory instead of a file");
const PIPE: Says = Some("it is a pipe instead of a file");
const LINK: Says = Some("it is a symbolic link instead of a file");
const TORN: Says = Some("is not a node description: EOF while parsing");
const TORN_WISHES: Says = Some("does not say what addresses a pod asks for: EOF while parsing");
const FUTURE: Says = Some("has format version 99, this program reads up to ");
const FILE_FOR_DIRECTORY: Says = Some("it is a file instead of a directory");
const LINK_TO_DIRECTORY: Says = Some("it is a symbolic link instead of a directory");

/// How something is damaged; what an ADD of another pod then says of it, and what a DEL of this one.
type Case = (Damage, Says, Says);

/// What holds of which things. Of some it does not matter how they are where nothing is looked up there.
const TABLE: &[(&[What], &[Case])] = &[
    (
        &[What::RunDirectory, What::Addresses, What::Records],
        &[
            (Damage::Foreign, FOREIGN, FOREIGN),
            (Damage::Writable, WRITABLE, WRITABLE),
            (Damage::File, FILE_FOR_DIRECTORY, FILE_FOR_DIRECTORY),
            (Damage::Link, LINK_TO_DIRECTORY, LINK_TO_DIRECTORY),
        ],
    ),
    (
        &[What::Markers],
        &[
            (Damage::Foreign, FOREIGN, None),
            (Damage::Writable, WRITABLE, None),
            (Damage::File, FILE_FOR_DIRECTORY, FILE_FOR_DIRECTORY),
            (Damage::Link, LINK_TO_DIRECTORY, None),
        ],
    ),
    (
        &[What::Lock],
        &[
            (Damage::Foreign, FOREIGN, FOREIGN),
            (Damage::Writable, WRITABLE, WRITABLE),
            (Damage::Directory, DIRECTORY, DIRECTORY),
            (Damage::Pipe, PIPE, PIPE),
            (Damage::Link, LINK, LINK),
        ],
    ),
    (
        &[What::Description],
        &[
            (Damage::Truncated, TORN, None),
            (Damage::Empty, TORN, None),
            (Damage::Future, FUTURE, None),
        ],
    ),
    (
        &[What::Wishes],
        &[(Damage::Truncated, TORN_WISHES, None), (Damage::Empty, TORN_WISHES, None)],
    ),
    (
        &[What::Description, What::Wishes],
        &[
            (Damage::Foreign, FOREIGN, None),
            (Damage::Writable, WRITABLE, None),
            (Damage::Directory, DIRECTORY, None),
            (Damage::Pipe, PIPE, None),
            (Damage::Link, LINK, None),
        ],
    ),
    (
        &[What::Reports],
        &[
            (Damage::File, None, None),
            (Damage::Foreign, None, None),
            (Damage::Writable, None, None),
            (Damage::Directory, None, None),
            (Damage::Pipe, None, None),
            (Damage::Link, None, None),
        ],
    ),
    (
        &[What::Record],
        &[
            (Damage::Truncated, None, None),
            (Damage::Empty, None, None),
            (Damage::Future, None, None),
            (Damage::Foreign, None, None),
            (Damage::Writable, None, None),
            (Damage::Directory, None, None),
            (Damage::Link, None, LINK),
        ],
    ),
];

/// What a CHECK says of a damaged record, and a GC.
const RECORDS: &[(Damage, Says)] = &[
    (Damage::Truncated, Some("is not a record: EOF while parsing")),
    (Damage::Empty, Some("is not a record: EOF while parsing")),
    (Damage::Future, FUTURE),
    (Damage::Foreign, FOREIGN),
    (Damage::Writable, WRITABLE),
    (Damage::Directory, DIRECTORY),
    (Damage::Link, LINK),
];

impl What {
    /// Where it is while `sandbox` is connected.
    fn path(self, runtime: &Runtime, sandbox: &Sandbox) -> Result<PathBuf> {
        let run_dir = runtime.run_dir();
        Ok(match self {
            Self::RunDirectory => run_dir.path().to_owned(),
            Self::Description => run_dir.node_description(),
            Self::Wishes => run_dir.wishes("default", "other").context("no name of a pod")?,
            Self::Reports => run_dir.reports(),
            Self::Lock => run_dir.ipam().join("lock"),
            Self::Addresses => run_dir.ipam(),
            Self::Records => run_dir.ipam().join("addresses"),
            Self::Markers => run_dir.ipam().join("freed"),
            Self::Record => record_of(runtime, sandbox)?,
        })
    }
}

/// All that the table says of these.
fn play_all(lab: &Lab, damaged: &[What]) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    let wishes = runtime.run_dir().wishes("default", "other").context("no name of a pod")?;
    fs::create_dir_all(wishes.parent().context("no directory")?)?;
    fs::write(&wishes, r#"{"pools":["172.16.0.0/16"]}"#)?;
    let _agent = UnixDatagram::bind(runtime.run_dir().reports())?;
    for (those, cases) in TABLE {
        for what in those.iter().filter(|what| damaged.contains(what)) {
            for (damage, add, del) in *cases {
                play(&runtime, *what, *damage, *add, *del)?;
            }
        }
    }
    Ok(())
}

/// What CHECK and GC say of a damaged record, and that a GC goes on with the others.
fn forgotten(lab: &Lab) -> Result<()> {
    let runtime = Runtime::new(lab)?;
    for (damage, says) in RECORDS {
        let says = says.unwrap_or_default();
        let context = || format!("a record is {damage:?}");
        let pods = ["a", "b", "c"].map(|name| runtime.sandbox(name));
        let [before, damaged, after] =
            pods.into_iter().collect::<Result<Vec<_>>>()?.try_into().ok().context("three")?;
        let mut answers = Vec::new();
        for pod in [&before, &damaged, &after] {
            answers.push(runtime.add(pod)?);
        }
        let path = record_of(&runtime, &damaged)?;
        let mend = inflict(&path, *damage, runtime.node.directory())?;
        expect_error(&runtime.call("CHECK", &damaged, &answers[1])?, says, &path)
            .with_context(context)?;
        expect_error(&runtime.gc(&[])?, says, &path).with_context(context)?;
        // The others are gone; its own address stays in use, and its pod connected.
        let kept: Vec<_> = runtime.entries()?.iter().map(|entry| entry.address).collect();
        ensure!(kept == [address(&answers[1])?], "{}: {kept:?}", context());
        ensure!(runtime.node.ping(kept[0], 1)?.all_answered(), "{}", context());
        let next = runtime.sandbox("next")?;
        let answer = runtime.add(&next).with_context(context)?;
        ensure!(address(&answer)? != kept[0], "{}: {answer}", context());
        mend()?;
        runtime.gc(&[])?.ok().with_context(context)?;
        runtime.expect_nothing_left().with_context(context)?;
        for pod in [&before, &damaged, &after, &next] {
            runtime.end(pod)?;
        }
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
    for damage in [
        Damage::Empty,
        Damage::Foreign,
        Damage::Writable,
        Damage::Directory,
        Damage::Link,
        Damage::Pipe,
    ] {
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

/// Connects a pod, damages something, adds another pod and deletes the first one: what each of
/// these commands has to say is given. Then the damage is mended, and all is well.
fn play(runtime: &Runtime, what: What, damage: Damage, add: Says, del: Says) -> Result<()> {
    let (first, other) = (runtime.sandbox("first")?, runtime.sandbox("other")?);
    let answer = runtime.add(&first)?;
    let path = what.path(runtime, &first)?;
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
    runtime.end(&first)
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
