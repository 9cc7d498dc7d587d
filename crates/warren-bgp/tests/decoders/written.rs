//! What we write, as others read it.

use bgpkit_parser::models::capabilities::{BgpCapabilityType, BgpRole};
use bgpkit_parser::models::{BgpMessage, CapabilityValue, ParamValue};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use warren_bgp::codec::{KEEPALIVE, MAX_MESSAGE_LEN, notification, open, refresh, update};
use warren_bgp::message::{Capability, Family, LongLived, RouteRefresh, Update};
use warren_bgp::role::Role;

use crate::messages::{context, difference, notifications, opens, updates};
use crate::{bgpkit, tshark};

/// The length of a message's header.
const HEADER: usize = 19;

/// An UPDATE with what we read in it ourselves.
fn written(meant: &Update, internal: bool) -> Vec<(Bytes, Update)> {
    let context = context(internal);
    let mut messages = Vec::new();
    for octets in update::encode(meant, &context) {
        let decoded = update::decode(octets.slice(HEADER..), &context).unwrap();
        assert_eq!(decoded.malformed, [], "{meant:?}");
        let [update] = decoded.updates.try_into().unwrap();
        messages.push((octets, update));
    }
    messages
}

/// What several UPDATEs say, put together.
fn together(updates: impl IntoIterator<Item = Update>) -> Update {
    updates.into_iter().fold(Update::default(), |mut all, it| {
        all.withdrawn.extend(it.withdrawn);
        all.announced.extend(it.announced);
        all.attributes = all.attributes.or(it.attributes);
        all
    })
}

proptest! {
    #[test]
    fn what_an_update_says_is_what_bgpkit_reads(
        (internal, meant) in any::<bool>().prop_flat_map(|it| (Just(it), updates(it)))
    ) {
        let mut theirs = Vec::new();
        for (octets, ours) in written(&meant, internal) {
            let read = bgpkit::read(&octets).unwrap();
            let BgpMessage::Update(read) = read else { panic!("it is {read:?}") };
            let read = bgpkit::update(&read).expect("all that it says has a word");
            prop_assert_eq!(difference(&read, &ours), None);
            theirs.push(read);
        }
        prop_assert_eq!(difference(&together(theirs), &meant), None);
    }

    #[test]
    fn what_an_open_says_is_what_bgpkit_reads(meant in opens()) {
        let read = bgpkit::read(&open::encode(&meant).unwrap()).unwrap();
        let BgpMessage::Open(read) = read else { panic!("it is {read:?}") };
        prop_assert_eq!(read.version, 4);
        prop_assert_eq!(read.hold_time, meant.hold_time);
        prop_assert_eq!(read.bgp_identifier, meant.router_id);
        let mut theirs = Vec::new();
        for parameter in read.opt_params {
            let ParamValue::Capacities(all) = parameter.param_value else { panic!("{parameter:?}") };
            for capability in all {
                theirs.push(match capability.value {
                    CapabilityValue::MultiprotocolExtensions(it) if u16::from(it.afi) == 1 => {
                        Capability::Multiprotocol(Family::Ipv4Unicast)
                    }
                    CapabilityValue::MultiprotocolExtensions(_) => {
                        Capability::Multiprotocol(Family::Ipv6Unicast)
                    }
                    CapabilityValue::RouteRefresh(_) => Capability::RouteRefresh,
                    CapabilityValue::Raw(it)
                        if capability.ty == BgpCapabilityType::ENHANCED_ROUTE_REFRESH_CAPABILITY
                            && it.is_empty() =>
                    {
                        Capability::EnhancedRouteRefresh
                    }
                    // It knows the code only: the tuples are RFC 9494's, 3.1.
                    CapabilityValue::Raw(it)
                        if capability.ty
                            == BgpCapabilityType::LONG_LIVED_GRACEFUL_RESTART_CAPABILITY =>
                    {
                        let tuples = it.chunks(7).map(|tuple| LongLived {
                            family: if tuple[..3] == [0, 1, 1] {
                                Family::Ipv4Unicast
                            } else {
                                Family::Ipv6Unicast
                            },
                            forwarding: tuple[3] == 0x80,
                            stale_time: u32::from_be_bytes([0, tuple[4], tuple[5], tuple[6]]),
                        });
                        Capability::LongLivedGracefulRestart(tuples.collect())
                    }
                    CapabilityValue::BgpExtendedMessage(_) => Capability::ExtendedMessage,
                    CapabilityValue::BgpRole(it) => Capability::Role(match it.role {
                        BgpRole::Provider => Role::Provider,
                        BgpRole::RouteServer => Role::RouteServer,
                        BgpRole::RouteServerClient => Role::RouteServerClient,
                        BgpRole::Customer => Role::Customer,
                        BgpRole::Peer => Role::Peer,
                    }),
                    CapabilityValue::FourOctetAs(it) => Capability::FourOctetAs(it.asn),
                    CapabilityValue::GracefulRestart(it) => {
                        let Some(Capability::GracefulRestart(ours)) = meant
                            .capabilities
                            .iter()
                            .find(|it| matches!(it, Capability::GracefulRestart(_)))
                        else {
                            panic!("it reads {it:?}")
                        };
                        prop_assert_eq!(it.restart_state, ours.restarting);
                        prop_assert_eq!(it.restart_time, ours.restart_time);
                        prop_assert_eq!(it.address_families.len(), ours.families.len());
                        Capability::GracefulRestart(ours.clone())
                    }
                    other => panic!("nobody said {other:?}"),
                });
            }
        }
        prop_assert_eq!(theirs, meant.capabilities);
    }

    #[test]
    fn what_a_notification_says_is_what_bgpkit_reads(meant in notifications()) {
        let read = bgpkit::read(&notification::encode(&meant)).unwrap();
        let BgpMessage::Notification(read) = read else { panic!("it is {read:?}") };
        prop_assert_eq!(read.error.get_codes(), (meant.code, meant.subcode));
        prop_assert_eq!(read.data, meant.data);
    }
}

