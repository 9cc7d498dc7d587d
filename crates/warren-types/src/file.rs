//! Files that another process may read at any moment.

use std::fs::{DirBuilder, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// What something in the run directory has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// Why something in the run directory cannot be relied on, whatever is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It is something else than this program makes. A link may lead anywhere, today here and
    /// tomorrow there.
    #[error("it is {found} instead of {wanted}; find out who put it there, and remove it")]
    Kind {
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// It belongs to a user who is neither root nor this program's own, and can change it.
    #[error("it belongs to user {0} instead of root; find out why, and give it to root")]
    Owner(u32),
    /// Its mode lets others than its owner change it.
    #[error(
        "others than its owner can write to it (mode {0:03o}); find out why, and chmod go-w it"
    )]
    Writable(u32),
}

/// Whether what has this `metadata`, which is not that of a link's target, can be relied on.
///
/// # Errors
/// See [`Distrust`].
pub fn trust(metadata: &Metadata, kind: Kind) -> Result<(), Distrust> {
    let is_right = match kind {
        Kind::File => metadata.is_file(),
        Kind::Directory => metadata.is_dir(),
    };
    if !is_right {
        let wanted = match kind {
            Kind::File => "a file",
            Kind::Directory => "a directory",
        };
        return Err(Distrust::Kind { wanted, found: name_of(metadata.file_type()) });
    }
    let own = || std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == metadata.uid());
    if metadata.uid() != 0 && !own() {
        return Err(Distrust::Owner(metadata.uid()));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o022 == 0 { Ok(()) } else { Err(Distrust::Writable(mode)) }
}

/// Whether there is a directory at `path`.
///
/// # Errors
/// As examining it does, with [`Distrust`] as the reason where it cannot be relied on.
pub fn is_directory(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => trust(&found?, Kind::Directory).map(|()| true).map_err(io::Error::other),
    }
}

/// Makes the directory at `path` and what is missing above it, for others to read, whatever the
/// process's umask would let them do besides.
///
/// # Errors
/// Any I/O error, but that it is there.
pub fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn name_of(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_file() {
        "a file"
    } else {
        "a device or a socket"
    }
}

/// Opens a file by `options` and adds what keeps it from leading elsewhere or waiting: a link is not
/// followed, the other end of a pipe not waited for.
///
/// # Errors
/// As opening a file does, with [`Distrust`] as the reason where the file cannot be relied on.
pub fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let distrusted = |metadata: &Metadata| trust(metadata, Kind::File).map_err(io::Error::other);
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match options.custom_flags(flags).open(path) {
        // What a link or a directory is refused with depends on the options, and reads badly.
        Err(error) => {
            std::fs::symlink_metadata(path).map_or(Ok(()), |found| distrusted(&found))?;
            return Err(error);
        }
        Ok(file) => file,
    };
    distrusted(&file.metadata()?)?;
    Ok(file)
}

/// Reads the file at `path`, if it can be relied on.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(OpenOptions::new().read(true), path)?.read_to_end(&mut content)?;
    Ok(content)
}

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
    create_directory(directory)?;
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

    #[test]
    fn what_is_no_file_or_anothers_is_not_read_and_the_reason_names_it() {
        use std::os::unix::fs::{PermissionsExt, chown, symlink};

        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("file"), b"content").unwrap();
        assert_eq!(super::read(&path("file")).unwrap(), b"content");
        symlink("file", path("link")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        std::fs::create_dir(path("directory")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(path("socket")).unwrap());
        for (name, words) in [
            ("link", "a symbolic link instead of a file"),
            ("dangling", "a symbolic link instead of a file"),
            ("directory", "a directory instead of a file"),
            ("socket", "a socket instead of a file"),
            ("absent", "No such file"),
        ] {
            let error = super::read(&path(name)).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
        }
        for (mode, words) in [(0o664, "mode 664"), (0o602, "mode 602")] {
            std::fs::set_permissions(path("file"), PermissionsExt::from_mode(mode)).unwrap();
            let error = super::read(&path("file")).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        std::fs::set_permissions(path("file"), PermissionsExt::from_mode(0o644)).unwrap();
        // Only root can give a file away; for others there is nothing to test.
        if chown(path("file"), Some(1000), None).is_ok() {
            let error = super::read(&path("file")).unwrap_err().to_string();
            assert!(error.contains("belongs to user 1000 instead of root"), "{error}");
        }
    }
}
