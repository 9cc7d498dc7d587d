use super::*;

const PEER: &str = "192.168.0.146";
const OTHER: &str = "192.168.0.241";
const OWN: &str = "192.168.0.176";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cluster() -> ImportPolicy {
    ImportPolicy {
        pools: vec!["172.16.0.0/16".parse().unwrap()],
        own_blocks: vec!["172.16.52.128/26".parse().unwrap()],
        owners: vec![
            ("172.16.103.64/26".parse().unwrap(), address(PEER)),
            ("172.16.246.192/26".parse().unwrap(), address(OTHER)),
        ],
    }
}

fn path(next_hop: &str, as_path: Vec<AsPathSegment>) -> Attributes {
    Attributes { as_path, local_pref: Some(100), ..Attributes::via(address(next_hop)) }
}

fn check(prefix: &str, attributes: &Attributes) -> Result<(), Refusal> {
    let arrival = Arrival { local_as: 64512, local_address: address(OWN), peer: address(PEER) };
    Import::from(&cluster()).check(&arrival, &prefix.parse().unwrap(), attributes)
}

#[test]
fn each_reason_has_a_route_that_is_refused_for_it() {
    let plain = path(PEER, vec![]);
    let cases = [
        ("172.16.103.64/26", Ok(()), "the peer's own block"),
        ("172.16.103.70/32", Ok(()), "an address inside the peer's own block"),
        ("172.16.7.0/26", Ok(()), "a block whose owner is not known"),
        // No harm: the block itself wins by its length.
        ("172.16.246.0/24", Ok(()), "a prefix that covers a third node's block"),
        ("0.0.0.0/0", Err(Refusal::DefaultRoute), "the default route"),
        ("172.16.0.0/15", Err(Refusal::OutsidePools), "a prefix that covers the pool"),
        ("10.0.0.0/8", Err(Refusal::OutsidePools), "a foreign prefix"),
        ("172.16.52.128/26", Err(Refusal::OwnBlock), "this node's own block"),
        ("172.16.52.130/32", Err(Refusal::OwnBlock), "a pod of this node"),
        ("172.16.52.0/24", Err(Refusal::OwnBlock), "a prefix that covers this node's block"),
        ("172.16.0.0/16", Err(Refusal::OwnBlock), "the pool itself covers it too"),
        ("172.16.246.192/26", Err(Refusal::OthersBlock), "the block of a third node"),
        ("172.16.246.200/32", Err(Refusal::OthersBlock), "a pod of a third node"),
    ];
    for (prefix, expected, what) in cases {
        assert_eq!(check(prefix, &plain), expected, "{what}");
    }
}

#[test]
fn a_path_through_the_own_as_is_refused_wherever_the_number_stands() {
    for segment in
        [AsPathSegment::Sequence(vec![64513, 64512]), AsPathSegment::Set(vec![64512, 64514])]
    {
        let attributes = path(PEER, vec![AsPathSegment::Sequence(vec![65000]), segment]);
        assert_eq!(check("172.16.103.64/26", &attributes), Err(Refusal::AsLoop));
    }
    let others = path(PEER, vec![AsPathSegment::Sequence(vec![64513])]);
    assert_eq!(check("172.16.103.64/26", &others), Ok(()));
}

#[test]
fn a_route_back_to_this_node_is_refused() {
    assert_eq!(check("172.16.7.0/26", &path(OWN, vec![])), Err(Refusal::OwnNextHop));
}

#[test]
fn a_reflected_route_is_taken_for_its_next_hop() {
    assert_eq!(check("172.16.246.192/26", &path(OTHER, vec![])), Ok(()));
}

#[test]
fn a_policy_that_knows_nothing_refuses_everything() {
    let arrival = Arrival { local_as: 64512, local_address: address(OWN), peer: address(PEER) };
    let prefix = "172.16.103.64/26".parse().unwrap();
    let refused = Import::default().check(&arrival, &prefix, &path(PEER, vec![]));
    assert_eq!(refused, Err(Refusal::OutsidePools));
}

#[test]
fn the_longest_known_block_decides_who_owns_a_prefix() {
    let policy = ImportPolicy {
        owners: vec![
            ("172.16.0.0/20".parse().unwrap(), address(OTHER)),
            ("172.16.1.0/26".parse().unwrap(), address(PEER)),
        ],
        ..cluster()
    };
    let import = Import::from(&policy);
    let arrival = Arrival { local_as: 64512, local_address: address(OWN), peer: address(PEER) };
    let check =
        |prefix: &str| import.check(&arrival, &prefix.parse().unwrap(), &path(PEER, vec![]));
    assert_eq!(check("172.16.1.0/26"), Ok(()));
    assert_eq!(check("172.16.1.64/26"), Err(Refusal::OthersBlock));
}
