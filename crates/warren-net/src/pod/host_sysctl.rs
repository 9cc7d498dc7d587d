//! The kernel parameters of the host end.

use netlink_packet_route::link::InetDevConf;

use super::{PodInterface, ipv6};
use crate::sysctl;

/// One parameter of the host end.
pub(super) struct Setting {
    directory: &'static str,
    leaf: &'static str,
    pub(super) value: &'static str,
    /// Whether there are kernels without it, where there is nothing to set either.
    pub(super) optional: bool,
}

impl Setting {
    /// The parameter's path under /proc/sys.
    pub(super) fn key(&self, interface: &str) -> String {
        format!("{}/{interface}/{}", self.directory, self.leaf)
    }
}

/// The only one that has to be written to its file: a pod must not configure its node by router
/// advertisements.
const ACCEPT_RA: Setting =
    Setting { directory: "net/ipv6/conf", leaf: "accept_ra", value: "0", optional: true };

/// What Calico's plugin sets for IPv4, and why it takes it; all but the last by netlink.
pub(super) const SETTINGS: [Setting; 5] = [
    // Host ports on 127.0.0.1 are translated to pods.
    Setting { directory: "net/ipv4/conf", leaf: "route_localnet", value: "1", optional: false },
    // A proxied ARP reply waits up to 0.8 s otherwise.
    Setting { directory: "net/ipv4/neigh", leaf: "proxy_delay", value: "0", optional: false },
    // The host end answers for the pod's next hop, which no interface has.
    Setting { directory: "net/ipv4/conf", leaf: "proxy_arp", value: "1", optional: false },
    // What comes from the pod goes on, whatever the node's default for new interfaces.
    Setting { directory: "net/ipv4/conf", leaf: "forwarding", value: "1", optional: false },
    ACCEPT_RA,
];

/// Those of IPv4's that are of this kind.
pub(super) fn inet_conf() -> InetDevConf {
    let mut conf = InetDevConf::default();
    conf.route_localnet = 1;
    conf.proxy_arp = 1;
    conf.forwarding = 1;
    conf
}

/// Sets those that only their files can set.
pub(super) fn set(interface: &str, pod: &PodInterface) -> Result<(), sysctl::Error> {
    match sysctl::write(&ACCEPT_RA.key(interface), ACCEPT_RA.value) {
        Err(error) if error.is_missing() && !pod.has_ipv6() => return Ok(()),
        outcome => outcome?,
    }
    if pod.has_ipv6() {
        // The node may have IPv6 off for new interfaces.
        ipv6::turn_on(interface)?;
    }
    Ok(())
}
