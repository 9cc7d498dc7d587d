//! One pass: look at the kernel, work out what should be there, bring it there, say how it went.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ipnetwork::IpNetwork;
use tracing::{debug, info, warn};

use super::diff::{Difference, KernelRoute, Realm, Write, diff};
use super::report::{NicState, Report, RouteReport, TunnelState};
use super::{kernel, tunnel};
use crate::desired::{self, Desired, Known, Links, TUNNEL};
use crate::netlink::{Error, Socket};
use crate::rules::{Keeper, rules};
use crate::sysctl;

/// The kernel parameter without which the node carries nothing between its devices.
const FORWARDING: &str = "net/ipv4/ip_forward";

/// The most changes of a pass that are logged one by one.
const LOGGED: usize = 16;

/// Brings the kernel to what is desired, pass by pass.
pub(super) struct Reconciler {
    socket: Socket,
    packet_rules: Keeper,
    /// What the last pass saw and wanted.
    view: View,
    /// The destinations that this process gave routes to and has not deleted since.
    written: BTreeSet<IpNetwork>,
    /// Since when each destination has had a problem.
    troubled: BTreeMap<IpNetwork, SystemTime>,
    report: Arc<Report>,
}

/// What a pass saw and wanted: against this, later events are judged.
#[derive(Debug)]
pub(super) struct View {
    pub(super) known: Arc<Known>,
    pub(super) links: Links,
    pub(super) desired: Desired,
}

/// How a pass ended.
pub(super) struct Outcome {
    pub(super) report: Arc<Report>,
    /// Whether the kernel refused something that may succeed later.
    pub(super) retry: bool,
}

/// What went wrong in a pass.
#[derive(Default)]
struct Trouble {
    /// With the node as a whole.
    node: Vec<String>,
    /// With a destination.
    routes: BTreeMap<IpNetwork, String>,
    /// Whether to try again.
    retry: bool,
}

impl Trouble {
    /// Takes note of something the kernel refused.
    fn refused(&mut self, what: String) {
        self.node.push(what);
        self.retry = true;
    }
}

