//! Who there is and who peers with whom.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnetwork::IpNetwork;
use warren_bgp::role::Role;
use warren_bgp::session::{GracefulRestart, RestartTime, StaleTime};

use crate::random::Random;

/// The longest restart time, in seconds.
pub(crate) const LONGEST_RESTART: u16 = 60;

/// The longest long-lived stale time (RFC 9494), in seconds.
pub(crate) const LONGEST_STALE: u32 = 90;

/// The AS of a mesh.
const MESH: u32 = 64512;

/// What one speaker is, whether it lives or not.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) address: IpAddr,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) as_number: u32,
    /// In seconds.
    pub(crate) hold_time: u16,
    pub(crate) graceful_restart: Option<GracefulRestart>,
}

/// Who peers with whom, and how the network between them is.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) speakers: Vec<Identity>,
    /// Pairs that are configured to peer, the smaller number first; who of them is passive, if one is.
    pub(crate) sessions: Vec<(usize, usize, Option<usize>)>,
    /// What the first of two in different systems is to the second, where that is settled.
    roles: BTreeMap<(usize, usize), Role>,
    /// The longest way between two.
    pub(crate) latency: Duration,
    /// Octets that may be on their way through one connection before its sender waits.
    pub(crate) window: usize,
}

impl Topology {
    /// `restarts`: everybody can restart gracefully.
    pub(crate) fn draw(random: &mut Random, restarts: bool) -> Self {
        let (as_numbers, pairs) = match random.below(3) {
            0 => mesh(random),
            1 => chain_of_systems(random),
            _ => mesh_below_switches(random),
        };
        let shuffle = random.below(256);
        // The smaller one of two counts.
        let hold_times = random.pick(&[[3, 3], [9, 9], [30, 30], [9, 30]]);
        let some_restart = restarts || random.one_in(2);
        let speakers = as_numbers
            .into_iter()
            .enumerate()
            .map(|(n, as_number)| Identity {
                address: address(n),
                // In another order than the addresses.
                router_id: Ipv4Addr::new(192, 0, 2, (n ^ shuffle) as u8),
                as_number,
                hold_time: random.pick(&hold_times),
                graceful_restart: (restarts || (some_restart && !random.one_in(4))).then(|| {
                    // With no restart time a route is the last resort at once, and others are better.
                    let restart_times = [10, LONGEST_RESTART, if restarts { 10 } else { 0 }];
                    let stale_times = [0, 5, LONGEST_STALE];
                    GracefulRestart {
                        restart_time: RestartTime::from_secs(random.pick(&restart_times))
                            .expect("a restart time"),
                        notification: !random.one_in(3),
                        long_lived: StaleTime::from_secs(random.pick(&stale_times))
                            .expect("a stale time"),
                    }
                }),
            })
            .collect();
        let sessions = pairs
            .into_iter()
            .map(|(a, b)| (a, b, random.one_in(4).then(|| random.pick(&[a, b]))))
            .collect();
        let latency = Duration::from_millis(random.pick(&[1, 20, 400]));
        let window = random.pick(&[200, 4096, 65_536]);
        let roles = BTreeMap::new();
        let mut topology = Self { speakers, sessions, roles, latency, window };
        if random.one_in(2) {
            topology.draw_roles(random);
        }
        topology
    }

    /// Most of those in different systems agree on roles (RFC 9234); the others have none.
    fn draw_roles(&mut self, random: &mut Random) {
        const ROLES: [Role; 5] = [
            Role::Provider,
            Role::Customer,
            Role::Peer,
            Role::RouteServer,
            Role::RouteServerClient,
        ];
        let pairs: Vec<_> = self.sessions.iter().map(|(a, b, _)| (*a, *b)).collect();
        for (a, b) in pairs {
            if self.is_external(a, b) && !random.one_in(4) {
                let role = random.pick(&ROLES);
                self.roles.insert((a, b), role);
                self.roles.insert((b, a), role.counterpart());
            }
        }
    }

    /// What `a` is to `b`.
    pub(crate) fn role(&self, a: usize, b: usize) -> Option<Role> {
        self.roles.get(&(a, b)).copied()
    }

    pub(crate) fn is_external(&self, a: usize, b: usize) -> bool {
        self.speakers[a].as_number != self.speakers[b].as_number
    }

    /// The longest hold time that a session can have.
    pub(crate) fn hold_time(&self) -> Duration {
        let longest = self.speakers.iter().map(|speaker| speaker.hold_time).max();
        Duration::from_secs(longest.unwrap_or_default().into())
    }

    /// Those that are configured to peer with it.
    pub(crate) fn peers(&self, of: usize) -> impl Iterator<Item = (usize, bool)> {
        self.sessions.iter().filter_map(move |(a, b, passive)| {
            let other = if *a == of { *b } else { *a };
            (*a == of || *b == of).then_some((other, *passive == Some(of)))
        })
    }
}

pub(crate) fn address(speaker: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, speaker as u8 + 1).into()
}

pub(crate) fn speaker(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(address) => usize::from(address.octets()[3]) - 1,
        IpAddr::V6(_) => panic!("{address} is nobody's"),
    }
}

/// The destinations that speaker `n` may announce: three of its own and one that all share.
pub(crate) fn destinations(n: usize) -> [IpNetwork; 4] {
    let own = |part: u8| {
        IpNetwork::new(Ipv4Addr::new(172, 16, n as u8, part * 64).into(), 26).expect("a prefix")
    };
    [own(0), own(1), own(2), shared()]
}

/// The destination that every speaker may announce.
pub(crate) fn shared() -> IpNetwork {
    IpNetwork::new(Ipv4Addr::new(172, 17, 0, 0).into(), 26).expect("a prefix")
}

type Plan = (Vec<u32>, Vec<(usize, usize)>);

fn all_pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |b| (0..b).map(move |a| (a, b)))
}

/// Nodes of one AS, each with each.
fn mesh(random: &mut Random) -> Plan {
    let count = 2 + random.below(5);
    (vec![MESH; count], all_pairs(count).collect())
}

/// Every speaker an AS of its own, some with numbers of four octets: a chain with short cuts.
fn chain_of_systems(random: &mut Random) -> Plan {
    let count = 2 + random.below(5);
    let base = random.pick(&[65_000, 4_200_000_000]);
    let pairs = all_pairs(count).filter(|(a, b)| a + 1 == *b || random.one_in(3)).collect();
    ((0..count as u32).map(|n| base + n).collect(), pairs)
}

/// A mesh, and one or two switches in other systems that some of its nodes peer with.
fn mesh_below_switches(random: &mut Random) -> Plan {
    let (mut systems, mut pairs) = mesh(random);
    let nodes = systems.len();
    for switch in nodes..nodes + 1 + random.below(2) {
        systems.push(65_000 + switch as u32);
        pairs.extend((0..nodes).filter(|_| !random.one_in(3)).map(|node| (node, switch)));
    }
    (systems, pairs)
}
