//! What the API server has said, apart from what the configuration makes of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::Node;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// The nodes, and kubeadm's word on the pods' addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Every Node, this one included, by its name.
    pub nodes: BTreeMap<String, Member>,
    /// kubeadm's `podSubnet`; empty where nothing is known of it.
    pub pod_subnets: Vec<IpNetwork>,
}

/// What matters of a Node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its InternalIP, the IPv4 one where it has several.
    pub address: Option<IpAddr>,
    /// Its first IPv6 InternalIP.
    #[serde(default)]
    pub ipv6_address: Option<Ipv6Addr>,
    /// Its pod CIDRs.
    pub blocks: Vec<IpNetwork>,
    /// Whether its labels say that no agent runs there, by which it is nobody's peer.
    #[serde(default)]
    pub agentless: bool,
}

/// What a Node is labelled with before Warren is taken off it: the DaemonSet keeps away from it too.
const CLEANUP_LABEL: &str = "warren.io/cleanup";

/// The operating system, as kubelet says it.
const OS_LABEL: &str = "kubernetes.io/os";

impl From<&Node> for Member {
    fn from(node: &Node) -> Self {
        let addresses = addresses(node);
        let ipv4 = addresses.iter().find(|address| address.is_ipv4());
        Self {
            address: ipv4.or(addresses.first()).copied(),
            ipv6_address: addresses.iter().find_map(|address| match address {
                IpAddr::V6(address) => Some(*address),
                IpAddr::V4(_) => None,
            }),
            blocks: blocks(node),
            agentless: agentless(node),
        }
    }
}

fn addresses(node: &Node) -> Vec<IpAddr> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses
        .filter(|address| address.type_ == "InternalIP")
        .filter_map(|address| address.address.parse().ok())
        .collect()
}

fn agentless(node: &Node) -> bool {
    let label = |name| node.metadata.labels.as_ref().and_then(|labels| labels.get(name));
    label(CLEANUP_LABEL).is_some() || label(OS_LABEL).is_some_and(|os| os != "linux")
}

fn blocks(node: &Node) -> Vec<IpNetwork> {
    let Some(spec) = &node.spec else { return Vec::new() };
    // podCIDR is the first of podCIDRs, and all there is in an object that an old server stored.
    let written = match &spec.pod_cidrs {
        Some(blocks) if !blocks.is_empty() => blocks.as_slice(),
        _ => spec.pod_cidr.as_slice(),
    };
    written
        .iter()
        .filter_map(|text| match text.parse::<IpNetwork>() {
            Ok(block) => Some(block),
            Err(error) => {
                let node = node.metadata.name.as_deref().unwrap_or_default();
                warn!(node, podCIDR = text, %error, "a pod CIDR is not understood");
                None
            }
        })
        .collect()
}
