//! What people see.

use std::cmp::Reverse;

use comfy_table::{Table, presets};
use jiff::Timestamp;
use warren_types::status::{Datastore, Ipam, IpamBlock, Peer, Route, Status, Tunnel};

use super::cleanup::Outcome;
use super::doctor::Finding;
use super::ipam::{Findings, Shown, State};

/// The whole status: what is wrong first.
pub fn status(status: &Status, wide: bool) -> String {
    let node = &status.node;
    let mut text = format!(
        "Node {}  {}  AS {}  up {}  version {}\n",
        node.name,
        node.address.map_or_else(|| "no address".into(), |a| a.to_string()),
        node.as_number,
        duration(node.uptime_seconds),
        node.version,
    );
    if status.ready {
        text.push_str("Ready\n");
    } else {
        for (i, reason) in status.reasons.iter().enumerate() {
            let lead = if i == 0 { "NOT READY: " } else { "           " };
            text.push_str(&format!("{lead}{reason}\n"));
        }
    }
    if let Some(datastore) = &status.datastore {
        text.push_str(&format!("Datastore {}\n", datastore_words(datastore)));
    }
    if let Some(tunnel) = &node.tunnel {
        text.push_str(&format!("Tunnel {}\n", tunnel_words(tunnel)));
    }
    text.push_str(&format!(
        "Routes {} desired, {} programmed\n",
        status.routes.desired, status.routes.programmed
    ));
    for drift in &status.routes.drift {
        text.push_str(&format!("  {}: {}, since {}\n", drift.prefix, drift.problem, drift.since));
    }
    text.push_str(&format!("\n{}\n\n{}", peers(&status.peers, wide), ipam(&status.ipam)));
    text
}

fn datastore_words(datastore: &Datastore) -> String {
    let problem = datastore
        .problem
        .iter()
        .map(|problem| format!(", out of touch for {}: {problem}", age(datastore.since)));
    std::iter::once(datastore.kind.clone()).chain(problem).collect()
}

fn tunnel_words(tunnel: &Tunnel) -> String {
    format!(
        "{} {} mtu {} {}",
        tunnel.device,
        tunnel.address.map_or_else(|| "without address".into(), |a| a.to_string()),
        tunnel.mtu,
        if tunnel.up { "up" } else { "DOWN" }
    )
}

/// The peers, each with what is wrong with it.
pub fn peers(peers: &[Peer], wide: bool) -> String {
    if peers.is_empty() {
        return "No peers are configured.".into();
    }
    let mut columns = vec!["PEER", "NAME", "AS", "TYPE", "STATE", "SINCE", "BFD", "RX/TX", "INFO"];
    if wide {
        columns.insert(8, "MALFORMED");
    }
    let rows = peers.iter().map(|peer| {
        let mut row = vec![
            peer.address.to_string(),
            peer.name.clone().unwrap_or_default(),
            if peer.as_number == 0 { "-".into() } else { peer.as_number.to_string() },
            kind(peer),
            peer.state.clone(),
            age(peer.since),
            peer.bfd.clone().unwrap_or_else(|| "-".into()),
            format!("{}/{}", peer.prefixes_received, peer.prefixes_advertised),
            info(peer),
        ];
        if wide {
            row.insert(8, malformed(peer));
        }
        row
    });
    table(&columns, rows)
}

fn kind(peer: &Peer) -> String {
    match &peer.template {
        Some(template) => format!("dynamic ({template})"),
        None => peer.kind.as_str().into(),
    }
}

/// Kinds of errors that a row has room for; the others are in the JSON.
const KINDS_SHOWN: usize = 3;

/// What RFC 7606 made of its errors, and which were the most.
fn malformed(peer: &Peer) -> String {
    let errors = &peer.update_errors;
    let Some(last) = &errors.last else { return "none".into() };
    let mut kinds: Vec<_> = errors.kinds.iter().collect();
    kinds.sort_by_key(|kind| Reverse(kind.count));
    let more = kinds.len().saturating_sub(KINDS_SHOWN);
    let more = (more > 0).then(|| format!("{more} more"));
    let shown = kinds.iter().take(KINDS_SHOWN);
    let shown = shown.map(|kind| format!("{} {} ({})", kind.count, kind.attribute, kind.reason));
    let kinds: Vec<String> = shown.chain(more).collect();
    format!(
        "{} taken as withdrawn, {} discarded: {}; last: {last}",
        errors.treated_as_withdraw,
        errors.attributes_discarded,
        kinds.join(", ")
    )
}

