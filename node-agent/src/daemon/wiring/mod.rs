//! The parts of the agent, and what passes between them.

mod answer;
mod node;
mod peers;
mod restart;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::sync::watch;
use tracing::{info, warn};
use warren_bfd::{Bfd, Priority};
use warren_bgp::rib::PathChange;
use warren_net::dataplane::{self, Dataplane, Report};
use warren_net::desired::{Known, Path};
use warren_net::table::Table;
use warren_speaker::{DynamicNeighbors, PathChanges, Restarted, Speaker, SpeakerConfig};
use warren_types::node::NodeDescription;
use warren_types::run_dir::RunDir;

use super::metrics::Metrics;
use super::pods::Pods;
use super::readiness::Readiness;
use super::report;
use crate::config::Config;
use crate::conflist::Conflist;
use crate::datastore::{Datastore, NodeAddress, Snapshot, State};
use crate::footprint::Footprint;

/// What the agent's parts tell it.
pub enum Event {
    /// The datastore says something new.
    Datastore(Arc<State>),
    /// The dataplane has looked at the kernel.
    Report(Arc<Report>),
    /// A BFD session came or went.
    Bfd(warren_bfd::Event),
    /// A dynamic neighbour came for the first time, or is forgotten.
    Neighbors,
    /// The plugin has carried out a command.
    Plugin(warren_types::report::Report),
}

/// The running agent.
pub struct Agent {
    config: Config,
    run_dir: RunDir,
    identity: report::Identity,
    datastore: Datastore,
    snapshot: Snapshot,
    known: watch::Sender<Arc<Known>>,
    speaker: Speaker,
    dynamic: watch::Receiver<DynamicNeighbors>,
    bfd: Bfd,
    bfd_events: warren_bfd::Events,
    bfd_sessions: Vec<warren_bfd::Settings>,
    dataplane: Dataplane,
    reports: watch::Receiver<Arc<Report>>,
    described: Option<NodeDescription>,
    footprint: Option<Footprint>,
    conflist: Option<Conflist>,
    readiness: Readiness,
    metrics: Metrics,
    pods: Pods,
}

impl Agent {
    /// Starts every part.
    ///
    /// # Errors
    /// The BGP port is taken, or the kernel's netlink socket cannot be opened.
    pub async fn start(
        config: Config,
        run_dir: RunDir,
        identity: report::Identity,
        datastore: Datastore,
    ) -> anyhow::Result<(Self, PathChanges)> {
        let snapshot = datastore.state().snapshot.clone();
        let conflist = config.cni.as_ref().map(|cni| Conflist::new(cni, &run_dir)).transpose()?;
        info!(
            name = identity.name, address = %identity.address, router_id = %identity.router_id,
            asn = identity.as_number, "starting"
        );

        let listen = SocketAddr::new(any_address(), config.listen_port);
        let deferral =
            Duration::from_secs(config.graceful_restart.selection_deferral_seconds.into());
        let restarted =
            restart::has_forwarded(&config, &snapshot).then(|| Restarted::new(deferral));
        info!(restarted = restarted.is_some(), "routes of a former life are kept");
        let at_port = || format!("cannot speak BGP at port {}", listen.port());
        let (speaker, changes) = warren_speaker::start(SpeakerConfig {
            cluster_id: config.route_reflector_cluster_id,
            restarted,
            ..SpeakerConfig::new(identity.as_number, identity.router_id, listen)
        })
        .await
        .with_context(at_port)?;

        let (known, watched) = watch::channel(Arc::new(Known {
            node_address: Some(identity.address),
            route_protocol: config.route_protocol,
            nodes: BTreeSet::new(),
            pools: Vec::new(),
            blocks: Vec::new(),
            paths: Table::default(),
            settled: false,
        }));
        let metrics = Metrics::new();
        if let Some(config) = &config.metrics {
            metrics.serve(config.listen).await?;
        }
        let pods = Pods::start(metrics.clone(), &run_dir)?;
        let dataplane = dataplane::start(watched).context("cannot talk to the kernel")?;
        let (bfd, bfd_events) = warren_bfd::start()?;
        if bfd.snapshot().await.priority == Priority::Ordinary {
            warn!("BFD has no priority over other processes: give the agent CAP_SYS_NICE");
        }
        let mut agent = Self {
            reports: dataplane.report.clone(),
            config,
            run_dir,
            identity,
            datastore,
            snapshot,
            known,
            dynamic: speaker.dynamic_neighbors(),
            speaker,
            bfd,
            bfd_events,
            bfd_sessions: Vec::new(),
            dataplane,
            described: None,
            footprint: None,
            conflist,
            readiness: Readiness::new(Instant::now()),
            metrics,
            pods,
        };
        agent.speaker.set_graceful_shutdown(agent.config.graceful_shutdown);
        agent.apply();
        // Now that the peers are known.
        agent.speaker.listen().await.with_context(at_port)?;
        Ok((agent, changes))
    }

