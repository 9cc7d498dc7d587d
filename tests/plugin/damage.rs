//! What can happen to a file, and how it is undone.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tests::lab::command::run;

/// What happens to a file.
#[derive(Debug, Clone, Copy)]
pub enum Damage {
    Truncated,
    Empty,
    /// Its format version is one of a future program.
    Future,
    /// It belongs to another user.
    Foreign,
    /// Everybody can write to it.
    Writable,
    Directory,
    File,
    Pipe,
    /// A symbolic link leads to what was there.
    Link,
}

/// Damages what is at `path`; what is returned mends it, unless there is nothing left to mend. Until
/// then the original is in `keep`.
pub fn inflict(
    path: &Path,
    damage: Damage,
    keep: &Path,
) -> Result<impl FnOnce() -> Result<()> + use<>> {
    let kept = keep.join("kept");
    let context = || format!("cannot damage {}", path.display());
    let mode = fs::symlink_metadata(path).with_context(context)?.permissions().mode();
    if let Damage::Foreign = damage {
        chown(path, Some(1000), None).with_context(context)?;
    } else if let Damage::Writable = damage {
        fs::set_permissions(path, Permissions::from_mode(mode | 0o002)).with_context(context)?;
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
            Damage::Foreign | Damage::Writable => bail!("it would be the same file"),
        }
        .with_context(context)?;
    }
    let path = path.to_owned();
    Ok(move || {
        let Ok(now) = fs::symlink_metadata(&path) else { return Ok(()) };
        match damage {
            Damage::Foreign => return Ok(chown(&path, Some(0), None)?),
            Damage::Writable => {
                return Ok(fs::set_permissions(&path, Permissions::from_mode(mode))?);
            }
            _ => {}
        }
        if now.is_dir() {
            fs::remove_dir_all(&path)?
        } else {
            fs::remove_file(&path)?
        }
        fs::rename(&kept, &path).with_context(|| format!("cannot mend {}", path.display()))
    })
}
