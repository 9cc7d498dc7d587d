//! What the two OPENs add up to (RFC 4271, 4.2 and 6.2; RFC 5492; RFC 6793).

use std::time::Duration;

use super::{Negotiated, PeerConfig, PeerRestart, RemoteAs, SUPPORTED_FAMILIES};
use crate::codec::{SessionReset, open};
use crate::message::{AddPath, Capability, Family, GracefulRestart, LongLived, Open, PathIds};

/// The code of the capability for a family (RFC 4760, 8).
const MULTIPROTOCOL: u8 = 1;

/// What this speaker's OPEN tells of its own past.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// It has restarted and waits for its peers' routes (RFC 4724, 4.1).
    pub(super) restarting: bool,
    /// It has gone on forwarding, for all that the peer knows: through its restart, or since an
    /// earlier session of this life.
    pub(super) forwarding: bool,
}

/// The OPEN that this speaker sends; `plain` without capabilities, for a peer that does not know
/// what they are (RFC 5492, 3).
pub(super) fn our_open(config: &PeerConfig, plain: bool, past: Past) -> Open {
    let mut capabilities = Vec::new();
    if !plain {
        let offered = SUPPORTED_FAMILIES.into_iter().filter(|f| config.families.contains(f));
        capabilities.extend(offered.clone().map(Capability::Multiprotocol));
        capabilities.extend([
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::ExtendedMessage,
        ]);
        capabilities.extend(config.external_role().map(|it| Capability::Role(it.role)));
        if config.add_path {
            let receive = |family| (family, AddPath::Receive);
            capabilities.push(Capability::AddPath(offered.clone().map(receive).collect()));
        }
        if let Some(restart) = &config.graceful_restart {
            capabilities.push(Capability::GracefulRestart(GracefulRestart {
                restarting: past.restarting,
                notification: restart.notification,
                restart_time: restart.restart_time.as_secs(),
                families: offered.clone().map(|family| (family, past.forwarding)).collect(),
            }));
            let stale_time = restart.long_lived.as_secs();
            if stale_time > 0 {
                let forwarding = past.forwarding;
                capabilities.push(Capability::LongLivedGracefulRestart(
                    offered.map(|family| LongLived { family, forwarding, stale_time }).collect(),
                ));
            }
        }
        capabilities.push(Capability::FourOctetAs(config.local_as));
    }
    Open {
        as_number: config.local_as,
        hold_time: config.hold_time.as_secs(),
        router_id: config.router_id,
        capabilities,
    }
}

/// What a session has after `ours` was sent and `theirs` was received.
///
/// # Errors
/// The peer's OPEN is not acceptable.
pub(super) fn negotiate(
    config: &PeerConfig,
    ours: &Open,
    theirs: &Open,
) -> Result<Negotiated, SessionReset> {
    if !config.admits(theirs.as_number) {
        let wanted = match config.peer_as {
            RemoteAs::Is(number) => format!("not {number}"),
            RemoteAs::Internal => format!("not {} as an internal peer", config.local_as),
            RemoteAs::External => "as this speaker, and is no external peer".to_owned(),
        };
        let detail = format!("peer has AS {}, {wanted}", theirs.as_number);
        return Err(SessionReset::new(2, 2, vec![], detail));
    }
    // RFC 7607, 2: not even where it is configured.
    if theirs.as_number == 0 {
        return Err(SessionReset::new(2, 2, vec![], "peer has AS 0"));
    }
    if matches!(theirs.hold_time, 1 | 2) {
        let detail = format!("peer proposes a hold time of {} s", theirs.hold_time);
        return Err(SessionReset::new(2, 6, vec![], detail));
    }
    // RFC 6286, 2.2: unique within an AS, not zero anywhere.
    let same = config.is_internal() && theirs.router_id == config.router_id;
    if same || theirs.router_id.is_unspecified() {
        let detail = format!(
            "peer has BGP identifier {}{}",
            theirs.router_id,
            if same { ", which is this speaker's own" } else { "" }
        );
        return Err(SessionReset::new(2, 3, vec![], detail));
    }
    let (our_families, their_families) = (families(ours), families(theirs));
    let common: Vec<Family> =
        our_families.iter().copied().filter(|family| their_families.contains(family)).collect();
    if common.is_empty() {
        // RFC 5492, 5: the data lists what is missing.
        let missing: Vec<Capability> =
            our_families.into_iter().map(Capability::Multiprotocol).collect();
        let data = open::encode_capabilities(&missing);
        return Err(SessionReset::new(2, 7, data, "peer offers none of our address families"));
    }
    let role_confirmed = confirm_role(config, theirs)?;
    let hold_time = Duration::from_secs(ours.hold_time.min(theirs.hold_time).into());
    let third = hold_time / 3;
    Ok(Negotiated {
        peer_router_id: theirs.router_id,
        peer_as: theirs.as_number,
        hold_time,
        keepalive: config.keepalive.map_or(third, |wanted| wanted.min(third)),
        role: config.external_role().map(|it| it.role),
        role_confirmed,
        graceful_restart: graceful_restart(ours, theirs, &common),
        path_ids: path_ids(ours, theirs, &common),
        families: common,
        four_octet_as: both(ours, theirs, |c| matches!(c, Capability::FourOctetAs(_))),
        route_refresh: both(ours, theirs, |c| *c == Capability::RouteRefresh),
        enhanced_refresh: both(ours, theirs, |c| *c == Capability::EnhancedRouteRefresh),
        extended_messages: both(ours, theirs, |c| *c == Capability::ExtendedMessage),
    })
}

