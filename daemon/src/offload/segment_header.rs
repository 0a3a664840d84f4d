//! The headers of a TCP segment or UDP datagram that can be one of several: where they are and what they say.

use cygnet_esp::checksum::Sum;

pub(super) const V4_HEADER: usize = 20;
pub(super) const V6_HEADER: usize = 40;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
/// TCP header without options; UDP header.
pub(super) const TCP_HEADER: usize = 20;
pub(super) const UDP_HEADER: usize = 8;

/// TCP flags (RFC 9293 §3.1).
pub(super) mod flag {
    pub(in super::super) const FIN: u8 = 0x01;
    pub(in super::super) const PSH: u8 = 0x08;
    pub(in super::super) const ACK: u8 = 0x10;
    pub(in super::super) const CWR: u8 = 0x80;
}

/// Where in a TCP header its fields are, octets.
pub(super) mod tcp {
    pub(in super::super) const SEQUENCE: usize = 4;
    pub(in super::super) const FLAGS: usize = 13;
    pub(in super::super) const CHECKSUM: usize = 16;
}

/// Where in a UDP header its fields are, octets.
pub(super) mod udp {
    pub(in super::super) const LENGTH: usize = 4;
    pub(in super::super) const CHECKSUM: usize = 6;
}

/// `N` octets at a place.
#[inline]
pub(super) fn field<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..at + N)?.try_into().ok()
}

/// Replaces `N` octets at a place, if they are there.
#[inline]
pub(super) fn put<const N: usize>(octets: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(slot) = octets.get_mut(at..at + N) {
        slot.copy_from_slice(&value);
    }
}

/// Makes the length fields of the IP header those of a packet of `len` octets, and gives an IPv4 packet its
/// identification and checksum.
#[inline]
pub(super) fn set_length(header: &mut [u8], len: usize, identification: Option<u16>) {
    if header.first().is_some_and(|first| first >> 4 == 6) {
        return put(header, 4, ((len - V6_HEADER.min(len)) as u16).to_be_bytes());
    }
    let ihl = header.first().map_or(0, |first| usize::from(first & 0xf) * 4);
    put(header, 2, (len as u16).to_be_bytes());
    if let Some(identification) = identification {
        put(header, 4, identification.to_be_bytes());
    }
    put(header, 10, [0, 0]);
    let checksum = Sum::of(header.get(..ihl).unwrap_or_default()).checksum();
    put(header, 10, checksum.to_be_bytes());
}

/// The sum over the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1) of a packet without extension headers or routing,
/// with `len` octets behind its IP header.
#[inline]
pub(super) fn pseudo_header(packet: &[u8], protocol: u8, len: usize) -> Sum {
    let addresses = match packet.first().map(|first| first >> 4) {
        Some(6) => packet.get(8..V6_HEADER),
        _ => packet.get(12..V4_HEADER),
    };
    Sum::of(addresses.unwrap_or_default()) + Sum::word(protocol.into()) + Sum::word(len as u16)
}
