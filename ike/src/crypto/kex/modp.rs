//! MODP groups 14, 15 and 16 (RFC 3526): 2048, 3072 and 4096 bits, generator 2.
//!
//! Public values and the shared secret are as long as the prime, zero-padded in front (RFC 7296 §2.14, §3.4).
//! Exponents are 256, 320 and 384 bits, at least twice the strength of the group (RFC 3526 §8), fresh for every
//! exchange; arithmetic is Montgomery in constant time. The primes are safe, so that the only small subgroup is
//! {1, p-1}: `1 < y < p-1` is the whole check of a peer's value (RFC 6989 §2.1).

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U2048, U3072, U4096, Uint};
use rand::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use super::{Answered, Kex, KexError, Offered, Pending};
use crate::secret::Secret;

/// Limbs of the longest exponent.
const EXPONENT_LIMBS: usize = crypto_bigint::U384::LIMBS;

/// A secret exponent, wiped when dropped.
type Exponent = Zeroizing<Uint<EXPONENT_LIMBS>>;

/// A group over a prime of `N` limbs.
struct Group<const N: usize> {
    params: FixedMontyParams<N>,
    exponent_bits: u32,
}

static GROUP_14: Group<{ U2048::LIMBS }> = Group::new(PRIME_2048, 256);
static GROUP_15: Group<{ U3072::LIMBS }> = Group::new(PRIME_3072, 320);
static GROUP_16: Group<{ U4096::LIMBS }> = Group::new(PRIME_4096, 384);

pub(super) const MODP_2048: Kex = Kex {
    id: 14,
    keyword: "modp2048",
    name: "MODP_2048",
    offer_len: 256,
    answer_len: 256,
    offer: |rng| offer(&GROUP_14, rng),
    answer: |rng, public| answer(&GROUP_14, rng, public),
};

pub(super) const MODP_3072: Kex = Kex {
    id: 15,
    keyword: "modp3072",
    name: "MODP_3072",
    offer_len: 384,
    answer_len: 384,
    offer: |rng| offer(&GROUP_15, rng),
    answer: |rng, public| answer(&GROUP_15, rng, public),
};

pub(super) const MODP_4096: Kex = Kex {
    id: 16,
    keyword: "modp4096",
    name: "MODP_4096",
    offer_len: 512,
    answer_len: 512,
    offer: |rng| offer(&GROUP_16, rng),
    answer: |rng, public| answer(&GROUP_16, rng, public),
};

impl<const N: usize> Group<N> {
    const fn new(prime: &str, exponent_bits: u32) -> Self {
        Self { params: FixedMontyParams::new_vartime(Odd::<Uint<N>>::from_be_hex(prime)), exponent_bits }
    }

    /// Octets of the prime, and so of every value on the wire.
    const LEN: usize = N * size_of::<crypto_bigint::Word>();

    /// `base ^ exponent mod p`, as wire octets.
    fn power(&self, base: &Uint<N>, exponent: &Exponent) -> Vec<u8> {
        let mut power = FixedMontyForm::new(base, &self.params).pow_bounded_exp(exponent, self.exponent_bits);
        let mut value = power.retrieve();
        let octets = to_octets(&value);
        value.zeroize();
        power.zeroize();
        octets
    }

    /// A fresh exponent of `exponent_bits` random bits.
    fn exponent(&self, rng: &mut dyn CryptoRng) -> Exponent {
        let mut words = [0; EXPONENT_LIMBS];
        for word in words.iter_mut().take(self.exponent_bits as usize / 64) {
            *word = rng.next_u64();
        }
        let exponent = Zeroizing::new(Uint::from_words(words));
        words.zeroize();
        exponent
    }

    fn agree(&self, exponent: &Exponent, peer: &[u8]) -> Result<Secret, KexError> {
        if peer.len() != Self::LEN {
            return Err(KexError::Length);
        }
        let y = from_octets(peer);
        // The peer's value is public: comparing it needs no care about time.
        let p_minus_1 = self.params.modulus().as_ref().wrapping_sub(&Uint::ONE);
        if y <= Uint::ONE || y >= p_minus_1 {
            return Err(KexError::Invalid);
        }
        Ok(Secret::new(self.power(&y, exponent)))
    }
}

/// An offer's private half.
struct Private<const N: usize> {
    group: &'static Group<N>,
    exponent: Exponent,
}

fn offer<const N: usize>(group: &'static Group<N>, rng: &mut dyn CryptoRng) -> Result<Offered, KexError> {
    let exponent = group.exponent(rng);
    let public = group.power(&Uint::from_u8(2), &exponent);
    Ok((Box::new(Private { group, exponent }), public))
}

fn answer<const N: usize>(
    group: &'static Group<N>,
    rng: &mut dyn CryptoRng,
    offer: &[u8],
) -> Result<Answered, KexError> {
    let exponent = group.exponent(rng);
    let shared = group.agree(&exponent, offer)?;
    Ok((group.power(&Uint::from_u8(2), &exponent), shared))
}

impl<const N: usize> Pending for Private<N> {
    fn complete(self: Box<Self>, answer: &[u8]) -> Result<Secret, KexError> {
        self.group.agree(&self.exponent, answer)
    }
}

/// Big-endian octets of `value`, all of them.
fn to_octets<const N: usize>(value: &Uint<N>) -> Vec<u8> {
    value.as_words().iter().rev().flat_map(|word| word.to_be_bytes()).collect()
}

/// The number in big-endian `octets`, as many as the type holds.
fn from_octets<const N: usize>(octets: &[u8]) -> Uint<N> {
    let mut words = [0; N];
    for (word, octets) in words.iter_mut().zip(octets.rchunks_exact(size_of::<crypto_bigint::Word>())) {
        *word = octets.iter().fold(0, |word, octet| (word << 8) | crypto_bigint::Word::from(*octet));
    }
    Uint::from_words(words)
}

#[cfg(test)]
mod tests;

/// RFC 3526 §3.
const PRIME_2048: &str = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF95\
     19B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB\
     5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3\
     AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E8603\
     9B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFF\
     FFFFFFFFFFFF";

/// RFC 3526 §4.
const PRIME_3072: &str = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF95\
     19B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB\
     5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3\
     AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E8603\
     9B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33\
     170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7ABF5AE8CDB0933D71E8C94E0\
     4A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD9\
     46E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF";

/// RFC 3526 §5.
const PRIME_4096: &str = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF95\
     19B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB\
     5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3\
     AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E8603\
     9B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33\
     170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7ABF5AE8CDB0933D71E8C94E0\
     4A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD9\
     46E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D788719A10BDBA5B2699C327186AF4E23C\
     1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6287C59474E6BC05D99B2964FA090C3A2233B\
     A186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA993B4EA988D8FDDC186FFB7DC90A6C08F4DF435C9\
     34063199FFFFFFFFFFFFFFFF";
