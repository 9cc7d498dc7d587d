//! Against the kernel; nft(8) and iptables(8) are the witnesses.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use nix::errno::Errno;

use super::*;
use crate::testing::isolated;

/// Our table as nft(8) lists it, without the line breaks in its sets, and with the one number in words
/// that has no number in its own input.
fn table() -> String {
    run("nft --numeric list table ip warren")
        .replace(",\n\t\t\t     ", ", ")
        .replace("fib saddr type 2", "fib saddr type local")
}

/// The number of the last transaction. No option of nft(8) tells it, so a socket of ours does.
fn generation() -> u32 {
    keeper::generation(&mut netfilter::Netfilter::open().unwrap()).unwrap()
}

#[test]
fn nft_reads_from_the_kernel_what_was_wanted() {
    isolated(|| {
        let mut keeper = Keeper::default();
        let wanted = rules(&known(Encapsulation::IpIp, true));
        assert!(keeper.bring(&wanted, true).unwrap());
        assert_eq!(table(), format!("{INPUT}{TUNNEL_POSTROUTING}}}\n"));
    });
}

#[test]
fn what_is_as_it_should_be_is_not_written_again() {
    isolated(|| {
        let mut keeper = Keeper::default();
        let wanted = rules(&known(Encapsulation::IpIp, true));
        assert!(keeper.bring(&wanted, true).unwrap());
        let before = generation();
        assert!(!keeper.bring(&wanted, true).unwrap());
        assert_eq!(generation(), before);
        // Nor when somebody else does something of his own.
        run("nft add table ip others");
        let before = generation();
        assert!(!keeper.bring(&wanted, true).unwrap());
        assert_eq!(generation(), before);
    });
}

#[test]
fn whatever_somebody_changes_in_the_table_is_put_right() {
    isolated(|| {
        let mut keeper = Keeper::default();
        let wanted = rules(&known(Encapsulation::IpIp, true));
        keeper.bring(&wanted, true).unwrap();
        let right = table();
        for harm in [
            "nft delete table ip warren",
            "nft flush chain ip warren input",
            "nft insert rule ip warren input accept",
            "nft add element ip warren nodes { 192.168.0.66 }",
            "nft delete element ip warren nodes { 192.168.0.146 }",
            "nft chain ip warren input { policy drop ; }",
            "nft add chain ip warren more",
            "nft flush ruleset",
        ] {
            run(harm);
            assert!(keeper.bring(&wanted, true).unwrap(), "not noticed: {harm}");
            assert_eq!(table(), right, "after {harm}");
        }
    });
}

#[test]
fn a_new_process_finds_its_table_and_an_empty_ruleset_removes_all() {
    isolated(|| {
        run("nft add table ip others");
        run("iptables-nft -P FORWARD DROP");
        run("iptables-nft -A FORWARD -s 10.1.1.1 -j DROP");
        let before = run("nft list ruleset");
        Keeper::default().bring(&rules(&known(Encapsulation::IpIp, true)), true).unwrap();
        let wanted = rules(&known(Encapsulation::None, true));
        Keeper::default().bring(&wanted, true).unwrap();
        let alone = POSTROUTING.strip_prefix('\n').unwrap();
        assert_eq!(table(), format!("table ip warren {{\n{alone}}}\n"));
        assert_eq!(run("iptables-nft -S FORWARD").lines().count(), 4);
        assert!(Keeper::default().is_anything_ours().unwrap());
        assert!(Keeper::default().bring(&Ruleset::default(), true).unwrap());
        assert!(!Keeper::default().is_anything_ours().unwrap());
        assert_eq!(run("nft list ruleset"), before);
        assert!(!Keeper::default().bring(&Ruleset::default(), true).unwrap());
    });
}

#[test]
fn nodes_of_a_former_life_stay_until_it_is_known_which_there_are() {
    isolated(|| {
        Keeper::default().bring(&rules(&known(Encapsulation::IpIp, false)), true).unwrap();
        let mut keeper = Keeper::default();
        assert!(!keeper.bring(&Ruleset::default(), false).unwrap());
        let mut again = known(Encapsulation::IpIp, false);
        again.nodes.clear();
        again.paths.clear();
        assert!(keeper.bring(&rules(&again), false).unwrap());
        assert_eq!(table(), format!("{INPUT}{TUNNEL_ALONE}}}\n"));
        assert!(!keeper.bring(&rules(&again), false).unwrap());
        assert!(keeper.bring(&rules(&again), true).unwrap());
        assert!(table().contains("elements = { 192.168.0.176 }"), "{}", table());
    });
}

#[test]
fn thousands_of_nodes_are_one_transaction() {
    isolated(|| {
        let mut known = known(Encapsulation::IpIp, false);
        known.nodes = (0..5000u32).map(|n| Ipv4Addr::from_bits(0x0a00_0000 + n).into()).collect();
        let wanted = rules(&known);
        let mut keeper = Keeper::default();
        keeper.bring(&wanted, true).unwrap();
        let listed = run("nft list set ip warren nodes");
        assert_eq!(listed.matches("10.0.").count(), 5000);
        assert!(!keeper.bring(&wanted, true).unwrap());
    });
}

