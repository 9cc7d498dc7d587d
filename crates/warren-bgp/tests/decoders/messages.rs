//! Messages of all kinds, drawn at random.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnetwork::IpNetwork;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use warren_bgp::codec::UpdateContext;
use warren_bgp::message::{
    AsPathSegment, Attributes, Capability, ExtendedCommunity, Family, GracefulRestart,
    LargeCommunity, LongLived, Notification, Open, Origin, Update,
};
use warren_bgp::role::Role;

/// A session of this kind, over which both families go.
pub fn context(internal: bool) -> UpdateContext {
    UpdateContext {
        four_octet_as: true,
        internal,
        families: vec![Family::Ipv4Unicast, Family::Ipv6Unicast],
        extended_messages: true,
        path_ids: Default::default(),
        loopback_next_hops: false,
    }
}

/// Routes of one family that come and go.
pub fn updates(internal: bool) -> impl Strategy<Value = Update> {
    let families = prop_oneof![Just(Family::Ipv4Unicast), Just(Family::Ipv6Unicast)];
    families.prop_flat_map(move |family| {
        (prefixes(family), prefixes(family), attributes(family, internal)).prop_map(
            |(announced, mut withdrawn, attributes)| {
                // One message says one thing of a destination.
                withdrawn.retain(|prefix| !announced.contains(prefix));
                let attributes = (!announced.is_empty()).then(|| Arc::new(attributes));
                Update { withdrawn, announced, attributes, ..Update::default() }
            },
        )
    })
}

/// Never a default route: where a list begins with it, both of the others take the octet 0 for the
/// beginning of a path identifier (RFC 7911), which no session here has agreed on.
fn prefixes(family: Family) -> impl Strategy<Value = Vec<IpNetwork>> {
    let prefix = (any::<u128>(), any::<u8>()).prop_map(move |(bits, length)| match family {
        Family::Ipv4Unicast => network(Ipv4Addr::from((bits >> 96) as u32).into(), 1 + length % 32),
        Family::Ipv6Unicast => network(Ipv6Addr::from(bits).into(), 1 + length % 128),
    });
    // Now and then more than one message holds.
    prop_oneof![9 => 0..6_usize, 1 => 300..900_usize]
        .prop_flat_map(move |count| btree_set(prefix.clone(), count / 2..=count))
        .prop_map(|prefixes| prefixes.into_iter().collect())
}

fn network(address: IpAddr, length: u8) -> IpNetwork {
    let network = IpNetwork::new(address, length).unwrap();
    IpNetwork::new(network.network(), length).unwrap()
}

/// Addresses that a unicast next hop can have.
fn next_hops(family: Family) -> impl Strategy<Value = IpAddr> {
    any::<u16>().prop_map(move |bits| {
        let [high, low] = bits.to_be_bytes();
        match family {
            Family::Ipv4Unicast => Ipv4Addr::new(10, 1, high, low).into(),
            Family::Ipv6Unicast => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, bits).into(),
        }
    })
}

fn attributes(family: Family, internal: bool) -> impl Strategy<Value = Attributes> {
    let origin = prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)];
    let number = 1..u32::MAX;
    let path = vec(number.clone(), usize::from(!internal)..300);
    let large = (any::<u32>(), any::<u32>(), any::<u32>())
        .prop_map(|(one, two, three)| LargeCommunity(one, two, three));
    let identifier = (1..u32::MAX).prop_map(Ipv4Addr::from);
    let basic = (origin, path, next_hops(family), option::of(any::<u32>()), any::<bool>());
    let more = (
        option::of((number, identifier.clone())),
        // tshark has fields of their own for the reserved ones at either end (RFC 1997).
        // Now and then more of them than a message of 4096 octets holds (RFC 8654).
        prop_oneof![
            19 => btree_set(0x0001_0000..0xffff_0000_u32, 0..70),
            1 => btree_set(0x0001_0000..0xffff_0000_u32, 1000..1300),
        ],
        btree_set(large, 0..30),
        option::of(any::<u32>()),
        vec(extended_communities(), 0..30),
    );
    // Of a list that takes more than 255 octets, tshark 4.0 reads an octet too early.
    let inside = (any::<u32>(), option::of(identifier.clone()), vec(identifier, 0..60));
    (basic, more, inside).prop_map(
        move |((origin, path, next_hop, med, atomic_aggregate), more, inside)| {
            let (aggregator, communities, large_communities, otc, mut extended) = more;
            // Others stay within the AS (RFC 4360, 6).
            extended.retain(|it| internal || it.is_transitive());
            let (local_pref, originator_id, cluster_list) = inside;
            let segments = (!path.is_empty()).then_some(AsPathSegment::Sequence(path));
            Attributes {
                origin,
                as_path: segments.into_iter().collect(),
                med,
                atomic_aggregate,
                aggregator,
                communities: communities.into_iter().collect(),
                large_communities: large_communities.into_iter().collect(),
                otc,
                extended_communities: extended,
                // These stay within the AS.
                local_pref: internal.then_some(local_pref),
                originator_id: originator_id.filter(|_| internal),
                cluster_list: if internal { cluster_list } else { Vec::new() },
                ..Attributes::via(next_hop)
            }
        },
    )
}

