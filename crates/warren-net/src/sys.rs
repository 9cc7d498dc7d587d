//! The system calls that no safe library offers.
#![expect(unsafe_code, reason = "ioctl() and setsockopt() have no safe wrapper for these requests")]

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

/// Options of linux/netfilter_ipv4/ip_tables.h. The same numbers ask and tell.
const IPT_SO_GET_INFO: libc::c_int = 64;
const IPT_SO_GET_ENTRIES: libc::c_int = 65;
const IPT_SO_SET_REPLACE: libc::c_int = 64;
const IPT_SO_SET_ADD_COUNTERS: libc::c_int = 65;

/// Where `struct ipt_replace` has the number of the old table's counters, and their place in memory, on
/// a machine of 64 bits.
const COUNTERS_NUMBER_AT: usize = 84;
const COUNTERS_POINTER_AT: usize = 88;

/// Fills in a `struct ipt_getinfo`.
pub(crate) fn ip_tables_info(socket: BorrowedFd<'_>, info: &mut [u8]) -> io::Result<()> {
    get_ip_option(socket, IPT_SO_GET_INFO, info)
}

/// Fills in a `struct ipt_get_entries` with its entries.
pub(crate) fn ip_tables_entries(socket: BorrowedFd<'_>, entries: &mut [u8]) -> io::Result<()> {
    get_ip_option(socket, IPT_SO_GET_ENTRIES, entries)
}

/// Replaces a table by the `struct ipt_replace` with its entries in `value`. `counters` has a place
/// for packets and octets of each entry of the old table, and gets them.
pub(crate) fn replace_ip_tables(
    socket: BorrowedFd<'_>,
    value: &mut [u8],
    counters: &mut [[u64; 2]],
) -> io::Result<()> {
    let number = u32::try_from(counters.len()).unwrap_or(u32::MAX).to_ne_bytes();
    let pointer = (counters.as_mut_ptr() as usize).to_ne_bytes();
    for (at, octets) in [(COUNTERS_NUMBER_AT, &number[..]), (COUNTERS_POINTER_AT, &pointer[..])] {
        let place = value.get_mut(at..at + octets.len()).ok_or(io::ErrorKind::InvalidInput)?;
        place.copy_from_slice(octets);
    }
    // The kernel writes through the pointer in `value` to `counters`, which is borrowed for as long, and
    // no more than their number.
    set_ip_option(socket, IPT_SO_SET_REPLACE, value)
}

/// Adds what a `struct xt_counters_info` has counted to the counters of a table.
pub(crate) fn add_ip_tables_counters(socket: BorrowedFd<'_>, counters: &[u8]) -> io::Result<()> {
    set_ip_option(socket, IPT_SO_SET_ADD_COUNTERS, counters)
}

fn get_ip_option(socket: BorrowedFd<'_>, option: libc::c_int, value: &mut [u8]) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for as long as the borrow lives. The kernel reads and writes
    // `length` octets of `value`, which is as long, and `length` itself.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set_ip_option(socket: BorrowedFd<'_>, option: libc::c_int, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for as long as the borrow lives, and the kernel reads `length`
    // octets of `value`, which is as long. The one pointer that a value may have in it is that of
    // `replace_ip_tables`, where it says why that holds.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            value.as_ptr().cast(),
            length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
