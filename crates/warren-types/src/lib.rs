//! The formats that the plugin, the agent and the operator share.
//!
//! Nothing here acts: it is what one program writes and another one reads.
//!
//! | module | what it is | written by | read by |
//! | --- | --- | --- | --- |
//! | [`run_dir`] | where everything of one node's run state lies | | all |
//! | [`node`] | what this node is: its blocks, its MTU | agent | plugin |
//! | [`status`] | what the agent knows of itself | agent | operator |
//! | [`control`] | how the operator's command asks the agent | both | both |
//! | [`pool`] | address pools and how packets cross between nodes | operator | agent |
//! | [`wishes`] | what a pod asks of the address management | operator | plugin |
//! | [`report`] | what a command of the plugin took and came to | plugin | agent |
//! | [`ifname`] | how the host end of a pod's veth pair is called | | both |

pub mod control;
pub mod file;
pub mod ifname;
pub mod node;
pub mod pool;
pub mod report;
pub mod run_dir;
pub mod status;
pub mod wishes;
