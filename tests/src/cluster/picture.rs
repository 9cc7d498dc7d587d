//! All on a node that an installation could leave there.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::node::Node;

/// What belongs to Kubernetes and to the runtime, and comes and goes with pods and services.
const OTHERS: &str = "/run/warren-lab /run/containerd /run/layers /run/netns /run/xtables.lock \
     /var/lib/kubelet /var/lib/containerd /var/lib/cni";

/// The beginnings of the names of chains that kube-proxy, kubelet and CNI's portmap keep.
const OTHERS_CHAINS: [&str; 2] = ["KUBE-", "CNI-"];

/// A node at one time: devices, addresses, routes and rules of all tables, packet rules, files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture(BTreeSet<String>);

impl Picture {
    /// The node as it is now.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn of(node: &Node) -> Result<Self> {
        let mut lines = BTreeSet::new();
        for command in [
            &["ip", "-oneline", "-details", "link"][..],
            &["ip", "-oneline", "address"],
            &["ip", "route", "show", "table", "all"],
            &["ip", "-6", "route", "show", "table", "all"],
            &["ip", "rule"],
        ] {
            let output = node.run(command)?;
            lines.extend(
                output.lines().map(|line| format!("{}: {}", command.join(" "), line.trim())),
            );
        }
        lines.extend(packet_rules(&node.run(&["nft", "--stateless", "list", "ruleset"])?));
        lines.extend(files(node)?);
        Ok(Self(lines))
    }

    /// An error that names all that has come or gone since `before`.
    ///
    /// # Errors
    /// When something has.
    pub fn expect_same_as(&self, before: &Self) -> Result<()> {
        let come: Vec<_> = self.0.difference(&before.0).map(|line| format!("+ {line}")).collect();
        let gone: Vec<_> = before.0.difference(&self.0).map(|line| format!("- {line}")).collect();
        let all = [gone, come].concat();
        ensure!(all.is_empty(), "the node is not as it was before:\n{}", all.join("\n"));
        Ok(())
    }

    /// The lines with this word.
    pub fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(String::as_str).filter(move |line| line.contains(word))
    }
}

fn files(node: &Node) -> Result<Vec<String>> {
    let prune: String =
        OTHERS.split_whitespace().map(|path| format!("-path {path} -prune -o ")).collect();
    let command = format!(
        "find /etc /opt /run /var/lib {prune}\\( -type f -printf 'file %p %M %U:%G %s\\n' \\) -o \
         -printf 'file %p %M %U:%G %l\\n'"
    );
    Ok(node.run(&["sh", "-c", &command])?.lines().map(str::to_owned).collect())
}

/// The rules, each with its table and chain, less those of others. The tables and chains of iptables
/// are everybody's, and of those only the rules count.
fn packet_rules(ruleset: &str) -> Vec<String> {
    let mut rules = Vec::new();
    let (mut table, mut chain) = (String::new(), String::new());
    for line in ruleset.lines().map(str::trim) {
        let others = |text: &str| OTHERS_CHAINS.iter().any(|prefix| text.contains(prefix));
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches(" {").to_owned();
            chain.clear();
        } else if let Some(name) = line.strip_prefix("chain ") {
            chain = name.trim_end_matches(" {").to_owned();
        } else if !matches!(line, "" | "}") && !line.starts_with('#') {
            let everybodys = is_of_iptables(&table) && line.starts_with("type ");
            if !everybodys && !others(&chain) && !others(line) {
                rules.push(format!("nft {table} {chain}: {line}"));
            }
        }
    }
    rules
}

fn is_of_iptables(table: &str) -> bool {
    match table.split_once(' ') {
        Some(("ip" | "ip6", name)) => matches!(name, "nat" | "filter" | "mangle" | "raw"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::packet_rules;

    #[test]
    fn rules_of_kubernetes_do_not_count_and_others_in_the_same_tables_do() {
        let ruleset = "
table ip filter {
	chain KUBE-FORWARD {
		meta mark & 0x00004000 == 0x00004000 accept
	}
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		jump KUBE-FORWARD
		ip saddr 10.244.0.0/16 accept comment \"warren: pods\"
	}
}
table ip warren {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
	}
}";
        assert_eq!(
            packet_rules(ruleset),
            [
                "nft ip filter FORWARD: ip saddr 10.244.0.0/16 accept comment \"warren: pods\"",
                "nft ip warren postrouting: type nat hook postrouting priority srcnat; policy accept;",
            ]
        );
    }
}
