//! The messages of BGP as the rest of the program sees them. How they look on the wire is the
//! business of the codec alone.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnetwork::IpNetwork;

use crate::role::Role;

/// An address family that routes can be exchanged for (RFC 4760).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// The family that routes to this destination are of.
    pub fn of(prefix: &IpNetwork) -> Self {
        match prefix {
            IpNetwork::V4(_) => Self::Ipv4Unicast,
            IpNetwork::V6(_) => Self::Ipv6Unicast,
        }
    }

    /// As `IPv4 unicast`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4Unicast => "IPv4 unicast",
            Self::Ipv6Unicast => "IPv6 unicast",
        }
    }
}

/// The first message of each side (RFC 4271, 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS number: the one of its four-octet AS capability (RFC 6793) if it sent that.
    pub as_number: u32,
    /// The hold time that the sender proposes, in seconds: 0 or at least 3.
    pub hold_time: u16,
    /// The sender's BGP identifier.
    pub router_id: Ipv4Addr,
    /// What the sender can do (RFC 5492).
    pub capabilities: Vec<Capability>,
}

/// A capability (RFC 5492).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// Routes of this family (RFC 4760, 8).
    Multiprotocol(Family),
    /// Route refresh (RFC 2918, 2).
    RouteRefresh,
    /// Graceful restart (RFC 4724, 3).
    GracefulRestart(GracefulRestart),
    /// Long-lived graceful restart (RFC 9494, 3.1): a tuple for each family. It counts beside
    /// graceful restart only.
    LongLivedGracefulRestart(Vec<LongLived>),
    /// Route refreshes with a beginning and an end (RFC 7313, 3.1).
    EnhancedRouteRefresh,
    /// Messages of up to 65535 octets (RFC 8654, 3).
    ExtendedMessage,
    /// What the sender is to the receiver (RFC 9234, 4.1).
    Role(Role),
    /// Several paths to one destination (RFC 7911, 4), by family.
    AddPath(Vec<(Family, AddPath)>),
    /// Four-octet AS numbers, with the sender's own (RFC 6793, 3).
    FourOctetAs(u32),
    /// One that this speaker does not use.
    Other {
        /// Its code.
        code: u8,
        /// Its value, as received.
        value: Vec<u8>,
    },
}

/// What a speaker does with several paths to one destination (RFC 7911, 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddPath {
    /// It can take them.
    Receive = 1,
    /// It would announce them.
    Send = 2,
    /// Both.
    Both = 3,
}

impl AddPath {
    /// The one with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Receive, Self::Send, Self::Both].into_iter().find(|it| *it as u8 == number)
    }

    /// Whether it can take them.
    pub fn receives(self) -> bool {
        self != Self::Send
    }

    /// Whether it would announce them.
    pub fn sends(self) -> bool {
        self != Self::Receive
    }
}

/// The families whose prefixes have path identifiers in front of them (RFC 7911, 3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathIds {
    /// In what the peer sends.
    pub received: Vec<Family>,
    /// In what it is sent.
    pub sent: Vec<Family>,
}

/// What a speaker says of its restarts (RFC 4724, 3; RFC 8538, 2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GracefulRestart {
    /// The Restart State bit: the sender has restarted, and waits for its peers' routes.
    pub restarting: bool,
    /// The N bit: a NOTIFICATION and the hold timer count as a restart too.
    pub notification: bool,
    /// How long the sender will need to come back, in seconds: at most 4095.
    pub restart_time: u16,
    /// The families whose routes the peer may keep meanwhile, each with the Forwarding State bit:
    /// whether the sender went on forwarding during the restart before this session.
    pub families: Vec<(Family, bool)>,
}

/// What a speaker says of a family in long-lived graceful restart (RFC 9494, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongLived {
    /// The family.
    pub family: Family,
    /// The F bit: whether the sender went on forwarding during the restart before this session.
    pub forwarding: bool,
    /// How long the peer may keep the routes beyond the restart time, in seconds: at most 16777215.
    pub stale_time: u32,
}

/// Routes that come and go (RFC 4271, 4.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// Destinations that are no longer reachable through the sender.
    pub withdrawn: Vec<IpNetwork>,
    /// Destinations that are reachable, each with `attributes`.
    pub announced: Vec<IpNetwork>,
    /// The path identifier of all these destinations, where their family has them (RFC 7911, 3): with
    /// it, and with nothing else, the sender tells its paths to one destination apart.
    pub path_id: Option<u32>,
    /// The path attributes of `announced`; there whenever `announced` is not empty.
    pub attributes: Option<Arc<Attributes>>,
    /// The End-of-RIB marker: the sender has announced all its routes of this family (RFC 4724,
    /// 2). Such an update says nothing else.
    pub end_of_rib: Option<Family>,
    /// A mark of a route refresh among the routes that it is about (RFC 7313, 4): a message of its
    /// own. Such an update says nothing else.
    pub refresh: Option<RouteRefresh>,
}

