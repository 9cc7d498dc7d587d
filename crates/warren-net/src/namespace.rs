//! Network namespaces: opening one by its path, and acting within it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use crate::sys;

#[cfg(test)]
mod tests;

/// The calling thread's own network namespace. (`/proc/self` is the main thread's, which may be
/// another one.)
const OWN: &str = "/proc/thread-self/ns/net";

/// What is wrong with a path that should be a network namespace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there: the namespace is gone, or never was.
    #[error("network namespace {} does not exist", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file that is no namespace. An empty ordinary file is what remains of a named namespace
    /// after a reboot or `umount`.
    #[error("{} is {what}, not a network namespace", path.display())]
    NotANamespace {
        /// What was opened.
        path: PathBuf,
        /// What it is instead, with its article.
        what: &'static str,
    },
    /// A namespace of another type.
    #[error("{} is a {kind} namespace, not a network namespace", path.display())]
    OtherType {
        /// What was opened.
        path: PathBuf,
        /// Its type, as namespaces(7) calls it.
        kind: &'static str,
    },
    /// It could not be opened or examined.
    #[error("cannot open network namespace {}: {source}", path.display())]
    Open {
        /// What was to be opened.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is open and yet could not be entered.
    #[error("cannot enter network namespace {} (this takes root): {source}", path.display())]
    Enter {
        /// What was to be entered.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// An open network namespace. It stays alive for as long as this value does, even when its path
/// and its processes go.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
}

impl Namespace {
    /// Opens the network namespace at `path`, as `/run/netns/blue` or `/proc/123/ns/net`.
    ///
    /// # Errors
    /// When nothing is there, or it is anything but a network namespace.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        // O_NONBLOCK: a FIFO in this place must not hold us up for ever.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
        let file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing { path });
            }
            Err(source) => return Err(Error::Open { path, source }),
        };
        let kind = match type_of(&file) {
            Ok(kind) => kind,
            Err(source) => return Err(Error::Open { path, source }),
        };
        match kind {
            Type::Namespace(libc::CLONE_NEWNET) => Ok(Self { file, path }),
            Type::Namespace(flag) => Err(Error::OtherType { path, kind: type_name(flag) }),
            Type::Other(what) => Err(Error::NotANamespace { path, what }),
        }
    }

    /// The network namespace that the calling thread is in.
    ///
    /// # Errors
    /// When /proc is not mounted.
    pub fn current() -> Result<Self, Error> {
        Self::open(OWN)
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the calling thread is in this very namespace.
    ///
    /// # Errors
    /// When /proc is not mounted.
    pub fn is_current(&self) -> Result<bool, Error> {
        self.is(&Self::current()?)
    }

    /// Whether both are the same namespace, by whatever path each was opened.
    ///
    /// # Errors
    /// When one cannot be examined.
    pub fn is(&self, other: &Self) -> Result<bool, Error> {
        let identity = |namespace: &Self| match namespace.file.metadata() {
            Ok(file) => Ok((file.st_dev(), file.st_ino())),
            Err(source) => Err(Error::Open { path: namespace.path.clone(), source }),
        };
        Ok(identity(self)? == identity(other)?)
    }

    /// Runs `act` with the calling thread in this namespace, and takes the thread back to its own.
    /// What `act` opens (sockets) keeps the namespace it was opened in. Other threads are not
    /// concerned: each has a namespace of its own.
    ///
    /// A thread made for `act` would need no way back. It would also have to wait for a processor
    /// twice, which on a busy node took 20 ms where going there and back takes 20 µs.
    ///
    /// # Errors
    /// When the namespace may not be entered. Should the way back fail, which the kernel has no
    /// reason for but want of memory, the process aborts: all that it did from then on would happen
    /// to the wrong namespace.
    pub fn within<T>(&self, act: impl FnOnce() -> T) -> Result<T, Error> {
        self.visit(&Self::current()?, act)
    }

    /// [`Namespace::within`] for a caller that has its thread's own namespace open already.
    ///
    /// # Errors
    /// As there.
    pub fn visit<T>(&self, own: &Self, act: impl FnOnce() -> T) -> Result<T, Error> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::Enter { path: self.path.clone(), source: errno.into() })?;
        // A guard, so that a panic of `act` is caught, if it is, where it belongs.
        let _back = Back(own);
        Ok(act())
    }
}

/// Takes the thread back to its own namespace when dropped.
struct Back<'n>(&'n Namespace);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if let Err(errno) = setns(&self.0.file, CloneFlags::CLONE_NEWNET) {
            eprintln!("cannot return to the node's network namespace, and so give up: {errno}");
            process::abort();
        }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

enum Type {
    /// A namespace, by its `CLONE_NEW*` flag.
    Namespace(libc::c_int),
    /// Not a namespace; what it is, with its article.
    Other(&'static str),
}

fn type_of(file: &File) -> io::Result<Type> {
    if fstatfs(file)?.filesystem_type() == NSFS_MAGIC {
        return sys::namespace_type(file.as_fd()).map(Type::Namespace);
    }
    let kind = file.metadata()?.file_type();
    Ok(Type::Other(if kind.is_file() {
        "an ordinary file"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else {
        "a device"
    }))
}

fn type_name(flag: libc::c_int) -> &'static str {
    match flag {
        libc::CLONE_NEWCGROUP => "cgroup",
        libc::CLONE_NEWIPC => "ipc",
        libc::CLONE_NEWNS => "mount",
        libc::CLONE_NEWPID => "pid",
        libc::CLONE_NEWUSER => "user",
        libc::CLONE_NEWUTS => "uts",
        // CLONE_NEWTIME, and whatever comes after it.
        _ => "time or newer",
    }
}
