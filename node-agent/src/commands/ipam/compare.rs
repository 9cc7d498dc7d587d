//! Where records, interfaces and routes disagree: a pure function.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use warren_ipam::Entry;
use warren_net::pod::HostEnd;

use super::picture::Picture;

/// One thing that is not as it should be. It displays as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// An address is recorded for a pod that is gone.
    Leaked(Entry),
    /// The pod's interface has another name.
    Renamed {
        /// The record.
        entry: Entry,
        /// What it is called now.
        found: String,
    },
    /// There is no route to the pod, or another one.
    Route {
        /// The record.
        entry: Entry,
        /// Where it leads instead.
        found: Option<String>,
    },
    /// Two records are of one address.
    Doubled {
        /// The second record.
        entry: Entry,
        /// The first one.
        other: Entry,
    },
    /// The address is not one that pods of this node get.
    Outside(Entry),
    /// The record's content cannot be used.
    Damaged {
        /// The record.
        entry: Entry,
        /// What is wrong with it.
        problem: String,
    },
    /// A pod is connected of which nothing is recorded.
    Unrecorded {
        /// Its interface on the node.
        interface: String,
        /// The addresses that are routed to it.
        addresses: Vec<IpAddr>,
    },
    /// A route to an address leads to a pod for which that is not recorded.
    Stray {
        /// The address.
        address: IpAddr,
        /// Where it leads.
        interface: String,
    },
    /// A route to an address of this node's blocks leads to an interface that others made.
    Foreign {
        /// The address.
        address: IpAddr,
        /// Where it leads.
        interface: String,
    },
    /// A file that is no record keeps pods from starting.
    Unknown(PathBuf),
}

/// What mends a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// To free the address, and remove the interface if there is one.
    Release(Entry),
    /// To put the route in place.
    Route(Entry),
    /// To remove a route.
    RemoveRoute {
        /// Its destination.
        address: IpAddr,
        /// Its interface.
        interface: String,
    },
    /// To remove an interface, and so disconnect a pod if there still is one.
    Disconnect {
        /// The interface.
        interface: String,
    },
}

impl Difference {
    /// One word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Leaked(_) => "leaked",
            Self::Renamed { .. } => "renamed",
            Self::Route { .. } => "route",
            Self::Doubled { .. } => "doubled",
            Self::Outside(_) => "outside",
            Self::Damaged { .. } => "damaged",
            Self::Unrecorded { .. } => "unrecorded",
            Self::Stray { .. } => "stray",
            Self::Foreign { .. } => "foreign",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The record that it is about.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Leaked(entry)
            | Self::Renamed { entry, .. }
            | Self::Route { entry, .. }
            | Self::Doubled { entry, .. }
            | Self::Outside(entry)
            | Self::Damaged { entry, .. } => Some(entry),
            Self::Unrecorded { .. }
            | Self::Stray { .. }
            | Self::Foreign { .. }
            | Self::Unknown(_) => None,
        }
    }

    /// What it is beside the record that it is about.
    pub fn in_short(&self) -> String {
        match self {
            Self::Leaked(_) => "leaked: its interface is gone".into(),
            Self::Renamed { found, .. } => format!("its interface is called {found}"),
            Self::Route { found: None, .. } => "it has no route".into(),
            Self::Route { found: Some(found), .. } => format!("its route leads to {found}"),
            Self::Doubled { other, .. } => format!("{} has it too", other.owner),
            Self::Outside(_) => "it is not this node's to give".into(),
            other => other.to_string(),
        }
    }

    /// What can mend it here; none: nothing can.
    pub fn mend(&self) -> Option<Mend> {
        match self {
            Self::Leaked(entry) | Self::Damaged { entry, .. } => Some(Mend::Release(entry.clone())),
            Self::Route { entry, .. } => Some(Mend::Route(entry.clone())),
            Self::Unrecorded { interface, .. } => {
                Some(Mend::Disconnect { interface: interface.clone() })
            }
            Self::Stray { address, interface } => {
                Some(Mend::RemoveRoute { address: *address, interface: interface.clone() })
            }
            Self::Renamed { .. }
            | Self::Doubled { .. }
            | Self::Outside(_)
            | Self::Foreign { .. }
            | Self::Unknown(_) => None,
        }
    }

    /// Whether mending it disconnects the pod, if there still is one.
    pub fn cuts_off(&self) -> bool {
        matches!(self, Self::Unrecorded { .. } | Self::Damaged { .. })
    }

    /// What mends it, or what to do by hand.
    pub fn remedy(&self) -> String {
        match self {
            Self::Leaked(_) => "free the address".into(),
            Self::Renamed { entry, .. } => format!("name it {} again", entry.host_interface),
            Self::Route { entry, .. } => {
                format!("add the route {} dev {}", entry.address, entry.host_interface)
            }
            Self::Doubled { .. } => "delete one of the two pods".into(),
            Self::Outside(_) => "delete the pod, so that it gets another address".into(),
            Self::Damaged { .. } => {
                "delete the pod; if there is none any more, free the address: repair --force".into()
            }
            Self::Unrecorded { .. } => {
                "if there is no such pod any more, remove the interface: repair --force".into()
            }
            Self::Stray { .. } => "remove the route".into(),
            Self::Foreign { .. } => "find out what made it; warren cannot give the address".into(),
            Self::Unknown(_) => "move it out of the directory".into(),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaked(Entry { address, owner, host_interface }) => write!(
                f,
                "{address} is recorded for {owner}, whose interface {host_interface} is gone"
            ),
            Self::Renamed { entry: Entry { owner, host_interface, .. }, found } => {
                write!(f, "the interface {host_interface} of {owner} is called {found}")
            }
            Self::Route { entry: Entry { address, host_interface, .. }, found: None } => {
                write!(f, "the route {address} dev {host_interface} is missing")
            }
            Self::Route { entry: Entry { address, host_interface, .. }, found: Some(found) } => {
                write!(f, "the route to {address} leads to {found} instead of {host_interface}")
            }
            Self::Doubled { entry: Entry { address, owner, .. }, other } => {
                write!(f, "{address} is recorded for {owner} and for {}", other.owner)
            }
            Self::Outside(Entry { address, owner, .. }) => write!(
                f,
                "{address} of {owner} is in none of this node's blocks, or reserved by now"
            ),
            Self::Damaged { problem, .. } => f.write_str(problem),
            Self::Unrecorded { interface, addresses } if addresses.is_empty() => {
                write!(f, "nothing is recorded of the pod behind {interface}")
            }
            Self::Unrecorded { interface, addresses } => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                let addresses = addresses.join(" and ");
                write!(
                    f,
                    "nothing is recorded of the pod behind {interface}, which has {addresses}"
                )
            }
            Self::Stray { address, interface } => {
                write!(
                    f,
                    "the route to {address} leads to {interface}, for which it is not recorded"
                )
            }
            Self::Foreign { address, interface } => {
                write!(f, "the route to {address} leads to {interface}, which warren did not make")
            }
            Self::Unknown(path) => write!(f, "{} is no record", path.display()),
        }
    }
}

