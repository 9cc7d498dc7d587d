//! What no plugin can do without: the kernel's work for one pod, and a process to ask for it.
//!
//! It is called as a plugin is, by the same variables, and answers nothing. The address comes in
//! `FLOOR_ADDRESS`; nothing is read, remembered or written down.

use std::env;

use anyhow::{Context, Result, bail};
use warren_net::namespace::Namespace;
use warren_net::pod::{self, PodInterface};
use warren_types::ifname;

fn main() -> Result<()> {
    let variable = |name| env::var(name).with_context(|| format!("no {name}"));
    let host_name = ifname::for_container(&variable("CNI_CONTAINERID")?);
    match variable("CNI_COMMAND")?.as_str() {
        "ADD" => {
            let namespace = Namespace::open(variable("CNI_NETNS")?)?;
            let interface = PodInterface {
                host_name,
                pod_name: variable("CNI_IFNAME")?,
                addresses: vec![variable("FLOOR_ADDRESS")?.parse()?],
                mtu: 1480,
                pod_mac: None,
                metric: 0,
            };
            pod::create(&namespace, &interface)?;
        }
        "DEL" => drop(pod::delete(&host_name)?),
        other => bail!("{other} is neither ADD nor DEL"),
    }
    Ok(())
}
