//! The key schedule (RFC 7296 §2.14, §2.17, §2.18): pure functions over a [`Prf`], stages consumed by value.
//!
//! ```text
//! g^ir, Ni, Nr ─► SkeySeed ─expand─► IkeKeys { SK_d, SK_a*, SK_e*, SK_p* }
//!                    ▲                   │ SK_d ─► ChildKeys (KEYMAT), any number of times
//!                    └───── rekeyed ─────┘ SK_d, new g^ir
//! ```
//!
//! A spent stage is moved out of reach and wiped. An additional key exchange (RFC 9370 §2.2.2) would be one more
//! `SkeySeed::rekeyed`, because its derivation is the same.

use cygnet_esp::Encr;

use super::prf::Prf;
use crate::message::IkeSpi;
use crate::secret::Secret;

/// Key lengths that a cipher asks of the schedule, octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLengths {
    /// Encryption key, salt included (RFC 5282 §7.1, RFC 4106 §8.1).
    pub encr: usize,
    /// Integrity key; 0 for an AEAD (RFC 5282 §7.1).
    pub integ: usize,
}

impl From<&Encr> for KeyLengths {
    fn from(row: &Encr) -> Self {
        Self { encr: row.encryption_len(), integ: row.integ_key_len }
    }
}

/// What both sides contributed in the clear: nonces and IKE SPIs, the seed of every expansion.
#[derive(Debug, Clone, Copy)]
pub struct Nonces<'a> {
    /// Nonce data of the exchange's initiator.
    pub ni: &'a [u8],
    /// Nonce data of the exchange's responder.
    pub nr: &'a [u8],
}

/// SKEYSEED, from which all keys of one IKE SA come. Consumed by [`SkeySeed::expand`].
pub struct SkeySeed {
    prf: &'static Prf,
    seed: Secret,
}

impl SkeySeed {
    /// `SKEYSEED = prf(Ni | Nr, g^ir)` (RFC 7296 §2.14).
    ///
    /// Our PRFs take keys of any length, so that nonces are used whole.
    pub fn initial(prf: &'static Prf, shared: Secret, nonces: Nonces<'_>) -> Self {
        let key = [nonces.ni, nonces.nr].concat();
        Self { prf, seed: prf.prf(&key, &[shared.expose()]) }
    }

    /// `SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr)` (RFC 7296 §2.18).
    ///
    /// The old SA's PRF makes the seed; `prf`, negotiated for the new SA, expands it.
    pub fn rekeyed(old: &SkD, prf: &'static Prf, shared: Secret, nonces: Nonces<'_>) -> Self {
        let seed = old.prf.prf(old.key.expose(), &[shared.expose(), nonces.ni, nonces.nr]);
        Self { prf, seed }
    }

    /// `{SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)`
    /// (RFC 7296 §2.14).
    pub fn expand(self, lengths: KeyLengths, nonces: Nonces<'_>, spi_i: IkeSpi, spi_r: IkeSpi) -> IkeKeys {
        let KeyLengths { encr, integ } = lengths;
        let n = self.prf.len;
        let (spi_i, spi_r) = (spi_i.0.to_be_bytes(), spi_r.0.to_be_bytes());
        let seed: [&[u8]; 4] = [nonces.ni, nonces.nr, &spi_i, &spi_r];
        let all = self.prf.prf_plus(self.seed.expose(), &seed, 3 * n + 2 * integ + 2 * encr);
        let mut keys = Cut(all.expose());
        IkeKeys {
            sk_d: SkD { prf: self.prf, key: keys.next(n) },
            sk_ai: keys.next(integ),
            sk_ar: keys.next(integ),
            sk_ei: keys.next(encr),
            sk_er: keys.next(encr),
            sk_pi: SkP { prf: self.prf, key: keys.next(n) },
            sk_pr: SkP { prf: self.prf, key: keys.next(n) },
        }
    }
}

/// The keys of an IKE SA. `i` is the SA's initiator, `r` its responder.
pub struct IkeKeys {
    /// Source of Child SA keys and of the successor's seed.
    pub sk_d: SkD,
    /// Integrity key of the initiator's messages; empty for an AEAD.
    pub sk_ai: Secret,
    /// Integrity key of the responder's messages; empty for an AEAD.
    pub sk_ar: Secret,
    /// Encryption key of the initiator's messages, salt included.
    pub sk_ei: Secret,
    /// Encryption key of the responder's messages, salt included.
    pub sk_er: Secret,
    /// Key of the initiator's AUTH payload.
    pub sk_pi: SkP,
    /// Key of the responder's AUTH payload.
    pub sk_pr: SkP,
}

/// SK_d with the PRF it belongs to.
pub struct SkD {
    prf: &'static Prf,
    key: Secret,
}

impl SkD {
    /// `KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr)` (RFC 7296 §2.17): the initiator's direction first, in each the
    /// encryption key (with salt) before the integrity key.
    ///
    /// `i` and `r` are the sides of the exchange that made the Child SA, whoever made the IKE SA.
    pub fn child_keys(&self, lengths: KeyLengths, shared: Option<Secret>, nonces: Nonces<'_>) -> ChildKeys {
        let KeyLengths { encr, integ } = lengths;
        let shared = shared.as_ref().map_or(&[][..], Secret::expose);
        let all = self.prf.prf_plus(self.key.expose(), &[shared, nonces.ni, nonces.nr], 2 * (encr + integ));
        let mut keys = Cut(all.expose());
        ChildKeys {
            initiator: DirectionKeys { encr: keys.next(encr), integ: keys.next(integ) },
            responder: DirectionKeys { encr: keys.next(encr), integ: keys.next(integ) },
        }
    }

    /// The PRF of the IKE SA.
    pub fn prf(&self) -> &'static Prf {
        self.prf
    }
}

/// SK_pi or SK_pr, with the PRF it belongs to.
pub struct SkP {
    prf: &'static Prf,
    key: Secret,
}

impl SkP {
    /// `prf(SK_p, data)`: MACedIDForI, MACedIDForR (RFC 7296 §2.15).
    pub fn mac(&self, data: &[u8]) -> Secret {
        self.prf.prf(self.key.expose(), &[data])
    }

    /// The PRF of the IKE SA.
    pub fn prf(&self) -> &'static Prf {
        self.prf
    }
}

/// Keys of both directions of a Child SA.
pub struct ChildKeys {
    /// For what the exchange's initiator sends.
    pub initiator: DirectionKeys,
    /// For what the exchange's responder sends.
    pub responder: DirectionKeys,
}

/// Keys of one direction.
pub struct DirectionKeys {
    /// Encryption key, salt included.
    pub encr: Secret,
    /// Integrity key; empty for an AEAD.
    pub integ: Secret,
}

/// Cuts keys off the front of expanded material, in order.
struct Cut<'a>(&'a [u8]);

impl Cut<'_> {
    fn next(&mut self, len: usize) -> Secret {
        let (key, rest) = self.0.split_at(len);
        self.0 = rest;
        Secret::new(key.to_vec())
    }
}

#[cfg(test)]
mod tests;
