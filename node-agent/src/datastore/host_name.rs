//! What this machine is called.

use anyhow::Context;

/// The kernel's host name.
///
/// # Errors
/// It is no text.
pub fn host_name() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("cannot read the host name")?;
    name.into_string()
        .map_err(|name| anyhow::anyhow!("the host name {name:?} is no text; set node.name"))
}
