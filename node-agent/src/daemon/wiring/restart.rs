//! A start that follows a former life of the agent: its routes stay until they are confirmed.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::warn;
use warren_net::dataplane::cleanup::{self, Owned};
use warren_net::netlink::Socket;

use super::Agent;
use crate::config::Config;
use crate::datastore::Snapshot;

impl Agent {
    /// Becomes true when every peer has announced all its routes.
    pub fn announced(&self) -> watch::Receiver<bool> {
        self.speaker.announced()
    }

    /// Whether [`Agent::settle`] was called.
    pub fn is_settled(&self) -> bool {
        self.known.borrow().settled
    }

    /// From now on, routes that nobody announces are removed.
    pub fn settle(&mut self) {
        self.known.send_modify(|known| Arc::make_mut(known).settled = true);
    }
}

/// Whether the kernel has routes of an agent that ran here before: then the node has gone on
/// forwarding meanwhile, and this start is a restart (RFC 4724, 4.1).
pub(super) fn has_forwarded(config: &Config, snapshot: &Snapshot) -> bool {
    let pools = snapshot.pools.iter().map(|pool| pool.cidr);
    let owned = Owned {
        protocol: config.route_protocol,
        networks: pools.chain(snapshot.blocks.iter().copied()).collect(),
    };
    let found = Socket::open().and_then(|mut socket| cleanup::find(&mut socket, &owned));
    match found {
        Ok(found) => config.graceful_restart.enabled && found.iter().any(|it| it.kind == "route"),
        Err(error) => {
            warn!("cannot see whether this is a restart, and go on as if it were none: {error}");
            false
        }
    }
}
