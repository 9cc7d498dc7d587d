//! Several paths to one destination (RFC 7911), one peer driven by hand.

use super::super::PeerConfig;
use super::{Solo, config, their_open};
use crate::message::AddPath::{self, Both, Receive, Send};
use crate::message::{Capability, Family, Open, PathIds};

const IPV4: Family = Family::Ipv4Unicast;
const IPV6: Family = Family::Ipv6Unicast;

/// What is agreed on with a peer that says this.
fn agreed(config: PeerConfig, tuples: &[(Family, AddPath)]) -> PathIds {
    let mut open: Open = their_open();
    open.capabilities.push(Capability::AddPath(tuples.to_vec()));
    let mut solo = Solo::open_sent(config);
    solo.open(1, &open);
    assert_eq!(solo.keepalive(1), ["up"]);
    solo.peer.negotiated().unwrap().path_ids.clone()
}

#[test]
fn path_identifiers_come_in_what_one_side_sends_and_the_other_can_take() {
    let wanted = || PeerConfig { add_path: true, ..config() };
    let received = PathIds { received: vec![IPV4], sent: vec![] };
    for (config, tuples, expected) in [
        (wanted(), &[(IPV4, Send)][..], received.clone()),
        (wanted(), &[(IPV4, Both)], received.clone()),
        (wanted(), &[(IPV4, Receive)], PathIds::default()),
        // A family that is not exchanged, and nothing of the one that is.
        (wanted(), &[(IPV6, Send)], PathIds::default()),
        (wanted(), &[], PathIds::default()),
        // Said twice: the first counts.
        (wanted(), &[(IPV4, Both), (IPV4, Receive)], received),
        (config(), &[(IPV4, Both)], PathIds::default()),
    ] {
        assert_eq!(agreed(config, tuples), expected, "{tuples:?}");
    }
}

#[test]
fn it_is_offered_where_it_is_wanted_for_all_families() {
    let families = vec![IPV4, IPV6];
    let offered = |add_path| {
        let config = PeerConfig { add_path, families: families.clone(), ..config() };
        let past = super::super::negotiate::Past::default();
        super::super::negotiate::our_open(&config, false, past).capabilities
    };
    let expected = Capability::AddPath(vec![(IPV4, Receive), (IPV6, Receive)]);
    assert!(offered(true).contains(&expected));
    assert!(!offered(false).iter().any(|it| matches!(it, Capability::AddPath(_))));
}
