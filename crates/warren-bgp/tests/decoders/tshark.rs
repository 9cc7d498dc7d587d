//! What tshark reads.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use bytes::Bytes;
use ipnetwork::IpNetwork;
use warren_bgp::message::{AsPathSegment, Origin, Update};

use crate::capture;

/// The fields that are asked for; `bgp.` stands before each.
pub const FIELDS: [&str; 18] = [
    "type",
    "length",
    "withdrawn_prefix",
    "mp_unreach_nlri_ipv6_prefix",
    "nlri_prefix",
    "mp_reach_nlri_ipv6_prefix",
    "update.path_attribute.origin",
    "update.path_attribute.next_hop",
    "update.path_attribute.mp_reach_nlri.next_hop.ipv6",
    "update.path_attribute.as_path_segment.as4",
    "update.path_attribute.multi_exit_disc",
    "update.path_attribute.local_pref",
    "update.path_attribute.aggregator_as",
    "update.path_attribute.originator_id",
    "path_attribute.cluster_id",
    "update.path_attribute.community_as",
    "update.path_attribute.community_value",
    "large_communities.ldp2",
];

/// The values of [`FIELDS`] in each message, and all that tshark complains of.
pub fn read(messages: &[Bytes]) -> (Vec<Vec<String>>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("messages.pcap");
    fs::write(&file, capture::of(messages)).unwrap();
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-o", "bgp.asn_len:4 octet", "-T", "fields"]);
    tshark.args(["-E", "separator=|", "-E", "aggregator=;", "-r"]).arg(&file);
    for field in ["_ws.malformed", "_ws.expert.message"] {
        tshark.args(["-e", field]);
    }
    for field in FIELDS {
        tshark.args(["-e", &format!("bgp.{field}")]);
    }
    let output = tshark.output().expect("tshark, of scripts/packages");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let mut complaints = Vec::new();
    let mut values = Vec::new();
    for line in said.lines() {
        let mut fields = line.split('|').map(str::to_owned);
        complaints.extend(fields.by_ref().take(2).filter(|it| !it.is_empty()));
        values.push(fields.collect());
    }
    (values, complaints)
}

/// What the values are of an UPDATE that says this.
pub fn expected(message: &Bytes, update: &Update) -> Vec<String> {
    let list = |all: Vec<String>| all.join(";");
    let of = |prefixes: &[IpNetwork], is_ipv6: bool| {
        let those = prefixes.iter().filter(|prefix| prefix.is_ipv6() == is_ipv6);
        list(those.map(|prefix| prefix.network().to_string()).collect())
    };
    let mut values = vec![
        "2".to_owned(),
        message.len().to_string(),
        of(&update.withdrawn, false),
        of(&update.withdrawn, true),
        of(&update.announced, false),
        of(&update.announced, true),
    ];
    let Some(attributes) = &update.attributes else {
        values.resize(FIELDS.len(), String::new());
        return values;
    };
    let text = |number: Option<u32>| number.map(|it| it.to_string()).unwrap_or_default();
    let origin = match attributes.origin {
        Origin::Igp => 0,
        Origin::Egp => 1,
        Origin::Incomplete => 2,
    };
    let path = attributes.as_path.iter().flat_map(|segment| match segment {
        AsPathSegment::Sequence(numbers) | AsPathSegment::Set(numbers) => numbers,
    });
    let next_hop = attributes.next_hop;
    let only = |is_it: bool| if is_it { next_hop.to_string() } else { String::new() };
    let communities = |half: fn(u32) -> u32| {
        list(attributes.communities.iter().map(|it| half(*it).to_string()).collect())
    };
    values.extend([
        origin.to_string(),
        only(matches!(next_hop, IpAddr::V4(_))),
        only(matches!(next_hop, IpAddr::V6(_))),
        list(path.map(ToString::to_string).collect()),
        text(attributes.med),
        text(attributes.local_pref),
        text(attributes.aggregator.map(|(number, _)| number)),
        attributes.originator_id.map(|it| it.to_string()).unwrap_or_default(),
        list(attributes.cluster_list.iter().map(ToString::to_string).collect()),
        communities(|it| it >> 16),
        communities(|it| it & 0xffff),
        list(attributes.large_communities.iter().map(|it| it.2.to_string()).collect()),
    ]);
    values
}
