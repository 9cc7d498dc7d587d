//! Roles (RFC 9234, 4), one peer driven by hand.

use super::super::{PeerConfig, State};
use super::{Solo, config, their_open};
use crate::message::{Capability, Open};
use crate::role::{LocalRole, Role};

fn with(role: Role, strict: bool) -> PeerConfig {
    PeerConfig { peer_as: 65001.into(), role: Some(LocalRole { role, strict }), ..config() }
}

/// The OPEN of an external peer that says these, too.
fn saying(capabilities: &[Capability]) -> Open {
    let mut open = Open { as_number: 65001, ..their_open() };
    open.capabilities.pop();
    open.capabilities.push(Capability::FourOctetAs(65001));
    open.capabilities.extend(capabilities.iter().cloned());
    open
}

/// What becomes of a session with this peer: the role in words, or the error.
fn outcome(config: PeerConfig, theirs: &Open) -> Result<Vec<String>, String> {
    let mut solo = Solo::open_sent(config);
    solo.open(1, theirs);
    if solo.state() == State::Idle {
        let told = solo.told();
        assert_eq!((told.code, told.subcode, told.data.len()), (2, 11, 0));
        return Err(solo.error().to_owned());
    }
    solo.keepalive(1);
    let capabilities = solo.peer.negotiated().unwrap().capabilities();
    Ok(capabilities.into_iter().filter(|it| it.contains("role")).collect())
}

#[test]
fn every_role_goes_with_one_other() {
    let all =
        [Role::Provider, Role::RouteServer, Role::RouteServerClient, Role::Customer, Role::Peer];
    for ours in all {
        for theirs in all {
            for strict in [false, true] {
                let found = outcome(with(ours, strict), &saying(&[Capability::Role(theirs)]));
                if theirs == ours.counterpart() {
                    assert_eq!(found, Ok(vec![format!("role {ours}")]));
                } else {
                    let error = found.unwrap_err();
                    assert!(error.contains(&format!("peer has the role {theirs}, not")), "{error}");
                    assert!(error.contains("OPEN Message Error/Role Mismatch"), "{error}");
                }
            }
        }
    }
}

#[test]
fn a_peer_without_a_role_is_taken_unless_it_has_to_have_one() {
    let found = outcome(with(Role::Customer, false), &saying(&[]));
    assert_eq!(found, Ok(vec!["role customer, of which the peer says nothing".to_owned()]));
    let error = outcome(with(Role::Customer, true), &saying(&[])).unwrap_err();
    assert!(error.starts_with("peer has no role, and is to be a provider"), "{error}");
}

#[test]
fn one_role_said_twice_is_one_and_two_are_none() {
    let provider = Capability::Role(Role::Provider);
    let found = outcome(with(Role::Customer, true), &saying(&[provider.clone(), provider.clone()]));
    assert_eq!(found, Ok(vec!["role customer".to_owned()]));
    let peer = Capability::Role(Role::Peer);
    let error = outcome(with(Role::Customer, false), &saying(&[provider, peer])).unwrap_err();
    assert!(error.starts_with("peer has several roles"), "{error}");
}

#[test]
fn what_is_no_role_goes_with_none() {
    for value in [vec![5], vec![255], vec![], vec![0, 0]] {
        let theirs = saying(&[Capability::Other { code: 9, value }]);
        let error = outcome(with(Role::Customer, false), &theirs).unwrap_err();
        assert!(error.starts_with("peer has a role that does not exist"), "{error}");
    }
}

#[test]
fn without_a_role_here_and_within_an_as_theirs_is_of_no_concern() {
    let theirs = saying(&[Capability::Role(Role::Peer)]);
    let config = PeerConfig { peer_as: 65001.into(), ..config() };
    assert_eq!(outcome(config.clone(), &theirs), Ok(vec![]));
    let role = Some(LocalRole { role: Role::Customer, strict: true });
    let internal = PeerConfig { peer_as: 64512.into(), role, ..config };
    assert_eq!(outcome(internal, &their_open()), Ok(vec![]));
}