fn info(peer: &Peer) -> String {
    let refused = peer.prefixes_refused.iter().map(|(why, n)| format!("{n} refused: {why}"));
    let error = peer.last_error.iter().filter(|_| peer.state != "Established").cloned();
    let long_lived = peer.long_lived_stale.iter().map(|it| {
        format!("{} {} long-lived stale, for {} more", it.prefixes, it.family, remaining(it.until))
    });
    let long: u64 = peer.long_lived_stale.iter().map(|it| it.prefixes).sum();
    let kept = peer.prefixes_stale.saturating_sub(long);
    let stale = (kept > 0).then(|| format!("{kept} kept until announced again"));
    let all = error.chain(long_lived).chain(stale).chain(refused).chain(bfd_info(peer));
    all.collect::<Vec<_>>().join("; ")
}

/// Why BFD cannot run, or why it ran and does not any more.
fn bfd_info(peer: &Peer) -> Option<String> {
    let session = peer.bfd_session.as_ref().filter(|_| peer.bfd.as_deref() != Some("Up"))?;
    let reason = session.problem.as_ref().or(session.last_down_reason.as_ref())?;
    Some(format!("BFD: {reason}"))
}

/// The blocks, and whether they last.
pub fn ipam(ipam: &Ipam) -> String {
    let mut text = blocks(&ipam.blocks);
    for low in &ipam.low {
        text.push_str(&format!("\n{low}: another block is wanted"));
    }
    text
}

fn blocks(blocks: &[IpamBlock]) -> String {
    if blocks.is_empty() {
        return "This node has no block.".into();
    }
    let rows = blocks.iter().map(|block| {
        let counts = [block.allocated, block.cooling, block.capacity];
        std::iter::once(block.cidr.to_string()).chain(counts.map(|n| n.to_string())).collect()
    });
    table(&["BLOCK", "ALLOCATED", "COOLING", "CAPACITY"], rows)
}

/// Who has which address.
pub fn addresses(shown: &Shown) -> String {
    let mut text = blocks(&shown.blocks);
    if !shown.addresses.is_empty() {
        let rows = shown.addresses.iter().map(|holder| {
            vec![
                holder.address.to_string(),
                holder.pod.clone().unwrap_or_default(),
                format!("{} of {:.12}", holder.ifname, holder.container_id),
                holder.host_interface.clone(),
                holder.since.map_or_else(String::new, age),
                holder.problem.clone().unwrap_or_default(),
            ]
        });
        let header = ["ADDRESS", "POD", "CONTAINER", "INTERFACE", "AGE", "PROBLEM"];
        text.push_str(&format!("\n\n{}", table(&header, rows)));
    }
    for problem in &shown.problems {
        text.push_str(&format!("\n{problem}"));
    }
    text
}

/// Where records and the kernel disagree.
pub fn findings(found: &Findings) -> String {
    if found.differences.is_empty() {
        return "Records, interfaces and routes agree.".into();
    }
    let rows = found.differences.iter().map(|finding| {
        let state = match (&finding.error, finding.state) {
            (Some(error), _) => format!("failed: {error}"),
            (None, State::Mendable) => "can be mended".into(),
            (None, State::Mended) => "mended".into(),
            (None, State::Changed) => "has changed meanwhile".into(),
            (None, State::Failed) => "failed".into(),
            (None, State::Stays) => "stays".into(),
        };
        vec![finding.problem.clone(), finding.remedy.clone(), state]
    });
    table(&["PROBLEM", "REMEDY", "STATE"], rows)
}

/// The routes.
pub fn routes(routes: &[Route]) -> String {
    if routes.is_empty() {
        return "There are no routes to keep.".into();
    }
    let rows = routes.iter().map(|r| {
        vec![
            r.route.clone(),
            r.learned_from.map_or_else(|| "own block".into(), |a| a.to_string()),
            r.problem.clone().unwrap_or_else(|| {
                if r.programmed { "programmed".into() } else { "not yet programmed".into() }
            }),
        ]
    });
    table(&["ROUTE", "LEARNED FROM", "STATE"], rows)
}

/// What was cleaned up, or would be.
pub fn cleanup(outcome: &Outcome) -> String {
    let rows = outcome.items.iter().map(|item| {
        let state = match &item.error {
            Some(error) => format!("failed: {error}"),
            None if item.removed => "removed".into(),
            None if outcome.dry_run => "would be removed".into(),
            None => "stays".into(),
        };
        vec![item.kind.into(), item.name.clone(), state]
    });
    let mut text = match outcome.items.is_empty() {
        true => "There is nothing of Warren's on this node.".to_owned(),
        false => table(&["KIND", "NAME", "STATE"], rows),
    };
    for note in &outcome.notes {
        text.push_str(&format!("\n{note}"));
    }
    text
}

