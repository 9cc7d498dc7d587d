//! Pods that ask for an address, or for a pool.

use ipnetwork::IpNetwork;

use super::*;

fn ask(f: &Fixture, id: &str, addresses: &[&str], pools: &[&str]) -> Result<Vec<String>, String> {
    let wishes = Wishes {
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        pools: pools.iter().map(|p| p.parse().unwrap()).collect(),
    };
    let claim = Claim { wishes, ..claim(id) };
    let (_, records) = f.store.allocate(&f.node, claim).map_err(|error| error.to_string())?;
    Ok(records.iter().map(|record| record.address.to_string()).collect())
}

fn three_blocks() -> Fixture {
    let mut f = fixture("10.0.0.0/30", &["10.0.0.0"]);
    f.node.blocks.extend(["10.1.0.0/30", "fd00::/126"].map(|b| b.parse::<IpNetwork>().unwrap()));
    f
}

#[test]
fn the_address_that_is_asked_for_is_given() {
    let f = three_blocks();
    assert_eq!(ask(&f, "a", &["10.1.0.2"], &[]).unwrap(), ["10.1.0.2", "fd00::"]);
    assert_eq!(ask(&f, "b", &["fd00::3", "10.0.0.3"], &[]).unwrap(), ["10.0.0.3", "fd00::3"]);
    // Also one that another pod had a moment ago.
    f.del("a");
    assert_eq!(ask(&f, "c", &["10.1.0.2"], &[]).unwrap()[0], "10.1.0.2");
}

#[test]
fn an_address_that_cannot_be_given_is_refused_with_the_reason() {
    let f = three_blocks();
    ask(&f, "a", &["10.1.0.2"], &[]).unwrap();
    for (addresses, sentence) in [
        (&["10.1.0.2"][..], "10.1.0.2 is asked for and is in use by eth0 of container a"),
        (&["10.0.0.0"], "10.0.0.0 is asked for and is reserved on this node"),
        (
            &["10.9.0.1"],
            "10.9.0.1 is asked for and is in none of this node's blocks: 10.0.0.0/30, 10.1.0.0/30, \
             fd00::/126",
        ),
        (
            &["10.0.0.1", "10.0.0.2"],
            "10.0.0.2 is asked for besides another address of its family; one of each can be given",
        ),
    ] {
        assert_eq!(ask(&f, "b", addresses, &[]).unwrap_err(), sentence);
    }
    assert_eq!(f.store.find(&owner("b")).unwrap(), []);
}

#[test]
fn a_pool_that_is_asked_for_leaves_the_other_family_alone() {
    let f = three_blocks();
    assert_eq!(ask(&f, "a", &[], &["10.1.0.0/16"]).unwrap(), ["10.1.0.0", "fd00::"]);
    assert_eq!(
        ask(&f, "b", &[], &["10.2.0.0/16", "10.1.0.0/31"]).unwrap_err(),
        "none of this node's blocks is in what is asked for, 10.2.0.0/16, 10.1.0.0/31"
    );
}