/// What disagrees: first what is about records, by address.
pub fn differences(picture: &Picture) -> Vec<Difference> {
    let mut found = Vec::new();
    for (i, entry) in picture.entries.iter().enumerate() {
        record(&mut found, picture, entry);
        let before = picture.entries.iter().take(i);
        for other in before.filter(|other| other.address == entry.address) {
            found.push(Difference::Doubled { entry: entry.clone(), other: other.clone() });
        }
    }
    for end in picture.kernel.ends.iter().filter(|end| end.is_ours()) {
        if !picture.recorded.contains(&end.name) {
            let addresses = routed_to(picture, end);
            let interface = end.name.clone();
            found.push(Difference::Unrecorded { interface, addresses });
        }
    }
    routes(&mut found, picture);
    found.extend(picture.unknown.iter().cloned().map(Difference::Unknown));
    found
}

/// What is wrong with one record's pod.
fn record(found: &mut Vec<Difference>, picture: &Picture, entry: &Entry) {
    let Picture { node, kernel, .. } = picture;
    let name = &entry.host_interface;
    let end = kernel.ends.iter().find(|end| end.name == *name);
    let end = end.or_else(|| kernel.ends.iter().find(|end| end.was_made_as(name)));
    match end {
        None => return found.push(Difference::Leaked(entry.clone())),
        Some(end) if end.name != *name => {
            found.push(Difference::Renamed { entry: entry.clone(), found: end.name.clone() });
        }
        Some(end) => {
            let routes = || kernel.routes.iter().filter(|route| route.address == entry.address);
            if !routes().any(|route| route.interface == end.name) {
                let instead = routes().next().map(|route| route.interface.clone());
                found.push(Difference::Route { entry: entry.clone(), found: instead });
            }
        }
    }
    let is_in = |networks: &[ipnetwork::IpNetwork]| {
        networks.iter().any(|network| network.contains(entry.address))
    };
    if !is_in(&node.blocks) || is_in(&node.reserved) {
        found.push(Difference::Outside(entry.clone()));
    }
    if let Some(problem) = picture.damaged.get(entry) {
        found.push(Difference::Damaged { entry: entry.clone(), problem: problem.clone() });
    }
}

/// The routes to addresses of this node's blocks that no record explains, and no other difference.
fn routes(found: &mut Vec<Difference>, picture: &Picture) {
    let ours = |name: &str| picture.kernel.ends.iter().any(|end| end.name == name && end.is_ours());
    for route in &picture.kernel.routes {
        let (address, interface) = (route.address, route.interface.clone());
        let is_recorded = picture.entries.iter().any(|entry| entry.address == address);
        if is_recorded || !picture.node.blocks.iter().any(|block| block.contains(address)) {
            continue;
        }
        match (picture.recorded.contains(&interface), ours(&interface)) {
            // Somebody works on that one's record, or the record is another address's.
            (true, _) if picture.entries.iter().any(|e| e.host_interface == interface) => {
                found.push(Difference::Stray { address, interface });
            }
            // It is told with its interface.
            (true, _) | (false, true) => {}
            (false, false) => found.push(Difference::Foreign { address, interface }),
        }
    }
}

fn routed_to(picture: &Picture, end: &HostEnd) -> Vec<IpAddr> {
    let by_it = picture.kernel.routes.iter().filter(|route| route.interface == end.name);
    by_it.map(|route| route.address).collect()
}
