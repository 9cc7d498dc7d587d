//! A pass that is about a few destinations.
//!
//! What one destination should have follows from its own path, the settings and the links (see
//! [`desired`](crate::desired)). So when only paths have changed since a pass that went through, or
//! somebody has deleted routes or led them elsewhere, the destinations to look at are known, and so
//! is what the kernel has for each: what the pass before brought there. The kernel is told of the
//! difference and not asked for its table. Where it answers something unexpected, the pass becomes one over everything.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::HashMap;
use ipnetwork::IpNetwork;
use tracing::{debug, info};

use super::diff::{KernelRoute, Write};
use super::events::Stirred;
use super::kernel;
use super::pass::{Reconciler, Trouble};
use crate::desired::{Desired, DesiredRoute, Known, Path, Rules, TunnelDevice, Verdict, Withheld};
use crate::table::Change;

/// The most changes of a pass that are logged one by one.
const LOGGED: usize = 16;

/// How the destinations stand after a pass. One that is not named here has the route in the kernel
/// that it should have.
#[derive(Debug)]
pub(super) struct Standing {
    /// How many routes there should be.
    pub(super) routes: usize,
    /// The destinations that get none, and why.
    pub(super) withheld: BTreeMap<IpNetwork, Withheld>,
    /// The routes that there should be and are not, and why.
    pub(super) refused: BTreeMap<IpNetwork, String>,
    /// Routes of a former life that stay for now; none where a destination has several.
    pub(super) kept: BTreeMap<IpNetwork, Option<KernelRoute>>,
    /// How many paths lead to each next hop.
    next_hops: HashMap<IpAddr, usize>,
    /// What is wrong with the node as a whole.
    pub(super) problems: Vec<String>,
    /// What the tunnel device should be.
    pub(super) tunnel: Option<TunnelDevice>,
    /// The MTU of a pod's interface.
    pub(super) pod_mtu: Option<u32>,
    /// Whether the kernel refused something that may succeed later.
    retry: bool,
}

impl Standing {
    /// After a pass over everything; `desired` is without its routes, which were so many.
    pub(super) fn new(
        known: &Known,
        desired: Desired,
        routes: usize,
        left: Vec<KernelRoute>,
        trouble: &mut Trouble,
    ) -> Self {
        let mut next_hops: HashMap<_, usize> = HashMap::default();
        for path in known.paths.values() {
            *next_hops.entry(path.next_hop).or_default() += 1;
        }
        let mut kept = BTreeMap::new();
        for route in left {
            kept.entry(route.prefix).and_modify(|route| *route = None).or_insert(Some(route));
        }
        let Desired { tunnel, withheld, pod_mtu, mut problems, .. } = desired;
        problems.append(&mut trouble.node);
        let refused = std::mem::take(&mut trouble.routes);
        let retry = trouble.retry;
        Self { routes, withheld, refused, kept, next_hops, problems, tunnel, pod_mtu, retry }
    }

    /// Counts what the paths of `prefixes` lead to; tells whether the next hops are others now.
    fn count(&mut self, changed: &[Change<'_, Path>]) -> bool {
        let mut others = false;
        for Change { before, now, .. } in changed {
            if let Some(path) = now {
                let count = self.next_hops.entry(path.next_hop).or_default();
                *count += 1;
                others |= *count == 1;
            }
            if let Some(path) = before
                && let Some(count) = self.next_hops.get_mut(&path.next_hop)
            {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.next_hops.remove(&path.next_hop);
                    others = true;
                }
            }
        }
        others
    }
}

/// What is to be done about some destinations, and how they stand then.
#[derive(Default)]
struct Plan {
    write: Vec<Write>,
    delete: Vec<DesiredRoute>,
    withheld: BTreeMap<IpNetwork, Withheld>,
    /// Routes that there should be now, less those that there should have been.
    added: usize,
    removed: usize,
}

impl Reconciler {
    /// Makes a pass over the destinations whose paths are others in `known` and those that lost
    /// their routes; none if it takes a pass over everything, else whether one is to follow.
    pub(super) fn change(&mut self, known: &Arc<Known>, stirred: &Stirred) -> Option<bool> {
        let before = Arc::clone(&self.view.known);
        let standing = self.standing.as_ref()?;
        // Once the paths are complete, what was kept until then is decided on; if that is nothing,
        // nothing is to be looked for.
        let settles = known.settled != before.settled;
        let leaves_kept = settles && (before.settled || !standing.kept.is_empty());
        if stirred.everything || leaves_kept || !known.has_the_settings_of(&before) {
            return None;
        }
        let changed = before.paths.changes_to(&known.paths);
        let mut plan = self.plan(standing, known, &changed, stirred)?;
        kernel::sort(&mut plan.write);
        if !self.carry_out(&plan) {
            return None;
        }
        self.view.known = Arc::clone(known);
        let mut trouble = Trouble::default();
        let standing = self.standing.as_mut()?;
        let other_nodes = standing.count(&changed);
        for Change { prefix, .. } in &changed {
            standing.withheld.remove(prefix);
            standing.kept.remove(prefix);
        }
        standing.withheld.extend(plan.withheld);
        standing.routes = (standing.routes + plan.added).saturating_sub(plan.removed);
        if other_nodes || settles {
            self.tend_packet_rules(&mut trouble);
        }
        let standing = self.standing.as_mut()?;
        standing.problems.extend(trouble.node);
        standing.retry |= trouble.retry;
        Some(standing.retry)
    }

