//! Address pools, and how a packet crosses from node to node.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// A range of pod addresses and how packets to it travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    /// The range.
    pub cidr: IpNetwork,
    /// The prefix length of the blocks that nodes get from it.
    #[serde(default = "default_block_size")]
    pub block_size: u8,
    /// How a packet to another node's block travels.
    #[serde(default)]
    pub encapsulation: Encapsulation,
    /// Whether traffic from the pods to addresses outside all pools leaves with the node's address.
    #[serde(default)]
    pub nat_outgoing: bool,
}

fn default_block_size() -> u8 {
    26
}

/// How a packet travels between the nodes of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encapsulation {
    /// IP in IP (RFC 2003), to every node.
    #[default]
    #[serde(rename = "IPIP")]
    IpIp,
    /// IP in IP to nodes of other subnets, plain to nodes of this node's own subnet.
    #[serde(rename = "IPIPCrossSubnet")]
    IpIpCrossSubnet,
    /// VXLAN (RFC 7348), to every node.
    #[serde(rename = "VXLAN")]
    Vxlan,
    /// VXLAN to nodes of other subnets, plain to nodes of this node's own subnet.
    #[serde(rename = "VXLANCrossSubnet")]
    VxlanCrossSubnet,
    /// Plain routing: the underlay carries pod addresses.
    None,
}

impl Encapsulation {
    /// Whether some packets of this pool go through `tunl0`.
    pub fn uses_ipip(self) -> bool {
        matches!(self, Self::IpIp | Self::IpIpCrossSubnet)
    }

    /// The bytes that the outer header takes from the NIC's MTU.
    pub fn overhead(self) -> u32 {
        match self {
            Self::IpIp | Self::IpIpCrossSubnet => 20,
            Self::Vxlan | Self::VxlanCrossSubnet => 50,
            Self::None => 0,
        }
    }
}

/// The smallest pool that holds all of `prefix`.
pub fn holding<'p>(pools: &'p [Pool], prefix: &IpNetwork) -> Option<&'p Pool> {
    pools.iter().filter(|pool| contains(&pool.cidr, prefix)).max_by_key(|pool| pool.cidr.prefix())
}

/// Whether `outer` holds every address of `inner`.
pub fn contains(outer: &IpNetwork, inner: &IpNetwork) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(cidr: &str) -> Pool {
        Pool {
            cidr: cidr.parse().unwrap(),
            block_size: 26,
            encapsulation: Encapsulation::IpIp,
            nat_outgoing: false,
        }
    }

    #[test]
    fn the_smallest_pool_that_holds_the_whole_prefix_is_taken() {
        let pools = [pool("172.16.0.0/12"), pool("172.16.0.0/16"), pool("fd00::/48")];
        let find = |p: &str| holding(&pools, &p.parse().unwrap()).map(|p| p.cidr.to_string());
        assert_eq!(find("172.16.52.128/26").as_deref(), Some("172.16.0.0/16"));
        assert_eq!(find("172.17.0.0/26").as_deref(), Some("172.16.0.0/12"));
        assert_eq!(find("172.0.0.0/8"), None);
        assert_eq!(find("0.0.0.0/0"), None);
        assert_eq!(find("fd00::/64").as_deref(), Some("fd00::/48"));
    }
}
