//! The directory that says who has which address. How it is laid out, who waits for whom and why a
//! kill does no harm: see the [crate](crate)'s page.

mod choose;
mod error;
mod files;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use warren_types::node::NodeDescription;
use warren_types::run_dir::RunDir;
use warren_types::status::IpamBlock;
use warren_types::wishes::Wishes;

pub use self::error::{AllocateError, StoreError};
pub use crate::name::Name as Entry;

use self::files::Names;
use crate::mac::MacAddress;
use crate::name::{NameRef, marker, parse_marker};
use crate::owner::Owner;
use crate::pick::{History, Space};
use crate::record::{FORMAT_VERSION, Pod, Record};

/// The addresses of one node's pods.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

/// What an address is wanted for.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Who gets it.
    pub owner: Owner,
    /// The CNI network's name.
    pub network: String,
    /// The path of the pod's network namespace.
    pub netns: String,
    /// The pod's names, where the runtime gave them.
    pub pod: Option<Pod>,
    /// The name that the veth pair's end on the host will have.
    pub host_interface: String,
    /// The hardware address that was asked for; otherwise it follows from the IP address.
    pub mac: Option<MacAddress>,
    /// The MTU of the pod's interface, in bytes.
    pub mtu: u32,
    /// The metric of the pod's routes by this interface.
    pub metric: u32,
    /// Which addresses the pod asks for.
    pub wishes: Wishes,
}

/// What is in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The addresses in use, by address.
    pub entries: Vec<Entry>,
    /// Files whose names the store did not write. They may stand for addresses in use, so that
    /// nothing is allocated while they are there.
    pub unknown: Vec<PathBuf>,
}

/// What is in use.
struct Survey<'n> {
    entries: Vec<NameRef<'n>>,
    used: BTreeSet<IpAddr>,
}

/// The records of one attachment, or one of them, that nobody else works on until this is dropped.
#[derive(Debug)]
pub struct Held {
    entry: Entry,
    // Holds the lock.
    _file: File,
    /// The attachment's other record.
    also: Option<Box<Self>>,
}

impl Held {
    fn new(entry: Entry, file: File) -> Self {
        Self { entry, _file: file, also: None }
    }

    /// Which record it is, the first of several.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }
}

impl Store {
    /// The store of the node whose run directory this is. Nothing is read or made yet.
    pub fn new(run_dir: &RunDir) -> Self {
        Self { directory: run_dir.ipam() }
    }

    /// Gives `claim` an address of each family that the node has blocks of, and writes the records,
    /// which stay held so that the pod can be connected before anyone else touches them.
    ///
    /// # Errors
    /// See [`AllocateError`]; nothing is allocated then.
    pub fn allocate(
        &self,
        node: &NodeDescription,
        claim: Claim,
    ) -> Result<(Held, Vec<Record>), AllocateError> {
        files::create_directory(&self.directory)?;
        files::create_directory(&self.freed())?;
        files::create_directory(&self.addresses())?;
        let lock = files::lock(&self.lock_file())?;

        let names = files::names(&self.addresses())?;
        let survey = self.survey(node, &names)?;
        if let Some(entry) = survey.entries.iter().filter(|entry| entry.is_of(&claim.owner)).min() {
            return Err(AllocateError::AlreadyAllocated(entry.to_name()));
        }
        let has_interface = |entry: &&NameRef<'_>| entry.host_interface == claim.host_interface;
        if let Some(entry) = survey.entries.iter().filter(has_interface).min() {
            return Err(AllocateError::HostInterfaceTaken(entry.to_name()));
        }
        let markers = self.markers()?;
        let freed = latest(&markers);
        let addresses = choose::addresses(node, &claim.wishes, &survey, &freed)?;
        let mac = claim.mac.or(addresses.first().map(|first| MacAddress::of_pod(*first)));
        let record = |&address| Record {
            format_version: FORMAT_VERSION,
            address,
            network: claim.network.clone(),
            container_id: claim.owner.container_id().to_owned(),
            ifname: claim.owner.ifname().to_owned(),
            netns: claim.netns.clone(),
            pod: claim.pod.clone(),
            mac: mac.unwrap_or_else(|| MacAddress::of_pod(address)),
            mtu: claim.mtu,
            metric: claim.metric,
            created: Timestamp::now(),
            host_interface: claim.host_interface.clone(),
        };
        let records: Vec<_> = addresses.iter().map(record).collect();
        let [first, others @ ..] = records.as_slice() else {
            return Err(AllocateError::NoBlock { node: node.name.clone() });
        };
        let held = self.write(&claim.owner, first, others)?;
        // What is left to do nobody has to wait for: whoever reads these markers meanwhile ignores them.
        drop(lock);

        // Last, so that a kill before leaves a marker too many and not one too few. One that cannot be
        // removed does no harm either, and the addresses are given by now.
        for (at, address) in markers {
            let outdated = addresses.contains(&address)
                || survey.used.contains(&address)
                || freed.get(&address) != Some(&at);
            if outdated {
                files::remove(&self.freed().join(marker(at, address)));
            }
        }
        Ok((held, records))
    }

