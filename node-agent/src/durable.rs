//! Files on a disk that other programs read at any moment and that must survive a power cut: the
//! plugin and its configuration.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;

/// What the names of temporary files begin with. Runtimes read neither hidden files nor those
/// without the ending `.conflist`.
const TEMPORARY: &str = ".warren-new-";

/// Puts `content` at `path` with these permission bits, so that a reader sees the old file or the
/// new one, whole and with its permissions, even after a power cut. What a writer that was killed
/// left in the directory is removed.
///
/// # Errors
/// Any I/O error, with the path in its text.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let handle = File::open(directory)?;
        // One writer at a time, or it would take another's temporary file for a left-over.
        handle.lock()?;
        remove_leftovers(directory)?;
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(directory)?;
        file.write_all(content)?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        handle.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for path in leftovers(directory)? {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// The temporary files in `directory`: while nobody writes there, those of writers that were killed.
///
/// # Errors
/// The directory cannot be read.
pub fn leftovers(directory: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_whole_and_has_its_permissions_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bin/warren");
        replace(&path, b"a longer first text", 0o755).unwrap();
        replace(&path, b"second", 0o755).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(std::fs::read_dir(directory.path().join("bin")).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_by_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(".warren-new-x1y2z3"), b"half of").unwrap();
        std::fs::write(directory.path().join("ptp"), b"another's").unwrap();
        replace(&directory.path().join("warren"), b"whole", 0o755).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["ptp", "warren"]);
    }

    #[test]
    fn an_error_names_the_file() {
        let error = replace(Path::new("/proc/no/such"), b"", 0o644).unwrap_err();
        assert!(format!("{error:#}").contains("/proc/no/such"), "{error:#}");
    }
}
