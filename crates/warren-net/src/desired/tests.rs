use warren_types::pool::Encapsulation;

use super::*;

const BLOCK: &str = "172.16.52.128/26";
const REMOTE: &str = "172.16.103.64/26";

fn net(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn pool(cidr: &str, encapsulation: Encapsulation) -> Pool {
    Pool { cidr: net(cidr), block_size: 26, encapsulation, nat_outgoing: false }
}

fn path(next_hop: &str) -> Path {
    Path { next_hop: next_hop.parse().unwrap(), learned_from: "192.168.0.9".parse().unwrap() }
}

/// A node that is as it should be, with one path.
fn known(encapsulation: Encapsulation, prefix: &str, next_hop: &str) -> Known {
    Known {
        node_address: Some("192.168.0.176".parse().unwrap()),
        nodes: [].into(),
        pools: vec![pool("172.16.0.0/16", encapsulation)],
        blocks: vec![net(BLOCK)],
        paths: [(net(prefix), path(next_hop))].into(),
        route_protocol: 12,
        settled: true,
    }
}

fn links() -> Links {
    Links {
        tunnel: Some(Device {
            index: 3,
            name: TUNNEL.to_owned(),
            mtu: 1480,
            up: true,
            addresses: vec![net("172.16.52.128/32")],
        }),
        nic: Some(Device {
            index: 2,
            name: "enp1s0".to_owned(),
            mtu: 1500,
            up: true,
            addresses: vec![net("192.168.0.176/24"), net("fd00::176/64"), net("fe80::1/64")],
        }),
    }
}

/// What becomes of the only path: the route, or `withheld: ` and the reason.
fn outcome(known: &Known, links: &Links) -> String {
    let desired = desired(known, links);
    let (prefix, _) = known.paths.iter().next().unwrap();
    let said = match (desired.routes.get(prefix), desired.withheld.get(prefix)) {
        (_, Some(Withheld { reason, keep: true })) => format!("kept: {reason}"),
        (_, Some(Withheld { reason, keep: false })) => format!("withheld: {reason}"),
        (Some(route), None) => route.to_string(),
        (None, None) => "nothing".to_owned(),
    };
    if !known.blocks.contains(prefix) {
        let single = match desired_route(known, links, *prefix).unwrap() {
            Verdict::Route(route) => route.to_string(),
            Verdict::Withheld(Withheld { reason, keep: true }) => format!("kept: {reason}"),
            Verdict::Withheld(Withheld { reason, keep: false }) => format!("withheld: {reason}"),
        };
        assert_eq!(single, said, "one destination and all of them agree");
    }
    said
}

#[test]
fn a_worker_node_has_the_routes_that_its_operator_knows() {
    let mut known = known(Encapsulation::IpIp, REMOTE, "192.168.0.146");
    known.paths.insert(net("172.16.246.192/26"), path("192.168.0.241"));
    let desired = desired(&known, &links());
    let words: Vec<_> = desired.routes.values().map(DesiredRoute::to_string).collect();
    assert_eq!(
        words,
        [
            "blackhole 172.16.52.128/26 proto bird",
            "172.16.103.64/26 via 192.168.0.146 dev tunl0 proto bird onlink",
            "172.16.246.192/26 via 192.168.0.241 dev tunl0 proto bird onlink",
        ]
    );
    assert!(desired.withheld.is_empty() && desired.problems.is_empty(), "{desired:?}");
    let tunnel = desired.tunnel.unwrap();
    assert_eq!((tunnel.name, tunnel.mtu), ("tunl0", Some(1480)));
    assert_eq!(tunnel.address, Some(Ipv4Addr::new(172, 16, 52, 128)));
    assert_eq!(desired.pod_mtu, Some(1480));
}

#[test]
fn the_encapsulation_and_the_next_hop_choose_the_device() {
    use Encapsulation::{IpIp, IpIpCrossSubnet, None, Vxlan, VxlanCrossSubnet};
    let near = "192.168.0.146";
    let far = "10.9.0.5";
    for (encapsulation, next_hop, expected) in [
        (IpIp, near, "via 192.168.0.146 dev tunl0 proto bird onlink"),
        (IpIp, far, "via 10.9.0.5 dev tunl0 proto bird onlink"),
        (IpIpCrossSubnet, near, "via 192.168.0.146 dev enp1s0 proto bird onlink"),
        (IpIpCrossSubnet, far, "via 10.9.0.5 dev tunl0 proto bird onlink"),
        (None, near, "via 192.168.0.146 dev enp1s0 proto bird onlink"),
        (None, far, "withheld: the next hop 10.9.0.5 is in no subnet of enp1s0, and pool"),
        (Vxlan, near, "withheld: VXLAN is not available in this version"),
        (VxlanCrossSubnet, far, "withheld: VXLAN is not available in this version"),
    ] {
        let said = outcome(&known(encapsulation, REMOTE, next_hop), &links());
        assert!(said.contains(expected), "{encapsulation:?} {next_hop}: {said}");
    }
}

#[test]
fn of_pools_in_one_another_the_smallest_says_how_packets_travel() {
    let mut known = known(Encapsulation::IpIp, REMOTE, "192.168.0.146");
    known.pools.insert(0, pool("172.0.0.0/8", Encapsulation::Vxlan));
    known.pools.push(pool("172.16.103.0/24", Encapsulation::None));
    let said = outcome(&known, &links());
    assert_eq!(said, "172.16.103.64/26 via 192.168.0.146 dev enp1s0 proto bird onlink");
}

#[test]
fn ipv6_goes_plainly_to_neighbours_and_never_through_the_tunnel() {
    use Encapsulation::{IpIp, IpIpCrossSubnet, None};
    let (near, far) = ("fd00::146", "fd99::5");
    for (encapsulation, next_hop, expected) in [
        (None, near, "fd10:0:0:7::/64 via fd00::146 dev enp1s0 proto bird onlink"),
        (None, "fe80::2", "fd10:0:0:7::/64 via fe80::2 dev enp1s0 proto bird onlink"),
        (None, far, "withheld: the next hop fd99::5 is in no subnet of enp1s0, and pool fd10::/16"),
        (IpIpCrossSubnet, near, "fd10:0:0:7::/64 via fd00::146 dev enp1s0 proto bird onlink"),
        (
            IpIpCrossSubnet,
            far,
            "withheld: the next hop fd99::5 is in no subnet of enp1s0, and tunl0",
        ),
        (
            IpIp,
            near,
            "withheld: tunl0 carries IPv4 only: give pool fd10::/16 the encapsulation None",
        ),
        (None, "fd00::176", "withheld: the next hop fd00::176 is this node itself"),
    ] {
        let known = Known {
            pools: vec![pool("fd10::/16", encapsulation), pool("172.16.0.0/16", IpIp)],
            blocks: vec![net(BLOCK), net("fd10:0:0:1::/64")],
            ..known(encapsulation, "fd10:0:0:7::/64", next_hop)
        };
        let said = outcome(&known, &links());
        assert!(said.starts_with(expected), "{encapsulation:?} {next_hop}: {said}");
        let own = desired_route(&known, &links(), net("fd10:0:0:1::/64"));
        let Some(Verdict::Route(own)) = own else { panic!("{own:?}") };
        assert_eq!(own.to_string(), "blackhole fd10:0:0:1::/64 proto bird");
        assert_eq!(
            desired(&known, &links()).tunnel.unwrap().address,
            Some([172, 16, 52, 128].into())
        );
    }
}

#[test]
fn a_path_that_cannot_be_right_is_withheld_and_says_why() {
    for (prefix, next_hop, expected) in [
        (BLOCK, "192.168.0.146", "192.168.0.9 announces it, but this node owns 172.16.52.128/26"),
        ("172.16.52.129/32", "192.168.0.146", "but this node owns 172.16.52.128/26"),
        (REMOTE, "192.168.0.176", "the next hop 192.168.0.176 is this node itself"),
        (REMOTE, "172.16.52.128", "the next hop 172.16.52.128 is this node itself"),
        (REMOTE, "172.16.103.70", "packets would go in circles"),
        ("10.0.0.0/8", "192.168.0.146", "it lies in no pool"),
        ("0.0.0.0/0", "10.9.0.5", "in the destination itself"),
        ("fd10::/64", "192.168.0.146", "the next hop 192.168.0.146 is of the other address family"),
        (REMOTE, "fd00::1", "the next hop fd00::1 is of the other address family"),
        ("172.16.103.65/26", "192.168.0.146", "has bits set behind its prefix length"),
    ] {
        let said = outcome(&known(Encapsulation::IpIp, prefix, next_hop), &links());
        assert!(said.starts_with("withheld: ") && said.contains(expected), "{prefix}: {said}");
    }
}

#[test]
fn a_stranger_who_announces_our_block_does_not_take_its_blackhole_away() {
    let desired = desired(&known(Encapsulation::IpIp, BLOCK, "192.168.0.146"), &links());
    assert_eq!(desired.routes[&net(BLOCK)].action, Action::Blackhole);
}

#[test]
fn without_a_working_tunnel_no_route_falls_back_to_the_network_card() {
    type Harm = fn(&mut Known, &mut Links);
    let harms: [(&str, Harm); 4] = [
        ("tunl0 does not exist: load the ipip kernel module (modprobe ipip)", |_, links| {
            links.tunnel = None;
        }),
        ("tunl0 is down", |_, links| links.tunnel.as_mut().unwrap().up = false),
        ("tunl0 lacks its address 172.16.52.128", |_, links| {
            links.tunnel.as_mut().unwrap().addresses = vec![net("10.1.1.1/32")];
        }),
        ("tunl0 has no address: this node has no block in a pool", |known, _| known.blocks.clear()),
    ];
    for encapsulation in [Encapsulation::IpIp, Encapsulation::IpIpCrossSubnet] {
        for (sentence, harm) in harms {
            let (mut known, mut links) = (known(encapsulation, REMOTE, "10.9.0.5"), links());
            harm(&mut known, &mut links);
            let said = outcome(&known, &links);
            assert!(said.starts_with(&format!("withheld: {sentence}")), "{said}");
            let problems = desired(&known, &links).problems;
            assert!(problems[0].starts_with(sentence), "{problems:?}");
        }
    }
}

#[test]
fn without_the_network_card_what_is_there_stays() {
    for (encapsulation, expected) in [
        (Encapsulation::IpIp, "172.16.103.64/26 via 192.168.0.146 dev tunl0 proto bird onlink"),
        (Encapsulation::IpIpCrossSubnet, "kept: this node's address 192.168.0.176 is on no"),
        (Encapsulation::None, "kept: this node's address 192.168.0.176 is on no network device"),
    ] {
        let known = known(encapsulation, REMOTE, "192.168.0.146");
        let links = Links { nic: None, ..links() };
        let said = outcome(&known, &links);
        assert!(said.starts_with(expected), "{encapsulation:?}: {said}");
        let desired = desired(&known, &links);
        assert_eq!(desired.pod_mtu, None);
        assert_eq!(desired.tunnel.and_then(|tunnel| tunnel.mtu), None);
        assert_eq!(desired.problems.len(), 1);
        assert!(desired.problems[0].contains("192.168.0.176 is on no network device"));
    }
}

#[test]
fn a_network_card_that_is_down_carries_nothing_and_is_named() {
    let mut links = links();
    links.nic.as_mut().unwrap().up = false;
    let plain = known(Encapsulation::None, REMOTE, "192.168.0.146");
    assert_eq!(outcome(&plain, &links), "withheld: enp1s0 is down");
    assert_eq!(desired(&plain, &links).problems, ["enp1s0 is down"]);
    let far = known(Encapsulation::IpIpCrossSubnet, REMOTE, "10.9.0.5");
    assert!(outcome(&far, &links).contains("dev tunl0"));
}

#[test]
fn own_blocks_get_a_blackhole_unless_it_would_harm() {
    let mut known = known(Encapsulation::IpIp, REMOTE, "192.168.0.146");
    known.blocks = vec![
        net("172.16.52.128/26"),
        net("172.16.52.200/32"),
        net("fd00:0:0:1::/122"),
        net("192.168.0.128/26"),
        net("fd00::/64"),
        net("fd10::1/128"),
    ];
    let desired = desired(&known, &links());
    assert_eq!(desired.routes[&known.blocks[0]].action, Action::Blackhole);
    assert!(!desired.routes.contains_key(&known.blocks[1]));
    assert!(!desired.withheld.contains_key(&known.blocks[1]), "a /32 block is nothing wrong");
    assert_eq!(desired.routes[&known.blocks[2]].action, Action::Blackhole);
    assert!(desired.withheld[&known.blocks[3]].reason.contains("own address 192.168.0.176"));
    assert!(desired.withheld[&known.blocks[4]].reason.contains("own address fd00::176"));
    assert!(!desired.routes.contains_key(&known.blocks[5]));
}

#[test]
fn the_tunnel_takes_its_address_from_the_first_block_of_an_ipip_pool() {
    let pools = [
        pool("10.0.0.0/16", Encapsulation::None),
        pool("172.16.0.0/16", Encapsulation::IpIpCrossSubnet),
    ];
    let address = |blocks: &[&str]| {
        tunnel_address(&pools, &blocks.iter().map(|b| net(b)).collect::<Vec<_>>())
    };
    assert_eq!(address(&[]), None);
    assert_eq!(address(&["10.0.0.64/26"]), None);
    assert_eq!(address(&["172.17.0.0/26"]), None);
    let expected = Some(Ipv4Addr::new(172, 16, 1, 0));
    assert_eq!(address(&["10.0.0.64/26", "172.16.1.0/26", "172.16.2.0/26"]), expected);
}

#[test]
fn the_pods_mtu_leaves_room_for_the_largest_header_of_all_pools() {
    use Encapsulation::{IpIp, None as Plain};
    for (encapsulations, pods, tunnel) in [
        (vec![], 1500, None),
        (vec![Plain], 1500, None),
        (vec![Plain, IpIp], 1480, Some(Some(1480))),
        (vec![IpIp, Encapsulation::Vxlan], 1450, Some(Some(1480))),
    ] {
        let mut known = known(IpIp, REMOTE, "192.168.0.146");
        known.pools = encapsulations.iter().map(|e| pool("172.16.0.0/16", *e)).collect();
        let desired = desired(&known, &links());
        assert_eq!(desired.pod_mtu, Some(pods), "{encapsulations:?}");
        assert_eq!(desired.tunnel.map(|t| t.mtu), tunnel, "{encapsulations:?}");
    }
}

#[test]
fn protocols_have_the_names_that_ip_route_gives_them() {
    assert_eq!(protocol_name(12), "bird");
    assert_eq!(protocol_name(4), "static");
    assert_eq!(protocol_name(80), "80");
}
