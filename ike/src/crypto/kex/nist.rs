//! 256-bit and 384-bit random ECP groups, 19 and 20 (RFC 5903), through `ring`.
//!
//! A public value is `x | y` without the leading 0x04 of SEC1 (RFC 5903 §7); the shared secret is `x` alone (§9).
//! `ring` checks that the peer's point is on the curve (RFC 6989 §2.3) and draws private keys from the operating
//! system.

use rand::CryptoRng;
use ring::agreement::{self, Algorithm, ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey};
use ring::rand::SystemRandom;

use super::{Kex, KexError, Pending};
use crate::secret::Secret;

pub(super) const P256: Kex = Kex {
    id: 19,
    keyword: "ecp256",
    name: "ECP_256",
    offer_len: 64,
    answer_len: 64,
    offer: |_: &mut dyn CryptoRng| offer(&ECDH_P256),
    answer: |_, public| answer(&ECDH_P256, public),
};

pub(super) const P384: Kex = Kex {
    id: 20,
    keyword: "ecp384",
    name: "ECP_384",
    offer_len: 96,
    answer_len: 96,
    offer: |_: &mut dyn CryptoRng| offer(&ECDH_P384),
    answer: |_, public| answer(&ECDH_P384, public),
};

/// SEC1 tag of an uncompressed point, absent from KE data.
const UNCOMPRESSED: u8 = 4;

fn offer(curve: &'static Algorithm) -> Result<(Box<dyn Pending>, Vec<u8>), KexError> {
    let private = EphemeralPrivateKey::generate(curve, &SystemRandom::new()).map_err(|_| KexError::Rng)?;
    let public = public(&private)?;
    Ok((Box::new(private), public))
}

fn answer(curve: &'static Algorithm, offer: &[u8]) -> Result<(Vec<u8>, Secret), KexError> {
    let private = EphemeralPrivateKey::generate(curve, &SystemRandom::new()).map_err(|_| KexError::Rng)?;
    let public = public(&private)?;
    Ok((public, agree(private, offer)?))
}

impl Pending for EphemeralPrivateKey {
    fn complete(self: Box<Self>, answer: &[u8]) -> Result<Secret, KexError> {
        agree(*self, answer)
    }
}

fn public(private: &EphemeralPrivateKey) -> Result<Vec<u8>, KexError> {
    let point = private.compute_public_key().map_err(|_| KexError::Rng)?;
    point.as_ref().strip_prefix(&[UNCOMPRESSED]).map(<[u8]>::to_vec).ok_or(KexError::Invalid)
}

fn agree(private: EphemeralPrivateKey, peer: &[u8]) -> Result<Secret, KexError> {
    let curve = private.algorithm();
    let point = [&[UNCOMPRESSED], peer].concat();
    agreement::agree_ephemeral(private, &UnparsedPublicKey::new(curve, point), |x| Secret::new(x.to_vec()))
        .map_err(|_| KexError::Invalid)
}
