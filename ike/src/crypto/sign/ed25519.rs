//! Ed25519 (RFC 8420): signs the octets themselves, so its hash is "identity"; only with method 14.

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair};

use super::{KeyType, Scheme, Signer};
use crate::message::numbers::HashAlgorithm;

/// DER content of id-Ed25519, 1.3.101.112: names the key as well as the signature (RFC 8410 §3).
pub(super) const OID: &[u8] = &[0x2b, 101, 112];

pub(super) const ROW: Scheme = Scheme {
    name: "Ed25519",
    key: KeyType::Ed25519,
    hash: HashAlgorithm::IDENTITY,
    algorithm: &[0x30, 0x05, 0x06, 0x03, 0x2b, 101, 112],
    method: None,
    signs: true,
    verify: &ED25519,
};

impl Signer for Ed25519KeyPair {
    fn sign(&self, _: &Scheme, _: bool, message: &[u8], _: &SystemRandom) -> Option<Vec<u8>> {
        Some(Ed25519KeyPair::sign(self, message).as_ref().to_vec())
    }
}
