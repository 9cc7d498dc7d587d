//! The parts of the agent, and what passes between them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::sync::watch;
use tracing::{error, info, warn};
use warren_bfd::{Bfd, Change, Priority};
use warren_bgp::policy::ImportPolicy;
use warren_bgp::rib::PathChange;
use warren_ipam::StoreError;
use warren_net::dataplane::cleanup::{self, Owned};
use warren_net::dataplane::{self, Dataplane, Report};
use warren_net::desired::{Known, Path};
use warren_net::netlink::Socket;
use warren_net::table::Table;
use warren_speaker::{
    BfdDown, GracefulRestart, PathChanges, PeerSettings, RestartTime, Restarted, Speaker,
    SpeakerConfig,
};
use warren_types::control::{Request, Response};
use warren_types::node::{FORMAT_VERSION, NodeDescription};
use warren_types::run_dir::RunDir;
use warren_types::status::{Ipam, Status};

use super::metrics::Metrics;
use super::pods::Pods;
use super::readiness::Readiness;
use super::{address, addresses, bfd, report};
use crate::config::{Config, DatastoreKind};
use crate::conflist::Conflist;
use crate::datastore::{Datastore, Network, NodeAddress, Snapshot, State};
use crate::footprint::Footprint;

/// A dataplane that has not turned for so long is stuck: it turns by itself every minute.
const DATAPLANE_PATIENCE: Duration = Duration::from_secs(150);