/// What was found out, each with what to do about it in a row of its own.
pub fn doctor(findings: &[Finding]) -> String {
    let rows = findings.iter().flat_map(|finding| {
        let found =
            vec![finding.verdict.as_str().into(), finding.subject.into(), finding.finding.clone()];
        let advice = finding.advice.as_ref();
        [found]
            .into_iter()
            .chain(advice.map(|advice| vec![String::new(), String::new(), format!("-> {advice}")]))
    });
    table(&["STATE", "PART", "FINDING"], rows)
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn age(since: Timestamp) -> String {
    let seconds = Timestamp::now().as_second().saturating_sub(since.as_second());
    duration(u64::try_from(seconds).unwrap_or(0))
}

/// How long it is until then; no time at all where that is over.
fn remaining(until: Timestamp) -> String {
    let seconds = until.as_second().saturating_sub(Timestamp::now().as_second());
    duration(u64::try_from(seconds).unwrap_or(0))
}

/// A duration in its two greatest units, as `kubectl get` shows an age.
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m{}s", seconds % 60),
        3_600..86_400 => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use warren_types::status::{LongLivedStale, PeerKind, UpdateErrorKind, UpdateErrors};

    use super::*;

    fn error_kind(attribute: &str, reason: &str, count: u64) -> UpdateErrorKind {
        let (attribute, reason) = (attribute.into(), reason.into());
        let reaction = "treat-as-withdraw".into();
        UpdateErrorKind { attribute, code: 0, reason, reaction, count }
    }

    fn peer() -> Peer {
        Peer {
            address: [192, 168, 0, 146].into(),
            name: None,
            as_number: 64512,
            template: Some("rack".into()),
            kind: PeerKind::Mesh,
            state: "Established".into(),
            since: Timestamp::UNIX_EPOCH,
            last_error: None,
            prefixes_received: 1,
            prefixes_stale: 0,
            long_lived_stale: vec![],
            prefixes_advertised: 1,
            prefixes_refused: Default::default(),
            update_errors: UpdateErrors::default(),
            capabilities: vec![],
            bfd: None,
            bfd_session: None,
        }
    }

    #[test]
    fn what_a_peer_sends_malformed_is_in_the_wide_table_only_and_its_template_in_both() {
        let update_errors = UpdateErrors {
            treated_as_withdraw: 8,
            attributes_discarded: 1,
            kinds: vec![
                error_kind("ORIGIN", "Invalid ORIGIN Attribute", 1),
                error_kind("AS_PATH", "Malformed AS_PATH", 4),
                error_kind("ORIGIN", "Missing Well-known Attribute", 3),
                error_kind("AGGREGATOR", "Attribute Length Error", 1),
            ],
            last: Some("ORIGIN is missing".into()),
        };
        let peer = Peer { update_errors, ..peer() };
        let wide = peers(std::slice::from_ref(&peer), true);
        let expected = "8 taken as withdrawn, 1 discarded: 4 AS_PATH (Malformed AS_PATH), \
                        3 ORIGIN (Missing Well-known Attribute), \
                        1 ORIGIN (Invalid ORIGIN Attribute), 1 more; last: ORIGIN is missing";
        assert!(wide.contains(expected), "{wide}");
        let narrow = peers(&[peer], false);
        assert!(!narrow.contains("withdrawn"));
        assert!(narrow.contains("dynamic (rack)"), "{narrow}");
    }

    #[test]
    fn what_is_kept_for_long_is_shown_with_the_time_that_is_left() {
        let kept = |prefixes, hours| LongLivedStale {
            family: "IPv4 unicast".into(),
            prefixes,
            until: Timestamp::now() + jiff::SignedDuration::from_hours(hours),
        };
        let away = Peer { prefixes_stale: 3, long_lived_stale: vec![kept(2, 240)], ..peer() };
        let text = peers(&[away], false);
        // The clock goes on meanwhile.
        let expected = ["for 10d0h more", "for 9d23h more"]
            .map(|time| format!("2 IPv4 unicast long-lived stale, {time}; 1 kept until announced"));
        assert!(expected.iter().any(|it| text.contains(it)), "{text}");
        let over = Peer { prefixes_stale: 2, long_lived_stale: vec![kept(2, -1)], ..peer() };
        let text = peers(&[over], false);
        assert!(text.contains("for 0s more") && !text.contains("until announced"), "{text}");
    }

    #[test]
    fn a_duration_shows_its_two_greatest_units() {
        let cases = [(0, "0s"), (59, "59s"), (61, "1m1s"), (3_600, "1h0m"), (90_061, "1d1h")];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
    }
}
