//! ECDSA on P-256 and P-384 (RFC 7427 Appendix A.3; as methods 9 and 10, RFC 4754).
//!
//! Method 14 carries `Ecdsa-Sig-Value`, methods 9 and 10 `r | s` of fixed length.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
};

use super::{KeyError, KeyType, PublicKey, Scheme, Signer};
use crate::message::numbers::{AuthMethod, HashAlgorithm};

/// DER content of id-ecPublicKey, 1.2.840.10045.2.1.
pub(super) const KEY_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// DER content of secp256r1, 1.2.840.10045.3.1.7.
pub(super) const P256_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// DER content of secp384r1, 1.3.132.0.34.
pub(super) const P384_OID: &[u8] = &[0x2b, 0x81, 0x04, 0, 34];

/// ecdsa-with-SHA256.
const SHA256_ID: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
/// ecdsa-with-SHA384.
const SHA384_ID: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];

pub(super) const P256_SHA256: Scheme = Scheme {
    name: "ECDSA P-256 with SHA2-256",
    key: KeyType::EcdsaP256,
    hash: HashAlgorithm::SHA2_256,
    algorithm: SHA256_ID,
    method: Some((AuthMethod::ECDSA_P256, &ECDSA_P256_SHA256_FIXED)),
    signs: true,
    verify: &ECDSA_P256_SHA256_ASN1,
};

pub(super) const P384_SHA384: Scheme = Scheme {
    name: "ECDSA P-384 with SHA2-384",
    key: KeyType::EcdsaP384,
    hash: HashAlgorithm::SHA2_384,
    algorithm: SHA384_ID,
    method: Some((AuthMethod::ECDSA_P384, &ECDSA_P384_SHA384_FIXED)),
    signs: true,
    verify: &ECDSA_P384_SHA384_ASN1,
};

pub(super) const P256_SHA384: Scheme = Scheme {
    name: "ECDSA P-256 with SHA2-384",
    key: KeyType::EcdsaP256,
    hash: HashAlgorithm::SHA2_384,
    algorithm: SHA384_ID,
    method: None,
    signs: false,
    verify: &ECDSA_P256_SHA384_ASN1,
};

pub(super) const P384_SHA256: Scheme = Scheme {
    name: "ECDSA P-384 with SHA2-256",
    key: KeyType::EcdsaP384,
    hash: HashAlgorithm::SHA2_256,
    algorithm: SHA256_ID,
    method: None,
    signs: false,
    verify: &ECDSA_P384_SHA256_ASN1,
};

/// A key pair in both encodings, which `ring` ties to the key.
struct Pair {
    asn1: EcdsaKeyPair,
    fixed: EcdsaKeyPair,
}

/// From the private scalar; `ring` refuses one that does not belong to `public`.
pub(super) fn signer(scalar: &[u8], public: &PublicKey) -> Result<Box<dyn Signer>, KeyError> {
    let (asn1, fixed) = match public.key {
        KeyType::EcdsaP256 => (&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_FIXED_SIGNING),
        KeyType::EcdsaP384 => (&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_FIXED_SIGNING),
        KeyType::Rsa | KeyType::Ed25519 => return Err(KeyError::OtherType(public.key)),
    };
    let rng = SystemRandom::new();
    let pair = |algorithm| {
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, scalar, &public.octets, &rng)
            .map_err(|_| KeyError::Mismatch)
    };
    Ok(Box::new(Pair { asn1: pair(asn1)?, fixed: pair(fixed)? }))
}

impl Signer for Pair {
    fn sign(&self, _: &Scheme, fixed: bool, message: &[u8], rng: &SystemRandom) -> Option<Vec<u8>> {
        let pair = if fixed { &self.fixed } else { &self.asn1 };
        Some(pair.sign(rng, message).ok()?.as_ref().to_vec())
    }
}
