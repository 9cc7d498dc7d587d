//! One pass: look at the kernel, work out what should be there, bring it there, say how it went.
//!
//! Most passes are about a few destinations, and do not look at all the others: see
//! [`change`](super::change).

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::HashSet;
use ipnetwork::IpNetwork;
use tracing::{debug, info};

use super::change::Standing;
use super::describe::log_problems;
use super::diff::{Difference, KernelRoute, Realm, Write, diff};
use super::events::Stirred;
use super::forwarding::forward;
use super::report::Report;
use super::{kernel, tunnel};
use crate::desired::{self, Desired, Known, Links, TUNNEL};
use crate::netlink::{Error, Socket};
use crate::rules::{Keeper, rules};

/// The most changes of a pass that are logged one by one.
const LOGGED: usize = 16;

/// Brings the kernel to what is desired, pass by pass.
pub(super) struct Reconciler {
    pub(super) socket: Socket,
    packet_rules: Keeper,
    /// What the last pass saw and was told.
    pub(super) view: View,
    /// How the destinations stand since the last pass; none if it failed.
    pub(super) standing: Option<Standing>,
    /// The destinations that this process gave routes to and has not deleted since.
    pub(super) written: HashSet<IpNetwork>,
    /// Since when each destination has had a problem.
    pub(super) troubled: BTreeMap<IpNetwork, SystemTime>,
    pub(super) report: Arc<Report>,
}

/// What a pass saw and was told: against this, later events are judged.
#[derive(Debug)]
pub(super) struct View {
    pub(super) known: Arc<Known>,
    pub(super) links: Links,
}

/// How a pass ended.
pub(super) struct Outcome {
    pub(super) report: Arc<Report>,
    /// Whether it looked at everything.
    pub(super) whole: bool,
    /// Whether the kernel refused something that may succeed later.
    pub(super) retry: bool,
}

/// What went wrong in a pass.
#[derive(Default)]
pub(super) struct Trouble {
    /// With the node as a whole.
    pub(super) node: Vec<String>,
    /// With a destination.
    pub(super) routes: BTreeMap<IpNetwork, String>,
    /// Whether to try again.
    pub(super) retry: bool,
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
            view: View { known, links: Links::default() },
            standing: None,
            written: HashSet::default(),
            troubled: BTreeMap::new(),
            // Not the first one: that nothing was looked at yet is no problem that the log has to hear
            // the end of.
            report: Arc::new(Report { problems: Vec::new(), ..Report::default() }),
        }
    }

    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// The port of the socket that this writes by.
    ///
    /// # Errors
    /// When the socket fails.
    pub(super) fn port(&self) -> std::io::Result<u32> {
        self.socket.port()
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
    pub(super) fn pass(&mut self, known: Arc<Known>, stirred: &Stirred) -> Outcome {
        if let Some(retry) = self.change(&known, stirred) {
            return self.tell(self.describe(), false, retry);
        }
        self.view.known = known;
        self.standing = None;
        let mut trouble = Trouble::default();
        let report = match self.reconcile(&mut trouble) {
            Ok(standing) => {
                self.standing = Some(standing);
                self.describe()
            }
            // Nothing new is known of the routes: what was said of them stands.
            Err(error) => {
                trouble.refused(error.to_string());
                Report {
                    problems: trouble.node,
                    turned: std::time::Instant::now(),
                    ..Report::clone(&self.report)
                }
            }
        };
        self.tell(report, true, trouble.retry)
    }

    fn tell(&mut self, report: Report, whole: bool, retry: bool) -> Outcome {
        log_problems(&self.report, &report);
        let since = report.drift().filter_map(|row| Some((row.prefix, row.since?)));
        self.troubled = since.collect();
        self.report = Arc::new(report);
        Outcome { report: Arc::clone(&self.report), whole, retry }
    }

    fn reconcile(&mut self, trouble: &mut Trouble) -> Result<Standing, Error> {
        self.tend_packet_rules(trouble);
        let known = Arc::clone(&self.view.known);
        let mut links = kernel::links(&mut self.socket, known.node_address)?;
        if let Err(error) = forward(known.uses_ipv6(), links.nic.as_ref()) {
            trouble.refused(format!("{error}; the node forwards nothing without it"));
        }
        if self.tend_tunnel(&links, trouble)? {
            links = kernel::links(&mut self.socket, known.node_address)?;
        }
        let mut desired = desired::desired(&known, &links);
        self.view.links = links;
        let with_ipv6 = self.view.known.uses_ipv6() || self.written.iter().any(IpNetwork::is_ipv6);
        let table = kernel::table(&mut self.socket, with_ipv6)?;
        let mut difference = diff(&desired, table, &self.realm());
        kernel::sort(&mut difference.write);
        self.explain_held(&difference, trouble);
        // First what is missing: what goes may be what carried the packets so far.
        self.write(&difference.write, trouble)?;
        self.delete(&difference.delete, &desired, trouble)?;
        let routes = mem::take(&mut desired.routes).len();
        let kept = mem::take(&mut difference.kept);
        Ok(Standing::new(&known, desired, routes, kept, trouble))
    }

    /// Brings the packet rules to what they should be. Routes do not wait for them: what is missing
    /// here is a danger or a nuisance, without routes there is nothing.
    pub(super) fn tend_packet_rules(&mut self, trouble: &mut Trouble) {
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
        let requests = changes.iter().map(|change| tunnel::request(*change, device));
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
        // Noted before it is known whether they come into being: if the socket fails in between,
        // they are still ours.
        self.written.extend(writes.iter().map(|write| write.route.prefix));
        kernel::write(&mut self.socket, writes, |Write { route, .. }, error| {
            trouble.routes.insert(route.prefix, error.to_string());
            trouble.retry = true;
        })?;
        if writes.len() > LOGGED {
            info!("{} routes added or replaced", writes.len());
            return Ok(());
        }
        for Write { route, replace } in writes {
            if !trouble.routes.contains_key(&route.prefix) {
                info!("route {}: {route}", if *replace { "replaced" } else { "added" });
            }
        }
        Ok(())
    }

    fn delete(
        &mut self,
        deletes: &[KernelRoute],
        desired: &Desired,
        trouble: &mut Trouble,
    ) -> Result<(), Error> {
        let mut refused = HashSet::default();
        kernel::delete(&mut self.socket, deletes, |route, error| {
            refused.insert(route.prefix);
            trouble.refused(error.to_string());
        })?;
        for route in deletes.iter().filter(|route| !refused.contains(&route.prefix)) {
            if !desired.routes.contains_key(&route.prefix) {
                self.written.remove(&route.prefix);
            }
            if deletes.len() <= LOGGED {
                info!("route deleted: {}", route.words(&BTreeMap::new()));
            }
        }
        if deletes.len() > LOGGED {
            info!("{} routes deleted", deletes.len());
        }
        Ok(())
    }
}
