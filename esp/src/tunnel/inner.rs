//! The inner IP header: the fields that the outer one is made of, and the ones that change on the way out.

use super::Ecn;
use crate::checksum::{Sum, update};

/// What encapsulation needs to know of an inner packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inner {
    /// Differentiated services code point, 6 bits.
    pub dscp: u8,
    /// Explicit congestion notification.
    pub ecn: Ecn,
    /// Whether the packet must not be fragmented on its way: DF of IPv4, always for IPv6.
    pub df: bool,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Length by its own header, in octets: at most that of the buffer it was parsed from.
    pub len: usize,
}

impl Inner {
    /// Reads the header of an IPv4 or IPv6 packet; `None` if it is neither, or shorter than its header says.
    #[inline]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let inner = match *packet {
            [ihl @ 0x45..=0x4f, tos, l0, l1, _, _, flags, _, ttl, ..] => {
                let len = usize::from(u16::from_be_bytes([l0, l1]));
                let header_len = usize::from(ihl & 0xf) * 4;
                let df = flags & 0x40 != 0;
                (len >= header_len).then_some(Self::new(tos, df, ttl, len))?
            }
            [first @ 0x60..=0x6f, second, _, _, l0, l1, _, ttl, ..] => {
                let len = 40 + usize::from(u16::from_be_bytes([l0, l1]));
                Self::new(first << 4 | second >> 4, true, ttl, len)
            }
            _ => return None,
        };
        (inner.len <= packet.len()).then_some(inner)
    }

    fn new(traffic_class: u8, df: bool, ttl: u8, len: usize) -> Self {
        Self { dscp: traffic_class >> 2, ecn: Ecn::from_traffic_class(traffic_class), df, ttl, len }
    }
}

/// Writes the ECN field of an IP packet, with its header checksum if it has one. Anything else is left alone.
pub fn set_ecn(packet: &mut [u8], ecn: Ecn) {
    match packet {
        [0x45..=0x4f, rest @ ..] if rest.len() >= 19 => {
            let old = packet[1];
            packet[1] = old & !3 | ecn as u8;
            update_checksum(packet, old.into(), packet[1].into());
        }
        [0x60..=0x6f, octet, ..] => *octet = *octet & !0x30 | (ecn as u8) << 4,
        _ => {}
    }
}

/// A packet whose TTL or hop limit does not allow another hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlExpired;

/// Takes one hop off the TTL or hop limit of an IP packet, with its header checksum if it has one
/// (RFC 4301 §5.1.2.1, note 2).
///
/// Only a forwarder does this, and only once: a kernel that routes packets into or out of a TUN device has done it.
///
/// # Errors
/// [`TtlExpired`] if none is left, or the packet is no IP packet; it is unchanged then.
pub fn decrement_ttl(packet: &mut [u8]) -> Result<(), TtlExpired> {
    match packet {
        [0x45..=0x4f, .., _] if packet.len() >= 20 && packet[8] > 1 => {
            let word = |packet: &[u8]| u16::from_be_bytes([packet[8], packet[9]]);
            let old = word(packet);
            packet[8] -= 1;
            update_checksum(packet, old, word(packet));
            Ok(())
        }
        [0x60..=0x6f, _, _, _, _, _, _, hop_limit @ 2..=255, ..] => {
            *hop_limit -= 1;
            Ok(())
        }
        _ => Err(TtlExpired),
    }
}

/// Changes an IPv4 header checksum for one word that changed. The header has at least 20 octets.
fn update_checksum(header: &mut [u8], old: u16, new: u16) {
    let checksum = u16::from_be_bytes([header[10], header[11]]);
    header[10..12].copy_from_slice(&update(checksum, Sum::word(old), Sum::word(new)).to_be_bytes());
}