/// What the agent's parts tell it.
pub enum Event {
    /// The datastore says something new.
    Datastore(Arc<State>),
    /// The dataplane has looked at the kernel.
    Report(Arc<Report>),
    /// A BFD session came or went.
    Bfd(warren_bfd::Event),
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
        let restarted = has_forwarded(&config, &snapshot).then(|| Restarted::new(deferral));
        info!(restarted = restarted.is_some(), "routes of a former life are kept");
        let (speaker, changes) = warren_speaker::start(SpeakerConfig {
            cluster_id: config.route_reflector_cluster_id,
            restarted,
            ..SpeakerConfig::new(identity.as_number, identity.router_id, listen)
        })
        .await
        .with_context(|| format!("cannot speak BGP at port {}", config.listen_port))?;

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
        Ok((agent, changes))
    }

    /// Hands the snapshot to everybody; each finds out itself what is new to it.
    fn apply(&mut self) {
        let Snapshot { pools, blocks, peers, ipv6_address, .. } = &self.snapshot;
        let address = self.identity.address;
        let own = [Some(address), ipv6_address.map(IpAddr::V6)];
        let own = |is_ipv4| own.into_iter().flatten().find(|own| own.is_ipv4() == is_ipv4);
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
        let Snapshot { blocks, peers, .. } = &self.snapshot;
        self.speaker.originate(blocks.iter().copied().collect());
        self.speaker.set_peers(
            peers
                .iter()
                .map(|peer| PeerSettings {
                    port: peer.port,
                    passive: peer.passive,
                    hold_time: peer.timers.hold_time,
                    keepalive: peer.timers.keepalive,
                    connect_retry: peer.timers.connect_retry,
                    source: peer.source.or(own(peer.address.is_ipv4())),
                    other_address: own(!peer.address.is_ipv4()),
                    password: peer.password.clone(),
                    distance: peer.distance,
                    max_prefixes: peer.max_prefixes,
                    shutdown: peer.shutdown.clone(),
                    graceful_restart: graceful_restart(&self.config),
                    local_as: peer.local_as,
                    route_reflector_client: peer.route_reflector_client,
                    ..PeerSettings::new(peer.address, peer.as_number)
                })
                .collect(),
        );
    }

    /// Hands over what holds for peers; in the order that lets a new peer meet its policy.
    fn apply_policies(&self) {
        let Snapshot { pools, blocks, peers, owners, .. } = &self.snapshot;
        self.speaker.set_import_policy(ImportPolicy {
            pools: pools.iter().map(|pool| pool.cidr).collect(),
            own_blocks: blocks.clone(),
            owners: owners.clone(),
        });
        let policies = peers.iter().map(|peer| (peer.address.into(), Arc::clone(&peer.policy)));
        self.speaker.set_peer_policies(policies.collect());
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

    /// Has BFD sessions with the peers that are to have them.
    fn set_bfd_sessions(&mut self) {
        let (peers, source) = (&self.snapshot.peers, self.identity.address);
        let sessions = bfd::sessions(peers, source, &bfd::networks(), &self.bfd_sessions);
        if sessions != self.bfd_sessions {
            self.bfd.set_sessions(sessions.clone());
            self.bfd_sessions = sessions;
        }
    }

    /// Takes what has become of a BFD session: a peer that cannot be reached any more loses its BGP
    /// session.
    pub async fn heed(&mut self, event: warren_bfd::Event) {
        let peer = event.key.peer;
        if matches!(event.change, Change::Down(_)) {
            self.metrics.bfd_down(peer, event.failure().is_some());
        }
        match (event.change, event.failure()) {
            (_, Some(cause)) => {
                warn!(%peer, reason = %cause, "BFD session is down");
                let failure = BfdDown {
                    reason: cause.to_string(),
                    last_up: event.last_up,
                    control_plane_independent: event.control_plane_independent,
                };
                self.speaker.bfd_down(peer, failure).await;
            }
            (Change::Down(cause), None) => info!(%peer, reason = %cause, "BFD session ended"),
            (Change::Up, None) => info!(%peer, "BFD session is up"),
        }
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
            Some(report) = self.pods.heard() => Ok(Event::Plugin(report)),
        }
    }

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
    fn problems(&self, report: &Report) -> Vec<String> {
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
    fn move_to(&mut self, address: IpAddr) -> bool {
        let moved = address != self.identity.address;
        if moved {
            info!(old = %self.identity.address, new = %address, "the node's address has changed");
            self.identity.address = address;
        }
        moved
    }

    /// Changes once, when every peer has announced all its routes.
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

    fn ipam(&self) -> Result<Ipam, StoreError> {
        self.pods.usage(&self.config.ipam, &self.snapshot.pools, &self.snapshot.blocks)
    }

    /// Answers an operator.
    pub async fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::Status => {
                let peers = self.speaker.peers().await;
                let bfd = self.bfd.snapshot().await;
                let report = self.reports.borrow().clone();
                let mut reasons = self.problems(&report);
                let ipam = self.ipam().unwrap_or_else(|error| {
                    reasons.push(format!("the pods' addresses cannot be read: {error}"));
                    Ipam::default()
                });
                reasons.extend(self.readiness.bgp(&peers, Instant::now()));
                Response::Status(Box::new(Status {
                    node: report::node(&self.identity, &self.snapshot, &report),
                    ready: reasons.is_empty(),
                    reasons,
                    peers: report::peers(&peers, &self.snapshot.peers, &bfd),
                    routes: report::counts(&report),
                    ipam,
                    datastore: Some(self.datastore.status()),
                    bfd: Some(report::bfd(&bfd)),
                }))
            }
            // The loop has taken it: it is answered when every part has ended.
            Request::Shutdown => Response::Done,
            Request::Routes => Response::Routes(report::routes(&self.reports.borrow())),
            Request::Live => {
                let turned = self.reports.borrow().turned.elapsed();
                let stuck = turned > DATAPLANE_PATIENCE;
                Response::Live(
                    stuck
                        .then(|| format!("the dataplane has not turned for {} s", turned.as_secs()))
                        .into_iter()
                        .collect(),
                )
            }
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

/// Whether the kernel has routes of an agent that ran here before: then the node has gone on
/// forwarding meanwhile, and this start is a restart (RFC 4724, 4.1).
fn has_forwarded(config: &Config, snapshot: &Snapshot) -> bool {
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

/// What to listen at: both families, where the kernel has IPv6.
fn any_address() -> IpAddr {
    if std::path::Path::new("/proc/net/if_inet6").exists() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

fn graceful_restart(config: &Config) -> Option<GracefulRestart> {
    let wanted = config.graceful_restart;
    wanted.enabled.then(|| GracefulRestart {
        restart_time: RestartTime::from_secs(wanted.restart_time_seconds).unwrap_or_default(),
        notification: wanted.notification,
    })
}
