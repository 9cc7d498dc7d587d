//! How BFD runs with a peer.

use warren_bfd::Timing;
use warren_types::status::PeerKind;

use crate::config::{BfdConfig, Config};

/// How BFD runs with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bfd {
    /// What the peer is asked for.
    pub timing: Timing,
    /// Whether there are routers on the way; none: to be found out.
    pub multihop: Option<bool>,
}

impl Bfd {
    /// What the configuration says for a peer of this kind: `own` is what it says for the peer alone.
    pub(super) fn of(config: &Config, own: Option<&BfdConfig>, kind: PeerKind) -> Option<Self> {
        let bfd = config.bfd.with(own);
        // What is said for all peers is said for the mesh.
        let enabled = match kind {
            PeerKind::Mesh => bfd.enabled,
            PeerKind::Global | PeerKind::NodeSpecific => own.and_then(|own| own.enabled),
        };
        let enabled = enabled.unwrap_or(kind == PeerKind::Mesh);
        enabled.then(|| Self { timing: bfd.timing(), multihop: bfd.multihop })
    }
}
