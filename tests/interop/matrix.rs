//! What has been shown with whom, as a table for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tests::environment::source_root;
use tests::lab::command::run;
use tests::speakers::Kind;

use crate::{Cell, ROWS};

/// Where the table stands, between these lines.
const FILE: &str = "README.md";
const BEGIN: &str =
    "<!-- interop: written by INTEROP=write cargo test -p tests --test interop -->\n";
const END: &str = "<!-- interop end -->\n";

static SHOWN: Mutex<BTreeMap<(&'static str, Kind), bool>> = Mutex::new(BTreeMap::new());

/// Remembers what a test has shown.
pub fn note(row: &'static str, kind: Kind, is_so: bool) {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner).insert((row, kind), is_so);
}

/// Compares the table in the README with what the tests have shown now, or writes it.
pub fn settle() -> Result<()> {
    let file = source_root().join(FILE);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {FILE}"))?;
    let missing = || format!("{FILE} has no line {BEGIN:?} with a line {END:?} after it");
    let (before, rest) = text.split_once(BEGIN).with_context(missing)?;
    let (table, after) = rest.split_once(END).with_context(missing)?;
    let wanted = compose()?;
    if std::env::var("INTEROP").as_deref() == Ok("write") {
        let text = format!("{before}{BEGIN}{wanted}{END}{after}");
        return std::fs::write(&file, text).with_context(|| format!("cannot write {FILE}"));
    }
    // The versions are those of the machine that it was written on.
    ensure!(
        table.lines().skip(1).eq(wanted.lines().skip(1)),
        "the table in {FILE} is not what the tests have shown; write it anew by \
         INTEROP=write cargo test -p tests --test interop. It should be:\n{wanted}"
    );
    Ok(())
}

fn compose() -> Result<String> {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::from("| |");
    for kind in Kind::ALL {
        let _ = write!(text, " {} {} |", kind.as_str(), version(kind)?);
    }
    text.push_str("\n| --- | --- | --- | --- | --- |\n");
    let mut notes = Vec::new();
    for row in ROWS {
        let _ = write!(text, "| {} |", row.name);
        for kind in Kind::ALL {
            let cell = match row.cell(kind) {
                Cell::Shown(_) => match shown.get(&(row.name, kind)) {
                    Some(true) => "yes".to_owned(),
                    _ => "FAILS".to_owned(),
                },
                Cell::NotTheirs(why) => {
                    let at = notes.iter().position(|it| *it == why).unwrap_or_else(|| {
                        notes.push(why);
                        notes.len() - 1
                    });
                    format!("no ({})", at + 1)
                }
            };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text.push('\n');
    for (n, note) in notes.iter().enumerate() {
        let _ = writeln!(text, "{}. {note}", n + 1);
    }
    Ok(text)
}

/// The version that the package's makers gave it, without Debian's part.
fn version(kind: Kind) -> Result<String> {
    let mut ask = Command::new("dpkg-query");
    let said =
        run(ask.args(["-W", "-f", "${source:Upstream-Version}", kind.package()]), "")?.ok()?;
    Ok(said.trim().to_owned())
}
