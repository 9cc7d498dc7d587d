//! Brings nf_tables to a [`Ruleset`] and sees whether it still is there.
//!
//! What the kernel says of a rule is not what it was told: it adds defaults, and newer kernels more
//! of them. So nothing is compared with what was sent. What the kernel shows right after a
//! transaction is kept, and whatever differs from that later was done by somebody else. A new
//! process knows nothing yet, and writes once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use nix::errno::Errno;

use super::encode::{
    self, IPTABLES, NF_DROP, NFT_MSG_GETCHAIN, NFT_MSG_GETGEN, NFT_MSG_GETRULE, NFT_MSG_GETSET,
    NFT_MSG_GETSETELEM, NFT_MSG_GETTABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE,
    NFTA_DATA_VALUE, NFTA_GEN_ID, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_TABLE,
    NFTA_RULE_USERDATA, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET,
    NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_NAME, NFTA_SET_TABLE, NFTA_TABLE_NAME, TABLE,
};
use super::netfilter::{Message, Netfilter, attributes, find, find_number, is_named, text};
use super::{Ruleset, legacy};
use crate::netlink::Error;

/// How often it is tried because somebody else changed something meanwhile, before that is an
/// error.
const ATTEMPTS: usize = 8;

/// What is done, for messages.
const OPERATION: &str = "replace the packet rules (table ip warren)";

/// Keeps the node's packet rules, in the network namespace in which it is first used.
#[derive(Debug, Default)]
pub struct Keeper {
    netfilter: Option<Netfilter>,
    /// What was written last, and what the kernel showed then.
    written: Option<(Ruleset, Seen)>,
}

/// What the kernel has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Our table, its chains, its sets and its rules, as the kernel describes them.
    table: Vec<Vec<u8>>,
    /// The elements of its sets; the kernel shows them in any order.
    elements: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    /// Whether the chain FORWARD of iptables drops what no rule accepts.
    forward_drops: bool,
    /// Our rules there.
    forward: Vec<Vec<u8>>,
}

impl Seen {
    fn is_empty(&self) -> bool {
        self.table.is_empty() && self.forward.is_empty()
    }

    /// The addresses in our sets.
    fn nodes(&self) -> impl Iterator<Item = Ipv4Addr> {
        let octets = self.elements.values().flatten();
        octets.filter_map(|element| Some(Ipv4Addr::from(*element.first_chunk::<4>()?)))
    }
}

impl Keeper {
    /// Brings the kernel to `wanted`, in one transaction, if it is not there; tells whether it was
    /// not. An empty ruleset removes all that is ours.
    ///
    /// While `settled` is false too little may be known. Then nothing is removed altogether, and the
    /// nodes that the kernel knows from a former life of this process stay: the packets of those
    /// that are not known yet again would be dropped.
    ///
    /// # Errors
    /// When the kernel refuses the rules, or has no nf_tables. It then has what it had before.
    pub fn bring(&mut self, wanted: &Ruleset, settled: bool) -> Result<bool, Error> {
        if !settled && *wanted == Ruleset::default() {
            return Ok(false);
        }
        // One of them failing is no reason to leave the other as it is.
        let tables = self.bring_tables(wanted, settled);
        let legacy = legacy::bring(&wanted.forward)?;
        Ok(tables? || legacy)
    }

    fn bring_tables(&mut self, wanted: &Ruleset, settled: bool) -> Result<bool, Error> {
        let netfilter = opened(&mut self.netfilter)?;
        let mut changed = false;
        for _ in 0..ATTEMPTS {
            let generation = generation(netfilter)?;
            let was_wanted = self.written.as_ref().is_some_and(|(written, _)| match settled {
                true => written == wanted,
                false => *written == with_nodes(wanted, written.nodes.iter().copied()),
            });
            // Also in a generation that was looked at before: its number is there a moment before what
            // it changes can be seen. The event comes after both.
            let Some(seen) = look(netfilter, generation)? else { continue };
            let untouched = match &self.written {
                Some((_, then)) => was_wanted && *then == seen,
                None => *wanted == Ruleset::default() && seen.is_empty(),
            };
            if untouched {
                return Ok(changed);
            }
            let ruleset = match settled || wanted.nodes.is_empty() {
                true => wanted.clone(),
                false => with_nodes(wanted, seen.nodes()),
            };
            match write(netfilter, generation, &ruleset, &seen) {
                Ok(()) => {}
                Err(error) if error.errno() == Some(Errno::ERESTART) => continue,
                // By then a rule of ours can also be gone from the chain of iptables.
                Err(error) if error.errno() == Some(Errno::ENOENT) && !seen.forward.is_empty() => {
                    continue;
                }
                Err(error) => return Err(error),
            }
            changed = true;
            // Only if nobody did anything in between is what is there now what we wrote. Otherwise
            // it is written once more.
            let after = generation.wrapping_add(1);
            let now = look(netfilter, after)?;
            self.written = now.map(|now| (ruleset, now));
            if self.written.is_some() {
                return Ok(changed);
            }
        }
        // What was written stands, and its own event has it looked at again.
        if changed {
            return Ok(true);
        }
        Err(restless(OPERATION))
    }

    /// Whether the kernel has anything that is ours. One without nf_tables has nothing.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn is_anything_ours(&mut self) -> Result<bool, Error> {
        Ok(self.has_tables()? || legacy::is_anything_ours()?)
    }

    fn has_tables(&mut self) -> Result<bool, Error> {
        for _ in 0..ATTEMPTS {
            let netfilter = match opened(&mut self.netfilter) {
                Ok(netfilter) => netfilter,
                Err(error) if is_unknown(&error) => return Ok(false),
                Err(error) => return Err(error),
            };
            let generation = match generation(netfilter) {
                Err(error) if is_unknown(&error) => return Ok(false),
                generation => generation?,
            };
            if let Some(seen) = look(netfilter, generation)? {
                return Ok(!seen.is_empty());
            }
        }
        Err(restless("list table ip warren"))
    }
}

