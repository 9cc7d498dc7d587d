//! What follows from the node itself: its description, its address, what is left on it.

use std::net::IpAddr;

use tracing::{error, info};
use warren_ipam::StoreError;
use warren_net::dataplane::Report;
use warren_types::node::{FORMAT_VERSION, NodeDescription};
use warren_types::status::Ipam;

use super::super::{address, addresses};
use super::Agent;
use crate::config::DatastoreKind;
use crate::datastore::{Network, NodeAddress};
use crate::footprint::Footprint;

impl Agent {
    /// Follows a change of the kernel: describes the node anew for the plugin, and moves to another
    /// address where the node has got one.
    pub fn follow(&mut self, report: &Report) {
        if let Err(error) = self.describe(report) {
            error!(error = format!("{error:#}"), "new pods get the node's old description");
        }
        self.follow_address();
        // The networks that the node is in may be others.
        self.set_bfd_sessions();
        if let Err(error) = self.leave_footprint() {
            error!(error = format!("{error:#}"), "agent cleanup will not know all that is ours");
        }
        let network = self.network(report);
        if network.is_ok() {
            self.keep_conflist();
        }
        self.datastore.report(network);
        self.watch_addresses();
    }

    /// Takes what the plugin did: an address is in use now, or free.
    pub fn hear(&mut self, command: &warren_types::report::Report) {
        self.pods.count(command);
        self.watch_addresses();
    }

    /// Reports may be lost, so it is the records that are looked at, and at every turn of the dataplane
    /// again. That they cannot be read is a reason in the status.
    fn watch_addresses(&mut self) {
        if let Ok(ipam) = self.ipam() {
            self.pods.watch(ipam);
        }
    }

    /// Writes down what `agent cleanup` needs to know.
    fn leave_footprint(&mut self) -> anyhow::Result<()> {
        let pools = self.snapshot.pools.iter().map(|pool| pool.cidr);
        let footprint = Footprint {
            route_protocol: self.config.route_protocol,
            networks: pools.chain(self.snapshot.blocks.iter().copied()).collect(),
            conflist: self.conflist.as_ref().map(|conflist| conflist.path().to_owned()),
            node: (self.config.datastore == DatastoreKind::Kubernetes)
                .then(|| self.identity.name.clone()),
            state_dir: self.config.state_dir.clone(),
        };
        if self.footprint.as_ref() != Some(&footprint) {
            footprint.write(&self.run_dir)?;
            self.footprint = Some(footprint);
        }
        Ok(())
    }

    /// Has the runtime find the plugin, now that pods can be carried.
    fn keep_conflist(&self) {
        let Some(conflist) = &self.conflist else { return };
        let path = conflist.path().display();
        match conflist.keep() {
            Ok(true) => info!(%path, "wrote the network configuration for the runtime"),
            Ok(false) => {}
            Err(error) => error!(error = format!("{error:#}"), "the runtime finds no plugin"),
        }
    }

    /// Whether tunnel, blocks and the plugin's description are in place.
    fn network(&self, report: &Report) -> Network {
        let mut missing = self.problems(report);
        let down = report.tunnel.as_ref().filter(|tunnel| !tunnel.up);
        if let Some(tunnel) = down.filter(|_| missing.is_empty()) {
            missing.push(format!("{} is not up with its address yet", tunnel.device));
        }
        if self.described.is_none() {
            missing.push("the node is not described for the plugin yet".into());
        }
        if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
    }
    /// What is wrong with the node apart from its peers, a sentence each.
    pub(super) fn problems(&self, report: &Report) -> Vec<String> {
        let mut problems = self.snapshot.problems.clone();
        problems.extend(report.problems.iter().cloned());
        if self.snapshot.blocks.is_empty() {
            problems.push("this node has no block: its pods get no address".into());
        }
        problems
    }

    fn describe(&mut self, report: &Report) -> anyhow::Result<()> {
        // Without the NIC there is no MTU to tell; what was described before still holds.
        let Some(pod_mtu) = report.pod_mtu else { return Ok(()) };
        let description = NodeDescription {
            format_version: FORMAT_VERSION,
            name: self.identity.name.clone(),
            address: self.identity.address,
            blocks: self.snapshot.blocks.clone(),
            reserved: addresses::reserved(
                &self.snapshot.pools,
                &self.snapshot.blocks,
                &self.config.ipam.reserved,
            ),
            pod_mtu,
            cool_down_seconds: self.config.ipam.cool_down_seconds,
            tunnel: report.tunnel.as_ref().map(|tunnel| tunnel.device.clone()),
        };
        if self.described.as_ref() != Some(&description) {
            description.write(&self.run_dir)?;
            let blocks: Vec<String> = description.blocks.iter().map(ToString::to_string).collect();
            info!(pod_mtu, blocks = blocks.join(","), "described the node for the plugin");
            self.described = Some(description);
        }
        Ok(())
    }

    fn follow_address(&mut self) {
        if self.snapshot.node_address != NodeAddress::AsKernelSends {
            return;
        }
        // No route at all: the NIC is gone for now, and the address most likely returns with it.
        let Ok(address) = address::towards(self.snapshot.peers.first().map(|p| p.address)) else {
            return;
        };
        if self.move_to(address) {
            self.apply();
        }
    }
    /// Whether `address` is another one than before.
    pub(super) fn move_to(&mut self, address: IpAddr) -> bool {
        let moved = address != self.identity.address;
        if moved {
            info!(old = %self.identity.address, new = %address, "the node's address has changed");
            self.identity.address = address;
        }
        moved
    }

    pub(super) fn ipam(&self) -> Result<Ipam, StoreError> {
        self.pods.usage(&self.config.ipam, &self.snapshot.pools, &self.snapshot.blocks)
    }
}
