//! A fast keyed hash for small keys: that of the tables on the packet path, here and in the SAD.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Two random numbers that make slots unpredictable: peers have a say in the keys (selectors, packets), and must not
/// be able to choose ones that collide.
#[derive(Clone, Copy)]
pub struct Seed {
    start: u64,
    factor: u64,
}

impl Seed {
    /// New numbers: no two tables agree on their slots.
    pub fn random() -> Self {
        let random = || RandomState::new().hash_one(0);
        Self { start: random(), factor: random() | 1 }
    }
}

/// Says nothing: who knows the numbers can choose collisions.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed")
    }
}

impl BuildHasher for Seed {
    type Hasher = Fold;

    #[inline]
    fn build_hasher(&self) -> Fold {
        Fold { state: self.start, factor: self.factor }
    }
}

/// Multiplies each word by a secret number and folds the two halves of the product; once more at the end, since bits
/// in the middle of a single product run through neighbouring keys like the hand of a clock, and with one secret number
/// in a hundred meet few marks on its face.
pub struct Fold {
    state: u64,
    factor: u64,
}

impl fmt::Debug for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fold")
    }
}

impl Hasher for Fold {
    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.state = fold(self.state ^ word, self.factor);
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }

    fn write(&mut self, octets: &[u8]) {
        for chunk in octets.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_u64(octets.len() as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        fold(self.state, self.factor)
    }
}

#[inline]
fn fold(word: u64, factor: u64) -> u64 {
    let product = u128::from(word) * u128::from(factor);
    (product as u64 ^ (product >> 64) as u64).rotate_left(23)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every bit of the hash is used by someone: the shard, the slot, the slot's tag. None may be biased for keys
    /// that differ little, such as neighbouring host addresses.
    #[test]
    fn no_bit_is_biased() {
        const KEYS: u32 = 4096;
        let seed = Seed::random();
        let mut ones = [0u32; 64];
        for key in 0..KEYS {
            let hash = seed.hash_one(key);
            for (bit, ones) in ones.iter_mut().enumerate() {
                *ones += (hash >> bit & 1) as u32;
            }
        }
        for (bit, ones) in ones.into_iter().enumerate() {
            assert!((KEYS / 4..KEYS * 3 / 4).contains(&ones), "bit {bit} is set in {ones} of {KEYS}");
        }
    }

    /// Neighbouring keys, as a scan of addresses or ports makes them, spread over the slots whatever the secret.
    #[test]
    fn neighbours_spread_evenly() {
        const SLOTS: usize = 256;
        const EACH: u32 = 64;
        for _ in 0..2000 {
            let seed = Seed::random();
            for shift in [0, 24, 56] {
                let mut slots = [0u32; SLOTS];
                (0..SLOTS as u32 * EACH).for_each(|key| slots[(seed.hash_one(key) >> shift) as usize % SLOTS] += 1);
                // A fair draw stays within this but once in 10^10 runs of this test.
                assert!(slots.iter().all(|n| (8..144).contains(n)), "bits {shift}: {slots:?}");
            }
        }
    }

    #[test]
    fn tables_differ() {
        assert_ne!(Seed::random().hash_one(1u32), Seed::random().hash_one(1u32));
    }
}
