//! The kernel parameters of the host end.

use crate::sysctl;

/// One parameter of the host end.
pub(super) struct Setting {
    directory: &'static str,
    leaf: &'static str,
    pub(super) value: &'static str,
    /// Not there on every kernel; then there is nothing to set either.
    pub(super) optional: bool,
}

impl Setting {
    /// The parameter's path under /proc/sys.
    pub(super) fn key(&self, interface: &str) -> String {
        format!("{}/{interface}/{}", self.directory, self.leaf)
    }
}

/// What Calico's plugin sets for IPv4, and why it takes it.
pub(super) const SETTINGS: [Setting; 5] = [
    // Host ports on 127.0.0.1 are translated to pods.
    Setting { directory: "net/ipv4/conf", leaf: "route_localnet", value: "1", optional: false },
    // A proxied ARP reply waits up to 0.8 s otherwise.
    Setting { directory: "net/ipv4/neigh", leaf: "proxy_delay", value: "0", optional: false },
    // The host end answers for the pod's next hop, which no interface has.
    Setting { directory: "net/ipv4/conf", leaf: "proxy_arp", value: "1", optional: false },
    // What comes from the pod goes on, whatever the node's default for new interfaces.
    Setting { directory: "net/ipv4/conf", leaf: "forwarding", value: "1", optional: false },
    // A pod must not configure its node by router advertisements.
    Setting { directory: "net/ipv6/conf", leaf: "accept_ra", value: "0", optional: true },
];

/// Sets them all.
pub(super) fn set(interface: &str) -> Result<(), sysctl::Error> {
    for setting in &SETTINGS {
        match sysctl::write(&setting.key(interface), setting.value) {
            Err(error) if setting.optional && error.is_missing() => {}
            outcome => outcome?,
        }
    }
    Ok(())
}