impl Reconciler {
    pub(super) fn new(socket: Socket, known: Arc<Known>) -> Self {
        Self {
            socket,
            packet_rules: Keeper::default(),
            view: View { known, links: Links::default(), desired: Desired::default() },
            written: BTreeSet::new(),
            troubled: BTreeMap::new(),
            report: Arc::default(),
        }
    }

    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// The rules by which a route of the kernel is this agent's.
    pub(super) fn realm(&self) -> Realm<'_> {
        Realm {
            protocol: self.view.known.route_protocol,
            settled: self.view.known.settled,
            pools: &self.view.known.pools,
            tunnel: self.view.links.tunnel.as_ref().map(|tunnel| tunnel.index),
            written: &self.written,
        }
    }

    /// Makes one pass. It never fails: what fails is in the report.
    pub(super) fn pass(&mut self, known: Arc<Known>) -> Outcome {
        self.view.known = known;
        let mut trouble = Trouble::default();
        let report = match self.reconcile(&mut trouble) {
            Ok(difference) => self.describe(&trouble, &difference),
            // Nothing new is known of the routes: what was said of them stands.
            Err(error) => {
                trouble.refused(error.to_string());
                Report {
                    problems: trouble.node,
                    turned: Instant::now(),
                    ..Report::clone(&self.report)
                }
            }
        };
        log_problems(&self.report, &report);
        self.report = Arc::new(report);
        Outcome { report: Arc::clone(&self.report), retry: trouble.retry }
    }

    fn reconcile(&mut self, trouble: &mut Trouble) -> Result<Difference, Error> {
        if let Err(error) = forward() {
            trouble.refused(format!("{error}; the node forwards nothing without it"));
        }
        self.tend_packet_rules(trouble);
        let known = Arc::clone(&self.view.known);
        let mut links = kernel::links(&mut self.socket, known.node_address)?;
        if self.tend_tunnel(&links, trouble)? {
            links = kernel::links(&mut self.socket, known.node_address)?;
        }
        self.view.desired = desired::desired(&known, &links);
        self.view.links = links;
        let table = kernel::table(&mut self.socket)?;
        let difference = diff(&self.view.desired, table, &self.realm());
        self.explain_held(&difference, trouble);
        // First what is missing: what goes may be what carried the packets so far.
        self.write(&difference.write, trouble)?;
        self.delete(&difference.delete, trouble)?;
        Ok(difference)
    }

    /// Brings the packet rules to what they should be. Routes do not wait for them: what is missing
    /// here is a danger or a nuisance, without routes there is nothing.
    fn tend_packet_rules(&mut self, trouble: &mut Trouble) {
        let wanted = rules(&self.view.known);
        match self.packet_rules.bring(&wanted, self.view.known.settled) {
            Ok(false) => {}
            Ok(true) => info!("packet rules written"),
            // A kernel without nf_tables has no rules to remove, and no chain that is in our way.
            Err(error) if wanted.chains.is_empty() => debug!("{error}"),
            Err(error) => trouble.refused(error.to_string()),
        }
    }

    /// Brings the tunnel device to what it should be; tells whether anything was changed.
    fn tend_tunnel(&mut self, links: &Links, trouble: &mut Trouble) -> Result<bool, Error> {
        let known = &self.view.known;
        let (Some(wanted), Some(device)) = (desired::tunnel(known, links), &links.tunnel) else {
            return Ok(false);
        };
        let changes = tunnel::changes(&wanted, device, &known.pools);
        let requests = changes.iter().map(|change| tunnel::request(*change, device)).collect();
        for (change, outcome) in changes.iter().zip(self.socket.batch(requests)?) {
            match outcome {
                Ok(_) => info!("{TUNNEL}: {change}"),
                Err(error) => trouble.refused(error.to_string()),
            }
        }
        Ok(!changes.is_empty())
    }

    fn explain_held(&mut self, difference: &Difference, trouble: &mut Trouble) {
        let names = kernel::names(&mut self.socket, difference.held.values());
        for (prefix, holder) in &difference.held {
            let problem = format!(
                "{prefix} is held by another route: {}; remove it or take {prefix} out of the \
                 pools",
                holder.words(&names)
            );
            trouble.routes.insert(*prefix, problem);
        }
    }

    fn write(&mut self, writes: &[Write], trouble: &mut Trouble) -> Result<(), Error> {
        let requests = writes.iter().map(kernel::write).collect();
        // Noted before it is known whether they come into being: if the socket fails in between,
        // they are still ours.
        self.written.extend(writes.iter().map(|write| write.route.prefix));
        for (Write { route, replace }, outcome) in writes.iter().zip(self.socket.batch(requests)?) {
            match outcome {
                Err(error) => {
                    trouble.routes.insert(route.prefix, error.to_string());
                    trouble.retry = true;
                }
                Ok(_) if writes.len() > LOGGED => {}
                Ok(_) if *replace => info!("route replaced: {route}"),
                Ok(_) => info!("route added: {route}"),
            }
        }
        if writes.len() > LOGGED {
            info!("{} routes added or replaced", writes.len());
        }
        Ok(())
    }

    fn delete(&mut self, deletes: &[KernelRoute], trouble: &mut Trouble) -> Result<(), Error> {
        let requests = deletes.iter().map(kernel::delete).collect();
        let outcomes = self.socket.batch(requests)?;
        for (route, outcome) in deletes.iter().zip(outcomes) {
            match outcome {
                Err(error) if !kernel::already_gone(&error) => trouble.refused(error.to_string()),
                _ => {
                    if !self.view.desired.routes.contains_key(&route.prefix) {
                        self.written.remove(&route.prefix);
                    }
                    if deletes.len() <= LOGGED {
                        info!("route deleted: {}", route.words(&BTreeMap::new()));
                    }
                }
            }
        }
        if deletes.len() > LOGGED {
            info!("{} routes deleted", deletes.len());
        }
        Ok(())
    }

    fn describe(&mut self, trouble: &Trouble, difference: &Difference) -> Report {
        let View { known, links, desired } = &self.view;
        let now = SystemTime::now();
        let mut troubled = BTreeMap::new();
        let mut since = |prefix: IpNetwork| {
            let since = self.troubled.get(&prefix).copied().unwrap_or(now);
            *troubled.entry(prefix).or_insert(since)
        };
        let learned_from = |prefix| known.paths.get(prefix).map(|path| path.learned_from);
        let mut routes: Vec<RouteReport> = desired
            .routes
            .iter()
            .map(|(prefix, route)| {
                let problem = trouble.routes.get(prefix).cloned();
                RouteReport {
                    prefix: *prefix,
                    words: route.to_string(),
                    learned_from: learned_from(prefix).filter(|_| !known.blocks.contains(prefix)),
                    programmed: problem.is_none(),
                    since: problem.is_some().then(|| since(*prefix)),
                    problem,
                }
            })
            .collect();
        routes.extend(desired.withheld.iter().map(|(prefix, why)| RouteReport {
            prefix: *prefix,
            words: match known.paths.get(prefix) {
                Some(path) => format!("{prefix} via {}", path.next_hop),
                None => prefix.to_string(),
            },
            learned_from: learned_from(prefix),
            programmed: false,
            problem: Some(why.reason.clone()),
            since: Some(since(*prefix)),
        }));
        self.troubled = troubled;
        Report {
            tunnel: tunnel_state(desired, links),
            nic: links.nic.as_ref().map(|nic| NicState {
                device: nic.name.clone(),
                mtu: nic.mtu,
                up: nic.up,
            }),
            pod_mtu: desired.pod_mtu,
            routes,
            kept: difference.kept,
            problems: desired.problems.iter().chain(&trouble.node).cloned().collect(),
            turned: Instant::now(),
        }
    }
}

