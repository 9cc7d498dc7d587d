//! What can go wrong with a request, in words.

use std::io;

use netlink_packet_core::{NLM_F_ACK_TLVS, NetlinkHeader, NlasIterator};
use nix::errno::Errno;

use crate::namespace;

/// `NLMSGERR_ATTR_MSG` of linux/netlink.h: the kernel's own words on why it refused.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// Why a request was not carried out. The operation reads as in iproute2:
/// `add route 172.16.52.132 dev calib472a44443d scope link`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused the request.
    #[error("cannot {operation}: {}{}", errno.desc(), in_brackets(text.as_deref()))]
    Refused {
        /// What was asked.
        operation: String,
        /// The kernel's error number.
        errno: Errno,
        /// The kernel's own words on it (extended acknowledgement), where it has any.
        text: Option<String>,
    },
    /// The request could not be sent, or the answer was lost: whether it was carried out is not
    /// known.
    #[error("cannot {operation}: the netlink socket failed: {source}")]
    Socket {
        /// What was asked.
        operation: String,
        /// What the socket said.
        source: io::Error,
    },
    /// The kernel's answer could not be read.
    #[error("cannot {operation}: the kernel's answer is not understood: {reason}")]
    Answer {
        /// What was asked.
        operation: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The namespace of the socket could not be entered.
    #[error(transparent)]
    Namespace(#[from] namespace::Error),
}

impl Error {
    /// The error number, if the kernel refused the request.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// `code` and `tlvs` as they stand in an NLMSG_ERROR or NLMSG_DONE message.
    pub(crate) fn refused(
        operation: String,
        header: &NetlinkHeader,
        code: i32,
        tlvs: &[u8],
    ) -> Self {
        let text = (header.flags & NLM_F_ACK_TLVS != 0).then(|| words(tlvs)).flatten();
        Self::Refused { operation, errno: Errno::from_raw(code.saturating_neg()), text }
    }
}

fn words(tlvs: &[u8]) -> Option<String> {
    let nla = NlasIterator::new(tlvs).flatten().find(|nla| nla.kind() == NLMSGERR_ATTR_MSG)?;
    Some(String::from_utf8_lossy(nla.value()).trim_end_matches('\0').to_string())
}

fn in_brackets(text: Option<&str>) -> String {
    text.map(|text| format!(" ({})", text.trim_end_matches('.'))).unwrap_or_default()
}
