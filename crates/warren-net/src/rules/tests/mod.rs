//! What the rules are, and that nft(8) reads the same from the kernel.

mod kept;
mod kernel;
mod services;
mod traffic;

use std::process::Command;

use warren_types::pool::{Encapsulation, Pool};

use super::*;
use crate::desired::Path;

fn net(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn pool(cidr: &str, encapsulation: Encapsulation, nat_outgoing: bool) -> Pool {
    Pool { cidr: net(cidr), block_size: 26, encapsulation, nat_outgoing }
}

/// A node with one pool, two other nodes, and a path by a third.
pub fn known(encapsulation: Encapsulation, nat_outgoing: bool) -> Known {
    let next_hop = "192.168.0.241".parse().unwrap();
    Known {
        node_address: Some("192.168.0.176".parse().unwrap()),
        nodes: ["192.168.0.146", "192.168.0.9"].map(|node| node.parse().unwrap()).into(),
        pools: vec![pool("172.16.0.0/16", encapsulation, nat_outgoing)],
        blocks: vec![net("172.16.52.128/26")],
        paths: [(net("172.16.246.192/26"), Path { next_hop, learned_from: next_hop })].into(),
        route_protocol: 12,
        settled: true,
    }
}

/// Runs a program in the thread's namespace; its output.
pub fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap();
    let output = Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("these tests need the command {program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const INPUT: &str = "\
table ip warren {
	set nodes {
		type ipv4_addr
		elements = { 192.168.0.9, 192.168.0.146, 192.168.0.176, 192.168.0.241 }
	}

	chain input {
		type filter hook input priority 0; policy accept;
		ip protocol 4 ip saddr != @nodes drop
	}
";

const POSTROUTING: &str = "
	chain postrouting {
		type nat hook postrouting priority 100; policy accept;
		oifname \"tunl0\" return
		ip daddr 172.16.0.0/16 return
		ip saddr 172.16.0.0/16 masquerade fully-random
	}
";

/// The same for pools that use the tunnel.
const TUNNEL_POSTROUTING: &str = "
	chain postrouting {
		type nat hook postrouting priority 100; policy accept;
		oifname \"tunl0\" ip saddr 172.16.0.0/16 return
		oifname \"tunl0\" fib saddr type local masquerade fully-random
		oifname \"tunl0\" return
		ip daddr 172.16.0.0/16 return
		ip saddr 172.16.0.0/16 masquerade fully-random
	}
";

/// And without masquerade.
const TUNNEL_ALONE: &str = "
	chain postrouting {
		type nat hook postrouting priority 100; policy accept;
		oifname \"tunl0\" ip saddr 172.16.0.0/16 return
		oifname \"tunl0\" fib saddr type local masquerade fully-random
	}
";

const FORWARD: &str = "
table ip filter {
	chain FORWARD {
		ip saddr 172.16.0.0/16 accept comment \"warren: pods\"
		ip daddr 172.16.0.0/16 accept comment \"warren: pods\"
	}
}
";

#[test]
fn tunnel_packets_are_for_nodes_only_and_what_leaves_the_pools_is_masqueraded() {
    let both = rules(&known(Encapsulation::IpIp, true)).to_string();
    assert_eq!(both, format!("{INPUT}{TUNNEL_POSTROUTING}}}{FORWARD}"));
    let tunnel = rules(&known(Encapsulation::IpIpCrossSubnet, false)).to_string();
    assert_eq!(tunnel, format!("{INPUT}{TUNNEL_ALONE}}}{FORWARD}"));
    let outgoing = rules(&known(Encapsulation::None, true)).to_string();
    let alone = POSTROUTING.strip_prefix('\n').unwrap();
    assert_eq!(outgoing, format!("table ip warren {{\n{alone}}}{FORWARD}"));
    let neither = rules(&known(Encapsulation::None, false)).to_string();
    assert_eq!(neither, FORWARD.strip_prefix('\n').unwrap());
}

#[test]
fn a_pool_without_masquerade_is_inside_all_the_same() {
    let mut known = known(Encapsulation::None, true);
    known.pools.push(pool("10.9.0.0/17", Encapsulation::None, false));
    known.pools.push(pool("fd00::/48", Encapsulation::None, true));
    let [chain] = &rules(&known).chains[..] else { panic!("one chain is expected") };
    let words: Vec<String> = chain.rules.iter().map(ToString::to_string).collect();
    let expected = [
        "oifname \"tunl0\" return",
        "ip daddr 172.16.0.0/16 return",
        "ip daddr 10.9.0.0/17 return",
        "ip saddr 172.16.0.0/16 masquerade fully-random",
    ];
    assert_eq!(words, expected);
}

#[test]
fn of_pools_in_one_another_the_smallest_says_whether_to_masquerade() {
    let sources = |outer: bool, inner: bool| -> Vec<String> {
        let mut known = known(Encapsulation::None, outer);
        known.pools.push(pool("172.16.52.0/24", Encapsulation::None, inner));
        let chains = rules(&known).chains;
        let words = chains.iter().flat_map(|chain| &chain.rules).map(ToString::to_string);
        words.filter(|words| words.starts_with("ip saddr")).collect()
    };
    let outer = "ip saddr 172.16.0.0/16 masquerade fully-random";
    assert_eq!(sources(true, false), ["ip saddr 172.16.52.0/24 return", outer]);
    assert_eq!(sources(false, true), ["ip saddr 172.16.52.0/24 masquerade fully-random"]);
    assert!(sources(false, false).is_empty());
}

#[test]
fn while_nothing_is_known_there_are_no_rules() {
    let nothing = Known {
        node_address: None,
        nodes: [].into(),
        pools: Vec::new(),
        blocks: Vec::new(),
        paths: [].into(),
        route_protocol: 12,
        settled: false,
    };
    assert_eq!(rules(&nothing), Ruleset::default());
    // Nor a rule that would drop the tunnel packets of everybody.
    let pools = vec![pool("172.16.0.0/16", Encapsulation::IpIp, false)];
    let chains = rules(&Known { pools, ..nothing }).chains;
    assert!(chains.iter().all(|chain| chain.hook != Hook::Input), "{chains:?}");
}
