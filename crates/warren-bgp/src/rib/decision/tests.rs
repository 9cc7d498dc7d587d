use super::*;
use crate::message::Origin;
use crate::rib::tests::{attributes, external, internal};

/// A path of this peer; each case changes what it is about.
fn path(from: Session, change: impl FnOnce(&mut Attributes)) -> Path {
    let mut attributes = attributes(&from.peer.to_string());
    change(&mut attributes);
    let attributes = Arc::new(attributes);
    let (from, received) = (Arc::new(from), Arc::clone(&attributes));
    Path { from, path_id: 0, received, attributes, refusal: None }
}

fn sequence(numbers: &[u32]) -> Vec<AsPathSegment> {
    vec![AsPathSegment::Sequence(numbers.to_vec())]
}

/// An internal session with a peer of this BGP identifier.
fn identified(last: u8, router_id: u8) -> Session {
    Session { peer_router_id: [10, 0, 0, router_id].into(), ..internal(last) }
}

/// Asserts that the first path is the best one, whatever order they come in.
fn assert_first_wins(why: &str, paths: Vec<Path>) {
    let winner = paths[0].from.peer;
    for turn in 0..paths.len() {
        let mut paths = paths.clone();
        paths.rotate_left(turn);
        assert_eq!(best(&paths).unwrap().from.peer, winner, "{why}");
        paths.reverse();
        assert_eq!(best(&paths).unwrap().from.peer, winner, "{why}, reversed");
    }
}

// One test for each step, in their order: in every one the loser would win by all later steps.

#[test]
fn before_all_others_what_is_kept_for_long_loses() {
    let stale = |last, preference| {
        path(internal(last), |a| {
            a.communities = vec![LLGR_STALE];
            a.local_pref = Some(preference);
        })
    };
    let fresh = path(internal(9), |a| {
        a.local_pref = Some(1);
        a.as_path = sequence(&[1, 2, 3]);
    });
    assert_first_wins("RFC 9494, 4.4", vec![fresh, stale(1, 300), stale(2, 200)]);
    assert_first_wins("among themselves", vec![stale(2, 300), stale(1, 200)]);
}

#[test]
fn first_the_highest_local_pref_wins() {
    assert_first_wins(
        "9.1.1 and 9.1.2",
        vec![
            path(internal(2), |a| {
                a.local_pref = Some(200);
                a.as_path = sequence(&[1, 2, 3]);
            }),
            path(internal(1), |a| a.local_pref = Some(150)),
        ],
    );
}

#[test]
fn then_the_shortest_as_path_wins() {
    assert_first_wins(
        "9.1.2.2 a)",
        vec![
            path(internal(2), |a| {
                a.as_path = sequence(&[1, 2]);
                a.origin = Origin::Incomplete;
            }),
            path(internal(1), |a| a.as_path = sequence(&[1, 2, 3])),
        ],
    );
}

#[test]
fn then_the_lowest_origin_wins() {
    assert_first_wins(
        "9.1.2.2 b): IGP before EGP",
        vec![path(internal(2), |a| a.med = Some(9)), path(internal(1), |a| a.origin = Origin::Egp)],
    );
    assert_first_wins(
        "9.1.2.2 b): EGP before INCOMPLETE",
        vec![
            path(internal(2), |a| {
                a.origin = Origin::Egp;
                a.med = Some(9);
            }),
            path(internal(1), |a| a.origin = Origin::Incomplete),
        ],
    );
}

#[test]
fn then_the_lowest_multi_exit_disc_of_one_neighbouring_as_wins() {
    assert_first_wins(
        "9.1.2.2 c)",
        vec![
            path(internal(2), |a| {
                a.as_path = sequence(&[65000]);
                a.med = Some(1);
            }),
            path(external(1, 65000), |a| {
                a.as_path = sequence(&[65000]);
                a.med = Some(2);
            }),
        ],
    );
}

