//! Peers that are named by the prefix that they connect from, and AS numbers that are named by words.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use warren_speaker::RemoteAs;

use super::check::canonical;
use super::{Config, PeerConfig};

/// How many neighbours a prefix has at most where nothing is settled, as FRR has it.
const LIMIT: u32 = 100;

/// Where a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAddress {
    /// There.
    Is(IpAddr),
    /// Anywhere in there: whoever connects from an address that no other peer has is one.
    In(IpNetwork),
}

impl FromStr for PeerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = if text.contains('/') {
            text.parse().ok().map(Self::In)
        } else {
            text.parse().ok().map(Self::Is)
        };
        address.ok_or_else(|| format!("{text:?} is neither an address nor a prefix"))
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(address) => write!(f, "{address}"),
            Self::In(range) => write!(f, "{range}"),
        }
    }
}

impl<'de> Deserialize<'de> for PeerAddress {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(D::Error::custom)
    }
}

/// An AS number, or one of two words.
struct RemoteAsVisitor;

impl Visitor<'_> for RemoteAsVisitor {
    type Value = Option<RemoteAs>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an AS number up to 4294967295, internal or external")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        let invalid = |_| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self);
        u32::try_from(number).map(|number| Some(RemoteAs::Is(number))).map_err(invalid)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let invalid = |_| E::invalid_value(serde::de::Unexpected::Signed(number), &self);
        u64::try_from(number).map_err(invalid).and_then(|number| self.visit_u64(number))
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
        match word {
            "internal" => Ok(Some(RemoteAs::Internal)),
            "external" => Ok(Some(RemoteAs::External)),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Reads `asNumber` of a peer.
pub(super) fn remote_as<'de, D: Deserializer<'de>>(input: D) -> Result<Option<RemoteAs>, D::Error> {
    input.deserialize_any(RemoteAsVisitor)
}

impl PeerConfig {
    /// The AS number that it may have.
    pub fn remote_as(&self, config: &Config) -> RemoteAs {
        self.as_number.unwrap_or(RemoteAs::Is(config.as_number))
    }

    /// Whether it is one of the AS `local`.
    pub fn is_internal(&self, config: &Config, local: u32) -> bool {
        match self.remote_as(config) {
            RemoteAs::Is(number) => number == local,
            RemoteAs::Internal => true,
            RemoteAs::External => false,
        }
    }

    /// What dynamic neighbours show as their template.
    pub fn template_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.address.to_string())
    }

    /// How many dynamic neighbours there are at most.
    pub fn most_neighbors(&self) -> u32 {
        self.limit.map_or(LIMIT, NonZeroU32::get)
    }
}

/// Checks a peer with the prefix `range` for an address.
pub(super) fn check(config: &Config, peer: &PeerConfig, range: IpNetwork) -> Result<(), String> {
    canonical("peers: address", range)?;
    let unfit = [
        ("passive", peer.passive),
        ("blocks", !peer.blocks.is_empty()),
        ("sourceAddress", peer.source_address.is_some()),
        ("connectRetryInitialSeconds", peer.connect_retry_initial_seconds.is_some()),
        ("connectRetrySeconds", peer.connect_retry_seconds.is_some()),
        ("shutdown", peer.shutdown.is_some()),
    ];
    if let Some((key, _)) = unfit.iter().find(|(_, is_there)| *is_there) {
        return Err(format!(
            "peers: {range}: {key}: a peer with a prefix is made when somebody connects; leave {key} \
             out, or name the peer by its address"
        ));
    }
    for other in &config.peers {
        match other.address {
            PeerAddress::In(its)
                if its != range && other.template_name() == peer.template_name() =>
            {
                return Err(format!(
                    "peers: {range} and {its} have the same name, {}",
                    peer.template_name()
                ));
            }
            // The kernel would wait for a signature.
            PeerAddress::Is(address)
                if peer.password.is_some()
                    && other.password.is_none()
                    && range.contains(address) =>
            {
                return Err(format!(
                    "peers: {address} has no password, but {range}, in which it lies, has; give it \
                     one too"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(peers: &str) -> Result<Config, String> {
        let text = format!("pools: [{{cidr: 172.16.0.0/16}}]\npeers:\n{peers}\n");
        Config::from_text(&text, "agent.yaml".into()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_prefix_stands_for_all_that_connect_from_it() {
        let config = read(
            "- {address: 10.1.0.0/24, name: rack, asNumber: external, limit: 7}\n\
             - {address: 'fd00::/64', asNumber: internal}\n\
             - {address: 10.1.0.9, asNumber: 4200000001}\n\
             - {address: 10.1.0.10}",
        )
        .unwrap();
        let found: Vec<_> = (config.peers.iter())
            .map(|it| (it.template_name(), it.remote_as(&config).to_string(), it.most_neighbors()))
            .collect();
        let expected = [
            ("rack", "external", 7),
            ("fd00::/64", "internal", 100),
            ("10.1.0.9", "4200000001", 100),
            ("10.1.0.10", "64512", 100),
        ];
        let expected = expected.map(|(name, number, n)| (name.to_owned(), number.to_owned(), n));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_makes_no_sense_with_a_prefix_is_refused() {
        let cases = [
            ("- {address: 10.1.0.1/24}", "did you mean 10.1.0.0/24?"),
            ("- {address: 10.1.0.0/33}", "\"10.1.0.0/33\" is neither an address nor a prefix"),
            (
                "- {address: 10.1.0.0/24, passive: true}",
                "10.1.0.0/24: passive: a peer with a prefix",
            ),
            ("- {address: 10.1.0.0/24, limit: 0}", "line 3"),
            ("- {address: 10.1.0.1, limit: 5}", "10.1.0.1: limit: only a peer with a prefix"),
            ("- {address: 10.1.0.1, asNumber: extern}", "internal or external"),
            ("- {address: 10.1.0.1, asNumber: 4294967296}", "internal or external"),
            ("- {address: 10.1.0.0/24, asNumber: 0}", "asNumber 0 is reserved"),
            ("- {address: 10.1.0.0/24}\n- {address: 10.1.0.0/24}", "is there twice"),
            (
                "- {address: 10.1.0.0/24, name: a}\n- {address: 10.2.0.0/24, name: a}",
                "have the same name, a",
            ),
            (
                "- {address: 10.1.0.0/24, password: x}\n- {address: 10.1.0.9}",
                "10.1.0.9 has no password, but 10.1.0.0/24",
            ),
            (
                "- {address: 10.1.0.0/24, asNumber: external, routeReflectorClient: true}",
                "only a peer of the same AS",
            ),
        ];
        for (peers, expected) in cases {
            let error = read(peers).unwrap_err();
            assert!(error.contains(expected), "{peers}: {error}");
        }
    }
}
