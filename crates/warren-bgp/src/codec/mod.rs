//! Messages to octets and back.
//!
//! This is the only module that knows the package that does the work at the level of octets; none
//! of its types is seen outside, so that another can take its place here. The way in:
//!
//! ```text
//! octets -> Framer -> Frame -> open::decode, update::decode, ... -> message::Open, Update, ...
//! ```
//!
//! An error is named by its consequence. [`SessionReset`] ends the session and carries the
//! NOTIFICATION that says why (RFC 4271, 6). A [`Malformed`] attribute costs only itself or the
//! routes of its message (RFC 7606). Reading octets never depends on a guess: what the peers have
//! agreed on is passed in as an [`UpdateContext`].

mod error;
mod frame;
pub mod notification;
pub mod open;
pub mod refresh;
pub mod update;

pub use error::{Consequence, Malformed, SessionReset};
pub use frame::{Frame, Framer, KEEPALIVE, MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN, MessageType};
pub use update::{Decoded, UpdateContext};

#[cfg(test)]
mod tests;