/// The socket, opened when it is first needed: not every kernel has one to give.
fn opened(netfilter: &mut Option<Netfilter>) -> Result<&mut Netfilter, Error> {
    match netfilter {
        Some(netfilter) => Ok(netfilter),
        none => Ok(none.insert(Netfilter::open()?)),
    }
}

/// Whether it says that the kernel has no netfilter, or no nf_tables in it.
fn is_unknown(error: &Error) -> bool {
    match error {
        Error::Socket { source, .. } => source.raw_os_error() == Some(libc::EPROTONOSUPPORT),
        refused => refused.errno() == Some(Errno::EINVAL),
    }
}

fn restless(operation: &str) -> Error {
    let reason = format!("nf_tables changed during {ATTEMPTS} attempts");
    Error::Answer { operation: operation.to_owned(), reason }
}

fn with_nodes(ruleset: &Ruleset, nodes: impl Iterator<Item = Ipv4Addr>) -> Ruleset {
    let mut ruleset = ruleset.clone();
    ruleset.nodes.extend(nodes);
    ruleset
}

/// The number of the last transaction, everybody's.
pub(super) fn generation(netfilter: &mut Netfilter) -> Result<u32, Error> {
    let answer =
        netfilter.ask("ask nf_tables for its generation", Message::new(NFT_MSG_GETGEN, 0, []))?;
    Ok(answer.iter().find_map(|found| find_number(found, NFTA_GEN_ID)).unwrap_or_default())
}

/// What the kernel has in this generation; none if it has moved on to another.
fn look(netfilter: &mut Netfilter, in_generation: u32) -> Result<Option<Seen>, Error> {
    let mut seen = Seen::default();
    let mut dump = |what: &str, kind, filter: Vec<Vec<u8>>| {
        netfilter.dump(&format!("list {what}"), Message::new(kind, 0, filter))
    };
    let of = |kind, table| move |found: &Vec<u8>| is_named(found, kind, table);

    let tables = dump("tables", NFT_MSG_GETTABLE, Vec::new())?;
    seen.table = tables.into_iter().filter(of(NFTA_TABLE_NAME, TABLE)).collect();
    let exists = !seen.table.is_empty();
    let chains = dump("chains", NFT_MSG_GETCHAIN, Vec::new())?;
    let forward = chains.iter().find(|chain| {
        is_named(chain, NFTA_CHAIN_TABLE, IPTABLES.0)
            && is_named(chain, NFTA_CHAIN_NAME, IPTABLES.1)
    });
    if let Some(forward) = forward {
        seen.forward_drops = find_number(forward, NFTA_CHAIN_POLICY) == Some(NF_DROP);
        let place = vec![text(NFTA_RULE_TABLE, IPTABLES.0), text(NFTA_RULE_CHAIN, IPTABLES.1)];
        let rules = dump("rules of chain FORWARD", NFT_MSG_GETRULE, place)?;
        let ours = |rule: &Vec<u8>| find(rule, NFTA_RULE_USERDATA).is_some_and(encode::is_ours);
        seen.forward = rules.into_iter().filter(ours).collect();
    }
    seen.table.extend(chains.into_iter().filter(of(NFTA_CHAIN_TABLE, TABLE)));
    if exists {
        let ours = vec![text(NFTA_RULE_TABLE, TABLE)];
        seen.table.extend(dump("rules of table warren", NFT_MSG_GETRULE, ours)?);
        let sets = dump("sets of table warren", NFT_MSG_GETSET, vec![text(NFTA_SET_TABLE, TABLE)])?;
        for name in sets.iter().filter_map(|set| find(set, NFTA_SET_NAME)) {
            let place = vec![
                text(NFTA_SET_ELEM_LIST_TABLE, TABLE),
                super::netfilter::attribute(NFTA_SET_ELEM_LIST_SET, name),
            ];
            let lists = dump("elements of a set of table warren", NFT_MSG_GETSETELEM, place)?;
            let elements = lists
                .iter()
                .filter_map(|list| find(list, NFTA_SET_ELEM_LIST_ELEMENTS))
                .flat_map(attributes)
                .filter_map(|(_, element)| find(find(element, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE))
                .map(<[u8]>::to_vec);
            seen.elements.insert(name.to_vec(), elements.collect());
        }
        seen.table.extend(sets);
    }
    Ok((generation(netfilter)? == in_generation).then_some(seen))
}

/// Replaces what is ours, as it was seen in this generation.
fn write(
    netfilter: &mut Netfilter,
    generation: u32,
    ruleset: &Ruleset,
    seen: &Seen,
) -> Result<(), Error> {
    // Made first, so that there is something to delete.
    let mut messages = vec![encode::new_table(), encode::delete_table()];
    if !ruleset.chains.is_empty() {
        messages.push(encode::new_table());
        messages.extend(encode::content(ruleset));
    }
    let handles = seen.forward.iter().filter_map(|rule| find(rule, NFTA_RULE_HANDLE));
    messages.extend(handles.map(encode::delete_forward));
    if seen.forward_drops {
        messages.extend(ruleset.forward.iter().map(|rule| encode::new_rule(IPTABLES, rule)));
    }
    netfilter.commit(OPERATION, generation, messages)
}
