//! The system calls that no safe library offers.
#![expect(unsafe_code, reason = "ioctl() has no safe wrapper for these requests")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `ETHTOOL_GLINK` of linux/ethtool.h: whether a link has a carrier.
const ETHTOOL_GLINK: u32 = 0x0a;

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// The `CLONE_NEW*` flag of the namespace behind `fd`, by ioctl_nsfs(2).
///
/// Ask only about a file of nsfs: on another file the same request number may mean anything.
pub(crate) fn namespace_type(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: the descriptor is open for as long as the borrow lives, and NS_GET_NSTYPE takes no
    // argument, so the kernel reads and writes no memory of ours.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), libc::NS_GET_NSTYPE) };
    if kind < 0 { Err(io::Error::last_os_error()) } else { Ok(kind) }
}

/// Whether an interface of the namespace of `socket` has a carrier, by netdevice(7).
pub(crate) fn has_carrier(socket: BorrowedFd<'_>, interface: &str) -> io::Result<bool> {
    let mut value = EthtoolValue { command: ETHTOOL_GLINK, data: 0 };
    // SAFETY: all of `ifreq` is integers, arrays of them and pointers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // The last byte stays zero: it ends the name.
    let name = request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1);
    name.zip(interface.bytes()).for_each(|(to, from)| *to = from as libc::c_char);
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the descriptor is open for as long as the borrow lives. The kernel reads the request
    // and reads and writes the value behind its pointer; both live until the call has returned, and
    // are as large as linux/if.h and linux/ethtool.h have them.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data != 0) }
}
