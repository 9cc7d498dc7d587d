//! What every speaker must have in the end, worked out from the facts alone: who lives, who can
//! reach whom, who announces what. It is a second writing of RFC 4271, 9 that shares no line with
//! the one under test.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use warren_bgp::rib::BestPath;
use warren_bgp::role::Role;
use warren_bgp::session::State;

use crate::network::Side;
use crate::topology::{address, destinations, shared, speaker};
use crate::world::{World, pools};

/// A route as one speaker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Route {
    Own,
    Learned { as_path: Vec<u32>, otc: Option<u32>, from: usize, external: bool, next_hop: IpAddr },
}

type Routes = BTreeMap<usize, Route>;

/// Whether the two must have a session.
fn have_session(world: &World, a: usize, b: usize) -> bool {
    let wants = |node: usize, peer: usize| {
        let it = &world.nodes[node];
        it.is_powered
            && it.speaker.is_some()
            && !it.stopped.contains(&peer)
            && !it.removed.contains(&peer)
    };
    wants(a, b) && wants(b, a) && !world.network.is_cut(a, b)
}

/// Who has which route to one destination.
fn routes(world: &World, destination: IpNetwork) -> Routes {
    let count = world.nodes.len();
    let mut routes = Routes::new();
    // A path is at most as long as there are speakers; one round more must change nothing.
    for round in 0..=2 * count {
        let next: Routes = (0..count)
            .filter_map(|node| Some((node, best(world, &routes, destination, node)?)))
            .collect();
        if next == routes {
            return routes;
        }
        assert!(round < 2 * count, "the facts themselves do not settle");
        routes = next;
    }
    routes
}

fn best(world: &World, routes: &Routes, destination: IpNetwork, node: usize) -> Option<Route> {
    world.nodes[node].speaker.as_ref()?;
    if world.nodes[node].originated.contains(&destination) {
        return Some(Route::Own);
    }
    if !pools(world.nodes[node].believes_shared).iter().any(|it| it.contains(destination.ip())) {
        return None;
    }
    let peers = world.topology.peers(node).map(|(peer, _)| peer);
    let heard = peers.filter_map(|peer| {
        have_session(world, node, peer).then(|| told(world, routes, peer, node)).flatten()
    });
    heard.min_by_key(|route| match route {
        Route::Own => unreachable!("nobody is told of an own route as its own"),
        Route::Learned { as_path, from, external, .. } => {
            (as_path.len(), !external, world.topology.speakers[*from].router_id, address(*from))
        }
    })
}

/// What `from` says to `to`, if `to` takes it.
fn told(world: &World, routes: &Routes, from: usize, to: usize) -> Option<Route> {
    let external = world.topology.is_external(from, to);
    let (mut as_path, mut otc, before, mut next_hop) = match routes.get(&from)? {
        Route::Own => (vec![], None, None, address(from)),
        Route::Learned { as_path, otc, from, external, next_hop } => {
            (as_path.clone(), *otc, Some((*from, *external)), *next_hop)
        }
    };
    if before.is_some_and(|(peer, was_external)| peer == to || (!external && !was_external)) {
        return None;
    }
    let way = way(world, from, to);
    if otc.is_some() && matches!(way, Some(Way::Up | Way::Across)) {
        return None;
    }
    if external {
        let asn = world.topology.speakers[from].as_number;
        as_path.insert(0, asn);
        next_hop = address(from);
        if matches!(way, Some(Way::Down | Way::Across)) {
            otc = otc.or(Some(asn));
        }
    }
    let is_refused =
        as_path.contains(&world.topology.speakers[to].as_number) || next_hop == address(to);
    (!is_refused).then_some(Route::Learned { as_path, otc, from, external, next_hop })
}

/// Where a route goes, as roles have it (RFC 9234, 1.1): up to who carries everything, down to who is
/// carried, or across.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Across,
    Down,
}

fn way(world: &World, from: usize, to: usize) -> Option<Way> {
    world.topology.role(from, to).map(|role| match role {
        Role::Provider | Role::RouteServer => Way::Down,
        Role::Customer | Role::RouteServerClient => Way::Up,
        Role::Peer => Way::Across,
    })
}

