//! Errors by their consequence.

use rustbgpd_wire::DecodeError;

use crate::message::Notification;

/// The session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{notification}: {detail}")]
pub struct SessionReset {
    /// What the peer is to be told.
    pub notification: Notification,
    /// What was wrong, in words.
    pub detail: String,
}

impl SessionReset {
    /// A reset with this NOTIFICATION.
    pub fn new(code: u8, subcode: u8, data: Vec<u8>, detail: impl Into<String>) -> Self {
        Self { notification: Notification { code, subcode, data }, detail: detail.into() }
    }
}

impl From<DecodeError> for SessionReset {
    fn from(error: DecodeError) -> Self {
        let (code, subcode, data) = error.to_notification();
        Self::new(code.as_u8(), subcode, data.to_vec(), error.to_string())
    }
}

/// What a malformed attribute costs, the least first, so that the greatest of several counts
/// (RFC 7606, 3 (h)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consequence {
    /// The attribute is left out (RFC 7606, 2).
    AttributeDiscard,
    /// The routes of the message count as withdrawn (RFC 7606, 2).
    TreatAsWithdraw,
}

impl Consequence {
    /// What RFC 7606, 2 calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttributeDiscard => "attribute discard",
            Self::TreatAsWithdraw => "treat-as-withdraw",
        }
    }
}

/// A malformed attribute that the session survives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The attribute's type code (RFC 4271, 4.3).
    pub attribute: u8,
    /// What it costs.
    pub consequence: Consequence,
    /// What RFC 4271 would have the peer be told, and what was wrong.
    pub error: SessionReset,
}
