//! What a peer got wrong in its UPDATEs without losing its session (RFC 7606; its section 8 wants
//! operators to see it).

use std::collections::BTreeMap;

use crate::codec::{Consequence, Malformed};

/// Errors in UPDATEs that cost no session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateErrors {
    /// Errors that made the routes of a message count as withdrawn.
    pub withdrawn: u64,
    /// Attributes that were left out.
    pub discarded: u64,
    /// How many there were of each kind. As many as there are attributes and reasons at most,
    /// whatever the peer sends.
    pub kinds: BTreeMap<ErrorKind, u64>,
    /// The latest, in words.
    pub last: Option<String>,
}

/// A kind of error in an UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorKind {
    /// The attribute's type code (RFC 4271, 4.3).
    pub attribute: u8,
    /// What was wrong with it, in the words of RFC 4271, 6.3.
    pub reason: &'static str,
    /// What it cost.
    pub consequence: Consequence,
}

impl UpdateErrors {
    /// Counts one.
    pub(super) fn count(&mut self, fault: &Malformed) {
        match fault.consequence {
            Consequence::AttributeDiscard => self.discarded += 1,
            Consequence::TreatAsWithdraw => self.withdrawn += 1,
        }
        let kind = ErrorKind {
            attribute: fault.attribute,
            reason: fault.error.notification.reason(),
            consequence: fault.consequence,
        };
        *self.kinds.entry(kind).or_default() += 1;
        self.last = Some(fault.error.to_string());
    }
}

/// The names of attributes (IANA, BGP Path Attributes), as far as they are in use.
const NAMES: [(u8, &str); 18] = [
    (1, "ORIGIN"),
    (2, "AS_PATH"),
    (3, "NEXT_HOP"),
    (4, "MULTI_EXIT_DISC"),
    (5, "LOCAL_PREF"),
    (6, "ATOMIC_AGGREGATE"),
    (7, "AGGREGATOR"),
    (8, "COMMUNITIES"),
    (9, "ORIGINATOR_ID"),
    (10, "CLUSTER_LIST"),
    (14, "MP_REACH_NLRI"),
    (15, "MP_UNREACH_NLRI"),
    (16, "EXTENDED COMMUNITIES"),
    (17, "AS4_PATH"),
    (18, "AS4_AGGREGATOR"),
    (26, "AIGP"),
    (32, "LARGE_COMMUNITY"),
    (35, "OTC"),
];

impl ErrorKind {
    /// What the attribute is called: its number where it has no name here.
    pub fn attribute_name(&self) -> String {
        let name = NAMES.iter().find(|(code, _)| *code == self.attribute);
        name.map_or_else(|| format!("attribute {}", self.attribute), |(_, name)| (*name).to_owned())
    }
}