/// Each ROUTE-REFRESH of a family, with its subtype (RFC 7313, 3.2).
fn refreshes(family: Family) -> [(RouteRefresh, u8); 3] {
    [
        (RouteRefresh::Request(family), 0),
        (RouteRefresh::Begin(family), 1),
        (RouteRefresh::End(family), 2),
    ]
}

#[test]
fn a_keepalive_and_a_route_refresh_are_what_bgpkit_reads() {
    let read = bgpkit::read(&Bytes::from_static(&KEEPALIVE)).unwrap();
    assert_eq!(read, BgpMessage::KeepAlive);
    for (family, afi) in [(Family::Ipv4Unicast, 1), (Family::Ipv6Unicast, 2)] {
        for (meant, subtype) in refreshes(family) {
            let read = bgpkit::read(&refresh::encode(meant)).unwrap();
            let BgpMessage::RouteRefresh(read) = read else { panic!("it is {read:?}") };
            let all = (read.afi, read.subtype, read.safi, read.data);
            assert_eq!(all, (afi, subtype, 1, Vec::new()));
        }
    }
}

/// Many values of a strategy, the same ones every time.
fn many<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let tree = vec(strategy, count).new_tree(&mut TestRunner::deterministic());
    tree.unwrap().current()
}

#[test]
fn what_updates_say_is_what_tshark_reads() {
    for internal in [false, true] {
        let all: Vec<_> = many(updates(internal), 300)
            .iter()
            .flat_map(|meant| written(meant, internal))
            // To tshark 4.0 an extended message (RFC 8654) is malformed.
            .filter(|(octets, _)| octets.len() <= MAX_MESSAGE_LEN)
            .collect();
        let (octets, _): (Vec<Bytes>, Vec<Update>) = all.iter().cloned().unzip();
        let (values, complaints) = tshark::read(&octets);
        assert_eq!(complaints, [""; 0]);
        assert_eq!(values.len(), all.len());
        for (values, (octets, update)) in values.iter().zip(&all) {
            let wanted = tshark::expected(octets, update);
            for ((field, theirs), ours) in tshark::FIELDS.iter().zip(values).zip(&wanted) {
                assert_eq!(theirs, ours, "{field} of {update:?}");
            }
        }
    }
}

#[test]
fn in_no_other_message_does_tshark_find_anything_wrong() {
    let mut all = vec![Bytes::from_static(&KEEPALIVE)];
    for family in [Family::Ipv4Unicast, Family::Ipv6Unicast] {
        all.extend(refreshes(family).iter().map(|(it, _)| refresh::encode(*it)));
        all.extend(update::encode(&Update::end_of_rib(family), &context(true)));
    }
    all.extend(many(opens(), 100).iter().map(|it| open::encode(it).unwrap()));
    all.extend(many(notifications(), 100).iter().map(notification::encode));
    let (values, complaints) = tshark::read(&all);
    assert_eq!(complaints, [""; 0]);
    for (values, octets) in values.iter().zip(&all) {
        assert_eq!(values[..2], [octets[18].to_string(), octets.len().to_string()]);
    }
}
