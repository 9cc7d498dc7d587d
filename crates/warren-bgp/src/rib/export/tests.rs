use std::sync::Arc;

use super::*;
use crate::message::UnknownAttribute;
use crate::rib::tests::{LOCAL, attributes, external, internal};

fn path(from: Session, change: impl FnOnce(&mut Attributes)) -> Path {
    let mut attributes = attributes(&from.peer.to_string());
    change(&mut attributes);
    Path { from: Arc::new(from), attributes: Arc::new(attributes), refusal: None }
}

fn sequence(numbers: &[u32]) -> AsPathSegment {
    AsPathSegment::Sequence(numbers.to_vec())
}

#[test]
fn an_own_route_has_this_node_as_next_hop() {
    let told = own(&internal(1));
    assert_eq!(told.next_hop.to_string(), LOCAL);
    assert_eq!(told.as_path, []);
    assert_eq!(told.local_pref, Some(100));
    let told = own(&external(1, 65000));
    assert_eq!(told.next_hop.to_string(), LOCAL);
    assert_eq!(told.as_path, [sequence(&[64512])]);
    assert_eq!((told.local_pref, told.med), (None, None));
}

#[test]
fn internal_routes_go_to_external_peers_only_and_no_route_goes_back() {
    let of_internal = path(internal(1), |_| ());
    let of_external = path(external(2, 65000), |_| ());
    assert!(learned(&of_internal, &internal(3)).is_none());
    assert!(learned(&of_internal, &external(3, 65001)).is_some());
    assert!(learned(&of_external, &internal(3)).is_some());
    assert!(learned(&of_external, &external(3, 65001)).is_some());
    assert!(learned(&of_external, &external(2, 65000)).is_none());
}

#[test]
fn an_internal_peer_gets_the_route_as_it_is_with_this_nodes_preference() {
    let mark = UnknownAttribute { flags: 0xC0, code: 99, value: vec![1, 2] };
    let route = path(external(2, 65000), |a| {
        a.as_path = vec![sequence(&[65000, 65001])];
        a.med = Some(7);
        a.local_pref = Some(5);
        a.unknown = vec![mark.clone()];
    });
    let told = learned(&route, &internal(3)).unwrap();
    assert_eq!(told, Attributes { local_pref: Some(100), ..(*route.attributes).clone() });
    assert_eq!(told.unknown, [mark]);
}

#[test]
fn an_external_peer_gets_the_own_as_in_front_and_nothing_internal() {
    let route = path(internal(2), |a| {
        a.as_path = vec![sequence(&[65000])];
        a.med = Some(7);
        a.communities = vec![42];
        a.atomic_aggregate = true;
        a.aggregator = Some((65000, [10, 0, 0, 9].into()));
    });
    let told = learned(&route, &external(3, 65001)).unwrap();
    assert_eq!(told.as_path, [sequence(&[64512, 65000])]);
    assert_eq!(told.next_hop.to_string(), LOCAL);
    assert_eq!((told.med, told.local_pref), (None, None));
    assert_eq!(told.communities, [42]);
    assert!(told.atomic_aggregate && told.aggregator == route.attributes.aggregator);
}

#[test]
fn well_known_communities_keep_a_route_in() {
    for (community, to_internal, to_external) in [
        (NO_EXPORT, true, false),
        (NO_EXPORT_SUBCONFED, true, false),
        (NO_ADVERTISE, false, false),
        (42, true, true),
    ] {
        let route = path(external(2, 65000), |a| a.communities = vec![7, community]);
        assert_eq!(learned(&route, &internal(3)).is_some(), to_internal, "{community:x}");
        assert_eq!(learned(&route, &external(3, 65001)).is_some(), to_external, "{community:x}");
    }
}

#[test]
fn a_peer_is_not_told_that_it_is_its_own_next_hop() {
    let route = path(external(2, 65000), |a| a.next_hop = internal(3).peer);
    assert!(learned(&route, &internal(3)).is_none());
    assert!(learned(&route, &internal(4)).is_some());
}

#[test]
fn the_own_as_never_makes_a_sequence_too_long_nor_joins_a_set() {
    let full = sequence(&[65000; 255]);
    assert_eq!(prepend(1, vec![full.clone()]), [sequence(&[1]), full]);
    let set = AsPathSegment::Set(vec![65000]);
    assert_eq!(prepend(1, vec![set.clone()]), [sequence(&[1]), set]);
    assert_eq!(prepend(1, vec![]), [sequence(&[1])]);
}

#[test]
fn a_family_that_was_not_agreed_on_is_not_told() {
    assert!(reaches(&internal(1), &"10.0.0.0/8".parse().unwrap()));
    assert!(!reaches(&internal(1), &"fd00::/64".parse().unwrap()));
}
