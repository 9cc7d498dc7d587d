//! Every octet here is written by hand: what the package reads and writes is what is tested.

mod frames;
mod malformed;
mod notifications;
mod opens;
mod packing;
mod updates;

use bytes::Bytes;

use super::{Frame, Framer, SessionReset};

/// A message: header, type and body.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap();
    let mut octets = vec![0xff; 16];
    octets.extend(length.to_be_bytes());
    octets.push(kind);
    octets.extend(body);
    octets
}

fn frame(octets: &[u8]) -> Result<Option<Frame>, SessionReset> {
    let mut framer = Framer::default();
    framer.push(octets);
    framer.next_frame()
}

fn body(octets: &[u8]) -> Bytes {
    frame(octets).unwrap().unwrap().body
}

/// Code, subcode and data of a reset.
fn told<T: std::fmt::Debug>(result: Result<T, SessionReset>) -> (u8, u8, Vec<u8>) {
    let it = result.unwrap_err().notification;
    (it.code, it.subcode, it.data)
}
