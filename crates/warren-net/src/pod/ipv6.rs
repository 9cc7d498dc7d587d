//! Whether there is IPv6, and turning it on for a pod.

use std::path::Path;

use super::PodError;
use crate::namespace::Namespace;
use crate::sysctl;

/// Whether this kernel has IPv6: it was not started with `ipv6.disable=1`, nor built without.
pub fn is_available() -> bool {
    Path::new("/proc/sys/net/ipv6/conf").is_dir()
}

/// Turns IPv6 on in a pod's namespace, for interfaces to come. False: it is on.
pub(super) fn enable(namespace: &Namespace, home: &Namespace) -> Result<bool, PodError> {
    let enable = || -> Result<bool, sysctl::Error> {
        let mut was_off = false;
        for interface in ["all", "default"] {
            was_off |= turn_on(interface)?;
        }
        Ok(was_off)
    };
    Ok(namespace.visit(home, enable)??)
}

/// Turns IPv6 on for one interface, or for those of the name `default` or `all`; false if it is on.
pub(super) fn turn_on(interface: &str) -> Result<bool, sysctl::Error> {
    let key = key(interface);
    // Writing takes a lock that all network configuration shares, reading does not.
    if sysctl::read(&key)? == "0" {
        return Ok(false);
    }
    sysctl::write(&key, "0")?;
    Ok(true)
}

/// The parameter that turns IPv6 off for an interface.
pub(super) fn key(interface: &str) -> String {
    format!("net/ipv6/conf/{interface}/disable_ipv6")
}
