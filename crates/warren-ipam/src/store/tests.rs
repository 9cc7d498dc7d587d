use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::sync::Barrier;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

mod families;
mod wishes;

struct Fixture {
    dir: TempDir,
    store: Store,
    node: NodeDescription,
}

fn fixture(block: &str, reserved: &[&str]) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(&RunDir::new(dir.path()));
    let node = NodeDescription {
        format_version: warren_types::node::FORMAT_VERSION,
        name: "node1".into(),
        address: "192.168.0.176".parse().unwrap(),
        blocks: vec![block.parse().unwrap()],
        reserved: reserved.iter().map(|r| r.parse().unwrap()).collect(),
        pod_mtu: 1480,
        cool_down_seconds: 0,
        tunnel: None,
    };
    Fixture { dir, store, node }
}

fn owner(id: &str) -> Owner {
    Owner::new(id, "eth0").unwrap()
}

fn claim(id: &str) -> Claim {
    Claim {
        owner: owner(id),
        network: "k8s".into(),
        netns: format!("/run/netns/{id}"),
        pod: Some(Pod { namespace: "default".into(), name: id.into() }),
        host_interface: warren_types::ifname::for_container(id),
        mac: None,
        mtu: 1480,
        metric: 0,
        wishes: Wishes::default(),
    }
}

impl Fixture {
    fn add(&self, id: &str) -> Result<IpAddr, AllocateError> {
        self.store.allocate(&self.node, claim(id)).map(|(_, records)| records[0].address)
    }

    fn del(&self, id: &str) -> Vec<IpAddr> {
        let entries = self.store.find(&owner(id)).unwrap();
        let held = entries.iter().filter_map(|entry| self.store.hold(entry).unwrap());
        held.flat_map(|held| self.store.release(held).unwrap()).collect()
    }
}

