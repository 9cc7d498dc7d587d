//! A synchronous rtnetlink socket.
//!
//! Everything this project asks of the kernel is answered before `sendmsg` returns, so a
//! synchronous socket loses nothing, and the plugin, which lives for a few milliseconds, carries no
//! asynchronous runtime. A [`Socket`] belongs to the namespace it was opened in for all its life.
//!
//! Three traps, for whoever adds a request:
//! - The sockets check dump requests strictly (`NETLINK_GET_STRICT_CHK`): the kernel filters by what
//!   the request names, and refuses what it cannot filter by. A route dump that names a table that
//!   has never had a route is answered with ENOENT.
//! - Requests about links use `AddressFamily::Unspec`; with another family the kernel takes them for
//!   something else (AF_BRIDGE) or answers with less.
//! - The requests of one batch are carried out in order, and a refusal does not stop those after it.

mod error;
pub(crate) mod requests;
mod socket;
#[cfg(test)]
mod tests;

pub use error::Error;
pub(crate) use socket::uninterrupted;
pub use socket::{Outcome, Request, Socket};
