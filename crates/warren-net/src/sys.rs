//! The system calls that no safe library offers.
#![expect(unsafe_code, reason = "ioctl(NS_GET_NSTYPE) has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The `CLONE_NEW*` flag of the namespace behind `fd`, by ioctl_nsfs(2).
///
/// Ask only about a file of nsfs: on another file the same request number may mean anything.
pub(crate) fn namespace_type(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: the descriptor is open for as long as the borrow lives, and NS_GET_NSTYPE takes no
    // argument, so the kernel reads and writes no memory of ours.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), libc::NS_GET_NSTYPE) };
    if kind < 0 { Err(io::Error::last_os_error()) } else { Ok(kind) }
}