#[test]
fn a_record_says_all_that_is_known_of_the_attachment() {
    let f = fixture("172.16.52.128/26", &["172.16.52.128"]);
    let (held, records) = f.store.allocate(&f.node, claim("a1")).unwrap();
    let [record] = <[Record; 1]>::try_from(records).unwrap();
    assert_eq!(record.address.to_string(), "172.16.52.129");
    assert_eq!(record.mac.to_string(), "0a:58:ac:10:34:81");
    assert_eq!(f.store.read(held.entry()).unwrap(), record);
    assert_eq!(f.store.find(&owner("a1")).unwrap(), [held.entry().clone()]);
    let text = std::fs::read_to_string(f.store.path_of(held.entry())).unwrap();
    for part in [r#""formatVersion":1"#, r#""podName":"a1""#, r#""netns":"/run/netns/a1""#] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_release_frees_the_address_once() {
    let f = fixture("10.0.0.0/30", &[]);
    let address = f.add("a").unwrap();
    assert_eq!(f.del("a"), [address]);
    assert!(f.del("a").is_empty());
    assert_eq!(f.store.list().unwrap(), Listing::default());
}

#[test]
fn a_second_allocation_for_the_same_owner_is_refused_and_changes_nothing() {
    let f = fixture("10.0.0.0/30", &[]);
    let address = f.add("a").unwrap();
    let error = f.add("a").unwrap_err();
    assert!(matches!(error, AllocateError::AlreadyAllocated(_)));
    assert_eq!(error.to_string(), format!("eth0 of container a has the address {address} already"));
    assert_eq!(f.store.list().unwrap().entries.len(), 1);
}

#[test]
fn a_host_interface_belongs_to_one_attachment() {
    let f = fixture("10.0.0.0/30", &[]);
    f.add("a").unwrap();
    let mut again = claim("b");
    again.host_interface = claim("a").host_interface;
    let error = f.store.allocate(&f.node, again).unwrap_err();
    assert!(matches!(error, AllocateError::HostInterfaceTaken(entry) if entry.owner == owner("a")));
}

#[test]
fn the_64th_pod_of_a_block_of_64_with_a_tunnel_address_is_refused_in_numbers() {
    let f = fixture("172.16.52.128/26", &["172.16.52.128"]);
    let addresses: BTreeSet<_> = (0..63).map(|i| f.add(&format!("c{i}")).unwrap()).collect();
    assert_eq!(addresses.len(), 63);
    assert_eq!(addresses.last().unwrap().to_string(), "172.16.52.191");
    let sentence = "no free address in 172.16.52.128/26 (63 of 63 in use)";
    assert_eq!(f.add("c63").unwrap_err().to_string(), sentence);
    assert_eq!(f.store.has_room(&f.node).unwrap_err().to_string(), sentence);
    let usage = |cool_down| {
        let space = Space { blocks: &f.node.blocks, reserved: &f.node.reserved };
        let blocks = f.store.usage(space, cool_down).unwrap();
        (blocks[0].allocated, blocks[0].cooling, blocks[0].capacity, blocks[0].free())
    };
    assert_eq!(usage(Duration::ZERO), (63, 0, 63, 0));
    assert_eq!(f.del("c7").len(), 1);
    assert_eq!(usage(Duration::ZERO), (62, 0, 63, 1));
    assert_eq!(usage(Duration::from_secs(3600)), (62, 1, 63, 0));
    f.store.has_room(&f.node).unwrap();
    f.add("c63").unwrap();
}

#[test]
fn the_address_that_is_free_for_the_longest_is_next() {
    let f = fixture("10.0.0.0/30", &[]);
    let addresses: Vec<_> = ["a", "b", "c", "d"].map(|id| f.add(id).unwrap()).into();
    for id in ["c", "a", "d", "b"] {
        f.del(id);
    }
    let next: Vec<_> = ["e", "f", "g", "h"].map(|id| f.add(id).unwrap()).into();
    assert_eq!(next, [addresses[2], addresses[0], addresses[3], addresses[1]]);
}

#[test]
fn a_marker_that_a_kill_left_of_an_address_in_use_counts_for_nothing_and_goes() {
    let f = fixture("10.0.0.0/31", &[]);
    let first = f.add("a").unwrap();
    let freed = f.store.freed();
    std::fs::write(freed.join(marker(1, first)), "").unwrap();
    let second = f.add("b").unwrap();
    assert_ne!(first, second);
    assert_eq!(std::fs::read_dir(&freed).unwrap().count(), 0);
    // Two markers of one address: the later counts.
    f.del("b");
    f.del("a");
    std::fs::write(freed.join(marker(1, first)), "").unwrap();
    assert_eq!(f.add("c").unwrap(), second);
    assert_eq!(std::fs::read_dir(&freed).unwrap().count(), 1);
}

#[test]
fn twenty_at_a_time_never_get_an_address_twice() {
    let f = fixture("172.16.52.128/26", &["172.16.52.128"]);
    let start = Barrier::new(20);
    let one = |thread: usize| {
        start.wait();
        for round in 0..10 {
            let ids: Vec<_> = (0..3).map(|i| format!("c{thread}-{round}-{i}")).collect();
            let given: Vec<_> = ids.iter().map(|id| f.add(id).unwrap()).collect();
            // Everything that is in use right now is in use once.
            let entries = f.store.list().unwrap().entries;
            let distinct: BTreeSet<_> = entries.iter().map(|entry| entry.address).collect();
            assert_eq!(distinct.len(), entries.len());
            for (id, address) in ids.iter().zip(given) {
                assert_eq!(f.del(id), [address]);
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..20 {
            scope.spawn(move || one(thread));
        }
    });
    assert_eq!(f.store.list().unwrap(), Listing::default());
}

#[test]
fn who_waits_for_a_record_finds_it_gone_when_the_other_has_freed_it() {
    let f = fixture("10.0.0.0/30", &[]);
    let (held, _) = f.store.allocate(&f.node, claim("a")).unwrap();
    let entry = held.entry().clone();
    assert!(f.store.hold_if_idle(&entry).unwrap().is_none());
    let inode = std::fs::metadata(f.store.path_of(&entry)).unwrap().ino();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| f.store.hold(&entry).unwrap().is_none());
        // Free it only when the other has found the record and waits for its lock.
        let waits = |line: &str| line.contains("->") && line.contains(&format!(":{inode} "));
        while !std::fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
            std::thread::yield_now();
        }
        f.store.release(held).unwrap();
        assert!(waiting.join().unwrap());
    });
    assert!(f.store.hold_if_idle(&entry).unwrap().is_none());
}

#[test]
fn an_interface_that_a_record_names_is_not_unclaimed() {
    let f = fixture("10.0.0.0/30", &[]);
    let name = claim("a").host_interface;
    assert_eq!(f.store.while_unclaimed(&name, || 1).unwrap(), Some(1));
    assert_eq!(std::fs::read_dir(f.dir.path()).unwrap().count(), 0);
    f.add("a").unwrap();
    assert_eq!(f.store.while_unclaimed(&name, || 1).unwrap(), None);
    f.del("a");
    assert_eq!(f.store.while_unclaimed(&name, || 1).unwrap(), Some(1));
}

