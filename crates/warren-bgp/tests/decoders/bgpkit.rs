//! What bgpkit-parser reads, in our words.

use std::net::IpAddr;
use std::sync::Arc;

use bgpkit_parser::models as theirs;
use bgpkit_parser::parser::bgp::messages::parse_bgp_message;
use bytes::Bytes;
use ipnetwork::IpNetwork;
use warren_bgp::message::{
    AsPathSegment, Attributes, ExtendedCommunity, LargeCommunity, Origin, Update,
};
use warren_bgp::policy;

/// A message of a session with AS numbers of four octets; an error if there is anything wrong with it.
pub fn read(message: &Bytes) -> Result<theirs::BgpMessage, String> {
    let mut octets = message.clone();
    let read = parse_bgp_message(&mut octets, false, &theirs::AsnLength::Bits32)
        .map_err(|error| error.to_string())?;
    if let theirs::BgpMessage::Update(update) = &read
        && update.attributes.has_validation_warnings()
    {
        return Err(format!("{:?}", update.attributes.validation_warnings()));
    }
    if octets.is_empty() { Ok(read) } else { Err("there are octets left".to_owned()) }
}

/// An UPDATE; `None` if it says something that ours have no word for.
pub fn update(read: &theirs::BgpUpdateMessage) -> Option<Update> {
    let (reachable, unreachable) =
        (read.attributes.get_reachable_nlri(), read.attributes.get_unreachable_nlri());
    // It reads prefixes of some other kinds too.
    let mut families = reachable.into_iter().chain(unreachable);
    if families.any(|it| it.safi != theirs::Safi::Unicast) {
        return None;
    }
    let mut withdrawn = prefixes(&read.withdrawn_prefixes);
    let mut announced = prefixes(&read.announced_prefixes);
    withdrawn.extend(unreachable.map(|it| prefixes(&it.prefixes)).unwrap_or_default());
    announced.extend(reachable.map(|it| prefixes(&it.prefixes)).unwrap_or_default());
    let next_hop = match reachable.and_then(|it| it.next_hop) {
        Some(theirs::NextHopAddress::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(theirs::NextHopAddress::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(_) => return None,
        None => read.attributes.next_hop(),
    };
    let attributes = match next_hop {
        Some(next_hop) if !announced.is_empty() => {
            Some(Arc::new(attributes(&read.attributes, next_hop)?))
        }
        _ => None,
    };
    Some(Update { withdrawn, announced, attributes, ..Update::default() })
}

fn attributes(read: &theirs::Attributes, next_hop: IpAddr) -> Option<Attributes> {
    let mut ours = Attributes::via(next_hop);
    for value in read {
        match value {
            theirs::AttributeValue::Origin(origin) => {
                ours.origin = match origin {
                    theirs::Origin::IGP => Origin::Igp,
                    theirs::Origin::EGP => Origin::Egp,
                    theirs::Origin::INCOMPLETE => Origin::Incomplete,
                }
            }
            theirs::AttributeValue::AsPath(path) => {
                for segment in &path.segments {
                    let numbers = |it: &[theirs::Asn]| it.iter().map(|it| u32::from(*it)).collect();
                    ours.as_path.push(match segment {
                        theirs::AsPathSegment::AsSequence(it) => {
                            AsPathSegment::Sequence(numbers(it))
                        }
                        theirs::AsPathSegment::AsSet(it) => AsPathSegment::Set(numbers(it)),
                        _ => return None,
                    });
                }
            }
            theirs::AttributeValue::NextHop(_)
            | theirs::AttributeValue::MpReachNlri(_)
            | theirs::AttributeValue::MpUnreachNlri(_) => {}
            theirs::AttributeValue::MultiExitDiscriminator(med) => ours.med = Some(*med),
            theirs::AttributeValue::LocalPreference(it) => ours.local_pref = Some(*it),
            theirs::AttributeValue::AtomicAggregate => ours.atomic_aggregate = true,
            theirs::AttributeValue::Aggregator { asn, id } => {
                ours.aggregator = Some((u32::from(*asn), *id));
            }
            theirs::AttributeValue::Communities(all) => {
                ours.communities = all.iter().map(community).collect();
            }
            theirs::AttributeValue::LargeCommunities(all) => {
                let ours_of = |it: &theirs::LargeCommunity| {
                    LargeCommunity(it.global_admin, it.local_data[0], it.local_data[1])
                };
                ours.large_communities = all.iter().map(ours_of).collect();
            }
            theirs::AttributeValue::OnlyToCustomer(it) => ours.otc = Some(u32::from(*it)),
            theirs::AttributeValue::ExtendedCommunities(all) => {
                ours.extended_communities = all.iter().map(extended).collect::<Option<_>>()?;
            }
            theirs::AttributeValue::OriginatorId(id) => ours.originator_id = Some(*id),
            theirs::AttributeValue::Clusters(all) => {
                ours.cluster_list = all.iter().map(|it| (*it).into()).collect();
            }
            _ => return None,
        }
    }
    Some(ours)
}

/// `None` for those of which it keeps less than there is.
fn extended(theirs: &theirs::ExtendedCommunity) -> Option<ExtendedCommunity> {
    use theirs::ExtendedCommunity as Of;
    let kind = u8::from(theirs.community_type());
    let octets = match theirs {
        Of::TransitiveTwoOctetAs(it) | Of::NonTransitiveTwoOctetAs(it) => {
            let [.., high, low] = u32::from(it.global_admin).to_be_bytes();
            [&[kind, it.subtype, high, low][..], &it.local_admin].concat()
        }
        Of::TransitiveIpv4Addr(it) | Of::NonTransitiveIpv4Addr(it) => {
            [&[kind, it.subtype][..], &it.global_admin.octets(), &it.local_admin].concat()
        }
        Of::TransitiveFourOctetAs(it) | Of::NonTransitiveFourOctetAs(it) => {
            let number = u32::from(it.global_admin).to_be_bytes();
            [&[kind, it.subtype][..], &number, &it.local_admin].concat()
        }
        Of::TransitiveOpaque(it) | Of::NonTransitiveOpaque(it) => {
            [&[kind, it.subtype][..], &it.value].concat()
        }
        Of::Raw(octets) => octets.to_vec(),
        _ => return None,
    };
    Some(ExtendedCommunity(u64::from_be_bytes(octets.try_into().ok()?)))
}

fn community(theirs: &theirs::Community) -> u32 {
    match theirs {
        theirs::Community::NoExport => policy::NO_EXPORT,
        theirs::Community::NoAdvertise => policy::NO_ADVERTISE,
        theirs::Community::NoExportSubConfed => policy::NO_EXPORT_SUBCONFED,
        theirs::Community::Custom(number, value) => (u32::from(*number) << 16) | u32::from(*value),
    }
}

fn prefixes(theirs: &[theirs::NetworkPrefix]) -> Vec<IpNetwork> {
    // Bits beyond the length mean nothing (RFC 4271, 4.3).
    let ours = |it: &theirs::NetworkPrefix| {
        let network = it.prefix.trunc();
        IpNetwork::new(network.addr(), network.prefix_len()).expect("a prefix of theirs")
    };
    theirs.iter().map(ours).collect()
}
