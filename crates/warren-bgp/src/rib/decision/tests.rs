use super::*;
use crate::message::Origin;
use crate::rib::tests::{attributes, external, internal};

/// A path of this peer; each case changes what it is about.
fn path(from: Session, change: impl FnOnce(&mut Attributes)) -> Path {
    let mut attributes = attributes(&from.peer.to_string());
    change(&mut attributes);
    let attributes = Arc::new(attributes);
    Path { from: Arc::new(from), received: Arc::clone(&attributes), attributes, refusal: None }
}

fn sequence(numbers: &[u32]) -> Vec<AsPathSegment> {
    vec![AsPathSegment::Sequence(numbers.to_vec())]
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

#[test]
fn each_step_decides_before_the_next_one() {
    // In every case the loser would win by all later steps.
    assert_first_wins(
        "the highest LOCAL_PREF",
        vec![
            path(internal(2), |a| {
                a.local_pref = Some(200);
                a.as_path = sequence(&[1, 2, 3]);
            }),
            path(internal(1), |a| a.local_pref = Some(150)),
        ],
    );
    assert_first_wins(
        "the shortest AS_PATH",
        vec![
            path(internal(2), |a| {
                a.as_path = sequence(&[1, 2]);
                a.origin = Origin::Incomplete;
            }),
            path(internal(1), |a| a.as_path = sequence(&[1, 2, 3])),
        ],
    );
    assert_first_wins(
        "the lowest ORIGIN",
        vec![path(internal(2), |a| a.med = Some(9)), path(internal(1), |a| a.origin = Origin::Egp)],
    );
    assert_first_wins(
        "the lowest MULTI_EXIT_DISC of one neighbouring AS",
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
    assert_first_wins(
        "external before internal",
        vec![
            path(external(2, 65000), |a| a.as_path = sequence(&[65000])),
            path(internal(1), |a| a.as_path = sequence(&[65001])),
        ],
    );
    let identifier = |last: u8, router_id: u8| Session {
        peer_router_id: [10, 0, 0, router_id].into(),
        ..internal(last)
    };
    assert_first_wins(
        "the lowest BGP identifier",
        vec![path(identifier(2, 1), |_| ()), path(identifier(1, 2), |_| ())],
    );
    assert_first_wins(
        "the fewest clusters",
        vec![
            path(identifier(2, 7), |_| ()),
            path(identifier(1, 7), |a| a.cluster_list = vec![[10, 0, 0, 9].into()]),
        ],
    );
    assert_first_wins(
        "the lowest peer address",
        vec![path(identifier(1, 7), |_| ()), path(identifier(2, 7), |_| ())],
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
