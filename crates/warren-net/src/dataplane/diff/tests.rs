use std::sync::Arc;

use proptest::prelude::*;
use warren_types::pool::Encapsulation;

use super::*;
use crate::desired::Withheld;

const TUNNEL_INDEX: u32 = 3;
const NIC_INDEX: u32 = 2;
const OURS: u8 = 12;
const STATIC: u8 = 4;

fn net(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn pools() -> Vec<Pool> {
    vec![Pool {
        cidr: net("172.16.0.0/16"),
        block_size: 26,
        encapsulation: Encapsulation::IpIp,
        nat_outgoing: false,
    }]
}

fn wanted(prefix: &str, gateway: &str) -> DesiredRoute {
    let gateway = gateway.parse().unwrap();
    let action = Action::Via { gateway, device: Arc::from("tunl0"), index: TUNNEL_INDEX };
    DesiredRoute { prefix: net(prefix), action, protocol: OURS }
}

fn blackhole(prefix: &str) -> DesiredRoute {
    DesiredRoute { prefix: net(prefix), action: Action::Blackhole, protocol: OURS }
}

/// What the kernel has once `route` is written.
fn there(route: &DesiredRoute) -> KernelRoute {
    route.into()
}

/// A route of somebody or other.
fn other(prefix: &str, protocol: u8, index: u32) -> KernelRoute {
    KernelRoute {
        protocol,
        index: Some(index),
        onlink: false,
        ..there(&wanted(prefix, "10.0.0.1"))
    }
}

fn desired(routes: &[DesiredRoute]) -> Desired {
    Desired {
        routes: routes.iter().map(|route| (route.prefix, route.clone())).collect(),
        ..Desired::default()
    }
}

fn difference(desired: &Desired, table: &[KernelRoute], settled: bool) -> Difference {
    let (pools, written) = (pools(), HashSet::default());
    let tunnel = Some(TUNNEL_INDEX);
    let realm = Realm { protocol: OURS, settled, pools: &pools, tunnel, written: &written };
    diff(desired, table.to_vec(), &realm)
}

const REMOTE: &str = "172.16.103.64/26";

#[test]
fn a_missing_route_is_added_and_a_right_one_is_left_alone() {
    let routes = [wanted(REMOTE, "192.168.0.146"), blackhole("172.16.52.128/26")];
    let difference = difference(&desired(&routes), &[there(&routes[1])], true);
    let add = Write { route: routes[0].clone(), replace: false };
    assert_eq!(difference, Difference { write: vec![add], ..Difference::default() });
}

#[test]
fn each_way_in_which_our_route_can_be_wrong_is_replaced_in_one_step() {
    let route = wanted(REMOTE, "192.168.0.146");
    let right = there(&route);
    for wrong in [
        KernelRoute { gateway: Some("192.168.0.9".parse().unwrap()), ..right.clone() },
        KernelRoute { index: Some(NIC_INDEX), ..right.clone() },
        KernelRoute { onlink: false, ..right.clone() },
        KernelRoute { special: true, ..right.clone() },
        KernelRoute { kind: RouteType::BlackHole, ..right },
    ] {
        let difference = difference(&desired(std::slice::from_ref(&route)), &[wrong], true);
        let replace = Write { route: route.clone(), replace: true };
        assert_eq!(difference, Difference { write: vec![replace], ..Difference::default() });
    }
}

#[test]
fn anothers_route_in_the_place_of_ours_is_left_and_named() {
    let route = wanted(REMOTE, "192.168.0.146");
    let foreign = other(REMOTE, STATIC, NIC_INDEX);
    // Behind it, ours is not used, whether it is there or not.
    for table in [vec![foreign.clone()], vec![foreign.clone(), there(&route)]] {
        let difference = difference(&desired(std::slice::from_ref(&route)), &table, true);
        assert!(difference.write.is_empty() && difference.delete.is_empty(), "{difference:?}");
        assert_eq!(difference.held, [(net(REMOTE), foreign.clone())].into());
    }
    let names = [(NIC_INDEX, "enp1s0".to_owned())].into();
    assert_eq!(foreign.words(&names), "172.16.103.64/26 via 10.0.0.1 dev enp1s0 proto static");
}

#[test]
fn anothers_route_behind_ours_or_with_a_metric_is_not_in_the_way() {
    let route = wanted(REMOTE, "192.168.0.146");
    let foreign = other(REMOTE, STATIC, NIC_INDEX);
    let with_metric = KernelRoute { metric: 1024, ..foreign.clone() };
    let for_some_traffic = KernelRoute { tos: 16, ..foreign.clone() };
    let table = [for_some_traffic, there(&route), foreign, with_metric.clone()];
    let desired = desired(std::slice::from_ref(&route));
    assert_eq!(difference(&desired, &table, true), Difference::default());
    let add = Write { route, replace: false };
    let expected = Difference { write: vec![add], ..Difference::default() };
    assert_eq!(difference(&desired, &[with_metric], true), expected);
}

#[test]
fn a_second_route_of_ours_for_the_same_destination_goes() {
    let route = wanted(REMOTE, "192.168.0.146");
    let wrong = KernelRoute { gateway: Some("192.168.0.9".parse().unwrap()), ..there(&route) };
    // Calico's, since its version 3.32.
    let with_metric = KernelRoute { metric: 1024, ..there(&route) };
    let desired = desired(std::slice::from_ref(&route));
    for table in [[there(&route), wrong.clone()], [wrong.clone(), there(&route)]] {
        let expected = Difference { delete: vec![wrong.clone()], ..Difference::default() };
        assert_eq!(difference(&desired, &table, true), expected);
        // That it is wrong is known before all paths are.
        assert_eq!(difference(&desired, &table, false), expected);
    }
    let difference = difference(&desired, &[there(&route), with_metric.clone()], true);
    assert_eq!(difference, Difference { delete: vec![with_metric], ..Difference::default() });
}

#[test]
fn only_what_is_ours_is_swept_and_only_once_the_paths_are_complete() {
    let sweep = [
        ("inside a pool, through the tunnel", other("172.16.1.0/26", OURS, TUNNEL_INDEX), true),
        ("inside a pool, through a card", other("172.16.1.0/26", OURS, NIC_INDEX), true),
        ("in no pool, through the tunnel", other("10.9.0.0/26", OURS, TUNNEL_INDEX), true),
        ("a BIRD's own route of this host", other("0.0.0.0/0", OURS, NIC_INDEX), false),
        ("somebody's route in a pool", other("172.16.1.0/26", STATIC, TUNNEL_INDEX), false),
        ("a pod's", other("172.16.52.132/32", 3, 17), false),
        ("an old blackhole", there(&blackhole("172.16.9.0/26")), true),
    ];
    for (what, route, ours) in sweep {
        let unsettled = difference(&desired(&[]), std::slice::from_ref(&route), false);
        let kept = if ours { vec![route.clone()] } else { vec![] };
        let kept = Difference { kept, ..Difference::default() };
        assert_eq!(unsettled, kept, "{what}");
        let delete = if ours { vec![route.clone()] } else { vec![] };
        let settled = difference(&desired(&[]), &[route], true);
        assert_eq!(settled, Difference { delete, ..Difference::default() }, "{what}");
    }
}

#[test]
fn what_this_process_wrote_goes_even_after_its_pool_went() {
    let old = there(&blackhole("10.9.0.0/26"));
    let written = HashSet::from_iter([old.prefix]);
    let realm =
        Realm { protocol: OURS, settled: true, pools: &[], tunnel: None, written: &written };
    assert_eq!(diff(&desired(&[]), vec![old.clone()], &realm).delete, [old]);
}

#[test]
fn a_route_that_may_still_be_right_stays() {
    let route = other(REMOTE, OURS, NIC_INDEX);
    let mut desired = desired(&[]);
    let withheld = |keep| Withheld { reason: String::new(), keep };
    desired.withheld.insert(net(REMOTE), withheld(true));
    let kept = difference(&desired, std::slice::from_ref(&route), true).kept;
    assert_eq!(kept, std::slice::from_ref(&route));
    desired.withheld.insert(net(REMOTE), withheld(false));
    assert_eq!(difference(&desired, std::slice::from_ref(&route), true).delete, [route]);
}

/// What the kernel does with `difference`: as fib_table_insert and fib_table_delete of
/// net/ipv4/fib_trie.c.
fn apply(mut table: Vec<KernelRoute>, difference: &Difference) -> Vec<KernelRoute> {
    for Write { route, replace } in &difference.write {
        let rival = |there: &KernelRoute| {
            there.prefix == route.prefix && there.metric == 0 && there.tos == 0
        };
        match table.iter().position(rival) {
            Some(first) if *replace => table[first] = there(route),
            None if !*replace => table.push(there(route)),
            place => panic!("{route}, replace: {replace}, meets {place:?}"),
        }
    }
    for route in &difference.delete {
        let place = table.iter().position(|there| there == route);
        table.remove(place.expect("what is deleted is there"));
    }
    table
}

/// A destination: one of a few, so that routes meet; most in the pool.
fn prefixes() -> impl Strategy<Value = IpNetwork> {
    prop_oneof![
        4 => (0u8..4).prop_map(|n| net(&format!("172.16.0.{}/26", n * 64))),
        1 => Just(net("172.16.0.0/24")),
        1 => Just(net("10.9.0.0/26")),
    ]
}

fn desired_routes() -> impl Strategy<Value = DesiredRoute> {
    (prefixes(), prop::option::of(1u8..4)).prop_map(|(prefix, node)| match node {
        Some(node) => wanted(&prefix.to_string(), &format!("192.168.0.{node}")),
        None => blackhole(&prefix.to_string()),
    })
}

fn kernel_routes() -> impl Strategy<Value = KernelRoute> {
    let protocol = prop_oneof![3 => Just(OURS), 1 => Just(STATIC)];
    let metric = prop_oneof![4 => Just(0u32), 1 => Just(1024u32)];
    let index = prop_oneof![3 => Just(TUNNEL_INDEX), 1 => Just(NIC_INDEX)];
    (desired_routes(), protocol, metric, index, any::<bool>()).prop_map(
        |(route, protocol, metric, index, special)| {
            let route = there(&route);
            let index = route.index.map(|_| index);
            KernelRoute { protocol, metric, index, special, ..route }
        },
    )
}

/// A table as the kernel can have it: routes for one destination in the order of their metrics, no
/// two the same.
fn tables() -> impl Strategy<Value = Vec<KernelRoute>> {
    prop::collection::vec(kernel_routes(), 0..12).prop_map(|routes| {
        let mut table: Vec<KernelRoute> = Vec::new();
        for route in routes {
            if !table.contains(&route) {
                table.push(route);
            }
        }
        table.sort_by_key(|route| (route.prefix, route.metric));
        table
    })
}

proptest! {
    #[test]
    fn applying_the_difference_gives_what_is_desired(
        table in tables(),
        routes in prop::collection::vec(desired_routes(), 0..6),
        settled in any::<bool>(),
    ) {
        let desired = desired(&routes);
        let (pools, written) = (pools(), HashSet::default());
        let tunnel = Some(TUNNEL_INDEX);
        let realm = Realm { protocol: OURS, settled, pools: &pools, tunnel, written: &written };
        let mut after = table.clone();
        // Deleting a wrong route of ours can uncover another's: at most one more pass then.
        let mut difference = Difference::default();
        for _ in 0..2 {
            difference = diff(&desired, after.clone(), &realm);
            after = apply(after, &difference);
        }
        let again = diff(&desired, after.clone(), &realm);
        prop_assert!(again.write.is_empty() && again.delete.is_empty(), "{again:?}");

        for route in desired.routes.values() {
            let first = after.iter().find(|there| {
                there.prefix == route.prefix && there.metric == 0 && there.tos == 0
            });
            let first = first.expect("every destination has a route");
            prop_assert!(first.is(route) || difference.held.contains_key(&route.prefix));
        }
        for route in &table {
            let gone = !after.contains(route);
            if route.protocol != OURS {
                prop_assert!(!gone, "another's route is gone: {route:?}");
            } else if gone {
                let wanted = desired.routes.contains_key(&route.prefix);
                prop_assert!(wanted || (settled && realm.holds(route)), "{route:?}");
            }
        }
        for route in after.iter().filter(|route| settled && realm.holds(route)) {
            let wanted = desired.routes.get(&route.prefix);
            prop_assert!(wanted.is_some_and(|wanted| route.is(wanted)), "left over: {route:?}");
        }
    }
}
