//! Filters as the configuration has them: named, and spelled, as Calico's BGPFilter.

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use warren_bgp::message::Family;
use warren_bgp::policy::{self, Community, PeerPolicy};

/// A filter that peers can name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Its name.
    pub name: String,
    /// For IPv4 routes that a peer announces.
    #[serde(default, rename = "importV4")]
    pub import_v4: Vec<Rule>,
    /// For IPv4 routes that a peer is told of.
    #[serde(default, rename = "exportV4")]
    pub export_v4: Vec<Rule>,
    /// For IPv6 routes that a peer announces.
    #[serde(default, rename = "importV6")]
    pub import_v6: Vec<Rule>,
    /// For IPv6 routes that a peer is told of.
    #[serde(default, rename = "exportV6")]
    pub export_v6: Vec<Rule>,
}

/// A rule: the first one that matches decides. What is missing matches every route.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// What becomes of a route that matches.
    pub action: Action,
    /// How its destination relates to `cidr`.
    pub match_operator: Option<MatchOperator>,
    /// What its destination is compared with.
    pub cidr: Option<IpNetwork>,
    /// The prefix lengths that it may have.
    pub prefix_length: Option<PrefixLength>,
    /// Where it must come from.
    pub source: Option<Source>,
    /// The device that it leads through: refused, see [`Filter::rules`].
    pub interface: Option<String>,
    /// The kind of the peer that it comes from or goes to.
    pub peer_type: Option<PeerType>,
    /// What it must be marked with.
    pub communities: Option<Communities>,
    /// The numbers that its AS_PATH must begin with.
    #[serde(default)]
    pub as_path_prefix: Vec<u32>,
    /// Its priority: 2147483647 less its LOCAL_PREF.
    pub priority: Option<u32>,
    /// How it is changed, with `action: Accept`.
    #[serde(default)]
    pub operations: Vec<Operation>,
}

/// See [`Rule::action`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Action {
    /// It goes on.
    Accept,
    /// It ends here.
    Reject,
}

/// See [`Rule::match_operator`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum MatchOperator {
    /// It is the same.
    Equal,
    /// It is not.
    NotEqual,
    /// It lies inside.
    In,
    /// It does not.
    NotIn,
}

/// See [`Rule::prefix_length`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixLength {
    /// The shortest; by default that of `cidr`.
    pub min: Option<u8>,
    /// The longest; by default the family's.
    pub max: Option<u8>,
}

/// See [`Rule::source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Source {
    /// From a peer, as opposed to this node's own.
    RemotePeers,
}

/// See [`Rule::peer_type`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum PeerType {
    /// External.
    #[serde(rename = "eBGP")]
    EBgp,
    /// Internal.
    #[serde(rename = "iBGP")]
    IBgp,
}

/// See [`Rule::communities`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Communities {
    /// All of these.
    #[serde(deserialize_with = "communities")]
    pub values: Vec<Community>,
}

/// A change of a route; in the file a map with this one key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Operation {
    /// Marks it.
    AddCommunity {
        /// With this.
        #[serde(deserialize_with = "community")]
        value: Community,
    },
    /// Makes its AS_PATH longer.
    #[serde(rename = "prependASPath")]
    PrependAsPath {
        /// By these numbers in front.
        prefix: Vec<u32>,
    },
    /// Sets LOCAL_PREF.
    SetLocalPreference {
        /// To this.
        value: u32,
    },
    /// Sets MULTI_EXIT_DISC.
    #[serde(rename = "setMED")]
    SetMed {
        /// To this.
        value: u32,
    },
    /// Sets LOCAL_PREF to 2147483647 less this.
    SetPriority {
        /// The priority.
        value: u32,
    },
}

fn community<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Community, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

fn communities<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Community>, D::Error> {
    let values = Vec::<String>::deserialize(deserializer)?;
    values.iter().map(|value| value.parse().map_err(de::Error::custom)).collect()
}

/// The rules of these filters, one after the other, in the order of `names`.
///
/// # Errors
/// A sentence that names the filter and the rule, and says what to do.
pub fn peer_policy(filters: &[Filter], names: &[String]) -> Result<PeerPolicy, String> {
    let mut policy = PeerPolicy::default();
    for name in names {
        let filter = filters.iter().find(|filter| filter.name == *name).ok_or_else(|| {
            format!("filters: there is no filter {name:?}; add it, or correct it")
        })?;
        filter.rules(&mut policy)?;
    }
    Ok(policy)
}

impl Filter {
    /// Adds the filter's rules to those of a peer.
    ///
    /// # Errors
    /// See [`peer_policy`]. What Calico has and this speaker cannot do is refused rather than
    /// passed over: a filter must not let through what it was written to stop.
    fn rules(&self, policy: &mut PeerPolicy) -> Result<(), String> {
        let (v4, v6) = (Family::Ipv4Unicast, Family::Ipv6Unicast);
        let lists = [
            ("importV4", v4, &self.import_v4, &mut policy.import),
            ("exportV4", v4, &self.export_v4, &mut policy.export),
        ];
        for (key, family, from, to) in lists {
            self.append(key, family, from, to)?;
        }
        self.append("importV6", v6, &self.import_v6, &mut policy.import)?;
        self.append("exportV6", v6, &self.export_v6, &mut policy.export)
    }