#[test]
fn a_damaged_record_still_keeps_its_address_and_can_be_freed() {
    let f = fixture("10.0.0.0/30", &[]);
    for (id, content) in [("a", Some("")), ("b", Some(r#"{"formatVersion":2}"#)), ("c", None)] {
        f.add(id).unwrap();
        let entry = &f.store.find(&owner(id)).unwrap()[0];
        let path = f.store.path_of(entry);
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => {
                std::fs::remove_file(&path).unwrap();
                std::fs::create_dir(&path).unwrap();
            }
        }
        let error = f.store.read(entry).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
    assert_eq!(f.add("d").unwrap().to_string(), "10.0.0.3");
    assert!(matches!(f.add("e"), Err(AllocateError::Exhausted { .. })));
    for id in ["a", "b", "c"] {
        assert_eq!(f.del(id).len(), 1);
    }
}

#[test]
fn nothing_is_allocated_while_a_file_of_unknown_meaning_is_there() {
    let f = fixture("10.0.0.0/30", &[]);
    let address = f.add("a").unwrap();
    for name in ["10.0.0.1", "10.0.0.1@b@eth0", "notes"] {
        let path = f.store.addresses().join(name);
        std::fs::write(&path, "").unwrap();
        let error = f.add("b").unwrap_err().to_string();
        assert!(error.starts_with(path.to_str().unwrap()), "{error}");
        assert!(f.store.has_room(&f.node).is_err());
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::write(f.store.addresses().join("notes"), "").unwrap();
    assert_eq!(f.del("a"), [address]);
}

#[test]
fn an_error_names_the_file_that_is_in_the_way() {
    let f = fixture("10.0.0.0/30", &[]);
    for name in ["lock", "addresses", "freed"] {
        let f = fixture("10.0.0.0/30", &[]);
        let path = f.store.path().join(name);
        std::fs::create_dir_all(f.store.path()).unwrap();
        match name {
            "lock" => std::fs::create_dir(&path).unwrap(),
            _ => std::fs::write(&path, "").unwrap(),
        }
        let error = f.add("a").unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
    let link = f.store.addresses();
    f.add("a").unwrap();
    let entry = &f.store.find(&owner("a")).unwrap()[0];
    std::fs::rename(f.store.path_of(entry), link.join("../elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", f.store.path_of(entry)).unwrap();
    let error = f.store.hold(entry).unwrap_err().to_string();
    assert!(error.contains(f.store.path_of(entry).to_str().unwrap()), "{error}");
}

#[test]
fn a_node_without_a_block_gives_no_address() {
    let mut f = fixture("10.0.0.0/30", &[]);
    f.node.blocks = Vec::new();
    assert!(matches!(f.add("a"), Err(AllocateError::NoBlock { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The store against a queue: never used addresses in order, then those freed, oldest first.
    #[test]
    fn does_what_a_queue_does(steps in prop::collection::vec((0_u8..12, any::<bool>()), 1..60)) {
        let f = fixture("10.0.0.0/29", &["10.0.0.3"]);
        let mut free: VecDeque<IpAddr> = [0, 1, 2, 4, 5, 6, 7]
            .map(|last: u8| IpAddr::from([10, 0, 0, last]))
            .into();
        let mut used: BTreeMap<String, IpAddr> = BTreeMap::new();
        for (id, add) in steps {
            let id = format!("c{id}");
            if add {
                match f.add(&id) {
                    Ok(address) => {
                        prop_assert_eq!(Some(address), free.pop_front());
                        prop_assert_eq!(used.insert(id, address), None);
                    }
                    Err(AllocateError::AlreadyAllocated(_)) => prop_assert!(used.contains_key(&id)),
                    Err(AllocateError::Exhausted { .. }) => prop_assert!(free.is_empty()),
                    Err(other) => panic!("{other}"),
                }
            } else {
                let freed = f.del(&id);
                prop_assert_eq!(freed.first().copied(), used.remove(&id));
                free.extend(freed);
            }
            let listed: Vec<_> =
                f.store.list().unwrap().entries.iter().map(|entry| entry.address).collect();
            let mut expected: Vec<_> = used.values().copied().collect();
            expected.sort_unstable();
            prop_assert_eq!(listed, expected);
        }
    }
}