#[test]
fn then_an_external_route_wins_over_an_internal_one() {
    assert_first_wins(
        "9.1.2.2 d)",
        vec![
            path(external(2, 65000), |a| a.as_path = sequence(&[65000])),
            path(internal(1), |a| a.as_path = sequence(&[65001])),
        ],
    );
}

#[test]
fn then_the_lowest_bgp_identifier_wins() {
    assert_first_wins(
        "9.1.2.2 f)",
        vec![
            path(identified(2, 1), |a| a.cluster_list = vec![[10, 0, 0, 9].into()]),
            path(identified(1, 2), |_| ()),
        ],
    );
}

#[test]
fn then_the_shortest_cluster_list_wins() {
    assert_first_wins(
        "RFC 4456, 9",
        vec![
            path(identified(2, 7), |_| ()),
            path(identified(1, 7), |a| a.cluster_list = vec![[10, 0, 0, 9].into()]),
        ],
    );
}

#[test]
fn at_last_the_lowest_peer_address_wins() {
    assert_first_wins(
        "9.1.2.2 g)",
        vec![path(identified(1, 7), |_| ()), path(identified(2, 7), |_| ())],
    );
}

#[test]
fn a_reflected_route_counts_by_its_originator() {
    assert_first_wins(
        "ORIGINATOR_ID in place of the identifier",
        vec![
            path(internal(9), |a| {
                a.originator_id = Some([10, 0, 0, 1].into());
                a.cluster_list = vec![[10, 0, 0, 9].into()];
            }),
            path(internal(1), |_| ()),
        ],
    );
}

#[test]
fn a_set_counts_as_one_as() {
    let set = |numbers: &[u32]| AsPathSegment::Set(numbers.to_vec());
    assert_first_wins(
        "a sequence of one and a set are two",
        vec![
            path(internal(2), |a| {
                a.as_path = vec![AsPathSegment::Sequence(vec![1]), set(&[2, 3, 4, 5])];
            }),
            path(internal(1), |a| a.as_path = sequence(&[1, 2, 3])),
        ],
    );
}

#[test]
fn a_missing_med_is_the_lowest_and_a_missing_local_pref_is_100() {
    assert_first_wins(
        "no MULTI_EXIT_DISC",
        vec![path(internal(2), |_| ()), path(internal(1), |a| a.med = Some(1))],
    );
    assert_first_wins(
        "no LOCAL_PREF against 99",
        vec![
            path(internal(2), |a| a.local_pref = None),
            path(internal(1), |a| a.local_pref = Some(99)),
        ],
    );
}

#[test]
fn med_does_not_count_between_neighbouring_ases() {
    // Comparing by twos, 3 beats 2 (identifier), 2 beats 1 (MED), 1 beats 3 (identifier): a circle.
    // By the RFC's steps 1 is out by its MED, and then 2 is the lowest identifier.
    let route = |last, number, med| {
        path(external(last, number), |a| {
            a.as_path = sequence(&[number]);
            a.med = Some(med);
        })
    };
    assert_first_wins(
        "MED only within an AS",
        vec![route(2, 65001, 50), route(1, 65002, 20), route(3, 65002, 10)],
    );
}

#[test]
fn an_internal_route_without_a_sequence_in_front_is_of_this_as() {
    let set = vec![AsPathSegment::Set(vec![65000])];
    assert_eq!(neighbor_as(&path(internal(1), |a| a.as_path = set)), 64512);
    assert_eq!(neighbor_as(&path(internal(1), |_| ())), 64512);
    assert_eq!(neighbor_as(&path(internal(1), |a| a.as_path = sequence(&[65000]))), 65000);
    assert_eq!(neighbor_as(&path(external(1, 65007), |_| ())), 65007);
}

#[test]
fn a_refused_path_is_not_considered() {
    let refused = Path { refusal: Some(Refusal::OwnBlock), ..path(internal(1), |_| ()) };
    assert!(best(std::slice::from_ref(&refused)).is_none());
    assert_eq!(best(&[refused, path(internal(2), |_| ())]).unwrap().from, Arc::new(internal(2)));
    assert!(best(&[]).is_none());
}