fn tunnel_state(desired: &Desired, links: &Links) -> Option<TunnelState> {
    let wanted = desired.tunnel.as_ref()?;
    let device = links.tunnel.as_ref();
    let address = wanted
        .address
        .map(IpAddr::V4)
        .filter(|address| device.is_some_and(|device| device.holds(*address)));
    Some(TunnelState {
        device: wanted.name.to_owned(),
        address,
        mtu: device.map_or(0, |device| device.mtu),
        up: device.is_some_and(|device| device.up) && address.is_some(),
    })
}

/// Lets the node forward. It is written only where it is not so already: writing it resets other
/// parameters of the namespace.
fn forward() -> Result<(), sysctl::Error> {
    match sysctl::read(FORWARDING)?.as_str() {
        "1" => Ok(()),
        _ => sysctl::write(FORWARDING, "1"),
    }
}

/// Logs the problems that are new, and those that are over; one that many destinations share, once.
fn log_problems(before: &Report, now: &Report) {
    fn all(report: &Report) -> BTreeMap<&str, BTreeSet<IpNetwork>> {
        let mut all: BTreeMap<&str, BTreeSet<_>> =
            report.problems.iter().map(|problem| (problem.as_str(), BTreeSet::new())).collect();
        for route in &report.routes {
            if let Some(problem) = &route.problem {
                all.entry(problem).or_default().insert(route.prefix);
            }
        }
        all
    }
    let (before, now) = (all(before), all(now));
    for (problem, prefixes) in now.iter().filter(|(problem, _)| !before.contains_key(*problem)) {
        match prefixes.first() {
            None => warn!("{problem}"),
            Some(first) if prefixes.len() == 1 => warn!("no route to {first}: {problem}"),
            Some(first) => {
                warn!("no route to {first} and {} others: {problem}", prefixes.len() - 1);
            }
        }
    }
    for problem in before.keys().filter(|problem| !now.contains_key(*problem)) {
        info!("over: {problem}");
    }
}
