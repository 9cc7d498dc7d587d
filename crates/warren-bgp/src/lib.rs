//! BGP-4 (RFC 4271) without sockets or clocks.
//!
//! Everything here is a value or a state machine that is fed with events and the time and answers
//! with actions. Sockets and timers are in `warren-speaker`.
//!
//! ```text
//! octets <-> codec <-> message <-> session (one per peer) <-> rib (one) <- policy
//! ```
//!
//! | RFC | what of it |
//! | --- | --- |
//! | 1997 | COMMUNITIES, the well-known ones among them |
//! | 2918 | route refresh, asked for and answered |
//! | 4271 | all of it; deviations are named where they are, in [`session`] and [`codec`] |
//! | 4360 | EXTENDED COMMUNITIES, carried |
//! | 4486, 9003 | the subcodes of Cease, and the text that a peer sends along |
//! | 4724, 8538 | graceful restart in both roles; see [`session`] and [`rib::Rib::defer`] |
//! | 4760, 2545 | IPv6 unicast; IPv4 unicast in MP_REACH_NLRI and MP_UNREACH_NLRI is read, not sent |
//! | 5492, 9072 | capabilities |
//! | 6286 | identifiers that are unique within an AS only |
//! | 6608 | the subcodes of state machine errors |
//! | 6793 | AS numbers of four octets, with AS4_PATH and AS4_AGGREGATOR |
//! | 7313 | route refreshes with a beginning and an end |
//! | 7606 | malformed attributes cost routes, not sessions |
//! | 7607, 9774 | AS 0 and AS_SET are refused |
//! | 8654 | messages of up to 65535 octets |
//! | 8092 | LARGE_COMMUNITY |
//! | 9234 | roles, and the attribute OTC; see [`role`] |
//! | 9494 | long-lived graceful restart |

pub mod codec;
pub mod message;
pub mod policy;
pub mod rib;
pub mod role;
pub mod session;