    fn append(
        &self,
        key: &str,
        family: Family,
        from: &[Rule],
        to: &mut Vec<policy::Rule>,
    ) -> Result<(), String> {
        for (index, rule) in from.iter().enumerate() {
            let rule = rule
                .settle(family)
                .map_err(|why| format!("filters: {}: {key}[{index}]: {why}", self.name))?;
            to.push(rule);
        }
        Ok(())
    }
}

impl Rule {
    fn settle(&self, family: Family) -> Result<policy::Rule, String> {
        if self.interface.is_some() {
            return Err("interface: routes here have a next hop and no device before they are in \
                        the kernel; match by cidr, source or communities instead"
                .into());
        }
        if let Some(priority) = self.priority {
            check_priority("priority", priority)?;
        }
        let matches = policy::Match {
            prefix: self.prefix(family)?,
            remote_peers: self.source.is_some(),
            peer_type: self.peer_type.map(|peer_type| match peer_type {
                PeerType::EBgp => policy::PeerType::EBgp,
                PeerType::IBgp => policy::PeerType::IBgp,
            }),
            communities: self.communities.as_ref().map_or(Vec::new(), |c| c.values.clone()),
            as_path_prefix: self.as_path_prefix.clone(),
            priority: self.priority,
        };
        let action = match self.action {
            Action::Reject if !self.operations.is_empty() => {
                return Err("operations: only with action Accept".into());
            }
            Action::Reject => policy::Action::Reject,
            Action::Accept => policy::Action::Accept(
                self.operations.iter().map(Operation::settle).collect::<Result<_, _>>()?,
            ),
        };
        Ok(policy::Rule { family, matches, action })
    }

    fn prefix(&self, family: Family) -> Result<Option<policy::PrefixMatch>, String> {
        let (operator, cidr) = match (self.match_operator, self.cidr) {
            (Some(operator), Some(cidr)) => (operator, cidr),
            (None, None) if self.prefix_length.is_none() => return Ok(None),
            (None, None) => return Err("prefixLength: needs a cidr and a matchOperator".into()),
            (Some(_), None) => return Err("matchOperator: needs a cidr".into()),
            (None, Some(cidr)) => {
                return Err(format!(
                    "cidr: {cidr} needs a matchOperator: Equal, NotEqual, In or NotIn"
                ));
            }
        };
        if Family::of(&cidr) != family {
            return Err(format!("cidr: {cidr} belongs into the list of the other IP version"));
        }
        super::check::canonical("cidr", cidr)?;
        let longest = if cidr.is_ipv4() { 32 } else { 128 };
        let lengths = self.prefix_length.unwrap_or(PrefixLength { min: None, max: None });
        let (min, max) = (lengths.min.unwrap_or(cidr.prefix()), lengths.max.unwrap_or(longest));
        if min > max || max > longest {
            return Err(format!(
                "prefixLength: {min} to {max} is no range of prefix lengths up to {longest}"
            ));
        }
        let operator = match operator {
            MatchOperator::Equal => policy::MatchOperator::Equal,
            MatchOperator::NotEqual => policy::MatchOperator::NotEqual,
            MatchOperator::In => policy::MatchOperator::In,
            MatchOperator::NotIn => policy::MatchOperator::NotIn,
        };
        Ok(Some(policy::PrefixMatch { operator, cidr, prefix_length: min..=max }))
    }
}

impl Operation {
    fn settle(&self) -> Result<policy::Operation, String> {
        Ok(match self {
            Self::AddCommunity { value } => policy::Operation::AddCommunity(*value),
            // RFC 7607: with 0 in it, the route would be refused by whoever it is told.
            Self::PrependAsPath { prefix } if prefix.is_empty() || prefix.contains(&0) => {
                return Err("prependASPath: prefix: one AS number or more, none of them 0".into());
            }
            Self::PrependAsPath { prefix } => policy::Operation::PrependAsPath(prefix.clone()),
            Self::SetLocalPreference { value } => policy::Operation::SetLocalPreference(*value),
            Self::SetMed { value } => policy::Operation::SetMed(*value),
            Self::SetPriority { value } => {
                check_priority("setPriority: value", *value)?;
                policy::Operation::SetPriority(*value)
            }
        })
    }
}

fn check_priority(key: &str, priority: u32) -> Result<(), String> {
    const RANGE: std::ops::RangeInclusive<u32> = 1..=2_147_483_646;
    if RANGE.contains(&priority) {
        return Ok(());
    }
    Err(format!("{key}: {priority} is out of range: use {} to {}", RANGE.start(), RANGE.end()))
}

#[cfg(test)]
mod tests;
