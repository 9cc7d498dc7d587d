//! BGP-4 (RFC 4271) without sockets or clocks.
//!
//! Everything here is a value or a state machine that is fed with events and the time and answers
//! with actions. Sockets and timers are in `warren-speaker`.

pub mod message;
