//! Why a pod could not be connected.

use std::net::IpAddr;

use crate::{namespace, netlink, sysctl};

/// Why a pod could not be connected. Whatever the reason, nothing is left of the attempt, except
/// where [`PodError::LeftBehind`] says so.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// The request itself makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The host end's name is taken: by an earlier sandbox of the same pod, whose [`super::delete`]
    /// did not happen (the name depends on the pod, not on the container).
    #[error("interface {name} already exists on the node")]
    AlreadyExists {
        /// The host end's name.
        name: String,
    },
    /// The pod end's name is taken.
    #[error("interface {name} already exists in the pod's namespace")]
    PodInterfaceExists {
        /// The pod end's name.
        name: String,
    },
    /// The pod's namespace is the node's own. The pod's default route must not become the node's.
    #[error("{path} is the node's own network namespace, not a pod's")]
    OwnNamespace {
        /// The path of what was given as the pod's namespace.
        path: String,
    },
    /// The node routes the pod's address elsewhere already.
    #[error(
        "cannot add route {address} dev {interface} scope link: the node has the route {taken_by} \
         already; delete it, or the pod that it belongs to"
    )]
    RouteTaken {
        /// The pod's address.
        address: IpAddr,
        /// The host end's name.
        interface: String,
        /// The route that is in the way, in iproute2's words.
        taken_by: String,
    },
    /// The pod's namespace could not be looked at.
    #[error(transparent)]
    Namespace(#[from] namespace::Error),
    /// A request to the kernel failed.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// A kernel parameter could not be set.
    #[error(transparent)]
    Sysctl(#[from] sysctl::Error),
    /// It failed, and taking back what had been made failed as well.
    #[error("{first}; interface {name} is left behind: {clean_up}")]
    LeftBehind {
        /// Why connecting the pod failed.
        first: Box<PodError>,
        /// The host end that is still there.
        name: String,
        /// Why it is still there.
        clean_up: netlink::Error,
    },
}
