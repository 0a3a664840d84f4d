//! The Internet checksum: ones' complement sums of 16-bit words (RFC 1071, RFC 1624).
//!
//! Sums do not depend on the order of octets in a word but for swapping the result (RFC 1071 §2 B), so that many words
//! are added at once, in the machine's own order.

use std::net::IpAddr;

/// Octets added at a time.
const BLOCK: usize = 32;

/// A sum of words. Additions commute, and whatever is summed has an even length, or is the last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// One word.
    #[inline]
    pub fn word(word: u16) -> Self {
        Self(word.into())
    }

    /// The words of `octets`; an odd one at the end counts as if a zero followed (RFC 1071 §1).
    #[inline]
    pub fn of(octets: &[u8]) -> Self {
        let (blocks, rest) = octets.as_chunks::<BLOCK>();
        // Each lane takes 32 bits at a time, and would overflow after 2³² blocks.
        let mut lanes = [0_u64; BLOCK / 4];
        for block in blocks {
            for (lane, words) in lanes.iter_mut().zip(block.as_chunks().0) {
                *lane += u64::from(u32::from_ne_bytes(*words));
            }
        }
        let (words, odd) = rest.as_chunks();
        let words: u64 = words.iter().map(|word| u64::from(u16::from_ne_bytes(*word))).sum();
        let odd = odd.first().map_or(0, |&last| u16::from_ne_bytes([last, 0]).into());
        let sum = Self(lanes.iter().sum::<u64>() + words + odd);
        Self::word(u16::from_be(sum.fold()))
    }

    /// The words of two addresses.
    #[inline]
    pub fn addresses(source: IpAddr, destination: IpAddr) -> Self {
        let address = |address| match address {
            IpAddr::V4(v4) => Self::of(&v4.octets()),
            IpAddr::V6(v6) => Self::of(&v6.octets()),
        };
        address(source) + address(destination)
    }

    /// The sum as one word; 0 only if all words were.
    #[inline]
    pub fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// What goes into the checksum field for these words, that field as zero among them.
    #[inline]
    pub fn checksum(self) -> u16 {
        !self.fold()
    }
}

impl std::ops::Add for Sum {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

/// The checksum field after the words in `old` became those in `new` (RFC 1624 §3, equation 3). The result is what a
/// computation from all words gives, unless those are all zero.
#[inline]
pub fn update(checksum: u16, old: Sum, new: Sum) -> u16 {
    (Sum::word(!checksum) + Sum::word(!old.fold()) + new).checksum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_sums() {
        // RFC 1071 §3.
        assert_eq!(Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
        assert_eq!(Sum::of(&[0x12, 0x34, 0x56]).fold(), 0x1234 + 0x5600);
        assert_eq!((Sum::default().fold(), Sum::of(&[0xff; 70_000]).fold()), (0, 0xffff));
        // RFC 1624 §4: where the older equation gave 0xffff.
        assert_eq!(update(0xdd2f, Sum::word(0x5555), Sum::word(0x3285)), 0x0000);
    }

    proptest! {
        #[test]
        fn an_update_equals_a_computation(
            octets in prop::collection::vec(any::<u8>(), 4..100),
            at in 0..98usize,
            word: [u8; 2],
        ) {
            let mut octets = octets;
            octets[0] |= 1;
            let at = at.min(octets.len() - 2) & !1;
            let before = Sum::of(&octets);
            let old = Sum::of(&octets[at..at + 2]);
            octets[at..at + 2].copy_from_slice(&word);
            // What no packet is: all zero.
            prop_assume!(octets.iter().any(|&octet| octet != 0));
            prop_assert_eq!(update(before.checksum(), old, Sum::of(&word)), Sum::of(&octets).checksum());
        }
    }
}
