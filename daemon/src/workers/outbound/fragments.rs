//! Fragments on the way out (RFC 4301 §7): put together where policy or SA needs the whole packet, and packets that
//! were put together, cut again where they leave in the clear.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use cygnet_esp::PacketBuf;
use cygnet_spd::reassembly::{Counters, Loss, Progress, Reassembler};

/// Largest IP packet.
pub(super) const MAX_PACKET: usize = 65_535;

/// Where fragments of all workers meet: the device deals those of one packet out to any of them.
#[derive(Debug)]
pub struct Fragments {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    reassembler: Reassembler,
    whole: Vec<u8>,
}

impl Fragments {
    /// None yet.
    pub fn new() -> Self {
        let inner = Inner { reassembler: Reassembler::new(), whole: Vec::with_capacity(2 * MAX_PACKET) };
        Self { inner: Mutex::new(inner) }
    }

    /// Takes a fragment. `Ok(true)` if `whole` now holds the packet that it made complete.
    pub(super) fn add(&self, fragment: &[u8], now: Instant, whole: &mut PacketBuf) -> Result<bool, Loss> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { reassembler, whole: made } = &mut *inner;
        match reassembler.push(fragment, now, made) {
            Progress::Kept => Ok(false),
            Progress::Dropped(loss) => Err(loss),
            Progress::Whole => {
                whole.clear();
                whole.extend(made).map(|()| true).map_err(|_| Loss::TooLarge)
            }
        }
    }

    /// Packets by their end.
    pub fn counters(&self) -> Counters {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).reassembler.counters()
    }
}

impl Default for Fragments {
    fn default() -> Self {
        Self::new()
    }
}

const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;
/// RFC 8200 §4.5.
const FRAGMENT_HEADER: usize = 8;
const FRAGMENT: u8 = 44;

/// Cuts a whole packet into fragments of at most `mtu` octets each, and hands them to `each` in `buffer`. An IPv6
/// packet gets `id`, an IPv4 packet has one. `None` if it can't be read, or `mtu` has no room for eight octets of it.
pub(super) fn cut(packet: &[u8], mtu: usize, id: u32, buffer: &mut [u8], mut each: impl FnMut(&[u8])) -> Option<()> {
    let v4 = packet.first()? >> 4 == 4;
    let (head_len, next_at) = if v4 { (usize::from(packet[0] & 0xf) * 4, 0) } else { per_fragment_headers(packet)? };
    let extra = if v4 { 0 } else { FRAGMENT_HEADER };
    let (head, data) = packet.split_at_checked(head_len)?;
    let size = mtu.checked_sub(head_len + extra)? & !7;
    if size == 0 || head_len < if v4 { V4_HEADER } else { V6_HEADER } {
        return None;
    }
    let count = data.chunks(size).len();
    for (n, piece) in data.chunks(size).enumerate() {
        let fragment = buffer.get_mut(..head_len + extra + piece.len())?;
        fragment.get_mut(..head_len)?.copy_from_slice(head);
        fragment.get_mut(head_len + extra..)?.copy_from_slice(piece);
        let (offset, more) = ((n * size) as u16, n + 1 < count);
        if v4 {
            let len = fragment.len() as u16;
            fragment[2..4].copy_from_slice(&len.to_be_bytes());
            fragment[6..8].copy_from_slice(&((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
            fragment[10..12].fill(0);
            let sum = checksum(fragment.get(..head_len)?);
            fragment[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            let len = (fragment.len() - V6_HEADER) as u16;
            fragment[4..6].copy_from_slice(&len.to_be_bytes());
            let next = std::mem::replace(fragment.get_mut(next_at)?, FRAGMENT);
            let header = fragment.get_mut(head_len..head_len + FRAGMENT_HEADER)?;
            header[..2].copy_from_slice(&[next, 0]);
            header[2..4].copy_from_slice(&(offset | u16::from(more)).to_be_bytes());
            header[4..].copy_from_slice(&id.to_be_bytes());
        }
        each(fragment);
    }
    Some(())
}

/// The length of the headers that every fragment of an IPv6 packet repeats, and where they name what follows
/// (RFC 8200 §4.5): up to the routing header, or else the hop-by-hop options.
fn per_fragment_headers(packet: &[u8]) -> Option<(usize, usize)> {
    let (mut found, mut at, mut next_at) = ((V6_HEADER, 6), V6_HEADER, 6);
    loop {
        let next = *packet.get(next_at)?;
        if !matches!(next, 0 | 43 | 60) {
            return Some(found);
        }
        next_at = at;
        at += 8 + usize::from(*packet.get(at + 1)?) * 8;
        if next != 60 {
            found = (at, next_at);
        }
    }
}

/// RFC 1071. A header has an even number of octets.
fn checksum(header: &[u8]) -> u16 {
    let mut sum: u32 = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v4(data: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x46, 0, 0, 0, 7, 7, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 0];
        let len = (packet.len() + data.len()) as u16;
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        [&packet, data].concat()
    }

    /// With hop-by-hop options, then destination options that belong to the fragmented part.
    fn v6(data: &[u8], options: bool) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, 17, 64];
        packet.extend([[0xfd; 16], [0xfe; 16]].concat());
        if options {
            packet[6] = 0;
            packet.extend([60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0]);
        }
        packet.extend(data);
        let len = (packet.len() - 40) as u16;
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        packet
    }

    proptest! {
        // What is cut can be put together again, by whoever wrote that.
        #[test]
        fn pieces_make_the_packet(len in 16usize..9000, mtu in 576usize..1600, kind in 0..3, id: u32) {
            let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let packet = match kind {
                0 => v4(&data),
                1 => v6(&data, false),
                _ => v6(&data, true),
            };
            let (fragments, mut whole) = (Fragments::new(), PacketBuf::for_mtu(MAX_PACKET));
            let (mut buffer, mut done, mut count) = ([0; 2000], false, 0);
            let result = cut(&packet, mtu, id, &mut buffer, |fragment| {
                assert!(!done && fragment.len() <= mtu);
                count += 1;
                if packet.len() > mtu {
                    done = fragments.add(fragment, Instant::now(), &mut whole).expect("a sound fragment");
                }
            });
            prop_assert!(result.is_some());
            if packet.len() > mtu {
                prop_assert!(done && count > 1);
                prop_assert_eq!(whole.data(), &packet[..]);
            }
        }

        #[test]
        fn no_octets_make_it_panic(packet in prop::collection::vec(any::<u8>(), 0..200), mtu in 0usize..200) {
            let _ = cut(&packet, mtu, 0, &mut [0; 100], |_| ());
        }
    }
}
