//! Clamping the maximum segment size that TCP peers announce, for networks that lose the ICMP messages by which senders
//! learn of a smaller MTU (RFC 4459 §3.2).
//!
//! Only the option of a SYN or SYN/ACK is changed, and only downwards. Where there is none, nothing is: the peer must
//! then assume 536 octets for IPv4 and 1220 for IPv6 (RFC 9293 §3.7.1), which fits any path that carries the least
//! packets every host accepts, and an option to say less would make the packet longer.

use crate::checksum::{Sum, update};
use crate::ip::{self, Fragment, Headers, protocol};
use crate::tunnel::MssRule;

/// Octets of a TCP header without options.
const HEADER_LEN: usize = 20;
const SYN: u8 = 2;

impl MssRule {
    /// Does to `packet` what the rule says; whether anything changed. `inner_mtu` is that of the SA, in octets; while it
    /// is unknown, [`MssRule::Path`] changes nothing.
    #[inline]
    pub fn apply(self, packet: &mut [u8], inner_mtu: Option<usize>) -> bool {
        match self {
            Self::Keep => false,
            Self::Path => inner_mtu.is_some_and(|mtu| clamp_to_mtu(packet, mtu)),
            Self::AtMost(mss) => clamp(packet, mss),
        }
    }
}

/// Lowers the MSS option of a TCP SYN or SYN/ACK to what an inner packet of `mtu` octets carries, IP and TCP headers
/// without options subtracted (RFC 9293 §3.7.1). See [`clamp`].
#[inline]
pub fn clamp_to_mtu(packet: &mut [u8], mtu: usize) -> bool {
    let ip_header = match packet.first().map(|first| first >> 4) {
        Some(4) => ip::V4_LEN,
        Some(6) => ip::V6_LEN,
        _ => return false,
    };
    match mtu.saturating_sub(ip_header + HEADER_LEN) {
        // No MTU that TCP could work with.
        0 => false,
        mss => clamp(packet, u16::try_from(mss).unwrap_or(u16::MAX)),
    }
}

/// Lowers the MSS option of a TCP SYN or SYN/ACK in an IPv4 or IPv6 packet to `mss` octets, and corrects the checksum
/// for it. Returns whether anything changed: not in other packets, nor in malformed ones, nor where it is lower already.
///
/// The checksum in the packet must be a whole one: clamp before a device is asked to complete it, or after.
#[inline]
pub fn clamp(packet: &mut [u8], mss: u16) -> bool {
    lower(packet, mss).unwrap_or(false)
}

fn lower(packet: &mut [u8], mss: u16) -> Option<bool> {
    let headers = Headers::parse(packet)?;
    if headers.chain.protocol != protocol::TCP || headers.chain.fragment == Fragment::Later {
        return None;
    }
    let tcp = packet.get_mut(headers.chain.at..headers.len)?;
    let &[.., data_offset, flags, _, _, _, _, _, _] = tcp.first_chunk::<HEADER_LEN>()?;
    if flags & SYN == 0 {
        return None;
    }
    let header = tcp.get_mut(..usize::from(data_offset >> 4) * 4)?;
    let mut changed = false;
    let mut at = HEADER_LEN;
    loop {
        // RFC 9293 §3.1: end of list, no-operation, then kind, length, value.
        at += match *header.get(at..).unwrap_or_default() {
            [] | [0, ..] => return Some(changed),
            [1, ..] => 1,
            [2, 4, high, low, ..] => {
                let old = u16::from_be_bytes([high, low]);
                if old > mss {
                    write(header, at + 2, old, mss);
                    changed = true;
                }
                4
            }
            [_, len, ..] if len >= 2 => usize::from(len),
            _ => return Some(changed),
        };
    }
}

/// Replaces the word at `at`, and corrects the TCP checksum, whose words begin at even places: a word at an odd one is
/// part of two of them, its octets swapped.
fn write(header: &mut [u8], at: usize, old: u16, new: u16) {
    header[at..at + 2].copy_from_slice(&new.to_be_bytes());
    let place = |word: u16| Sum::word(if at.is_multiple_of(2) { word } else { word.swap_bytes() });
    let checksum = u16::from_be_bytes([header[16], header[17]]);
    header[16..18].copy_from_slice(&update(checksum, place(old), place(new)).to_be_bytes());
}

#[cfg(test)]
mod tests;
