//! The packet that fragments make: headers of the first, lengths and congestion marks of all.

use std::net::IpAddr;

use crate::fragment::Fragment;

/// Octets that the payload length does not count.
const IPV6: usize = 40;

/// What is known of the first fragment's headers besides their octets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) len: usize,
    /// Protocol behind them.
    next: u8,
    /// Where they name it.
    next_at: usize,
}

impl Head {
    pub(super) fn new(fragment: &Fragment<'_>) -> Self {
        Self { len: fragment.head.len(), next: fragment.next, next_at: fragment.next_at }
    }
}

/// The length field of a packet of so many octets of headers and data; `None` if it exceeds 65,535.
pub(super) fn length(family: IpAddr, head: usize, data: usize) -> Option<u16> {
    let uncounted = if family.is_ipv4() { 0 } else { IPV6 };
    u16::try_from((head + data).saturating_sub(uncounted)).ok()
}

/// The ECN field (RFC 3168 §5).
pub(super) fn ecn(head: &[u8]) -> u8 {
    match head {
        [first, second, ..] if first >> 4 == 6 => second >> 4 & 3,
        [_, tos, ..] => tos & 3,
        _ => 0,
    }
}

const NOT_ECT: u8 = 1 << 0b00;
const CE: u8 = 1 << 0b11;

/// Whether marks, a bit for each of the four values, are those of different packets: congestion was marked on a
/// transport that does not understand it. RFC 3168 §5.3 has the packet dropped.
pub(super) fn contradictory(seen: u8) -> bool {
    seen & CE != 0 && seen & NOT_ECT != 0
}

/// Writes the packet. `head` is that of `first`, which has at least a header's length. `seen` as in [`contradictory`].
pub(super) fn write(packet: &mut Vec<u8>, first: &Head, head: &[u8], data: &[u8], seen: u8) {
    packet.clear();
    packet.extend_from_slice(head);
    packet.extend_from_slice(data);
    let congested = seen & CE != 0;
    if head[0] >> 4 == 4 {
        let header = &mut packet[..head.len()];
        header[1] |= if congested { 0b11 } else { 0 };
        header[2..4].copy_from_slice(&length_field(head.len() + data.len()));
        // No fragment, and free to be one again.
        header[6..8].fill(0);
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        packet[1] |= if congested { 0b11 << 4 } else { 0 };
        packet[4..6].copy_from_slice(&length_field(head.len() + data.len() - IPV6));
        packet[first.next_at] = first.next;
    }
}

/// Callers have checked it with [`length`].
fn length_field(octets: usize) -> [u8; 2] {
    u16::try_from(octets).unwrap_or(u16::MAX).to_be_bytes()
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
