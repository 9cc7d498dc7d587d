//! Extended messages (RFC 8654), one peer driven by hand.

use std::sync::Arc;

use super::super::State;
use super::{Solo, config, message, their_open};
use crate::message::{Attributes, Capability, Update};

/// An UPDATE with so many octets of attributes that mean nothing.
fn long_update() -> bytes::Bytes {
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 192, 0, 2, 1];
    attributes.extend([0x40, 5, 4, 0, 0, 0, 100, 0xd0, 99, 0x20, 0]);
    attributes.extend([7; 0x2000]);
    let mut body = vec![0, 0];
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body.extend([24, 10, 1, 0]);
    message(2, &body)
}

/// How long the messages are that tell this update again.
fn told_again(solo: &Solo, update: &Update) -> Vec<usize> {
    solo.peer.encode_update(update).iter().map(bytes::Bytes::len).collect()
}

fn long_attributes() -> Update {
    let mut attributes = Attributes::via([192, 0, 2, 1].into());
    attributes.communities = (0..2000).collect();
    Update {
        announced: vec!["10.1.0.0/24".parse().unwrap()],
        attributes: Some(Arc::new(attributes)),
        ..Update::default()
    }
}

#[test]
fn long_messages_go_both_ways_between_those_who_can_take_them() {
    let mut open = their_open();
    open.capabilities.push(Capability::ExtendedMessage);
    let mut solo = Solo::open_sent(config());
    solo.open(1, &open);
    solo.keepalive(1);
    assert!(solo.peer.negotiated().unwrap().capabilities().contains(&"extended messages".into()));
    assert_eq!(solo.bytes(1, long_update()), ["update"]);
    let lengths = told_again(&solo, &long_attributes());
    assert!(lengths.len() == 1 && lengths[0] > 8000, "{lengths:?}");
    // Not even there a KEEPALIVE.
    assert_eq!(solo.bytes(1, message(4, &[0; 5000])), ["send 1 1/2", "close 1", "down"]);
    assert_eq!(solo.told().data, 5019_u16.to_be_bytes());
}

#[test]
fn who_has_not_said_that_it_can_take_them_gets_none_but_may_send_some() {
    let mut solo = Solo::established(config());
    assert!(!solo.peer.negotiated().unwrap().extended_messages);
    // The route cannot be told: it is withdrawn.
    assert_eq!(told_again(&solo, &long_attributes()), [19 + 4 + 4]);
    // What this speaker has said counts (RFC 8654, 4).
    assert_eq!(solo.bytes(1, long_update()), ["update"]);
}

#[test]
fn who_was_told_nothing_may_send_none() {
    let mut solo = Solo::open_sent(config());
    assert_eq!(solo.notify(1, 2, 4, &[]), ["close 1"]);
    solo.timer();
    let id = *solo.live.last().unwrap();
    solo.event(super::Event::ConnectSucceeded(id));
    // The OPEN has no capabilities this time.
    let mut open = their_open();
    open.capabilities = vec![Capability::ExtendedMessage];
    solo.open(id.0, &open);
    assert_eq!(solo.keepalive(id.0), ["up"]);
    assert_eq!(solo.state(), State::Established);
    assert_eq!(solo.bytes(id.0, long_update())[0], format!("send {id} 1/2"));
}
