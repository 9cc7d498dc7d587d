//! The node's links, addresses and routes: what they should be, and bringing the kernel there.
//!
//! | module | what it is | used by |
//! | --- | --- | --- |
//! | [`netlink`] | a synchronous rtnetlink socket: batches, dumps, errors in words | the others |
//! | [`namespace`] | network namespaces: opening one by its path, acting within it | plugin |
//! | [`sysctl`] | kernel parameters by their path under /proc/sys | pod |
//! | [`pod`] | one pod's veth pair, addresses and routes: create, check, delete | plugin |
//! | [`desired`] | what the node's tunnel and routes should be: a pure function | dataplane |
//! | [`ipip`] | having the kernel load its ipip module | agent |
//! | [`reach`] | what can be seen to keep a node's pods from other nodes | plugin |
//! | [`rules`] | what the node's packet rules should be, and nf_tables by netlink | dataplane |
//! | [`table`] | many destinations, cheap to copy and to compare | desired, dataplane |
//! | [`dataplane`] | brings the kernel there and keeps it there, on a thread of its own | agent |

pub mod dataplane;
pub mod desired;
pub mod ipip;
pub mod namespace;
pub mod netlink;
pub mod pod;
pub mod reach;
pub mod rules;
mod sys;
pub mod sysctl;
pub mod table;
#[cfg(test)]
mod testing;
