//! What an error in an attribute costs (RFC 7606).

use rustbgpd_wire::DecodeError;

use super::{UpdateContext, attributes};
use crate::codec::Consequence::{self, AttributeDiscard, TreatAsWithdraw};

/// The subcodes of RFC 4271, 6.3 that a rule of RFC 7606, 3 is about.
const MALFORMED_ATTRIBUTE_LIST: u8 = 1;
const ATTRIBUTE_FLAGS_ERROR: u8 = 4;

/// What a malformed value costs.
struct Rule {
    code: u8,
    /// From an internal peer, and from an external one.
    consequence: [Consequence; 2],
}

const fn rule(code: u8, consequence: Consequence) -> Rule {
    Rule { code, consequence: [consequence; 2] }
}

/// One that only internal peers may send: from an external one it is left out, right or wrong.
const fn internal(code: u8, consequence: Consequence) -> Rule {
    Rule { code, consequence: [consequence, AttributeDiscard] }
}

/// What is not here (14 and 15, MP_REACH_NLRI and MP_UNREACH_NLRI) ends the session: which routes it
/// is about cannot be told (RFC 7606, 5.3, 7.11 and 7.12).
const VALUES: [Rule; 15] = [
    rule(1, TreatAsWithdraw),      // ORIGIN              7.1
    rule(2, TreatAsWithdraw),      // AS_PATH             7.2
    rule(3, TreatAsWithdraw),      // NEXT_HOP            7.3
    rule(4, TreatAsWithdraw),      // MULTI_EXIT_DISC     7.4
    internal(5, TreatAsWithdraw),  // LOCAL_PREF          7.5
    rule(6, AttributeDiscard),     // ATOMIC_AGGREGATE    7.6
    rule(7, AttributeDiscard),     // AGGREGATOR          7.7
    rule(8, TreatAsWithdraw),      // COMMUNITIES         7.8
    internal(9, TreatAsWithdraw),  // ORIGINATOR_ID       7.9
    internal(10, TreatAsWithdraw), // CLUSTER_LIST        7.10
    rule(16, TreatAsWithdraw),     // EXTENDED COMMUNITIES 7.14
    rule(17, AttributeDiscard),    // AS4_PATH            RFC 6793, 6
    rule(18, AttributeDiscard),    // AS4_AGGREGATOR      RFC 6793, 6
    rule(32, TreatAsWithdraw),     // LARGE_COMMUNITY     RFC 8092, 6
    rule(35, TreatAsWithdraw),     // OTC                 RFC 9234, 5
];

/// What this error in the attribute `code` costs, one of those `octets`; `None` ends the session.
pub(super) fn consequence(
    code: u8,
    error: &DecodeError,
    octets: &[u8],
    context: &UpdateContext,
) -> Option<Consequence> {
    let is_mp = matches!(code, attributes::MP_REACH_NLRI | attributes::MP_UNREACH_NLRI);
    let value = VALUES.iter().find(|rule| rule.code == code).map_or(
        // Of no concern to this speaker.
        AttributeDiscard,
        |rule| rule.consequence[usize::from(!context.internal)],
    );
    let subcode = match error {
        DecodeError::UpdateAttributeError { subcode, .. } => Some(*subcode),
        _ => None,
    };
    match (error, subcode) {
        _ if is_mp => None,
        // RFC 9774, 3: an AS_SET, in AS4_PATH too.
        (DecodeError::ProhibitedAsSet { .. }, _) => Some(TreatAsWithdraw),
        // 3 (g): the first of several counts, the others are left out.
        (_, Some(MALFORMED_ATTRIBUTE_LIST)) if attributes::is_repeated(octets, code) => {
            Some(AttributeDiscard)
        }
        // 4: an attribute that does not fit into the list; what follows it is lost.
        _ if !attributes::is_whole(octets) => Some(TreatAsWithdraw),
        // 3 (c): flags in conflict with the code, whatever the value.
        (_, Some(ATTRIBUTE_FLAGS_ERROR)) => Some(TreatAsWithdraw.max(value)),
        _ => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use rustbgpd_wire as wire;
    use wire::validate::ErrorDisposition;

    use super::*;
    use crate::message::{Family, PathIds};

    /// Malformed in its value, its length, its flags or its number, each attribute that has a rule.
    fn malformed() -> Vec<(u8, Vec<u8>)> {
        let flags = |code: u8| match code {
            1..=3 | 5 | 6 => 0x40,
            4 | 9 | 10 => 0x80,
            _ => 0xc0,
        };
        let mut cases = Vec::new();
        for Rule { code, .. } in VALUES {
            let flags = flags(code);
            let long = [&[flags, code, 5][..], &[9; 5]].concat();
            cases.push((code, long));
            // Optional where it is well-known, and the other way round.
            cases.push((code, vec![flags ^ 0xc0, code, 4, 0, 0, 0, 1]));
            // Longer than the list.
            cases.push((code, vec![flags, code, 200, 0]));
        }
        cases
    }

    /// The package that reads the octets has an opinion of its own: a second witness.
    #[test]
    fn another_reader_of_the_rfc_comes_to_the_same_consequences() {
        for internal in [true, false] {
            let context = UpdateContext {
                four_octet_as: true,
                internal,
                families: vec![Family::Ipv4Unicast],
                extended_messages: false,
                path_ids: PathIds::default(),
                loopback_next_hops: false,
            };
            let mut seen = 0;
            for (code, octets) in malformed() {
                let raw = wire::UpdateMessage {
                    withdrawn_routes: Default::default(),
                    path_attributes: octets.clone().into(),
                    nlri: Default::default(),
                };
                let parsed = raw.parse_revised(true, internal, false, &[]).unwrap();
                for fault in parsed.malformed {
                    let ours = consequence(fault.type_code, &fault.error, &octets, &context);
                    let theirs = match fault.disposition {
                        ErrorDisposition::AttributeDiscard => Some(AttributeDiscard),
                        ErrorDisposition::TreatAsWithdraw => Some(TreatAsWithdraw),
                        ErrorDisposition::SessionReset => None,
                    };
                    assert_eq!(ours, theirs, "{code}: {octets:?}: {}", fault.error);
                    seen += 1;
                }
            }
            assert!(seen > 2 * VALUES.len(), "{seen} faults were found");
        }
    }
}
