//! What iptables-legacy reads from the kernel.

use super::super::tests::{known, run};
use super::super::{Keeper, rules};
use super::*;
use crate::testing::isolated;
use warren_types::pool::Encapsulation;

const OURS: &str = "-A FORWARD -s 172.16.0.0/16 -m comment --comment \"warren: pods\" -j ACCEPT\n\
                    -A FORWARD -d 172.16.0.0/16 -m comment --comment \"warren: pods\" -j ACCEPT\n";

/// Chains, jumps forwards and backwards, a rule without a target at the end of FORWARD, and counters.
const OTHERS: &str = "*filter
:INPUT ACCEPT [5:500]
:FORWARD DROP [7:700]
:OUTPUT ACCEPT [0:0]
:ALPHA - [0:0]
:OMEGA - [0:0]
[1:60] -A INPUT -s 10.9.9.9/32 -m comment --comment \"somebody else\" -j OMEGA
[2:120] -A FORWARD -s 10.1.1.1/32 -j ALPHA
[3:180] -A FORWARD -m conntrack --ctstate INVALID -j DROP
[4:240] -A FORWARD -s 10.1.1.2/32
[5:300] -A OUTPUT -d 10.1.1.3/32 -g OMEGA
[6:360] -A ALPHA -p tcp -m tcp --dport 80 -j OMEGA
[7:420] -A OMEGA -j RETURN
COMMIT
";

fn restore(rules: &str) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules");
    fs::write(&file, rules).unwrap();
    run(&format!("iptables-legacy-restore -c {}", file.display()));
}

/// Rules with their counters, without the remarks.
fn saved() -> String {
    let all = run("iptables-legacy-save -c -t filter");
    all.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

fn wanted() -> Vec<Rule> {
    rules(&known(Encapsulation::None, true)).forward
}

#[test]
fn two_rules_come_to_the_end_of_forward_and_go_and_all_else_stays_as_it_is() {
    isolated(|| {
        restore(OTHERS);
        assert_eq!(saved(), OTHERS);
        assert!(!is_anything_ours().unwrap());
        assert!(bring(&wanted()).unwrap());
        let ours = OURS.replace("-A FORWARD", "[0:0] -A FORWARD");
        let behind = "[4:240] -A FORWARD -s 10.1.1.2/32\n";
        assert_eq!(saved(), OTHERS.replace(behind, &format!("{behind}{ours}")));
        assert!(is_anything_ours().unwrap());
        assert!(!bring(&wanted()).unwrap(), "it was as it should be");
        assert!(bring(&[]).unwrap());
        assert_eq!(saved(), OTHERS);
        assert!(!is_anything_ours().unwrap());
    });
}

#[test]
fn they_are_there_for_as_long_as_it_drops_by_policy_whatever_somebody_does_to_them() {
    isolated(|| {
        let mut keeper = Keeper::default();
        let wanted = rules(&known(Encapsulation::None, true));
        run("iptables-legacy -P FORWARD ACCEPT");
        keeper.bring(&wanted, true).unwrap();
        assert_eq!(run("iptables-legacy -S FORWARD"), "-P FORWARD ACCEPT\n");
        run("iptables-legacy -P FORWARD DROP");
        assert!(keeper.bring(&wanted, true).unwrap());
        assert_eq!(run("iptables-legacy -S FORWARD"), format!("-P FORWARD DROP\n{OURS}"));
        // What others append later on is no reason to write the table again.
        run("iptables-legacy -A FORWARD -s 10.1.1.1 -j REJECT");
        assert!(!keeper.bring(&wanted, true).unwrap());
        run("iptables-legacy -D FORWARD 1");
        assert!(keeper.bring(&wanted, true).unwrap());
        assert!(run("iptables-legacy -S FORWARD").ends_with(OURS));
        run("iptables-legacy -F FORWARD");
        assert!(keeper.bring(&wanted, true).unwrap());
        assert!(Keeper::default().is_anything_ours().unwrap());
        assert!(Keeper::default().bring(&super::super::Ruleset::default(), true).unwrap());
        assert_eq!(run("iptables-legacy -S FORWARD"), "-P FORWARD DROP\n");
        keeper.bring(&wanted, true).unwrap();
        run("iptables-legacy -P FORWARD ACCEPT");
        assert!(keeper.bring(&wanted, true).unwrap());
        assert_eq!(run("iptables-legacy -S FORWARD"), "-P FORWARD ACCEPT\n");
    });
}

#[test]
fn where_nobody_uses_it_no_table_is_made() {
    isolated(|| {
        assert!(!bring(&wanted()).unwrap());
        assert!(!is_anything_ours().unwrap());
        assert_eq!(fs::read_to_string(TABLES).unwrap_or_default(), "");
    });
}
