//! The socket to nf_tables: questions, transactions, events.
//!
//! A transaction is a batch in one send, between two messages that frame it, and takes effect as a
//! whole or not at all. It names the generation of the tables that it was made for, and the kernel
//! refuses it (ERESTART) if they are of another by then.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader,
    Parseable,
};
use netlink_sys::{SocketAddr, protocols::NETLINK_NETFILTER};

use super::encode::{
    IPTABLES, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE, NFTA_CHAIN_NAME, TABLE,
};
use super::encode::{NFT_MSG_DELRULE, NFT_MSG_DELTABLE, NFTA_RULE_CHAIN, NFTA_TABLE_NAME};
use crate::netlink::{Error, uninterrupted};

/// NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h: the multicast group of the tables' changes.
pub(crate) const GROUP: u32 = 7;

/// NFNL_SUBSYS_NFTABLES, NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END and NFNL_BATCH_GENID.
const SUBSYSTEM: u8 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const BATCH_GENERATION: u16 = 1;

/// The address family of our table and of iptables' (NFPROTO_IPV4).
pub(super) const IPV4: u8 = 2;

/// The family of tables that see IPv4 and IPv6 (NFPROTO_INET).
pub(super) const INET: u8 = 1;

const NETLINK_HEADER_LEN: usize = 16;

/// The length of `struct nfgenmsg`, which begins every message: family, version, resource.
const FAMILY_HEADER_LEN: usize = 4;

/// Room for the longest datagram: a dump comes in pieces of up to 32 KiB.
const DATAGRAM: usize = 64 * 1024;

/// A message of nf_tables, about IPv4 where nothing else is said.
pub(super) struct Message {
    family: u8,
    kind: u8,
    flags: u16,
    attributes: Vec<u8>,
}

impl Message {
    pub(super) fn new(kind: u8, flags: u16, attributes: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { family: IPV4, kind, flags, attributes: attributes.into_iter().flatten().collect() }
    }

    /// About another address family.
    pub(super) fn of_family(self, family: u8) -> Self {
        Self { family, ..self }
    }
}

/// An attribute: length, kind, value, and zeros up to a multiple of four.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    // None that is made here comes near 64 KiB.
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute that is made of others.
pub(super) fn nest(kind: u16, inside: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    const NLA_F_NESTED: u16 = 1 << 15;
    attribute(kind | NLA_F_NESTED, &inside.into_iter().flatten().collect::<Vec<u8>>())
}

/// An attribute that is a name.
pub(super) fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

/// An attribute that is a number.
pub(super) fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// The attributes in `bytes`: kind and value of each.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const NLA_TYPE_MASK: u16 = (1 << 14) - 1;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (head, _) = rest.split_first_chunk::<4>()?;
        let [l0, l1, k0, k1] = *head;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK, value))
    })
}

/// The value of the first attribute of that kind.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// The number in the first attribute of that kind.
pub(super) fn find_number(bytes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(find(bytes, kind)?.try_into().ok()?))
}

/// Whether the first attribute of that kind is this name.
pub(super) fn is_named(bytes: &[u8], kind: u16, name: &str) -> bool {
    find(bytes, kind).and_then(|found| found.strip_suffix(&[0])) == Some(name.as_bytes())
}

/// A socket to nf_tables. It acts in the namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Netfilter {
    socket: netlink_sys::Socket,
    sequence: u32,
    datagram: Vec<u8>,
}

impl Netfilter {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> Result<Self, Error> {
        let open = || {
            let socket = netlink_sys::Socket::new(NETLINK_NETFILTER)?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| failed("open a netfilter socket", source))?;
        Ok(Self { socket, sequence: 0, datagram: Vec::with_capacity(DATAGRAM) })
    }

    /// Asks one question; the attributes of each message of the answer.
    pub(super) fn ask(
        &mut self,
        operation: &str,
        question: Message,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let mut bytes = Vec::new();
        let sequence = self.append_message(&mut bytes, &question);
        self.converse(operation, &bytes, sequence..=sequence)
    }

    /// As [`Netfilter::ask`], for all there are.
    pub(super) fn dump(
        &mut self,
        operation: &str,
        mut question: Message,
    ) -> Result<Vec<Vec<u8>>, Error> {
        question.flags |= NLM_F_DUMP;
        self.ask(operation, question)
    }

