//! Captured packets: the file format that tcpdump writes, and the IPv4 headers inside.

use std::fmt;
use std::net::Ipv4Addr;

use anyhow::{Result, bail, ensure};

/// The IP protocol number of IP in IP (RFC 2003).
pub const IPIP: u8 = 4;

/// The IP protocol number of ICMP.
pub const ICMP: u8 = 1;

/// An IPv4 header without options (RFC 791, 3.1), as far as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv4 {
    /// Where it comes from.
    pub source: Ipv4Addr,
    /// Where it goes.
    pub destination: Ipv4Addr,
    /// What is inside.
    pub protocol: u8,
    /// How many routers it may still cross.
    pub ttl: u8,
    /// Its length in bytes, this header included.
    pub length: u16,
}

impl fmt::Display for Ipv4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} > {} protocol {} ttl {} length {}",
            self.source, self.destination, self.protocol, self.ttl, self.length
        )
    }
}

/// A packet: its IPv4 headers from the outside in, and what the last of them carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// One header, or two for a packet in a tunnel.
    pub headers: Vec<Ipv4>,
    /// What comes after the last header.
    pub payload: Vec<u8>,
}

impl Packet {
    /// The headers of a packet in a tunnel: outer, inner.
    pub fn tunnelled(&self) -> Option<(&Ipv4, &Ipv4)> {
        match self.headers.as_slice() {
            [outer, inner] => Some((outer, inner)),
            _ => None,
        }
    }
}

/// The packets of a capture file, those that are no IPv4 left out.
///
/// A file that is still being written may end within a packet; that one is left out too.
///
/// # Errors
/// When it is no capture file of this machine's byte order.
pub fn parse(file: &[u8]) -> Result<Vec<Packet>> {
    // pcap(5) "File header", then "Packet header" and data for each packet.
    ensure!(file.len() >= 24, "the capture file has no header yet");
    let word = |at: usize| file[at..at + 4].try_into().map(u32::from_ne_bytes).unwrap_or_default();
    ensure!(word(0) == 0xa1b2_c3d4, "not a capture file: magic number {:#x}", word(0));
    let link_header = match word(20) {
        1 => 14,
        12 | 101 => 0,
        other => bail!("captured on a link of the unknown type {other}"),
    };
    let mut packets = Vec::new();
    let mut at = 24;
    while at + 16 <= file.len() {
        let length = word(at + 8) as usize;
        at += 16;
        let Some(frame) = file.get(at..at + length) else { break };
        at += length;
        packets.extend(frame.get(link_header..).and_then(ipv4_packet));
    }
    Ok(packets)
}

fn ipv4_packet(mut bytes: &[u8]) -> Option<Packet> {
    let mut headers = Vec::new();
    loop {
        if bytes.len() < 20 || bytes[0] >> 4 != 4 {
            return None;
        }
        let address =
            |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
        let header = Ipv4 {
            source: address(12),
            destination: address(16),
            protocol: bytes[9],
            ttl: bytes[8],
            length: u16::from_be_bytes([bytes[2], bytes[3]]),
        };
        // A short frame is filled up; the header knows where the packet ends.
        let end = usize::from(header.length).min(bytes.len());
        bytes = bytes.get(usize::from(bytes[0] & 15) * 4..end)?;
        let tunnel = header.protocol == IPIP;
        headers.push(header);
        if !tunnel {
            return Some(Packet { headers, payload: bytes.to_vec() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with the given protocol, and `payload` after it.
    fn ip(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 20 + payload.len() as u8, 0, 0, 0, 0, 63, protocol, 0, 0];
        bytes.extend(source);
        bytes.extend(destination);
        bytes.extend(payload);
        bytes
    }

    fn file(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, link] {
            bytes.extend(word.to_ne_bytes());
        }
        for frame in frames {
            for word in [1, 2, frame.len() as u32, frame.len() as u32] {
                bytes.extend(u32::to_ne_bytes(word));
            }
            bytes.extend(frame);
        }
        bytes
    }

    #[test]
    fn a_tunnelled_packet_has_two_headers_and_the_inner_ones_payload() {
        let inner = ip([172, 16, 52, 132], [172, 16, 103, 65], ICMP, b"ping");
        let outer = ip([192, 168, 0, 176], [192, 168, 0, 146], IPIP, &inner);
        let mut frame = vec![0; 14];
        frame.extend(outer);
        frame.extend(b"padding");
        let packets = parse(&file(1, &[frame])).unwrap();
        assert_eq!(packets.len(), 1);
        let (outer, inner) = packets[0].tunnelled().unwrap();
        assert_eq!(outer.to_string(), "192.168.0.176 > 192.168.0.146 protocol 4 ttl 63 length 44");
        assert_eq!(inner.to_string(), "172.16.52.132 > 172.16.103.65 protocol 1 ttl 63 length 24");
        assert_eq!(packets[0].payload, b"ping");
    }

    #[test]
    fn a_file_in_the_writing_gives_the_packets_that_are_whole() {
        let packet = ip([10, 0, 0, 1], [10, 0, 0, 2], ICMP, b"");
        let whole = file(12, &[packet.clone(), packet]);
        for end in 0..whole.len() {
            let count = parse(&whole[..end]).map(|packets| packets.len());
            match end {
                0..24 => assert!(count.is_err()),
                24..60 => assert_eq!(count.unwrap(), 0, "{end}"),
                _ => assert_eq!(count.unwrap(), 1, "{end}"),
            }
        }
        assert_eq!(parse(&whole).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_ipv4_is_left_out() {
        assert!(parse(&file(12, &[vec![0x60; 40], vec![0x45; 10]])).unwrap().is_empty());
        assert!(parse(&[7; 30]).is_err());
    }
}
