//! The kernel parameters of the host end.

use netlink_packet_route::link::InetDevConf;

use crate::sysctl;

/// How a parameter is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By netlink, with the others of [`inet_conf`].
    Netlink,
    /// By its file.
    File,
    /// By its file, which not every kernel has; then there is nothing to set either.
    FileIfThere,
}

/// One parameter of the host end.
pub(super) struct Setting {
    directory: &'static str,
    leaf: &'static str,
    pub(super) value: &'static str,
    way: Way,
}

impl Setting {
    /// The parameter's path under /proc/sys.
    pub(super) fn key(&self, interface: &str) -> String {
        format!("{}/{interface}/{}", self.directory, self.leaf)
    }

    /// Whether there are kernels without it.
    pub(super) fn optional(&self) -> bool {
        self.way == Way::FileIfThere
    }
}

/// What Calico's plugin sets for IPv4, and why it takes it.
pub(super) const SETTINGS: [Setting; 5] = [
    // Host ports on 127.0.0.1 are translated to pods.
    Setting { directory: "net/ipv4/conf", leaf: "route_localnet", value: "1", way: Way::Netlink },
    // A proxied ARP reply waits up to 0.8 s otherwise.
    Setting { directory: "net/ipv4/neigh", leaf: "proxy_delay", value: "0", way: Way::File },
    // The host end answers for the pod's next hop, which no interface has.
    Setting { directory: "net/ipv4/conf", leaf: "proxy_arp", value: "1", way: Way::Netlink },
    // What comes from the pod goes on, whatever the node's default for new interfaces.
    Setting { directory: "net/ipv4/conf", leaf: "forwarding", value: "1", way: Way::Netlink },
    // A pod must not configure its node by router advertisements.
    Setting { directory: "net/ipv6/conf", leaf: "accept_ra", value: "0", way: Way::FileIfThere },
];

/// Those that netlink can set.
///
/// The file of `forwarding` only tries the lock that all network configuration shares, and a write
/// that finds it taken begins anew: with many pods at once, again and again.
pub(super) fn inet_conf() -> InetDevConf {
    let mut conf = InetDevConf::default();
    conf.route_localnet = 1;
    conf.proxy_arp = 1;
    conf.forwarding = 1;
    conf
}

/// Sets those that only their files can set.
pub(super) fn set(interface: &str) -> Result<(), sysctl::Error> {
    for setting in SETTINGS.iter().filter(|setting| setting.way != Way::Netlink) {
        match sysctl::write(&setting.key(interface), setting.value) {
            Err(error) if setting.optional() && error.is_missing() => {}
            outcome => outcome?,
        }
    }
    Ok(())
}
