//! Signatures (RFC 7427, RFC 8420, RFC 4754): key types, and the schemes that they sign with.
//!
//! A [`Scheme`] is one row: a key type, a hash, and the AlgorithmIdentifier that names the pair. [`PrivateKey`] makes
//! signatures, [`PublicKey`] checks them. All of it through `ring`, which signs ECDSA only with the hash of the
//! curve's own size, and never signs with SHA-1.

use ring::rand::SystemRandom;
use ring::signature::{UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::message::numbers::{AuthMethod, HashAlgorithm};

pub(crate) mod der;
mod ecdsa;
mod ed25519;
mod key;
mod rsa;
#[cfg(test)]
mod tests;

pub use key::KeyError;

/// Types of signature keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// RSA, 2048 to 8192 bits.
    Rsa,
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
}

impl KeyType {
    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::EcdsaP256 => "ECDSA P-256",
            Self::EcdsaP384 => "ECDSA P-384",
            Self::Ed25519 => "Ed25519",
        }
    }
}

/// A row of the signature registry.
pub struct Scheme {
    /// Its name for people.
    pub name: &'static str,
    /// The keys that sign with it.
    pub key: KeyType,
    /// Its number in SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4).
    pub hash: HashAlgorithm,
    /// DER of the AlgorithmIdentifier that we send in front of a signature (RFC 7427 §3, Appendix A).
    pub algorithm: &'static [u8],
    /// The older Auth Method for the same, and how that encodes the signature (RFC 7296 §3.8, RFC 4754 §7).
    pub method: Option<(AuthMethod, &'static dyn VerificationAlgorithm)>,
    /// Whether we sign with it; all are verified.
    pub signs: bool,
    verify: &'static dyn VerificationAlgorithm,
}

/// All schemes; of those that one key can sign with, the most wanted first (RFC 8247 §3.2).
pub static SCHEMES: &[Scheme] = &[
    rsa::PSS_SHA256,
    rsa::PSS_SHA384,
    rsa::PSS_SHA512,
    rsa::PKCS1_SHA256,
    rsa::PKCS1_SHA384,
    rsa::PKCS1_SHA512,
    ecdsa::P256_SHA256,
    ecdsa::P384_SHA384,
    ecdsa::P256_SHA384,
    ecdsa::P384_SHA256,
    ed25519::ROW,
];

impl Scheme {
    /// The schemes of one key type, the most wanted first.
    pub fn of(key: KeyType) -> impl Iterator<Item = &'static Self> {
        SCHEMES.iter().filter(move |row| row.key == key)
    }

    /// The scheme of a `key` that `algorithm`, the DER of an AlgorithmIdentifier, names.
    pub fn named(key: KeyType, algorithm: &[u8]) -> Option<&'static Self> {
        // RFC 7427 §3: generate as in Appendix A, but expect what else the RFCs of the algorithms allow.
        Self::of(key).find(|row| row.algorithm == algorithm || rsa::same_algorithm(row.algorithm, algorithm))
    }

    /// Whether this is RSASSA-PKCS1-v1_5.
    pub fn is_pkcs1(&self) -> bool {
        self.key == KeyType::Rsa && self.method.is_some()
    }
}

impl std::fmt::Debug for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a private key of any type can do.
trait Signer: Send + Sync {
    /// Signs `message` by `scheme`; with `fixed`, encoded as the older Auth Methods want it.
    fn sign(&self, scheme: &Scheme, fixed: bool, message: &[u8], rng: &SystemRandom) -> Option<Vec<u8>>;
}

/// A private key, checked to belong to a public one.
///
/// Parsed keys live in `ring`, which does not wipe them when they are dropped.
pub struct PrivateKey {
    key: KeyType,
    signer: Box<dyn Signer>,
}

impl PrivateKey {
    /// Its type.
    pub fn key_type(&self) -> KeyType {
        self.key
    }

    /// Signs `message`, in the encoding of method 14 (RFC 7427), or with `fixed` in that of the scheme's older
    /// method. `None` if the random number generator fails, or `scheme` is not for this key.
    pub fn sign(&self, scheme: &Scheme, fixed: bool, message: &[u8]) -> Option<Vec<u8>> {
        if scheme.key != self.key || !scheme.signs {
            return None;
        }
        self.signer.sign(scheme, fixed, message, &SystemRandom::new())
    }
}

/// A public key of a type that we verify with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: KeyType,
    /// Content of the subjectPublicKey.
    octets: Vec<u8>,
}

impl PublicKey {
    /// From a certificate's SubjectPublicKeyInfo; `None` for key types and sizes that we do not verify with.
    pub fn from_spki(spki: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let parameters = spki.algorithm.parameters.as_ref().map(|any| any.data);
        let key = match spki.algorithm.algorithm.as_bytes() {
            rsa::KEY_OID => match spki.parsed() {
                Ok(x509_parser::public_key::PublicKey::RSA(key)) if (2048..=8192).contains(&key.key_size()) => {
                    KeyType::Rsa
                }
                _ => return None,
            },
            ed25519::OID => KeyType::Ed25519,
            ecdsa::KEY_OID => match parameters {
                Some(ecdsa::P256_OID) => KeyType::EcdsaP256,
                Some(ecdsa::P384_OID) => KeyType::EcdsaP384,
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { key, octets: spki.subject_public_key.data.to_vec() })
    }

    /// Its type.
    pub fn key_type(&self) -> KeyType {
        self.key
    }

    /// Whether `signature`, in the encoding of method 14, is this key's over `message`.
    pub fn verify(&self, scheme: &Scheme, message: &[u8], signature: &[u8]) -> bool {
        scheme.key == self.key && self.check(scheme.verify, message, signature)
    }

    /// Whether `signature` is this key's over `message`, as the older Auth `method` has it; `None` if the method is
    /// not one of this key's.
    pub fn verify_older(&self, method: AuthMethod, message: &[u8], signature: &[u8]) -> Option<bool> {
        let mut algorithms = Scheme::of(self.key).filter_map(|row| row.method).filter(|row| row.0 == method).peekable();
        algorithms.peek()?;
        Some(algorithms.any(|(_, algorithm)| self.check(algorithm, message, signature)))
    }

    /// Whether `signature` would be good if we accepted SHA-1: only to tell the operator.
    pub fn is_rsa_sha1(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key == KeyType::Rsa && self.check(rsa::SHA1, message, signature)
    }

    fn check(&self, algorithm: &'static dyn VerificationAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(algorithm, &self.octets).verify(message, signature).is_ok()
    }
}
