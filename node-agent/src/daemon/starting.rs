//! The agent before it knows its node's address: all it can do is wait and say so.

use std::net::IpAddr;
use std::time::Instant;

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tracing::info;
use warren_types::control::{Request, Response};

use super::address;
use super::control::Query;
use super::report::{self, Identity};
use crate::config::Config;
use crate::datastore::{Datastore, NodeAddress};

/// Waits until it is known who this node is, and answers operators meanwhile.
///
/// # Errors
/// It cannot be known: there is no route to ask the kernel for, or no IPv4 address to have a BGP
/// identifier from.
pub async fn identify(
    config: &Config,
    datastore: &mut Datastore,
    queries: &mut mpsc::Receiver<Query>,
) -> anyhow::Result<Identity> {
    let started = Instant::now();
    let mut announced = false;
    loop {
        let state = datastore.state();
        match state.snapshot.node_address {
            NodeAddress::Is(address) => return identity(config, datastore, address, started),
            NodeAddress::AsKernelSends => {
                let peer = state.snapshot.peers.first().map(|peer| peer.address);
                let address = address::towards(peer)
                    .context("cannot find out the node's address: no route; set node.address")?;
                return identity(config, datastore, address, started);
            }
            NodeAddress::Awaited => {}
        }
        if !announced {
            info!(name = datastore.node_name(), "waiting for the node's address");
            announced = true;
        }
        tokio::select! {
            changed = datastore.changed() => drop(changed?),
            Some(query) = queries.recv() => {
                let response = match query.request {
                    Request::Status => {
                        Response::Status(Box::new(report::waiting(config, started, datastore)))
                    }
                    Request::Routes => Response::Routes(Vec::new()),
                    Request::Live => Response::Live(Vec::new()),
                    // There is no peer yet to take leave of.
                    Request::Shutdown => Response::Done,
                };
                // Who asked may have gone away meanwhile.
                let _ = query.answer.send(response);
            }
        }
    }
}

fn identity(
    config: &Config,
    datastore: &Datastore,
    address: IpAddr,
    started: Instant,
) -> anyhow::Result<Identity> {
    let router_id = match (config.router_id, address) {
        (Some(id), _) => id,
        (None, IpAddr::V4(address)) => address,
        (None, IpAddr::V6(address)) => {
            bail!("the node's address {address} is no IPv4 address; set routerId")
        }
    };
    Ok(Identity {
        name: datastore.node_name().into(),
        address,
        router_id,
        as_number: config.as_number,
        started,
    })
}
