//! 521-bit random ECP group, 21 (RFC 5903).
//!
//! A public value is `x | y`, 66 octets each (RFC 5903 §7); the shared secret is `x` (§9).

use p521::elliptic_curve::Generate;
use p521::{PublicKey, Sec1Point, SecretKey};
use rand::CryptoRng;

use super::{Kex, KexError, Pending};
use crate::secret::Secret;

/// Octets of a coordinate.
const LEN: usize = 66;

pub(super) const ROW: Kex =
    Kex { id: 21, keyword: "ecp521", name: "ECP_521", offer_len: 2 * LEN, answer_len: 2 * LEN, offer, answer };

struct Private(SecretKey);

fn offer(rng: &mut dyn CryptoRng) -> Result<(Box<dyn Pending>, Vec<u8>), KexError> {
    let private = SecretKey::generate_from_rng(rng);
    let public = public(&private);
    Ok((Box::new(Private(private)), public))
}

fn answer(rng: &mut dyn CryptoRng, offer: &[u8]) -> Result<(Vec<u8>, Secret), KexError> {
    let private = SecretKey::generate_from_rng(rng);
    Ok((public(&private), agree(&private, offer)?))
}

impl Pending for Private {
    fn complete(self: Box<Self>, answer: &[u8]) -> Result<Secret, KexError> {
        agree(&self.0, answer)
    }
}

fn public(private: &SecretKey) -> Vec<u8> {
    let point = Sec1Point::from(private.public_key());
    point.as_bytes()[1..].to_vec()
}

/// Parsing the peer's point checks that it is on the curve and not the identity (RFC 6989 §2.3); the cofactor is 1.
fn agree(private: &SecretKey, peer: &[u8]) -> Result<Secret, KexError> {
    let point = [&[4], peer].concat();
    let peer = PublicKey::from_sec1_bytes(&point).map_err(|_| KexError::Invalid)?;
    let shared = p521::ecdh::diffie_hellman(private.to_nonzero_scalar(), peer.as_affine());
    Ok(Secret::new(shared.raw_secret_bytes().to_vec()))
}