    /// Makes one transaction of `messages`, for tables of this generation.
    pub(super) fn commit(
        &mut self,
        operation: &str,
        generation: u32,
        messages: Vec<Message>,
    ) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let (subsystem, generation) = (SUBSYSTEM.into(), number(BATCH_GENERATION, generation));
        // What frames a transaction is about a subsystem, and of no family.
        let first = self.append(&mut bytes, BATCH_BEGIN, 0, (0, subsystem), &generation);
        let mut last = first;
        for message in &messages {
            last = self.append_message(&mut bytes, message);
        }
        self.append(&mut bytes, BATCH_END, 0, (0, subsystem), &[]);
        self.converse(operation, &bytes, first..=last).map(drop)
    }

    /// Sends `bytes`, with messages of these numbers, and waits until the first of them is refused
    /// or the last is answered. (What else is wrong with a transaction is told of its first.)
    fn converse(
        &mut self,
        operation: &str,
        bytes: &[u8],
        numbers: std::ops::RangeInclusive<u32>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        uninterrupted(|| self.socket.send(bytes, 0)).map_err(|source| failed(operation, source))?;
        let mut answer = Vec::new();
        loop {
            self.datagram.clear();
            uninterrupted(|| self.socket.recv(&mut self.datagram, 0))
                .map_err(|source| failed(operation, source))?;
            for message in messages(&self.datagram) {
                let header = NetlinkHeader::parse(&message)
                    .map_err(|error| failed(operation, io::Error::other(error.to_string())))?;
                // What is left of an earlier conversation that ended early has other numbers.
                if !numbers.contains(&header.sequence_number) {
                    continue;
                }
                let payload = message.payload();
                if header.message_type == NLMSG_ERROR || header.message_type == NLMSG_DONE {
                    let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    if code != 0 {
                        // NETLINK_CAP_ACK: of the request, only the header is repeated.
                        let echoed =
                            if header.message_type == NLMSG_ERROR { NETLINK_HEADER_LEN } else { 0 };
                        let tlvs = payload.get(4 + echoed..).unwrap_or_default();
                        return Err(Error::refused(operation.to_string(), &header, code, tlvs));
                    }
                    if header.sequence_number == *numbers.end() {
                        return Ok(answer);
                    }
                } else {
                    answer.push(payload.get(FAMILY_HEADER_LEN..).unwrap_or_default().to_vec());
                }
            }
        }
    }

    /// Puts a message behind those already in `bytes`, to be acknowledged; returns its number.
    fn append_message(&mut self, bytes: &mut Vec<u8>, message: &Message) -> u32 {
        let kind = u16::from_be_bytes([SUBSYSTEM, message.kind]);
        let flags = message.flags | NLM_F_ACK;
        self.append(bytes, kind, flags, (message.family, 0), &message.attributes)
    }

    fn append(
        &mut self,
        bytes: &mut Vec<u8>,
        kind: u16,
        flags: u16,
        (family, resource): (u8, u16),
        attributes: &[u8],
    ) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let length = NETLINK_HEADER_LEN + FAMILY_HEADER_LEN + attributes.len();
        bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend(self.sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend([family, 0]);
        bytes.extend(resource.to_be_bytes());
        bytes.extend(attributes);
        self.sequence
    }
}

fn failed(operation: &str, source: io::Error) -> Error {
    Error::Socket { operation: operation.to_owned(), source }
}

/// The messages of a datagram.
fn messages(datagram: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let length = message.length() as usize;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// Whether a datagram of [`GROUP`] tells of what [`Keeper`](super::Keeper) keeps: our table, or
/// the chain of iptables. All else that happens in nf_tables, and kube-proxy does a lot there, is
/// none of our business.
pub(crate) fn concerns(datagram: &[u8]) -> bool {
    messages(datagram).any(|message| {
        let [subsystem, number] = message.message_type().to_be_bytes();
        let Some(([family, ..], attributes)) =
            message.payload().split_first_chunk::<FAMILY_HEADER_LEN>()
        else {
            return false;
        };
        if subsystem != SUBSYSTEM || *family != IPV4 {
            return false;
        }
        // The first attribute of all of them is the table's name.
        let of_table = |name| is_named(attributes, NFTA_TABLE_NAME, name);
        of_table(TABLE)
            || of_table(IPTABLES.0)
                && match number {
                    NFT_MSG_NEWTABLE..=NFT_MSG_DELTABLE => true,
                    NFT_MSG_NEWCHAIN..NFT_MSG_NEWRULE => {
                        is_named(attributes, NFTA_CHAIN_NAME, IPTABLES.1)
                    }
                    NFT_MSG_NEWRULE..=NFT_MSG_DELRULE => {
                        is_named(attributes, NFTA_RULE_CHAIN, IPTABLES.1)
                    }
                    _ => false,
                }
    })
}
