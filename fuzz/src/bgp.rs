//! The decoders of BGP's messages.

use bytes::Bytes;
use warren_bgp::codec::{
    Frame, Framer, MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN, MessageType, UpdateContext,
    notification, open, refresh, update,
};
use warren_bgp::message::{Family, PathIds, Update};

/// The length of a message's header.
const HEADER: usize = 19;

/// What was read can be written, and reads the same again.
pub(crate) fn open(octets: &[u8]) {
    let Ok(message) = open::decode(Bytes::copy_from_slice(octets)) else { return };
    // Capabilities that came in many parameters may be too long for one.
    let Ok(written) = open::encode(&message) else { return };
    let again = open::decode(written.slice(HEADER..));
    assert_eq!(again.as_ref(), Ok(&message));
}

pub(crate) fn notification(octets: &[u8]) {
    let Ok(message) = notification::decode(Bytes::copy_from_slice(octets)) else { return };
    let words = message.to_string();
    assert!(!words.chars().any(char::is_control), "{words:?} goes to the log");
    let written = notification::encode(&message);
    assert!(written.len() <= MAX_MESSAGE_LEN);
    if octets.len() + HEADER <= MAX_MESSAGE_LEN {
        assert_eq!(notification::decode(written.slice(HEADER..)), Ok(message));
    }
}

pub(crate) fn refresh(octets: &[u8]) {
    let body = Bytes::copy_from_slice(octets);
    for enhanced in [false, true] {
        let Ok(Some(message)) = refresh::decode(&body, enhanced) else { continue };
        let written = refresh::encode(message);
        assert_eq!(refresh::decode(&written.slice(HEADER..), enhanced), Ok(Some(message)));
    }
}

/// The context is drawn from the first octet.
fn context(flags: u8) -> UpdateContext {
    let families = [(4, Family::Ipv4Unicast), (8, Family::Ipv6Unicast)];
    let families: Vec<Family> =
        families.iter().filter(|(bit, _)| flags & bit == 0).map(|(_, it)| *it).collect();
    // Both ways, for what is written is read again.
    let with_ids = if flags & 64 == 0 { Vec::new() } else { families.clone() };
    UpdateContext {
        four_octet_as: flags & 1 == 0,
        internal: flags & 2 == 0,
        families,
        extended_messages: flags & 32 != 0,
        path_ids: PathIds { received: with_ids.clone(), sent: with_ids },
        loopback_next_hops: flags & 16 != 0,
    }
}

/// What was read can be written, in messages of a permitted length, and what was written once reads
/// as it was written: without an error, and the same the next time.
pub(crate) fn update(octets: &[u8]) {
    let Some((flags, body)) = octets.split_first() else { return };
    let context = context(*flags);
    let Ok(decoded) = update::decode(Bytes::copy_from_slice(body), &context) else { return };
    for update in decoded.updates {
        let first = rewritten(&update, &context);
        let second: Vec<Update> =
            first.iter().flat_map(|update| rewritten(update, &context)).collect();
        assert_eq!(first, second);
    }
}

fn rewritten(update: &Update, context: &UpdateContext) -> Vec<Update> {
    let mut updates = Vec::new();
    for message in update::encode(update, context) {
        let most =
            if context.extended_messages { MAX_EXTENDED_MESSAGE_LEN } else { MAX_MESSAGE_LEN };
        assert!(message.len() <= most);
        let decoded = update::decode(message.slice(HEADER..), context);
        let malformed = decoded.as_ref().map(|it| it.malformed.as_slice());
        assert_eq!(malformed, Ok(&[][..]), "written by us: {update:?}");
        updates.extend(decoded.into_iter().flat_map(|it| it.updates));
    }
    updates
}

/// However a stream is cut into pieces, the same messages come out of it. The first octet says how
/// long the pieces are.
pub(crate) fn stream(octets: &[u8]) {
    let Some((piece, stream)) = octets.split_first() else { return };
    for (extended, most) in [(false, MAX_MESSAGE_LEN), (true, MAX_EXTENDED_MESSAGE_LEN)] {
        let whole = frames([stream].into_iter(), extended);
        let pieces = frames(stream.chunks(usize::from(*piece).max(1)), extended);
        assert_eq!(whole, pieces);
        assert!(whole.0.iter().all(|frame| frame.body.len() + HEADER <= most));
        read(whole.0);
    }
}

fn read(frames: Vec<Frame>) {
    for frame in frames {
        let body = frame.body;
        match frame.kind {
            MessageType::Open => open(&body),
            MessageType::Update => {
                for flags in [0, 1, 2, 32, 64] {
                    update(&[&[flags], &body[..]].concat());
                }
            }
            MessageType::Notification => notification(&body),
            MessageType::RouteRefresh => refresh(&body),
            MessageType::Keepalive => assert!(body.is_empty()),
        }
    }
}

/// The messages, and the code and subcode of the error that ended them.
fn frames<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    extended: bool,
) -> (Vec<Frame>, Option<(u8, u8)>) {
    let mut framer = Framer::default();
    if extended {
        framer.take_extended();
    }
    let mut frames = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(reset) => {
                    let it = reset.notification;
                    return (frames, Some((it.code, it.subcode)));
                }
            }
        }
    }
    (frames, None)
}
