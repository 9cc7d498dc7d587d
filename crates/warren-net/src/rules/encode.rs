//! Rules as messages of nf_tables.
//!
//! By hand: no library has all that is needed. In netlink-bindings the expression `masq` is
//! missing, and netlink-socket2 tells which message of a batch will be acknowledged by comparing
//! addresses of functions, which an optimiser may change.
//!
//! The numbers are those of linux/netfilter/nf_tables.h.

use std::net::Ipv4Addr;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};

use super::netfilter::{Message, attribute, nest, number, text};
use super::{Chain, Hook, Match, Rule, Ruleset, Verdict};

/// The name of our table.
pub(super) const TABLE: &str = "warren";

/// The table and the chain of iptables through which forwarded packets go.
pub(super) const IPTABLES: (&str, &str) = ("filter", "FORWARD");

/// The name of the set of the nodes' addresses.
const NODES: &str = "nodes";

/// How many elements of a set go into one message: an attribute holds at most 64 KiB.
const ELEMENTS: usize = 1000;

/// The register in which a rule keeps what it looks at (NFT_REG_1).
const REGISTER: u32 = 1;

/// The message that makes our table.
pub(super) fn new_table() -> Message {
    Message::new(NFT_MSG_NEWTABLE, NLM_F_CREATE, [text(NFTA_TABLE_NAME, TABLE)])
}

/// The message that deletes our table and all that is in it.
pub(super) fn delete_table() -> Message {
    Message::new(NFT_MSG_DELTABLE, 0, [text(NFTA_TABLE_NAME, TABLE)])
}

/// The messages that fill our table.
pub(super) fn content(ruleset: &Ruleset) -> impl Iterator<Item = Message> {
    let set = (!ruleset.nodes.is_empty()).then(new_set);
    let nodes: Vec<Ipv4Addr> = ruleset.nodes.iter().copied().collect();
    let elements: Vec<Message> = nodes.chunks(ELEMENTS).map(new_elements).collect();
    let chains = ruleset.chains.iter().flat_map(|chain| {
        let rules = chain.rules.iter().map(|rule| new_rule((TABLE, chain.hook.name()), rule));
        [new_chain(chain)].into_iter().chain(rules)
    });
    set.into_iter().chain(elements).chain(chains)
}

fn new_set() -> Message {
    /// What nft(8) calls `ipv4_addr`; the kernel does not care.
    const IPV4_ADDR: u32 = 7;
    let attributes = [
        text(NFTA_SET_TABLE, TABLE),
        text(NFTA_SET_NAME, NODES),
        number(NFTA_SET_KEY_TYPE, IPV4_ADDR),
        number(NFTA_SET_KEY_LEN, 4),
        number(NFTA_SET_ID, 1),
    ];
    Message::new(NFT_MSG_NEWSET, NLM_F_CREATE, attributes)
}

fn new_elements(nodes: &[Ipv4Addr]) -> Message {
    let element = |address: &Ipv4Addr| {
        nest(NFTA_LIST_ELEM, [nest(NFTA_SET_ELEM_KEY, [value(&address.octets())])])
    };
    let attributes = [
        text(NFTA_SET_ELEM_LIST_TABLE, TABLE),
        text(NFTA_SET_ELEM_LIST_SET, NODES),
        nest(NFTA_SET_ELEM_LIST_ELEMENTS, nodes.iter().map(element)),
    ];
    Message::new(NFT_MSG_NEWSETELEM, NLM_F_CREATE, attributes)
}

fn new_chain(chain: &Chain) -> Message {
    let hook = match chain.hook {
        Hook::Input => NF_INET_LOCAL_IN,
        Hook::Postrouting => NF_INET_POST_ROUTING,
    };
    let place =
        [number(NFTA_HOOK_HOOKNUM, hook), number(NFTA_HOOK_PRIORITY, chain.hook.priority())];
    let attributes = [
        text(NFTA_CHAIN_TABLE, TABLE),
        text(NFTA_CHAIN_NAME, chain.hook.name()),
        nest(NFTA_CHAIN_HOOK, place),
        number(NFTA_CHAIN_POLICY, NF_ACCEPT),
        text(NFTA_CHAIN_TYPE, chain.hook.kind()),
    ];
    Message::new(NFT_MSG_NEWCHAIN, NLM_F_CREATE, attributes)
}