    /// Writes all records or none, unless it is killed meanwhile.
    fn write(&self, owner: &Owner, record: &Record, others: &[Record]) -> Result<Held, StoreError> {
        let also = match others {
            [] => None,
            [next, rest @ ..] => Some(Box::new(self.write(owner, next, rest)?)),
        };
        let host_interface = record.host_interface.clone();
        let entry = Entry { address: record.address, owner: owner.clone(), host_interface };
        match files::create_locked(&self.addresses(), &self.path_of(&entry), record) {
            Ok(file) => Ok(Held { entry, _file: file, also }),
            Err(error) => {
                // Nobody has had the address, so it need not be remembered when it became free. If it
                // cannot be removed either, it is the runtime's DEL that finds it.
                if let Some(other) = also {
                    files::remove(&self.path_of(&other.entry));
                }
                Err(error)
            }
        }
    }

    /// Waits until nobody else works on the record, and holds it. `None` if it is gone by then.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn hold(&self, entry: &Entry) -> Result<Option<Held>, StoreError> {
        let file = files::lock_record(&self.path_of(entry))?;
        Ok(file.map(|file| Held::new(entry.clone(), file)))
    }

    /// Holds the record if nobody else works on it now. `None` if somebody does, or if it is gone.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn hold_if_idle(&self, entry: &Entry) -> Result<Option<Held>, StoreError> {
        let file = files::try_lock_record(&self.path_of(entry))?;
        Ok(file.map(|file| Held::new(entry.clone(), file)))
    }

    /// Frees the addresses of what is held. Whoever calls this has removed what the records name.
    ///
    /// # Errors
    /// Any I/O error; what is not freed stays in use then.
    pub fn release(&self, held: Held) -> Result<Vec<IpAddr>, StoreError> {
        // Under the lock: an allocation between its two readings would otherwise take the address
        // for one that was never used, and hand it out at once.
        let _lock = files::lock(&self.lock_file())?;
        let mut freed = Vec::new();
        let mut next = Some(&held);
        while let Some(Held { entry, also, .. }) = next {
            let marker = marker(files::monotonic_nanoseconds()?, entry.address);
            files::rename(&self.path_of(entry), &self.freed().join(marker))?;
            freed.push(entry.address);
            next = also.as_deref();
        }
        Ok(freed)
    }

    /// All records of `owner`: one per address that it has.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn find(&self, owner: &Owner) -> Result<Vec<Entry>, StoreError> {
        let names = self.names()?;
        let (mut entries, _) = parse(&names);
        entries.retain(|entry| entry.is_of(owner));
        entries.sort_unstable();
        Ok(entries.into_iter().map(NameRef::to_name).collect())
    }

    /// Everything in the store.
    ///
    /// # Errors
    /// Any I/O error. A store that was never used is empty.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let names = self.names()?;
        let (mut entries, mut unknown) = parse(&names);
        entries.sort_unstable();
        unknown.sort_unstable();
        Ok(Listing {
            entries: entries.into_iter().map(NameRef::to_name).collect(),
            unknown: unknown.into_iter().map(|name| self.addresses().join(name)).collect(),
        })
    }

    /// The names of the records, in directories that are what they should be.
    fn names(&self) -> Result<Names, StoreError> {
        files::is_directory(&self.directory)?;
        files::is_directory(&self.addresses())?;
        files::names(&self.addresses())
    }

    /// What a record's content says.
    ///
    /// # Errors
    /// Any I/O error; or that the content is damaged, or newer than this program.
    pub fn read(&self, entry: &Entry) -> Result<Record, StoreError> {
        let path = self.path_of(entry);
        let content = files::read(&path)?;
        Record::parse(&content).map_err(|source| StoreError::Content { path, source })
    }

    /// How many addresses of each block are in use, how many there are for pods, and how many were
    /// given back within the last `cool_down`.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn usage(
        &self,
        space: Space<'_>,
        cool_down: Duration,
    ) -> Result<Vec<IpamBlock>, StoreError> {
        let used = self.list()?.entries.iter().map(|entry| entry.address).collect();
        files::is_directory(&self.freed())?;
        let freed = latest(&self.markers()?);
        let cooled = choose::cooled(cool_down)?;
        Ok(choose::usage(space, History { used: &used, freed: &freed, cooled }))
    }

    /// Whether the node could give a pod an address of each family now; the error says why not.
    ///
    /// # Errors
    /// What [`Store::allocate`] would answer, as far as it does not depend on the claim.
    pub fn has_room(&self, node: &NodeDescription) -> Result<(), AllocateError> {
        let names = self.names()?;
        let survey = self.survey(node, &names)?;
        files::is_directory(&self.freed())?;
        choose::addresses(node, &Wishes::default(), &survey, &latest(&self.markers()?)).map(drop)
    }

    /// Runs `remove` if no record names `host_interface`, and keeps records from being made
    /// meanwhile. `None` if a record does: what bears the name is then its owner's.
    ///
    /// # Errors
    /// Any I/O error; `remove` was not run then.
    pub fn while_unclaimed<T>(
        &self,
        host_interface: &str,
        remove: impl FnOnce() -> T,
    ) -> Result<Option<T>, StoreError> {
        // Without a directory there is no record, and nothing to lock; a DEL does not make one.
        let _lock = match files::lock(&self.lock_file()) {
            Err(error) if error.is_not_found() => None,
            lock => Some(lock?),
        };
        let names = self.names()?;
        let claimed = parse(&names).0.iter().any(|entry| entry.host_interface == host_interface);
        Ok((!claimed).then(remove))
    }

    fn lock_file(&self) -> PathBuf {
        self.directory.join("lock")
    }

    fn addresses(&self) -> PathBuf {
        self.directory.join("addresses")
    }

    fn freed(&self) -> PathBuf {
        self.directory.join("freed")
    }

    /// Where the record lies.
    pub fn path_of(&self, entry: &Entry) -> PathBuf {
        self.addresses().join(entry.to_file_name())
    }

    /// The directory of the store.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// What an allocation starts from.
    fn survey<'n>(
        &self,
        node: &NodeDescription,
        names: &'n Names,
    ) -> Result<Survey<'n>, AllocateError> {
        if node.blocks.is_empty() {
            return Err(AllocateError::NoBlock { node: node.name.clone() });
        }
        let (entries, unknown) = parse(names);
        if let Some(name) = unknown.into_iter().min() {
            return Err(StoreError::Unknown { path: self.addresses().join(name) }.into());
        }
        let used = entries.iter().map(|entry| entry.address).collect();
        Ok(Survey { entries, used })
    }

    /// When which address became free, in order, of a directory that is what it should be. What is no
    /// marker is left alone: it can only concern the order of reuse.
    fn markers(&self) -> Result<Vec<(u64, IpAddr)>, StoreError> {
        let names = files::names(&self.freed())?;
        let mut markers: Vec<_> =
            names.iter().filter_map(|name| name.to_str().and_then(parse_marker)).collect();
        markers.sort_unstable();
        Ok(markers)
    }
}

/// The records' names, and those that are none.
fn parse(names: &Names) -> (Vec<NameRef<'_>>, Vec<&OsStr>) {
    let (mut entries, mut unknown) = (Vec::with_capacity(names.len()), Vec::new());
    for name in names.iter() {
        match name.to_str().and_then(NameRef::parse) {
            Some(entry) => entries.push(entry),
            None => unknown.push(name),
        }
    }
    (entries, unknown)
}

/// When each address became free, by markers in the order of their times.
fn latest(markers: &[(u64, IpAddr)]) -> BTreeMap<IpAddr, u64> {
    markers.iter().map(|&(at, address)| (address, at)).collect()
}
