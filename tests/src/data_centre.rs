//! The demo's data centre: scenario S1's three nodes with an agent each, and pods on them.

use std::time::Duration;

use anyhow::Result;

use crate::lab::Lab;
use crate::lab::node::Node;
use crate::lab::pod::Pod;
use crate::lab::wait::eventually;

/// How long the nodes may take to learn each other's blocks.
const CONVERGENCE: Duration = Duration::from_secs(60);

/// What is in it.
#[derive(Debug)]
pub struct DataCentre {
    /// node1, node2, node3.
    pub nodes: [Node; 3],
    /// Three pods on node1, one on each other node.
    pub pods: Vec<Pod>,
}

impl DataCentre {
    /// Builds it, telling `progress` what is done next, and waits until every node is ready.
    ///
    /// # Errors
    /// When a part of it does not start, or a node does not get ready.
    pub fn build(lab: &Lab, mut progress: impl FnMut(&str)) -> Result<Self> {
        progress("three nodes on a switch, as network namespaces");
        let nodes = lab.three_nodes()?;
        progress("an agent on each, with the other two as its BGP peers");
        for node in &nodes {
            node.start_agent()?;
        }
        progress("pods, through the CNI plugin: three on node1, one on node2 and one on node3");
        let mut pods = Vec::new();
        for (node, names) in
            nodes.iter().zip([&["web-0", "web-1", "web-2"][..], &["db"], &["cache"]])
        {
            for name in names {
                pods.push(node.add_pod(name)?);
            }
        }
        progress("waiting until the nodes have learned each other's blocks");
        for node in &nodes {
            eventually("the node is ready and has its routes", CONVERGENCE, || {
                let ways: Vec<_> =
                    node.others().iter().map(|other| node.tunnel_route(other)).collect();
                node.expect_routes(&ways)?;
                node.expect_ready()
            })?;
        }
        Ok(Self { nodes, pods })
    }
}