/// The message that appends a rule to a chain.
pub(super) fn new_rule((table, chain): (&str, &str), rule: &Rule) -> Message {
    let matches = rule.matches.iter().flat_map(matching);
    let attributes = [
        text(NFTA_RULE_TABLE, table),
        text(NFTA_RULE_CHAIN, chain),
        nest(NFTA_RULE_EXPRESSIONS, matches.chain([verdict(rule.verdict)])),
    ];
    let comment = rule.comment.map(|comment| attribute(NFTA_RULE_USERDATA, &user_data(comment)));
    let flags = NLM_F_CREATE | NLM_F_APPEND;
    Message::new(NFT_MSG_NEWRULE, flags, attributes.into_iter().chain(comment))
}

/// The message that deletes one rule of the chain FORWARD of iptables.
pub(super) fn delete_forward(handle: &[u8]) -> Message {
    let attributes = [
        text(NFTA_RULE_TABLE, IPTABLES.0),
        text(NFTA_RULE_CHAIN, IPTABLES.1),
        attribute(NFTA_RULE_HANDLE, handle),
    ];
    Message::new(NFT_MSG_DELRULE, 0, attributes)
}

/// A comment as nft(8) and iptables(8) keep it with a rule: type 0, length, text, NUL.
fn user_data(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], comment.as_bytes(), &[0]].concat()
}

/// Whether a rule's user data says that the rule is ours.
pub(super) fn is_ours(user_data: &[u8]) -> bool {
    matches!(user_data, [0, _, comment @ ..] if comment.starts_with(b"warren: "))
}

fn matching(matches: &Match) -> Vec<Vec<u8>> {
    /// The offsets of an IPv4 header's fields.
    const PROTOCOL: u32 = 9;
    const SOURCE: u32 = 12;
    const DESTINATION: u32 = 16;
    match matches {
        Match::Source(prefix) => {
            let mut found = prefixed(SOURCE, prefix.mask());
            found.push(equal(&prefix.network().octets()));
            found
        }
        Match::Destination(prefix) => {
            let mut found = prefixed(DESTINATION, prefix.mask());
            found.push(equal(&prefix.network().octets()));
            found
        }
        Match::SourceNoNode => vec![load(SOURCE, 4), not_among(NODES)],
        Match::SourceLocal => {
            let kind = [
                number(NFTA_FIB_DREG, REGISTER),
                number(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE),
                number(NFTA_FIB_FLAGS, NFTA_FIB_F_SADDR),
            ];
            // Registers are in the machine's own byte order.
            vec![expression("fib", kind), equal(&RTN_LOCAL.to_ne_bytes())]
        }
        Match::Protocol(protocol) => vec![load(PROTOCOL, 1), equal(&[*protocol])],
        Match::OutputInterface(name) => {
            // The kernel loads names with zeros behind them, to this length (IFNAMSIZ).
            let mut padded = [0; 16];
            padded.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
            let meta = [number(NFTA_META_DREG, REGISTER), number(NFTA_META_KEY, NFT_META_OIFNAME)];
            vec![expression("meta", meta), equal(&padded)]
        }
    }
}

/// Loads an address, without what is behind its prefix.
///
/// It is always masked: older versions of iptables(8) know a prefix in its chains only by that.
fn prefixed(offset: u32, mask: Ipv4Addr) -> Vec<Vec<u8>> {
    let masked = [
        number(NFTA_BITWISE_SREG, REGISTER),
        number(NFTA_BITWISE_DREG, REGISTER),
        number(NFTA_BITWISE_LEN, 4),
        nest(NFTA_BITWISE_MASK, [value(&mask.octets())]),
        nest(NFTA_BITWISE_XOR, [value(&[0; 4])]),
    ];
    vec![load(offset, 4), expression("bitwise", masked)]
}

fn load(offset: u32, length: u32) -> Vec<u8> {
    let from_network_header = [
        number(NFTA_PAYLOAD_DREG, REGISTER),
        number(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER),
        number(NFTA_PAYLOAD_OFFSET, offset),
        number(NFTA_PAYLOAD_LEN, length),
    ];
    expression("payload", from_network_header)
}

