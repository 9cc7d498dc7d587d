//! The codec beside two decoders that know nothing of it: the crate bgpkit-parser, and tshark.
//!
//! | test | what is compared |
//! | --- | --- |
//! | [`written`] | every kind of message that we write, as either of them reads it, with what was meant |
//! | [`damaged`] | messages with damage in them, as we and bgpkit-parser read them |

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod bgpkit;
mod capture;
mod damaged;
mod messages;
mod tshark;
mod written;
