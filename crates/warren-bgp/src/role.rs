//! Roles (RFC 9234): what two neighbouring ASes are to each other, agreed on in their OPENs, and
//! what that means for routes. A route that has gone down to a customer, or across to a peer, is
//! marked by the attribute OTC, Only to Customer, and may not go up or across again: that would be
//! a leak.

use std::fmt;

/// What a speaker is to its external peer (RFC 9234, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It carries all that the peer sends.
    Provider = 0,
    /// It is a route server, and the peer its client.
    RouteServer = 1,
    /// It is the client of a route server.
    RouteServerClient = 2,
    /// The peer carries all that it sends.
    Customer = 3,
    /// Each carries what is for the other and its customers.
    Peer = 4,
}

impl Role {
    const ALL: [Self; 5] =
        [Self::Provider, Self::RouteServer, Self::RouteServerClient, Self::Customer, Self::Peer];

    /// The role with this number in the capability (RFC 9234, 4.1).
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| *role as u8 == number)
    }

    /// As configurations write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::RouteServer => "rs",
            Self::RouteServerClient => "rs-client",
            Self::Customer => "customer",
            Self::Peer => "peer",
        }
    }

    /// The role that the other side has to have (RFC 9234, 4.2).
    pub fn counterpart(self) -> Self {
        match self {
            Self::Provider => Self::Customer,
            Self::RouteServer => Self::RouteServerClient,
            Self::RouteServerClient => Self::RouteServer,
            Self::Customer => Self::Provider,
            Self::Peer => Self::Peer,
        }
    }

    /// Whether a route that came with this OTC from this AS is a leak (RFC 9234, 5: ingress 1 and 2).
    pub(crate) fn is_leak(self, otc: Option<u32>, peer_as: u32) -> bool {
        match (self, otc) {
            (Self::Provider | Self::RouteServer, Some(_)) => true,
            (Self::Peer, Some(marked_by)) => marked_by != peer_as,
            (Self::Customer | Self::RouteServerClient, _) | (_, None) => false,
        }
    }

    /// Whether the peer is a provider, a route server or a peer: a route from there is marked
    /// (ingress 3), and a marked one does not go there (egress 2).
    pub(crate) fn is_up_or_across(self) -> bool {
        matches!(self, Self::Customer | Self::RouteServerClient | Self::Peer)
    }

    /// Whether the peer is a customer, a client of this route server or a peer: a route is marked on
    /// its way there (egress 1).
    pub(crate) fn is_down_or_across(self) -> bool {
        matches!(self, Self::Provider | Self::RouteServer | Self::Peer)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is settled of this speaker's role towards a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalRole {
    /// What this speaker is to the peer.
    pub role: Role,
    /// Whether there is no session with a peer that says nothing of its role (RFC 9234, 4.2: the
    /// strict mode).
    pub strict: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roles_have_the_numbers_and_the_pairs_of_the_rfc() {
        let numbers: Vec<_> = (0..6).map(|it| Role::from_number(it).map(Role::as_str)).collect();
        let names = ["provider", "rs", "rs-client", "customer", "peer"].map(Some);
        assert_eq!(numbers, [&names[..], &[None]].concat());
        for role in Role::ALL {
            assert_eq!(role.counterpart().counterpart(), role);
        }
        assert_eq!(Role::Provider.counterpart(), Role::Customer);
        assert_eq!(Role::RouteServer.counterpart(), Role::RouteServerClient);
    }

    #[test]
    fn what_has_gone_down_or_across_may_not_go_up_or_across() {
        // The local role; leaks without a mark, with the peer's, with another's; up, down.
        let cases = [
            (Role::Provider, [false, true, true], false, true),
            (Role::RouteServer, [false, true, true], false, true),
            (Role::RouteServerClient, [false, false, false], true, false),
            (Role::Customer, [false, false, false], true, false),
            (Role::Peer, [false, false, true], true, true),
        ];
        for (role, leaks, up, down) in cases {
            let found = [None, Some(65001), Some(7)].map(|otc| role.is_leak(otc, 65001));
            assert_eq!(found, leaks, "{role}");
            assert_eq!((role.is_up_or_across(), role.is_down_or_across()), (up, down), "{role}");
        }
    }
}
