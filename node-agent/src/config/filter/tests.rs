use warren_bgp::policy::{Match, Operation as Op};

use super::*;

fn read(text: &str) -> Result<PeerPolicy, String> {
    let filter: Filter = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let name = filter.name.clone();
    peer_policy(&[filter], &[name])
}

/// The one rule of an importV4 list.
fn rule(text: &str) -> Result<policy::Rule, String> {
    Ok(read(&format!("{{name: tor, importV4: [{{{text}}}]}}"))?.import.remove(0))
}

#[test]
fn every_key_of_a_rule_is_read() {
    let read = rule(
        "action: Accept, matchOperator: NotIn, cidr: 10.0.0.0/8, prefixLength: {min: 24, max: 26}, \
         source: RemotePeers, peerType: eBGP, \
         communities: {values: ['64512:7', '1:2:3', 'rt:64512:100']}, asPathPrefix: [65000, 65001], priority: 1024, operations: [\
         {addCommunity: {value: NO_EXPORT}}, {addCommunity: {value: 'ro:1:2'}}, \
         {prependASPath: {prefix: [65000]}}, {setLocalPreference: {value: 200}}, {setMED: {value: 5}}, {setPriority: {value: 7}}]",
    );
    let community = |text: &str| text.parse::<Community>().unwrap();
    let expected = policy::Rule {
        family: Family::Ipv4Unicast,
        matches: Match {
            prefix: Some(policy::PrefixMatch {
                operator: policy::MatchOperator::NotIn,
                cidr: "10.0.0.0/8".parse().unwrap(),
                prefix_length: 24..=26,
            }),
            remote_peers: true,
            peer_type: Some(policy::PeerType::EBgp),
            communities: ["64512:7", "1:2:3", "rt:64512:100"].map(community).to_vec(),
            as_path_prefix: vec![65000, 65001],
            priority: Some(1024),
        },
        action: policy::Action::Accept(vec![
            Op::AddCommunity(community("NO_EXPORT")),
            Op::AddCommunity(community("ro:1:2")),
            Op::PrependAsPath(vec![65000]),
            Op::SetLocalPreference(200),
            Op::SetMed(5),
            Op::SetPriority(7),
        ]),
    };
    assert_eq!(read, Ok(expected));
}

#[test]
fn what_is_missing_matches_everything_and_lengths_begin_with_the_cidrs_own() {
    let all = rule("action: Reject").unwrap();
    assert_eq!((all.matches, all.action), (Match::default(), policy::Action::Reject));
    for (lengths, expected) in [
        ("", 8..=32),
        (", prefixLength: {min: 20}", 20..=32),
        (", prefixLength: {max: 20}", 8..=20),
    ] {
        let text = format!("action: Reject, matchOperator: In, cidr: 10.0.0.0/8{lengths}");
        assert_eq!(rule(&text).unwrap().matches.prefix.unwrap().prefix_length, expected);
    }
}

#[test]
fn rules_keep_their_order_across_filters_and_families() {
    let filters: Vec<Filter> = ["one", "two"]
        .iter()
        .map(|name| {
            let text = format!(
                "{{name: {name}, importV6: [{{action: Accept}}], importV4: [{{action: Reject}}], \
                 exportV4: [{{action: Accept}}, {{action: Reject}}]}}"
            );
            serde_saphyr::from_str(&text).unwrap()
        })
        .collect();
    let policy = peer_policy(&filters, &["two".to_owned(), "one".to_owned()]).unwrap();
    let v4 = policy.import.iter().filter(|rule| rule.family == Family::Ipv4Unicast).count();
    assert_eq!((v4, policy.import.len(), policy.export.len()), (2, 4, 4));
    assert_eq!(policy.export[1].action, policy::Action::Reject);
    let error = peer_policy(&filters, &["three".to_owned()]).unwrap_err();
    assert!(error.contains("there is no filter \"three\""), "{error}");
}

#[test]
fn what_cannot_work_is_refused_with_the_rule_and_the_reason() {
    for (text, expected) in [
        ("action: Reject, interface: '*.calico'", "interface: routes here have a next hop"),
        ("action: Reject, cidr: 10.0.0.0/8", "10.0.0.0/8 needs a matchOperator"),
        ("action: Reject, matchOperator: In", "matchOperator: needs a cidr"),
        ("action: Reject, prefixLength: {min: 8}", "prefixLength: needs a cidr"),
        ("action: Reject, matchOperator: In, cidr: 'fd00::/8'", "the other IP version"),
        ("action: Reject, matchOperator: In, cidr: 10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        (
            "action: Reject, matchOperator: In, cidr: 10.0.0.0/8, prefixLength: {min: 24, max: 20}",
            "24 to 20 is no range",
        ),
        (
            "action: Reject, matchOperator: In, cidr: 10.0.0.0/8, prefixLength: {max: 33}",
            "prefix lengths up to 32",
        ),
        ("action: Reject, operations: [{setMED: {value: 1}}]", "only with action Accept"),
        ("action: Accept, priority: 0", "priority: 0 is out of range: use 1 to 2147483646"),
        ("action: Accept, operations: [{setPriority: {value: 0}}]", "setPriority: value: 0"),
        ("action: Accept, operations: [{prependASPath: {prefix: []}}]", "one AS number or more"),
        ("action: Accept, operations: [{prependASPath: {prefix: [0]}}]", "none of them 0"),
    ] {
        let error = rule(text).unwrap_err();
        assert!(error.starts_with("filters: tor: importV4[0]: "), "{error}");
        assert!(error.contains(expected), "{text}: {error}");
    }
    for (text, expected) in [
        ("action: Drop", "Drop"),
        ("action: Reject, cidrs: []", "cidrs"),
        ("action: Reject, communities: {values: ['65536:1']}", "\"65536:1\" is no community"),
        ("action: Accept, operations: [{addCommunity: {value: x}}]", "\"x\" is no community"),
        (
            "action: Accept, operations: [{setMED: {value: 1}, setPriority: {value: 1}}]",
            "setPriority",
        ),
        ("action: Accept, operations: [{setMED: {value: 1, x: 1}}]", "x"),
        ("matchOperator: In, cidr: 10.0.0.0/8", "action"),
    ] {
        let error = rule(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
