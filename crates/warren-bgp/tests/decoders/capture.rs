//! Messages in a capture file, as if they had been sent over TCP, each in a packet of its own.

use bytes::Bytes;

/// pcap(5), with packets of LINKTYPE_RAW: an IPv4 header comes first.
pub fn of(messages: &[Bytes]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 101] {
        file.extend(word.to_ne_bytes());
    }
    let mut sequence = 1_u32;
    for (number, message) in messages.iter().enumerate() {
        let packet = packet(sequence, message);
        let length = u32::try_from(packet.len()).unwrap();
        for word in [1, u32::try_from(number).unwrap(), length, length] {
            file.extend(word.to_ne_bytes());
        }
        file.extend(packet);
        sequence = sequence.wrapping_add(u32::try_from(message.len()).unwrap());
    }
    file
}

/// An IPv4 header (RFC 791, 3.1) and a TCP header (RFC 9293, 3.1) of PSH and ACK, without checksums,
/// which tshark does not look at unless it is asked to.
fn packet(sequence: u32, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(40 + message.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend([0xc0, 0, 0, 179]);
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend(message);
    packet
}
