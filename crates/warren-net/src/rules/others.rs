//! The packet filters of others on the node, as far as pods are concerned.

use super::encode::{
    IPTABLES, NF_DROP, NF_INET_FORWARD, NFT_MSG_GETCHAIN, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME,
    NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE, NFTA_HOOK_HOOKNUM,
};
use super::netfilter::{INET, IPV4, Message, Netfilter, find, find_number, is_named};
use crate::netlink::Error;

/// The chains that drop what is forwarded unless a rule of their own accepts it, in nft's words:
/// `inet firewalld filter_FORWARD`. That of iptables is not among them: a [`Keeper`](super::Keeper)
/// sees to it.
///
/// # Errors
/// When the kernel does not tell.
pub fn forward_droppers() -> Result<Vec<String>, Error> {
    let mut netfilter = Netfilter::open()?;
    let mut found = Vec::new();
    for (family, words) in [(IPV4, "ip"), (INET, "inet")] {
        let question = Message::new(NFT_MSG_GETCHAIN, 0, []).of_family(family);
        let chains = netfilter.dump("list chains", question)?;
        let droppers = chains.iter().filter(|chain| drops_forwarded(chain));
        let names = droppers.filter(|chain| family != IPV4 || !is_iptables(chain)).map(|chain| {
            format!("{words} {} {}", name(chain, NFTA_CHAIN_TABLE), name(chain, NFTA_CHAIN_NAME))
        });
        found.extend(names);
    }
    Ok(found)
}

fn drops_forwarded(chain: &[u8]) -> bool {
    let hook = find(chain, NFTA_CHAIN_HOOK).and_then(|hook| find_number(hook, NFTA_HOOK_HOOKNUM));
    hook == Some(NF_INET_FORWARD) && find_number(chain, NFTA_CHAIN_POLICY) == Some(NF_DROP)
}

fn is_iptables(chain: &[u8]) -> bool {
    is_named(chain, NFTA_CHAIN_TABLE, IPTABLES.0) && is_named(chain, NFTA_CHAIN_NAME, IPTABLES.1)
}

fn name(chain: &[u8], kind: u16) -> String {
    let name = find(chain, kind).unwrap_or_default();
    String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned()
}