/// The route has not leaked on its way to `node`: after it went down or across, it went neither up
/// nor across.
fn check_way(world: &World, routes: &Routes, node: usize, destination: IpNetwork) {
    let (mut at, mut goes_on) = (node, false);
    while let Some(Route::Learned { from, .. }) = routes.get(&at) {
        let way = way(world, *from, at);
        let is_leak = goes_on && matches!(way, Some(Way::Down | Way::Across));
        assert!(!is_leak, "{destination} has leaked from {at} on its way to {node}");
        goes_on |= matches!(way, Some(Way::Up | Way::Across));
        at = *from;
    }
}

/// What the tables of all nodes are to be.
fn tables(world: &World) -> Vec<BTreeMap<IpNetwork, BestPath>> {
    let count = world.nodes.len();
    let mut tables = vec![BTreeMap::new(); count];
    let all = (0..count).flat_map(|n| destinations(n)[..3].to_vec()).chain([shared()]);
    for destination in all {
        let routes = routes(world, destination);
        for (node, route) in &routes {
            if let Route::Learned { from, next_hop, .. } = route {
                let best = BestPath { next_hop: *next_hop, learned_from: address(*from) };
                tables[*node].insert(destination, best);
            }
            follow(world, &routes, *node, destination);
            check_way(world, &routes, *node, destination);
        }
    }
    tables
}

/// Packets get from `node` to somebody who has the destination, without coming by anywhere twice.
fn follow(world: &World, routes: &Routes, node: usize, destination: IpNetwork) {
    let mut at = node;
    for _ in 0..=world.nodes.len() {
        match routes.get(&at) {
            Some(Route::Own) => return,
            Some(Route::Learned { next_hop, .. }) => at = speaker(*next_hop),
            None => panic!("{destination} from {node} ends at {at}, which has no route"),
        }
    }
    panic!("{destination} from {node} goes round in circles");
}

/// What must hold of sessions once nothing happens any more.
pub(crate) fn check_sessions(world: &World) {
    for &(a, b, _) in &world.topology.sessions {
        check_session(world, a, b);
    }
}

/// All that must hold once nothing happens any more.
pub(crate) fn check(world: &World) {
    check_sessions(world);
    let tables = tables(world);
    for (node, expected) in tables.iter().enumerate() {
        let Some(speaker) = &world.nodes[node].speaker else { continue };
        assert_eq!(&speaker.table(), expected, "the routes of {node}");
        assert!(speaker.has_nothing_to_say(), "{node} has news that it does not tell");
    }
}

fn check_session(world: &World, a: usize, b: usize) {
    let machine = |node: usize, peer: usize| world.nodes[node].speaker.as_ref()?.machine(peer);
    let wanted = have_session(world, a, b);
    for (node, peer) in [(a, b), (b, a)] {
        let Some(machine) = machine(node, peer) else { continue };
        let state = machine.state();
        assert_eq!(
            state == State::Established,
            wanted,
            "{node} is {state} with {peer}: {:?}",
            machine.last_error()
        );
        let is_started = !world.nodes[node].stopped.contains(&peer);
        let waits = machine.config().passive && state == State::Active;
        assert!(
            !is_started || waits || machine.next_deadline().is_some(),
            "{node} is {state} with {peer} and no timer runs"
        );
        assert!(is_started || machine.next_deadline().is_none(), "{node} is stopped for {peer}");
    }
    if let (true, Some(one), Some(other)) = (wanted, machine(a, b), machine(b, a)) {
        let place = |node, peer, machine: &warren_bgp::session::Peer| {
            world.network.find(node, peer, machine.established_connection()?)
        };
        let (one, other) = (place(a, b, one), place(b, a, other));
        let (Some((wire, side)), Some((its_wire, its_side))) = (one, other) else {
            panic!("the session of {a} and {b} has no connection");
        };
        assert_eq!((wire, side), (its_wire, 1 - its_side), "{a} and {b} use two connections");
        for place in [(wire, 0), (wire, 1)] {
            assert_eq!(world.network.end(place).map(|end| end.side), Some(Side::Open));
        }
        let between = |place: &(u64, usize)| {
            world.network.other(*place).is_some_and(|other| other.speaker == b)
        };
        let count = world.network.of(a).iter().filter(|place| between(place)).count();
        assert_eq!(count, 1, "connections between {a} and {b}");
    }
}