fn equal(to: &[u8]) -> Vec<u8> {
    let comparison = [
        number(NFTA_CMP_SREG, REGISTER),
        number(NFTA_CMP_OP, NFT_CMP_EQ),
        nest(NFTA_CMP_DATA, [value(to)]),
    ];
    expression("cmp", comparison)
}

fn not_among(set: &str) -> Vec<u8> {
    let lookup = [
        text(NFTA_LOOKUP_SET, set),
        number(NFTA_LOOKUP_SREG, REGISTER),
        number(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV),
    ];
    expression("lookup", lookup)
}

fn verdict(verdict: Verdict) -> Vec<u8> {
    let code = match verdict {
        Verdict::Accept => NF_ACCEPT,
        Verdict::Drop => NF_DROP,
        Verdict::Return => NFT_RETURN,
        Verdict::Masquerade => {
            return expression("masq", [number(NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY)]);
        }
    };
    let verdict = nest(NFTA_DATA_VERDICT, [number(NFTA_VERDICT_CODE, code)]);
    let immediate =
        [number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT), nest(NFTA_IMMEDIATE_DATA, [verdict])];
    expression("immediate", immediate)
}

fn expression(name: &str, data: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    nest(NFTA_LIST_ELEM, [text(NFTA_EXPR_NAME, name), nest(NFTA_EXPR_DATA, data)])
}

fn value(octets: &[u8]) -> Vec<u8> {
    attribute(NFTA_DATA_VALUE, octets)
}

pub(super) const NFT_MSG_NEWTABLE: u8 = 0;
pub(super) const NFT_MSG_GETTABLE: u8 = 1;
pub(super) const NFT_MSG_DELTABLE: u8 = 2;
pub(super) const NFT_MSG_NEWCHAIN: u8 = 3;
pub(super) const NFT_MSG_GETCHAIN: u8 = 4;
pub(super) const NFT_MSG_NEWRULE: u8 = 6;
pub(super) const NFT_MSG_GETRULE: u8 = 7;
pub(super) const NFT_MSG_DELRULE: u8 = 8;
pub(super) const NFT_MSG_NEWSET: u8 = 9;
pub(super) const NFT_MSG_GETSET: u8 = 10;
pub(super) const NFT_MSG_NEWSETELEM: u8 = 12;
pub(super) const NFT_MSG_GETSETELEM: u8 = 13;
pub(super) const NFT_MSG_GETGEN: u8 = 16;

pub(super) const NFTA_TABLE_NAME: u16 = 1;
pub(super) const NFTA_CHAIN_TABLE: u16 = 1;
pub(super) const NFTA_CHAIN_NAME: u16 = 3;
pub(super) const NFTA_CHAIN_HOOK: u16 = 4;
pub(super) const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
pub(super) const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
pub(super) const NFTA_RULE_TABLE: u16 = 1;
pub(super) const NFTA_RULE_CHAIN: u16 = 2;
pub(super) const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
pub(super) const NFTA_RULE_USERDATA: u16 = 7;
pub(super) const NFTA_SET_TABLE: u16 = 1;
pub(super) const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_ID: u16 = 10;
pub(super) const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
pub(super) const NFTA_SET_ELEM_LIST_SET: u16 = 2;
pub(super) const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
pub(super) const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
pub(super) const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_FLAGS: u16 = 5;
const NFTA_FIB_DREG: u16 = 1;
const NFTA_FIB_RESULT: u16 = 2;
const NFTA_FIB_FLAGS: u16 = 3;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_MASQ_FLAGS: u16 = 1;
pub(super) const NFTA_GEN_ID: u16 = 1;

const NFT_REG_VERDICT: u32 = 0;
const NFT_META_OIFNAME: u32 = 7;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_CMP_EQ: u32 = 0;
const NFT_LOOKUP_F_INV: u32 = 1;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
const NFTA_FIB_F_SADDR: u32 = 1;
/// linux/rtnetlink.h's word for an address of this machine.
const RTN_LOCAL: u32 = 2;
/// As a verdict, and as the policy of a chain.
pub(super) const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
/// -5, as the header has it.
const NFT_RETURN: u32 = (-5i32).cast_unsigned();
const NF_NAT_RANGE_PROTO_RANDOM_FULLY: u32 = 1 << 4;
const NF_INET_LOCAL_IN: u32 = 1;
pub(super) const NF_INET_FORWARD: u32 = 2;
const NF_INET_POST_ROUTING: u32 = 4;
