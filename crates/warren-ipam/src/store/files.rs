//! The store's system calls, each with an error that names the file.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::linkat;
use rustix::fs::RawDir;
use warren_types::file;

use super::StoreError;
use crate::record::Record;

/// Makes of an I/O error one that says what was tried on which file.
fn at<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
    move |source| StoreError::Io { operation, path: path.to_owned(), source }
}

/// Makes the directory if it is not there. Nobody else is to see it: who can open a file can lock it,
/// and so keep all pods from starting.
pub(super) fn create_directory(path: &Path) -> Result<(), StoreError> {
    if !is_directory(path)? {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path).map_err(at("create directory", path))?;
    }
    Ok(())
}

/// Whether there is a directory; an error if there is one that others can change, or something else.
pub(super) fn is_directory(path: &Path) -> Result<bool, StoreError> {
    file::is_directory(path).map_err(at("use directory", path))
}

/// The names in a directory that [`is_directory`] was asked of; none where it does not exist.
pub(super) fn names(directory: &Path) -> Result<Names, StoreError> {
    let mut names = Names::default();
    let opened = match File::open(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(names),
        opened => opened.map_err(at("read directory", directory))?,
    };
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(opened, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|e| at("read directory", directory)(e.into()))?;
        let name = entry.file_name().to_bytes_with_nul();
        if !matches!(name, b".\0" | b"..\0") {
            names.text.extend_from_slice(name);
            names.count += 1;
        }
    }
    Ok(names)
}

/// How much of a directory is read at once, in bytes: the names of some 300 pods.
const BUFFER: usize = 32 * 1024;

/// Names of files, each with a NUL behind it: a directory of hundreds takes one allocation, not
/// hundreds, and an `ADD` reads two.
#[derive(Debug, Default)]
pub(super) struct Names {
    text: Vec<u8>,
    count: usize,
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &OsStr> {
        let names = self.text.split_inclusive(|byte| *byte == 0);
        names.filter_map(|name| name.strip_suffix(b"\0")).map(OsStr::from_bytes)
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    file::read(path).map_err(at("read", path))
}

/// Removes a file that nothing depends on.
pub(super) fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Moves `from` to `to`, whose directory is made if need be. Nothing to move is no error.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    let not_found = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    match fs::rename(from, to) {
        Err(e) if not_found(&e) || e.kind() == io::ErrorKind::NotADirectory => {
            if let Some(directory) = to.parent() {
                create_directory(directory)?;
            }
            match fs::rename(from, to) {
                Err(e) if not_found(&e) => Ok(()),
                result => result.map_err(at("free", from)),
            }
        }
        result => result.map_err(at("free", from)),
    }
}

/// Waits for the lock on the file at `path`, which is made if need be. It ends with the result.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = file::open(&mut options, path).map_err(at("open lock", path))?;
    wait_for_lock(&file).map_err(at("lock", path))?;
    Ok(file)
}

fn wait_for_lock(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Waits for the lock of the record at `path`. `None` if there is no record by then.
pub(super) fn lock_record(path: &Path) -> Result<Option<File>, StoreError> {
    loop {
        let Some(file) = open_record(path)? else { return Ok(None) };
        wait_for_lock(&file).map_err(at("lock", path))?;
        // Who held it may have freed the address, and another may have it since.
        if is_at(&file, path)? {
            return Ok(Some(file));
        }
    }
}

/// Locks the record at `path`. `None` if someone else has locked it, or if there is no record.
pub(super) fn try_lock_record(path: &Path) -> Result<Option<File>, StoreError> {
    let Some(file) = open_record(path)? else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(is_at(&file, path)?.then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(at("lock", path)(e)),
    }
}

fn open_record(path: &Path) -> Result<Option<File>, StoreError> {
    // Whatever someone put there, a link is not followed and a pipe not waited for.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.raw_os_error() == Some(nix::libc::ELOOP) => {
            let link = fs::symlink_metadata(path).map_err(at("examine", path))?;
            let reason = file::trust(&link, file::Kind::File).map_err(io::Error::other);
            Err(at("open", path)(reason.err().unwrap_or(e)))
        }
        file => file.map(Some).map_err(at("open", path)),
    }
}

/// Whether `path` is still the file that was opened.
fn is_at(file: &File, path: &Path) -> Result<bool, StoreError> {
    let opened = file.metadata().map_err(at("examine", path))?;
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        found => {
            let found = found.map_err(at("examine", path))?;
            Ok((found.dev(), found.ino()) == (opened.dev(), opened.ino()))
        }
    }
}

/// Makes the record at `path` appear whole, and already locked.
pub(super) fn create_locked(
    directory: &Path,
    path: &Path,
    record: &Record,
) -> Result<File, StoreError> {
    let create = || -> io::Result<File> {
        let mut content = serde_json::to_vec(record)?;
        content.push(b'\n');
        let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH;
        let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        let mut file = File::from(nix::fcntl::open(directory, flags, mode)?);
        file.write_all(&content)?;
        file.lock()?;
        // Linking the descriptor itself (AT_EMPTY_PATH) would need CAP_DAC_READ_SEARCH.
        let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(AT_FDCWD, nameless.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?;
        Ok(file)
    };
    create().map_err(at("create", path))
}

/// The time since boot in nanoseconds.
pub(super) fn monotonic_nanoseconds() -> Result<u64, StoreError> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_err(|e| at("read", Path::new("CLOCK_MONOTONIC"))(e.into()))?;
    // Both parts are positive since boot; 2^64 nanoseconds are 584 years.
    Ok((now.tv_sec() as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec() as u64))
}