    /// Hands the snapshot to everybody; each finds out itself what is new to it.
    fn apply(&mut self) {
        let Snapshot { pools, blocks, peers, .. } = &self.snapshot;
        let address = self.identity.address;
        self.known.send_modify(|known| {
            let known = Arc::make_mut(known);
            known.node_address = Some(address);
            known.nodes = peers.iter().map(|peer| peer.address).collect();
            known.pools.clone_from(pools);
            known.blocks.clone_from(blocks);
        });
        // Before the peers: one that has kept this node's routes over a restart must hear of the new
        // BFD session before there is a BGP session that it would take down.
        self.set_bfd_sessions();
        self.apply_policies();
        self.apply_peers();
    }

    /// Takes a configuration that was read again. What other nodes or the kernel know this agent by
    /// stays as it was until a restart.
    pub fn reload(&mut self, config: Config) {
        let fixed = |c: &Config| {
            (
                c.node.clone(),
                c.run_dir.clone(),
                c.state_dir.clone(),
                c.cni.clone(),
                c.metrics,
                c.datastore,
                c.as_number,
                c.router_id,
                c.listen_port,
                c.route_reflector_cluster_id,
                c.route_protocol,
                c.graceful_restart,
            )
        };
        if fixed(&config) != fixed(&self.config) {
            warn!(
                "node, runDir, stateDir, cni, metrics, datastore, asNumber, routerId, listenPort, \
                 routeReflectorClusterId, routeProtocol and gracefulRestart take effect at the \
                 next start only"
            );
        }
        if config.datastore != self.config.datastore {
            return;
        }
        info!("the configuration was read again");
        self.speaker.set_graceful_shutdown(config.graceful_shutdown);
        self.config.ipam = config.ipam.clone();
        let report = Arc::clone(&self.reports.borrow());
        self.follow(&report);
        self.datastore.configure(Config {
            node: self.config.node.clone(),
            as_number: self.config.as_number,
            listen_port: self.config.listen_port,
            ..config
        });
    }

    /// Takes what the datastore says.
    pub fn learn(&mut self, state: &State) {
        if state.snapshot == self.snapshot {
            return;
        }
        self.snapshot = state.snapshot.clone();
        info!(
            blocks = self.snapshot.blocks.len(),
            peers = self.snapshot.peers.len(),
            "the datastore says something new"
        );
        if let NodeAddress::Is(address) = self.snapshot.node_address {
            self.move_to(address);
        }
        self.apply();
    }

    /// Takes what the speaker learned.
    pub fn paths_changed(&mut self, changes: Vec<PathChange>) {
        self.known.send_modify(|known| {
            let paths = &mut Arc::make_mut(known).paths;
            for change in changes {
                match change.best {
                    Some(best) => {
                        let path =
                            Path { next_hop: best.next_hop, learned_from: best.learned_from };
                        paths.insert(change.prefix, path);
                    }
                    None => {
                        paths.remove(&change.prefix);
                    }
                }
            }
        });
    }

    /// Waits until a part has something to say. Cancel safe: what is not taken here is there at the
    /// next call.
    pub async fn event(&mut self) -> anyhow::Result<Event> {
        tokio::select! {
            state = self.datastore.changed() => state.map(Event::Datastore),
            event = self.bfd_events.recv() => match event {
                Some(event) => Ok(Event::Bfd(event)),
                None => Err(anyhow!("the BFD thread has ended")),
            },
            changed = self.reports.changed() => match changed {
                Ok(()) => Ok(Event::Report(self.reports.borrow_and_update().clone())),
                Err(_) => {
                    Err(anyhow!("the dataplane's thread has ended; its last words are in the log"))
                }
            },
            Ok(()) = self.dynamic.changed() => Ok(Event::Neighbors),
            Some(report) = self.pods.heard() => Ok(Event::Plugin(report)),
        }
    }

    /// Ends every part in order: the peers first, the routes stay, here and with the peers.
    pub async fn stop(self) {
        // BGP first: a peer that takes the end of BFD for a failure, as FRR does, has no session then
        // that it could end for good, and keeps the routes.
        self.speaker.hand_over().await;
        self.bfd.shutdown().await;
        self.dataplane.stop();
    }
}

/// What to listen at: both families, where the kernel has IPv6.
fn any_address() -> IpAddr {
    if std::path::Path::new("/proc/net/if_inet6").exists() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}