#[test]
fn iptables_gets_two_rules_behind_its_own_for_as_long_as_it_drops_by_policy() {
    isolated(|| {
        let mut keeper = Keeper::default();
        let wanted = rules(&known(Encapsulation::None, true));
        run("iptables-nft -A FORWARD -s 10.1.1.1 -j REJECT");
        keeper.bring(&wanted, true).unwrap();
        let own = "-P FORWARD ACCEPT\n-A FORWARD -s 10.1.1.1/32 -j REJECT \
                   --reject-with icmp-port-unreachable\n";
        assert_eq!(run("iptables-nft -S FORWARD"), own);

        run("iptables-nft -P FORWARD DROP");
        assert!(keeper.bring(&wanted, true).unwrap());
        let dropping = own.replace("ACCEPT", "DROP");
        let ours = "-A FORWARD -s 172.16.0.0/16 -m comment --comment \"warren: pods\" -j ACCEPT\n\
                    -A FORWARD -d 172.16.0.0/16 -m comment --comment \"warren: pods\" -j ACCEPT\n";
        assert_eq!(run("iptables-nft -S FORWARD"), format!("{dropping}{ours}"));
        assert!(!keeper.bring(&wanted, true).unwrap());
        // iptables can save and restore what it finds there.
        assert!(run("iptables-nft-save").contains(ours));

        run("iptables-nft -D FORWARD 2");
        assert!(keeper.bring(&wanted, true).unwrap());
        assert_eq!(run("iptables-nft -S FORWARD"), format!("{dropping}{ours}"));
        run("iptables-nft -F FORWARD");
        assert!(keeper.bring(&wanted, true).unwrap());
        assert_eq!(run("iptables-nft -S FORWARD"), format!("-P FORWARD DROP\n{ours}"));
        run("iptables-nft -P FORWARD ACCEPT");
        assert!(keeper.bring(&wanted, true).unwrap());
        assert_eq!(run("iptables-nft -S FORWARD"), "-P FORWARD ACCEPT\n");
    });
}

#[test]
fn events_of_what_is_kept_are_told_from_the_others() {
    isolated(|| {
        let mut listener =
            netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_NETFILTER).unwrap();
        listener.bind(&netlink_sys::SocketAddr::new(0, 0)).unwrap();
        listener.add_membership(GROUP).unwrap();
        run("iptables-nft -A FORWARD -s 10.1.1.1 -j DROP");
        for (line, expected) in [
            ("nft add table ip warren", true),
            ("nft add set ip warren nodes { type ipv4_addr ; }", true),
            ("nft delete table ip warren", true),
            ("iptables-nft -P FORWARD DROP", true),
            ("iptables-nft -F FORWARD", true),
            ("iptables-nft -A INPUT -s 10.1.1.1 -j DROP", false),
            ("iptables-nft -t nat -A POSTROUTING -s 10.1.1.1 -j ACCEPT", false),
            ("nft add table inet warren", false),
        ] {
            // What came before.
            while listener.recv_from(&mut Vec::with_capacity(1 << 16), libc::MSG_DONTWAIT).is_ok() {
            }
            run(line);
            let mut told = false;
            let mut datagram = Vec::with_capacity(1 << 16);
            while listener.recv_from(&mut datagram, libc::MSG_DONTWAIT).is_ok() {
                told |= concerns(&datagram);
                datagram.clear();
            }
            assert_eq!(told, expected, "{line}");
        }
    });
}

#[test]
fn transactions_of_others_at_the_same_time_do_no_harm() {
    isolated(|| {
        let stop = AtomicBool::new(false);
        let mut keeper = Keeper::default();
        let (one, other) = (Encapsulation::None, Encapsulation::IpIp);
        let [one, other] = [one, other].map(|encapsulation| rules(&known(encapsulation, true)));
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut socket = netfilter::Netfilter::open().unwrap();
                while !stop.load(Relaxed) {
                    let name = netfilter::text(encode::NFTA_TABLE_NAME, "others");
                    let table = netfilter::Message::new(encode::NFT_MSG_NEWTABLE, 0x400, [name]);
                    let now = keeper::generation(&mut socket).unwrap();
                    match socket.commit("add a table", now, vec![table]) {
                        Ok(()) => {}
                        Err(error) => assert_eq!(error.errno(), Some(Errno::ERESTART)),
                    }
                }
            });
            for _ in 0..50 {
                for wanted in [&one, &other] {
                    match keeper.bring(wanted, true) {
                        Ok(changed) => assert!(changed),
                        Err(error) => assert!(error.to_string().contains("changed during")),
                    }
                }
            }
            stop.store(true, Relaxed);
        });
        keeper.bring(&other, true).unwrap();
        assert_eq!(table(), format!("{INPUT}{TUNNEL_POSTROUTING}}}\n"));
        assert!(!keeper.bring(&other, true).unwrap());
    });
}

#[test]
fn the_chains_of_others_that_drop_what_is_forwarded_are_named() {
    isolated(|| {
        run("nft add table inet firewalld");
        for chain in [
            "inet firewalld filter_FORWARD { type filter hook forward priority 10 ; policy drop ; }",
            "inet firewalld filter_INPUT { type filter hook input priority 10 ; policy drop ; }",
            "inet firewalld lenient { type filter hook forward priority 11 ; policy accept ; }",
        ] {
            run(&format!("nft add chain {chain}"));
        }
        run("ip6tables-nft -P FORWARD DROP");
        run("iptables-nft -P FORWARD DROP");
        run("nft add table ip mine");
        run(
            "nft add chain ip mine forward { type filter hook forward priority 0 ; policy drop ; }",
        );
        let found = forward_droppers().unwrap();
        assert_eq!(found, ["ip mine forward", "inet firewalld filter_FORWARD"]);
    });
}
