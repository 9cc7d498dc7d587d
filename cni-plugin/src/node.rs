//! The node, as far as this kernel can carry what its agent describes.

use warren_ipam::Store;
use warren_net::pod;
use warren_types::node::NodeDescription;

use crate::error::Failure;
use crate::netconf::NetConf;

/// Who has which address, as far as the run directory can be relied on.
pub fn store(conf: &NetConf) -> Result<Store, Failure> {
    conf.run_dir.examine()?;
    Ok(Store::new(&conf.run_dir))
}

/// Reads the node's description. Where the kernel has no IPv6 the node has no such block: the second
/// value then is true.
pub fn read(conf: &NetConf) -> Result<(NodeDescription, bool), Failure> {
    let mut node = NodeDescription::read(&conf.run_dir)?;
    let without_ipv6 = node.blocks.iter().any(|block| block.is_ipv6()) && !pod::has_ipv6();
    if without_ipv6 {
        node.blocks.retain(|block| block.is_ipv4());
    }
    Ok((node, without_ipv6))
}