/// Route targets (RFC 4360, 4; RFC 5668, 2) and opaque ones (RFC 4360, 3.3), transitive or not.
fn extended_communities() -> impl Strategy<Value = ExtendedCommunity> {
    const TARGET: u64 = 2;
    let kind = prop_oneof![Just(0_u64), Just(1), Just(2), Just(3), Just(0x40), Just(0x43)];
    (kind, 0..1_u64 << 48)
        .prop_map(|(kind, value)| ExtendedCommunity(kind << 56 | TARGET << 48 | value))
}

/// OPENs as this speaker sends them.
pub fn opens() -> impl Strategy<Value = Open> {
    let families = prop_oneof![
        Just(vec![Family::Ipv4Unicast]),
        Just(vec![Family::Ipv6Unicast]),
        Just(vec![Family::Ipv4Unicast, Family::Ipv6Unicast]),
    ];
    let restart = (any::<bool>(), any::<bool>(), 0..4096_u16, any::<bool>(), 0..0x100_0000_u32);
    let hold_time = prop_oneof![Just(0), 3..=u16::MAX];
    let role = option::of(prop_oneof![
        Just(Role::Provider),
        Just(Role::RouteServer),
        Just(Role::RouteServerClient),
        Just(Role::Customer),
        Just(Role::Peer),
    ]);
    (families, 1..u32::MAX, hold_time, 1..u32::MAX, option::of(restart), role).prop_map(
        |(families, as_number, hold_time, router_id, restart, role)| {
            let mut capabilities: Vec<_> =
                families.iter().map(|it| Capability::Multiprotocol(*it)).collect();
            capabilities.extend([Capability::RouteRefresh, Capability::EnhancedRouteRefresh]);
            capabilities.push(Capability::ExtendedMessage);
            capabilities.extend(role.map(Capability::Role));
            if let Some((restarting, notification, restart_time, forwarding, stale_time)) = restart
            {
                capabilities.push(Capability::GracefulRestart(GracefulRestart {
                    restarting,
                    notification,
                    restart_time,
                    families: families.iter().map(|it| (*it, forwarding)).collect(),
                }));
                let tuple = |family: &_| LongLived { family: *family, forwarding, stale_time };
                capabilities.push(Capability::LongLivedGracefulRestart(
                    families.iter().map(tuple).collect(),
                ));
            }
            capabilities.push(Capability::FourOctetAs(as_number));
            Open { as_number, hold_time, router_id: router_id.into(), capabilities }
        },
    )
}

/// NOTIFICATIONs, with data where their code has some.
pub fn notifications() -> impl Strategy<Value = Notification> {
    let codes = prop_oneof![
        (Just(1), 2..=2_u8, vec(any::<u8>(), 2)),
        (Just(1), 3..=3_u8, vec(any::<u8>(), 1)),
        (Just(2), 1..=1_u8, Just(vec![0, 4])),
        (Just(2), prop_oneof![2..=4_u8, 6..=6_u8], Just(Vec::new())),
        (Just(3), prop_oneof![1..=6_u8, 8..=11_u8], vec(any::<u8>(), 0..40)),
        (Just(4), Just(0_u8), Just(Vec::new())),
        (Just(5), 1..=3_u8, Just(Vec::new())),
        (Just(6), 1..=8_u8, Just(Vec::new())),
    ];
    codes.prop_map(|(code, subcode, data)| Notification { code, subcode, data })
}

/// Where two UPDATEs differ in what they say, in words.
pub fn difference(one: &Update, other: &Update) -> Option<String> {
    let differ = |what: &str, one: &dyn Debug, other: &dyn Debug| {
        let (one, other) = (format!("{one:?}"), format!("{other:?}"));
        (one != other).then(|| format!("{what}: {one} and {other}"))
    };
    let only = |one: &[IpNetwork], other: &[IpNetwork]| {
        let those = one.iter().filter(|prefix| !other.contains(prefix));
        those.map(ToString::to_string).collect::<Vec<_>>()
    };
    let lists = |what: &str, one: &[IpNetwork], other: &[IpNetwork]| {
        differ(what, &only(one, other), &only(other, one))
            .or_else(|| differ(what, &one.len(), &other.len()))
    };
    lists("withdrawn", &one.withdrawn, &other.withdrawn)
        .or_else(|| lists("announced", &one.announced, &other.announced))
        .or_else(|| match (&one.attributes, &other.attributes) {
            (Some(one), Some(other)) => differ("attributes", &joined(one), &joined(other)),
            (one, other) => differ("attributes", one, other),
        })
}

/// A path of more than 255 takes several segments, which mean the same as one.
fn joined(attributes: &Attributes) -> Attributes {
    let mut joined = Attributes { as_path: Vec::new(), ..attributes.clone() };
    for segment in &attributes.as_path {
        match (joined.as_path.last_mut(), segment) {
            (Some(AsPathSegment::Sequence(all)), AsPathSegment::Sequence(more)) => all.extend(more),
            _ => joined.as_path.push(segment.clone()),
        }
    }
    joined
}
