//! Blocks of both families, several blocks, addresses that cool down.

use super::*;

fn add(f: &Fixture, id: &str) -> Result<Vec<String>, AllocateError> {
    let (_, records) = f.store.allocate(&f.node, claim(id))?;
    Ok(records.iter().map(|record| record.address.to_string()).collect())
}

fn both() -> Fixture {
    let mut f = fixture("10.0.0.0/30", &["10.0.0.0", "fd00::"]);
    f.node.blocks.push("fd00::/126".parse().unwrap());
    f
}

#[test]
fn a_pod_gets_an_address_of_each_family_and_gives_both_back() {
    let f = both();
    let (held, records) = f.store.allocate(&f.node, claim("a")).unwrap();
    let entries = f.store.find(&owner("a")).unwrap();
    assert_eq!(
        entries.iter().map(|e| e.address.to_string()).collect::<Vec<_>>(),
        ["10.0.0.1", "fd00::1"]
    );
    for (entry, record) in entries.iter().zip(&records) {
        assert_eq!(f.store.read(entry).unwrap(), *record);
        assert_eq!(record.mac.to_string(), "0a:58:0a:00:00:01");
        // Nobody else works on either meanwhile.
        assert!(f.store.hold_if_idle(entry).unwrap().is_none());
    }
    assert_eq!(f.store.release(held).unwrap().len(), 2);
    assert_eq!(f.store.list().unwrap(), Listing::default());
    assert_eq!(add(&f, "b").unwrap(), ["10.0.0.2", "fd00::2"]);
    assert_eq!(f.del("b").len(), 2);
}

#[test]
fn a_pod_that_cannot_have_both_gets_neither() {
    let mut f = both();
    f.node.blocks[1] = "fd00::/127".parse().unwrap();
    add(&f, "a").unwrap();
    let error = f.add("b").unwrap_err().to_string();
    assert_eq!(error, "no free address in fd00::/127 (1 of 1 in use)");
    assert_eq!(f.store.has_room(&f.node).unwrap_err().to_string(), error);
    assert!(f.store.find(&owner("b")).unwrap().is_empty());
}

#[test]
fn a_node_of_one_family_gives_addresses_of_that_one() {
    let mut f = both();
    f.node.blocks.remove(0);
    assert_eq!(add(&f, "a").unwrap(), ["fd00::1"]);
}

#[test]
fn a_block_that_is_added_is_used_when_the_others_are_full() {
    let mut f = fixture("10.0.0.0/31", &[]);
    f.add("a").unwrap();
    f.add("b").unwrap();
    assert!(matches!(f.add("c"), Err(AllocateError::Exhausted { .. })));
    f.node.blocks.push("10.0.9.0/31".parse().unwrap());
    assert_eq!(f.add("c").unwrap().to_string(), "10.0.9.0");
    f.del("a");
    // A never used one first, then the one that was freed.
    assert_eq!(f.add("d").unwrap().to_string(), "10.0.9.1");
    assert_eq!(f.add("e").unwrap().to_string(), "10.0.0.0");
    let sentence = "no free address in 10.0.0.0/31 (2 of 2 in use), 10.0.9.0/31 (2 of 2 in use)";
    assert_eq!(f.add("f").unwrap_err().to_string(), sentence);
}

#[test]
fn an_address_cools_down_before_it_is_given_again() {
    let mut f = fixture("10.0.0.0/31", &[]);
    f.node.cool_down_seconds = 3_600;
    let first = f.add("a").unwrap();
    f.add("b").unwrap();
    f.del("a");
    let error = f.add("c").unwrap_err().to_string();
    let sentence =
        "no free address in 10.0.0.0/31 (1 of 2 in use); 1 became free too short a while ago";
    assert_eq!(error, sentence);
    assert_eq!(f.store.has_room(&f.node).unwrap_err().to_string(), sentence);
    // Since boot, not since some day: a marker of the first second has cooled down by now.
    let freed = f.store.freed();
    for file in std::fs::read_dir(&freed).unwrap() {
        std::fs::rename(file.unwrap().path(), freed.join(marker(1, first))).unwrap();
    }
    f.node.cool_down_seconds = 1;
    assert_eq!(f.add("c").unwrap(), first);
}
