//! `STATUS`: whether an `ADD` would find an address. Two small reads, because runtimes ask every few
//! seconds.

use warren_ipam::Store;
use warren_types::node::NodeDescription;

use crate::error::{Code, Failure};
use crate::netconf::NetConf;

/// Carries it out.
pub fn status(conf: &NetConf) -> Result<(), Failure> {
    let ready = || -> Result<(), Failure> {
        let node = NodeDescription::read(&conf.run_dir)?;
        Ok(Store::new(&conf.run_dir).has_room(&node)?)
    };
    ready().map_err(|failure| failure.with_code(Code::NotAvailable))
}
