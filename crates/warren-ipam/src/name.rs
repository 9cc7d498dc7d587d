//! The names of the store's files. They are its index: see the [crate](crate)'s page.

use std::net::IpAddr;

use crate::owner::{Owner, is_ifname};

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
        // An interface's name may contain '@', the other parts cannot: cut at both ends.
        let (address, rest) = file_name.split_once('@')?;
        let (container_id, rest) = rest.split_once('@')?;
        let (ifname, host_interface) = rest.rsplit_once('@')?;
        let name = Self {
            address: address.parse().ok()?,
            owner: Owner::new(container_id, ifname).ok()?,
            host_interface: host_interface.to_owned(),
        };
        // Two spellings of one address would be two names for it. Of IPv4 there is one that is read.
        let spelt = name.address.is_ipv4() || name.address.to_string() == address;
        (is_ifname(host_interface) && spelt).then_some(name)
    }
}

/// The name of the marker that says when `address` became free: `at` is in nanoseconds of the
/// monotonic clock, which starts anew at a boot as the store does.
pub fn marker(at: u64, address: IpAddr) -> String {
    format!("{at:020}@{address}")
}

/// Reads a marker's name; `None` if the store did not write it.
pub fn parse_marker(file_name: &str) -> Option<(u64, IpAddr)> {
    let (at, address) = file_name.split_once('@')?;
    let parsed = (at.parse().ok()?, address.parse().ok()?);
    (marker(parsed.0, parsed.1) == file_name).then_some(parsed)
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
            owner: Owner::new(&"f".repeat(crate::owner::CONTAINER_ID_MAX), &"i".repeat(15))
                .unwrap(),
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
