//! The names of the store's files. They are its index: see the [crate](crate)'s page.

use std::net::IpAddr;

use crate::owner::{self, Owner, is_ifname};

/// What a record's name says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The address in use.
    pub address: IpAddr,
    /// Who has it.
    pub owner: Owner,
    /// The veth pair's end on the host.
    pub host_interface: String,
}

impl Name {
    /// The file's name.
    pub fn to_file_name(&self) -> String {
        let Self { address, owner, host_interface } = self;
        format!("{address}@{}@{}@{host_interface}", owner.container_id(), owner.ifname())
    }

    /// Reads a file's name; `None` if the store did not write it.
    pub fn parse(file_name: &str) -> Option<Self> {
        NameRef::parse(file_name).map(NameRef::to_name)
    }
}

/// What a record's name says, in the name itself: an `ADD` reads the names of all pods on the node,
/// and keeps none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameRef<'n> {
    /// The address in use.
    pub address: IpAddr,
    /// The container that has it.
    pub container_id: &'n str,
    /// The interface's name in the container.
    pub ifname: &'n str,
    /// The veth pair's end on the host.
    pub host_interface: &'n str,
}

impl<'n> NameRef<'n> {
    /// Reads a file's name; `None` if the store did not write it.
    pub fn parse(file_name: &'n str) -> Option<Self> {
        // An interface's name may contain '@', the other parts cannot: cut at both ends.
        let (address, rest) = file_name.split_once('@')?;
        let (container_id, rest) = rest.split_once('@')?;
        let (ifname, host_interface) = rest.rsplit_once('@')?;
        owner::check(container_id, ifname).ok()?;
        is_ifname(host_interface).then_some(())?;
        Some(Self { address: parse_address(address)?, container_id, ifname, host_interface })
    }

    /// Whether it is a record of `owner`.
    pub fn is_of(&self, owner: &Owner) -> bool {
        (self.container_id, self.ifname) == (owner.container_id(), owner.ifname())
    }

    /// The same, to be kept.
    pub fn to_name(self) -> Name {
        let Self { address, container_id, ifname, host_interface } = self;
        let owner = Owner { container_id: container_id.into(), ifname: ifname.into() };
        Name { address, owner, host_interface: host_interface.into() }
    }
}

/// Reads an address in the one spelling that the store writes: two spellings of one address would be
/// two names for it.
fn parse_address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    // Of IPv4 there is one that is read.
    (address.is_ipv4() || address.to_string() == text).then_some(address)
}

/// The digits of the greatest number of nanoseconds: with as many in all markers, their names have the
/// order of their times.
const MARKER_DIGITS: usize = 20;

/// The name of the marker that says when `address` became free: `at` is in nanoseconds of the
/// monotonic clock, which starts anew at a boot as the store does.
pub fn marker(at: u64, address: IpAddr) -> String {
    format!("{at:0MARKER_DIGITS$}@{address}")
}

/// Reads a marker's name; `None` if the store did not write it.
pub fn parse_marker(file_name: &str) -> Option<(u64, IpAddr)> {
    let (at, address) = file_name.split_once('@')?;
    let is_spelt = at.len() == MARKER_DIGITS && at.bytes().all(|c| c.is_ascii_digit());
    is_spelt.then_some((at.parse().ok()?, parse_address(address)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn foreign_names_are_not_ours() {
        for name in [
            "",
            "172.16.52.129",
            "172.16.52.129@a@eth0",
            "172.16.52.300@a@eth0@cali0",
            "172.16.52.129@-@eth0@cali0",
            "172.16.52.129@a@eth0@",
            "::0001@a@eth0@cali0",
            ".new-x",
        ] {
            assert_eq!(Name::parse(name), None, "{name}");
        }
        for name in ["1@10.0.0.1", "00000000000000000001@10.0.0", "", "@"] {
            assert_eq!(parse_marker(name), None, "{name}");
        }
    }

    #[test]
    fn the_longest_name_fits_the_file_system() {
        let name = Name {
            address: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(),
            owner: Owner::new(&"f".repeat(owner::CONTAINER_ID_MAX), &"i".repeat(15)).unwrap(),
            host_interface: "cali12345678901".into(),
        };
        assert!(name.to_file_name().len() <= 255);
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written(
            address: IpAddr,
            container_id in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,80}",
            ifname in "[a-zA-Z0-9@._-]{1,15}",
            at: u64,
        ) {
            prop_assume!(ifname != "." && ifname != "..");
            let owner = Owner::new(&container_id, &ifname).unwrap();
            let name = Name { address, owner, host_interface: "calic440f455693".into() };
            prop_assert_eq!(Name::parse(&name.to_file_name()), Some(name));
            prop_assert_eq!(parse_marker(&marker(at, address)), Some((at, address)));
        }
    }
}