    /// What is to be done; none where what the kernel has is not certain.
    fn plan(
        &self,
        standing: &Standing,
        known: &Known,
        changed: &[Change<'_, Path>],
        Stirred { gone, bent, .. }: &Stirred,
    ) -> Option<Plan> {
        let links = &self.view.links;
        let (old, new) = (Rules::new(&self.view.known, links), Rules::new(known, links));
        let mut plan = Plan::default();
        let paths = [&self.view.known.paths, &known.paths];
        let only_stirred = gone.union(bent).filter_map(|prefix| {
            let [before, now] = paths.map(|paths| paths.get(prefix));
            (before == now).then_some((prefix, before, now, false))
        });
        let changed = changed.iter().map(|it| (&it.prefix, it.before, it.now, true));
        for (prefix, path_before, path, is_changed) in changed.chain(only_stirred) {
            // What stands in the way of a route may have gone, and what a peer says of this node's
            // own block is a matter of its own.
            if standing.refused.contains_key(prefix)
                || (is_changed && known.blocks.contains(prefix))
            {
                return None;
            }
            let kept = standing.kept.get(prefix);
            let now = new.verdict_on(*prefix, path);
            plan.added += usize::from(matches!(now, Some(Verdict::Route(_))));
            let before = match old.verdict_on(*prefix, path_before) {
                Some(Verdict::Route(route)) => {
                    plan.removed += 1;
                    Some(route)
                }
                _ => None,
            };
            match (before, now, kept) {
                (_, _, Some(None)) => return None,
                // What is to be deleted is not what the pass before has brought there.
                (_, None | Some(Verdict::Withheld(_)), _) if bent.contains(prefix) => return None,
                (_, Some(Verdict::Route(route)), Some(Some(kept))) => {
                    if gone.contains(prefix) || bent.contains(prefix) {
                        return None;
                    }
                    if !kept.is(&route) {
                        plan.write.push(Write { route, replace: true });
                    }
                }
                (_, _, Some(Some(_))) => return None,
                (before, Some(Verdict::Route(route)), None) => {
                    let is_there = before.is_some() && !gone.contains(prefix);
                    if !is_there || bent.contains(prefix) || before.as_ref() != Some(&route) {
                        plan.write.push(Write { route, replace: is_there });
                    }
                }
                // Whether it stays is for a pass over everything to say.
                (Some(_), _, None) if !known.settled => return None,
                (_, Some(Verdict::Withheld(why)), None) if why.keep => return None,
                (before, withheld, None) => {
                    plan.delete.extend(before);
                    if let Some(Verdict::Withheld(why)) = withheld {
                        plan.withheld.insert(*prefix, why);
                    }
                }
            }
        }
        Some(plan)
    }

    /// Has the kernel do it; tells whether all went as it should.
    fn carry_out(&mut self, plan: &Plan) -> bool {
        // Noted before it is known whether they come into being: if the socket fails in between,
        // they are still ours.
        self.written.extend(plan.write.iter().map(|write| write.route.prefix));
        let well = Cell::new(true);
        let note = |error| {
            debug!("looking at everything: {error}");
            well.set(false);
        };
        // First what is missing: what goes may be what carried the packets so far.
        let done = kernel::write(&mut self.socket, &plan.write, |_, error| note(error));
        if done.is_err() || !well.get() {
            return false;
        }
        let deletes: Vec<KernelRoute> = plan.delete.iter().map(KernelRoute::from).collect();
        let done = kernel::delete(&mut self.socket, &deletes, |_, error| note(error));
        if done.is_err() || !well.get() {
            return false;
        }
        for route in &plan.delete {
            self.written.remove(&route.prefix);
        }
        log(plan);
        true
    }
}

fn log(plan: &Plan) {
    if plan.write.len() + plan.delete.len() > LOGGED {
        info!("{} routes written, {} deleted", plan.write.len(), plan.delete.len());
        return;
    }
    for Write { route, replace } in &plan.write {
        info!("route {}: {route}", if *replace { "replaced" } else { "added" });
    }
    for route in &plan.delete {
        info!("route deleted: {route}");
    }
}

#[cfg(test)]
mod tests;