impl Update {
    /// The marker that all routes of `family` have been announced (RFC 4724, 2).
    pub fn end_of_rib(family: Family) -> Self {
        Self { end_of_rib: Some(family), ..Self::default() }
    }

    /// A mark of a route refresh (RFC 7313, 4).
    pub fn refresh(mark: RouteRefresh) -> Self {
        Self { refresh: Some(mark), ..Self::default() }
    }
}

/// A ROUTE-REFRESH, by its subtype (RFC 2918, 3; RFC 7313, 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteRefresh {
    /// The sender wants all routes of this family again.
    Request(Family),
    /// BoRR: the sender announces all its routes of this family again from here on.
    Begin(Family),
    /// EoRR: it has done so.
    End(Family),
}

impl RouteRefresh {
    /// The family that it is about.
    pub fn family(self) -> Family {
        match self {
            Self::Request(family) | Self::Begin(family) | Self::End(family) => family,
        }
    }
}

/// The path attributes (RFC 4271, 5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, four-octet numbers, AS4_PATH already merged in (RFC 6793, 4.2.3).
    pub as_path: Vec<AsPathSegment>,
    /// NEXT_HOP.
    pub next_hop: IpAddr,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR: AS number and BGP identifier.
    pub aggregator: Option<(u32, Ipv4Addr)>,
    /// COMMUNITIES (RFC 1997).
    pub communities: Vec<u32>,
    /// EXTENDED COMMUNITIES (RFC 4360).
    pub extended_communities: Vec<ExtendedCommunity>,
    /// LARGE_COMMUNITY (RFC 8092).
    pub large_communities: Vec<LargeCommunity>,
    /// ORIGINATOR_ID (RFC 4456, 8): who took the route into this AS. Among internal peers only.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST (RFC 4456, 8): the clusters that it was reflected by, the latest first. Among
    /// internal peers only.
    pub cluster_list: Vec<Ipv4Addr>,
    /// OTC (RFC 9234, 5): the AS from which on the route may go to customers only.
    pub otc: Option<u32>,
    /// Optional transitive attributes that this speaker does not know and passes on with the
    /// Partial bit set (RFC 4271, 5).
    pub unknown: Vec<UnknownAttribute>,
}

impl Attributes {
    /// Those of a route that begins in the sender's own AS, and nothing that is optional.
    pub fn via(next_hop: IpAddr) -> Self {
        Self {
            origin: Origin::Igp,
            as_path: Vec::new(),
            next_hop,
            med: None,
            local_pref: None,
            atomic_aggregate: false,
            aggregator: None,
            communities: Vec::new(),
            extended_communities: Vec::new(),
            large_communities: Vec::new(),
            originator_id: None,
            cluster_list: Vec::new(),
            otc: None,
            unknown: Vec::new(),
        }
    }
}

/// An extended community (RFC 4360, 2): a type of one or two octets, and a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub u64);

impl ExtendedCommunity {
    /// The T bit of the first octet.
    const NON_TRANSITIVE: u64 = 0x40 << 56;

    /// Whether it goes from one AS to another (RFC 4360, 2).
    pub fn is_transitive(self) -> bool {
        self.0 & Self::NON_TRANSITIVE == 0
    }
}

/// A large community (RFC 8092, 3): the AS that gives it its meaning, and two numbers of its choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity(pub u32, pub u32, pub u32);

/// ORIGIN (RFC 4271, 5.1.1), the preferred first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// 0.
    Igp,
    /// 1.
    Egp,
    /// 2.
    Incomplete,
}

/// A part of AS_PATH (RFC 4271, 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AsPathSegment {
    /// Numbers in the order travelled, the latest first.
    Sequence(Vec<u32>),
    /// Numbers in no order. Not to be sent any more: routes that come with one count as withdrawn
    /// (RFC 9774).
    Set(Vec<u32>),
}

/// An attribute that is passed on as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UnknownAttribute {
    /// Its flags octet.
    pub flags: u8,
    /// Its type code.
    pub code: u8,
    /// Its value.
    pub value: Vec<u8>,
}

/// The last message of a session (RFC 4271, 4.5 and 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The error code.
    pub code: u8,
    /// The error subcode.
    pub subcode: u8,
    /// What the code and subcode ask for.
    pub data: Vec<u8>,
}
