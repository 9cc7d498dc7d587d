//! Messages with damage in them, as two decoders read them.

use bgpkit_parser::models::BgpMessage;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use warren_bgp::codec::update;
use warren_bgp::message::Update;

use crate::bgpkit;
use crate::messages::{context, difference, updates};

/// The length of a message's header.
const HEADER: usize = 19;

/// Damage: an octet that is another one, or an end that is missing.
#[derive(Debug, Clone)]
enum Damage {
    Change(Index, u8),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, octet)| Damage::Change(at, octet)),
        1 => any::<Index>().prop_map(Damage::Cut),
    ]
}

fn apply(body: &mut Vec<u8>, damage: &Damage) {
    match damage {
        Damage::Change(at, octet) if !body.is_empty() => {
            let at = at.index(body.len());
            body[at] = *octet;
        }
        Damage::Cut(at) if !body.is_empty() => body.truncate(at.index(body.len())),
        _ => {}
    }
}

fn message(body: &[u8]) -> Bytes {
    let mut octets = vec![0xff; 16];
    octets.extend(u16::try_from(HEADER + body.len()).unwrap().to_be_bytes());
    octets.push(2);
    octets.extend(body);
    octets.into()
}

/// What an UPDATE says where we find nothing wrong with it.
fn ours(octets: &Bytes) -> Option<Update> {
    let decoded = update::decode(octets.slice(HEADER..), &context(true)).ok()?;
    if !decoded.malformed.is_empty() {
        return None;
    }
    let mut all = Update::default();
    for it in decoded.updates {
        all.withdrawn.extend(it.withdrawn);
        all.announced.extend(it.announced);
        all.attributes = all.attributes.or(it.attributes);
    }
    Some(all)
}

/// What it says where bgpkit-parser finds nothing wrong with it; `None` too where it says what ours
/// has no word for.
fn theirs(octets: &Bytes) -> Option<Update> {
    match bgpkit::read(octets) {
        Ok(BgpMessage::Update(read)) => bgpkit::update(&read),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_both_accept_they_read_the_same(
        meant in updates(true),
        which in any::<Index>(),
        damage in vec(damage(), 0..4),
    ) {
        let messages = update::encode(&meant, &context(true));
        prop_assume!(!messages.is_empty());
        let mut body = which.get(&messages)[HEADER..].to_vec();
        for it in &damage {
            apply(&mut body, it);
        }
        let octets = message(&body);
        if let (Some(ours), Some(theirs)) = (ours(&octets), theirs(&octets)) {
            // What a list that begins with it is to the other is said in `messages`.
            prop_assume!(ours.announced.iter().chain(&ours.withdrawn).all(|it| it.prefix() > 0));
            prop_assert_eq!(difference(&ours, &theirs), None);
        }
    }
}
