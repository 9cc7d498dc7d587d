//! The kernel parameters without which the node carries nothing between its devices.

use crate::desired::Device;
use crate::sysctl;

/// Of IPv4.
const IPV4: &str = "net/ipv4/ip_forward";

/// Of IPv6: all devices at once, for a packet is forwarded where the device that it came by says so.
const IPV6: &str = "net/ipv6/conf/all/forwarding";

/// Lets the node forward. Nothing is written where it is so already: writing it resets other
/// parameters of the namespace.
pub(super) fn forward(with_ipv6: bool, nic: Option<&Device>) -> Result<(), sysctl::Error> {
    turn_on(IPV4)?;
    let Some(nic) = nic.filter(|_| with_ipv6) else { return Ok(()) };
    if sysctl::read(IPV6)? == "1" {
        return Ok(());
    }
    // A router takes no router's advertisements, and with them the node's own default route would
    // run out; 2 is for those that do both (Documentation/networking/ip-sysctl.rst).
    let key = format!("net/ipv6/conf/{}/accept_ra", nic.name);
    if sysctl::read(&key)? == "1" {
        sysctl::write(&key, "2")?;
    }
    turn_on(IPV6)
}

fn turn_on(key: &str) -> Result<(), sysctl::Error> {
    match sysctl::read(key)?.as_str() {
        "1" => Ok(()),
        _ => sysctl::write(key, "1"),
    }
}
