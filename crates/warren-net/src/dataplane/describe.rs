//! What is said of a pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ipnetwork::IpNetwork;
use tracing::{info, warn};

use super::change::Standing;
use super::pass::Reconciler;
use super::report::{NicState, Report, RouteReport, TunnelState, learned_from};
use crate::desired::{Links, Rules, TunnelDevice, Verdict};

impl Reconciler {
    /// How all stands.
    pub(super) fn describe(&self) -> Report {
        let known = &self.view.known;
        let links = &self.view.links;
        let Some(standing) = &self.standing else { return Report::clone(&self.report) };
        let now = SystemTime::now();
        let rules = Rules::new(known, links);
        let row = |prefix: &IpNetwork, words: String, problem: &str| RouteReport {
            prefix: *prefix,
            words,
            learned_from: learned_from(known, prefix),
            programmed: false,
            problem: Some(problem.to_owned()),
            since: Some(self.troubled.get(prefix).copied().unwrap_or(now)),
        };
        let refused: Vec<RouteReport> = standing
            .refused
            .iter()
            .map(|(prefix, problem)| {
                let words = match rules.verdict(*prefix) {
                    Some(Verdict::Route(route)) => route.to_string(),
                    _ => prefix.to_string(),
                };
                row(prefix, words, problem)
            })
            .collect();
        let withheld: Vec<RouteReport> = standing
            .withheld
            .iter()
            .map(|(prefix, why)| {
                let words = match known.paths.get(prefix) {
                    Some(path) => format!("{prefix} via {}", path.next_hop),
                    None => prefix.to_string(),
                };
                row(prefix, words, &why.reason)
            })
            .collect();
        let Standing { routes, problems, pod_mtu, tunnel, kept, .. } = standing;
        Report {
            tunnel: tunnel.as_ref().map(|wanted| tunnel_state(wanted, links)),
            nic: links.nic.as_ref().map(|nic| NicState {
                device: nic.name.clone(),
                mtu: nic.mtu,
                up: nic.up,
            }),
            pod_mtu: *pod_mtu,
            desired: routes + withheld.len(),
            programmed: routes.saturating_sub(refused.len()),
            refused,
            withheld,
            kept: kept.len(),
            problems: problems.clone(),
            turned: Instant::now(),
            source: Some((Arc::clone(known), links.clone())),
        }
    }
}

fn tunnel_state(wanted: &TunnelDevice, links: &Links) -> TunnelState {
    let device = links.tunnel.as_ref();
    let address = wanted
        .address
        .map(IpAddr::V4)
        .filter(|address| device.is_some_and(|device| device.holds(*address)));
    TunnelState {
        device: wanted.name.to_owned(),
        address,
        mtu: device.map_or(0, |device| device.mtu),
        up: device.is_some_and(|device| device.up) && address.is_some(),
    }
}

/// Logs the problems that are new, and those that are over; one that many destinations share, once.
pub(super) fn log_problems(before: &Report, now: &Report) {
    fn all(report: &Report) -> BTreeMap<&str, BTreeSet<IpNetwork>> {
        let mut all: BTreeMap<&str, BTreeSet<_>> =
            report.problems.iter().map(|problem| (problem.as_str(), BTreeSet::new())).collect();
        for route in report.drift() {
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
