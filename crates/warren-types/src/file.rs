//! Files that another process may read at any moment.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Puts `content` at `path` so that a reader sees the old file or the new one, never a part:
/// a temporary file beside it, then a rename. Missing parent directories are made.
///
/// Nothing is synced to a disk: this is for run state, which lies on a tmpfs.
///
/// # Errors
/// Any I/O error, with the path in its text.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_inner(path, content)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot write {}: {e}", path.display())))
}

fn replace_inner(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
    file.write_all(content)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn replaces_the_whole_file_and_leaves_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.json");
        super::replace(&path, b"a longer first text").unwrap();
        super::replace(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_path() {
        let error = super::replace(std::path::Path::new("/proc/no/such"), b"").unwrap_err();
        assert!(error.to_string().contains("/proc/no/such"), "{error}");
    }
}
