//! Rules in the words of nft(8), as `nft --numeric list` has them.

use std::fmt::{self, Display, Formatter};

use super::{Chain, Hook, Match, Rule, Ruleset, Verdict};

impl Display for Ruleset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.chains.is_empty() {
            let blocks: Vec<String> = self.blocks().collect();
            writeln!(f, "table ip warren {{\n{}}}", blocks.join("\n"))?;
        }
        if !self.forward.is_empty() {
            writeln!(f, "table ip filter {{\n\tchain FORWARD {{")?;
            self.forward.iter().try_for_each(|rule| writeln!(f, "\t\t{rule}"))?;
            writeln!(f, "\t}}\n}}")?;
        }
        Ok(())
    }
}

impl Ruleset {
    fn blocks(&self) -> impl Iterator<Item = String> {
        let elements: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
        let set = (!elements.is_empty()).then(|| {
            let elements = elements.join(", ");
            format!("\tset nodes {{\n\t\ttype ipv4_addr\n\t\telements = {{ {elements} }}\n\t}}\n")
        });
        set.into_iter().chain(self.chains.iter().map(ToString::to_string))
    }
}

impl Display for Chain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (kind, priority) = (self.hook.kind(), self.hook.priority());
        writeln!(f, "\tchain {} {{", self.hook.name())?;
        write!(f, "\t\ttype {kind} hook {} priority {priority}; ", self.hook.name())?;
        writeln!(f, "policy accept;")?;
        self.rules.iter().try_for_each(|rule| writeln!(f, "\t\t{rule}"))?;
        writeln!(f, "\t}}")
    }
}

impl Hook {
    /// The name of the hook, and of its chain.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Postrouting => "postrouting",
        }
    }

    /// The type of its chain.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Input => "filter",
            Self::Postrouting => "nat",
        }
    }

    /// The priority of its chain: `filter` and `srcnat`.
    pub(super) fn priority(self) -> u32 {
        match self {
            Self::Input => 0,
            Self::Postrouting => 100,
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.matches.iter().try_for_each(|matches| write!(f, "{matches} "))?;
        write!(f, "{}", self.verdict)?;
        self.comment.iter().try_for_each(|comment| write!(f, " comment \"{comment}\""))
    }
}

impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(prefix) => write!(f, "ip saddr {prefix}"),
            Self::SourceNoNode => write!(f, "ip saddr != @nodes"),
            Self::SourceLocal => f.write_str("fib saddr type local"),
            Self::Destination(prefix) => write!(f, "ip daddr {prefix}"),
            Self::Protocol(number) => write!(f, "ip protocol {number}"),
            Self::OutputInterface(name) => write!(f, "oifname \"{name}\""),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Masquerade => "masquerade fully-random",
            Self::Return => "return",
        })
    }
}