/// Whether the peer says that it has the role that goes with ours (RFC 9234, 4.2). A number that is no
/// role goes with none.
fn confirm_role(config: &PeerConfig, theirs: &Open) -> Result<bool, SessionReset> {
    let Some(ours) = config.external_role() else { return Ok(false) };
    let mismatch = |detail: String| Err(SessionReset::new(2, 11, vec![], detail));
    let mut said: Vec<&Capability> = theirs
        .capabilities
        .iter()
        .filter(|it| matches!(it, Capability::Role(_) | Capability::Other { code: open::ROLE, .. }))
        .collect();
    // The same one said again is no other one.
    said.dedup();
    let wanted = ours.role.counterpart();
    match said[..] {
        [] if ours.strict => mismatch(format!("peer has no role, and is to be a {wanted}")),
        [] => Ok(false),
        [Capability::Role(role)] if *role == wanted => Ok(true),
        [Capability::Role(role)] => mismatch(format!("peer has the role {role}, not {wanted}")),
        [_] => mismatch(format!("peer has a role that does not exist, and is to be a {wanted}")),
        _ => mismatch("peer has several roles".to_owned()),
    }
}

/// What the peer says of its restarts, where both sides can do graceful restart. Of several such
/// capabilities the last counts (RFC 4724, 3).
fn graceful_restart(ours: &Open, theirs: &Open, families: &[Family]) -> Option<PeerRestart> {
    let of = |open: &Open| {
        open.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::GracefulRestart(restart) => Some(restart.clone()),
            _ => None,
        })
    };
    let long_lived = long_lived(ours, theirs, families);
    let (ours, theirs) = (of(ours)?, of(theirs)?);
    Some(PeerRestart {
        long_lived,
        restarting: theirs.restarting,
        notification: ours.notification && theirs.notification,
        restart_time: Duration::from_secs(theirs.restart_time.into()),
        families: theirs.families.into_iter().filter(|(it, _)| families.contains(it)).collect(),
    })
}

/// What the peer says of the time beyond its restart time, where both sides can do long-lived
/// graceful restart (RFC 9494, 4.1). Nothing is kept for longer than this speaker asks for itself: the
/// bound that 4.2 wishes for.
fn long_lived(ours: &Open, theirs: &Open, families: &[Family]) -> Option<Vec<LongLived>> {
    let of = |open: &Open| {
        open.capabilities.iter().rev().find_map(|capability| match capability {
            Capability::LongLivedGracefulRestart(tuples) => Some(tuples.clone()),
            _ => None,
        })
    };
    let (ours, theirs) = (of(ours)?, of(theirs)?);
    let bound = ours.iter().map(|it| it.stale_time).max()?;
    let theirs = theirs.into_iter().filter(|it| families.contains(&it.family));
    Some(theirs.map(|it| LongLived { stale_time: it.stale_time.min(bound), ..it }).collect())
}

/// The families in whose prefixes there are path identifiers: those that one side would send with
/// them and the other can take (RFC 7911, 4).
fn path_ids(ours: &Open, theirs: &Open, families: &[Family]) -> PathIds {
    let of = |open: &Open, family| {
        let mut tuples = open.capabilities.iter().flat_map(|capability| match capability {
            Capability::AddPath(tuples) => tuples.as_slice(),
            _ => &[],
        });
        tuples.find(|(it, _)| *it == family).map(|(_, direction)| *direction)
    };
    let exchanged = |from: &Open, to: &Open| {
        let is_exchanged = |family: &Family| {
            of(from, *family).is_some_and(AddPath::sends)
                && of(to, *family).is_some_and(AddPath::receives)
        };
        families.iter().copied().filter(is_exchanged).collect()
    };
    PathIds { received: exchanged(theirs, ours), sent: exchanged(ours, theirs) }
}

fn both(ours: &Open, theirs: &Open, is: impl Fn(&Capability) -> bool) -> bool {
    ours.capabilities.iter().any(&is) && theirs.capabilities.iter().any(&is)
}

/// The families that an OPEN offers: IPv4 unicast where it names none, for that is what BGP was
/// before RFC 4760.
fn families(open: &Open) -> Vec<Family> {
    let mut families = Vec::new();
    let mut names_any = false;
    for capability in &open.capabilities {
        match capability {
            Capability::Multiprotocol(family) => {
                names_any = true;
                families.push(*family);
            }
            Capability::Other { code: MULTIPROTOCOL, .. } => names_any = true,
            _ => {}
        }
    }
    if names_any { families } else { vec![Family::Ipv4Unicast] }
}
