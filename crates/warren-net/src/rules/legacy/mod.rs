//! iptables-legacy, whose tables are no part of nf_tables: the kernel hands a table over as it is and
//! takes it back whole.
//!
//! Its chain FORWARD gets the same rules as the one that nf_tables has for iptables, see
//! [`rules`](super). There is no event when somebody changes it, so it is looked at in every pass. A
//! program that reads the table before it is written here and writes it afterwards is told by the
//! kernel to do so again, as the number of rules is another one. The other way round nobody is told;
//! so nothing is written but what must be, and that right after it was read. The lock of the command
//! iptables would not help: it is a file of the host's that the agent's container does not have.

mod table;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use self::table::{ASKED_SIZE_AT, ENTRIES_AT, INFO, SIZE_AT, Table};
use super::Rule;
use crate::netlink::Error;
use crate::sys;

/// The tables of iptables-legacy that this network namespace has. To ask the kernel for one that it
/// has not would make it.
const TABLES: &str = "/proc/thread-self/net/ip_tables_names";

/// How often it is tried because somebody else wrote the table meanwhile, before that is an error.
const ATTEMPTS: usize = 8;

/// Has the chain FORWARD end with the rules `wanted` for as long as it drops what no rule accepts,
/// and with none of ours while it does not; tells whether anything was written.
///
/// # Errors
/// When the kernel does not take the table.
pub fn bring(wanted: &[Rule]) -> Result<bool, Error> {
    for _ in 0..ATTEMPTS {
        let Some((kernel, table)) = read()? else { return Ok(false) };
        let Some(edit) = table.edit(wanted) else { return Ok(false) };
        let mut counters = vec![[0; 2]; table.len()];
        let mut value = edit.table.replacement();
        match sys::replace_ip_tables(kernel.as_fd(), &mut value, &mut counters) {
            Ok(()) => {
                // The new table counts from nothing, and takes what the old one had counted.
                let counted = edit.counters(&counters);
                return match sys::add_ip_tables_counters(kernel.as_fd(), &counted) {
                    Ok(()) => Ok(true),
                    Err(error) => Err(refused("restore the counters", &error)),
                };
            }
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
            Err(error) => return Err(refused("write the rules", &error)),
        }
    }
    Err(refused("write the rules", &io::ErrorKind::WouldBlock.into()))
}

/// Whether any rule there is ours.
///
/// # Errors
/// When the kernel does not hand the table over.
pub fn is_anything_ours() -> Result<bool, Error> {
    Ok(read()?.is_some_and(|(_, table)| table.is_anything_ours()))
}

/// The table, and the socket by which the kernel gave it; none where there is none.
fn read() -> Result<Option<(OwnedFd, Table)>, Error> {
    let tables = fs::read_to_string(TABLES).unwrap_or_default();
    // The layout that is known here is that of 64 bits.
    if !tables.lines().any(|name| name == table::NAME) || cfg!(not(target_pointer_width = "64")) {
        return Ok(None);
    }
    let kernel = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|error| refused("open a socket for", &error.into()))?;
    for _ in 0..ATTEMPTS {
        let mut info = table::request(INFO);
        sys::ip_tables_info(kernel.as_fd(), &mut info).map_err(|e| refused("ask for", &e))?;
        let size = table::number(&info, SIZE_AT).unwrap_or_default();
        let mut entries = table::request(ENTRIES_AT + size as usize);
        if let Some(place) = entries.get_mut(ASKED_SIZE_AT..ASKED_SIZE_AT + 4) {
            place.copy_from_slice(&size.to_ne_bytes());
        }
        match sys::ip_tables_entries(kernel.as_fd(), &mut entries) {
            Ok(()) => {
                let table = Table::parse(&info, entries.get(ENTRIES_AT..).unwrap_or_default());
                let table = table.ok_or_else(|| Error::Answer {
                    operation: operation("read the rules"),
                    reason: "the table has another form".to_owned(),
                })?;
                return Ok(Some((kernel, table)));
            }
            // Its size has changed in between.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
            Err(error) => return Err(refused("read the rules", &error)),
        }
    }
    Err(refused("read the rules", &io::ErrorKind::WouldBlock.into()))
}

fn operation(what: &str) -> String {
    format!("{what} of iptables-legacy (table filter)")
}

fn refused(what: &str, error: &io::Error) -> Error {
    let errno = error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw);
    Error::Refused { operation: operation(what), errno, text: None }
}
