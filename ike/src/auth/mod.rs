//! Authentication of the IKE SA (RFC 7296 §2.15, RFC 7427): what is signed, and the proofs.
//!
//! ```text
//! signed_octets ─┬─ psk::prove ────────┐             ┌─ psk::verify
//!                └─ Credential::sign ──┴─► Proof ────┴─ PeerKey::verify ◄─ Authorities::validate ◄─ CERT payloads
//! ```

use std::fmt;

use crate::message::numbers::{AuthMethod, HashAlgorithm};

mod authorities;
mod certificate;
mod credential;
mod pem;
pub mod psk;
mod signature;
mod signed_octets;
#[cfg(test)]
mod tests;

pub use authorities::{Authorities, PeerKey};
pub use certificate::CertificateError;
pub use credential::{Credential, CredentialError};
pub use signed_octets::signed_octets;

/// What we can verify: the content of our SIGNATURE_HASH_ALGORITHMS notification (RFC 7427 §4).
pub const SIGNATURE_HASHES: [HashAlgorithm; 4] =
    [HashAlgorithm::SHA2_256, HashAlgorithm::SHA2_384, HashAlgorithm::SHA2_512, HashAlgorithm::IDENTITY];

/// Notification Data of SIGNATURE_HASH_ALGORITHMS for `hashes`.
pub fn encode_hashes(hashes: &[HashAlgorithm]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0.to_be_bytes()).collect()
}

/// The hashes in the Notification Data of a peer's SIGNATURE_HASH_ALGORITHMS; an odd octet at the end is ignored.
pub fn decode_hashes(data: &[u8]) -> Vec<HashAlgorithm> {
    data.as_chunks().0.iter().map(|number| HashAlgorithm(u16::from_be_bytes(*number))).collect()
}

/// The content of an AUTH payload (RFC 7296 §3.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Auth Method.
    pub method: AuthMethod,
    /// Authentication Data.
    pub data: Vec<u8>,
}

/// Why a proof could not be made, or did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    /// The proof is wrong: another secret, another key, or another message.
    Mismatch,
    /// The peer used an Auth Method that does not fit its key or our configuration.
    UnexpectedMethod(AuthMethod),
    /// The peer signed with an algorithm that we do not accept; what it was.
    UnsupportedAlgorithm(String),
    /// The peer signed with SHA-1.
    Sha1,
    /// The peer verifies no hash that our key can sign with (RFC 7427 §4); our key, and what it needs.
    NoCommonHash(&'static str, Vec<HashAlgorithm>),
    /// The Authentication Data does not parse (RFC 7427 §3).
    Malformed,
    /// The system's random number generator failed.
    Rng,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch => write!(f, "the proof does not fit: another secret or key, or a message that was changed"),
            Self::UnexpectedMethod(method) => write!(f, "unexpected authentication method: {method}"),
            Self::UnsupportedAlgorithm(algorithm) => {
                write!(f, "the peer signs with {algorithm}, which is not accepted")
            }
            Self::Sha1 => {
                write!(f, "the peer signs with SHA-1, which is not accepted; it should enable RFC 7427 signatures")
            }
            Self::NoCommonHash(key, needed) => {
                let needed: Vec<_> = needed.iter().map(ToString::to_string).collect();
                write!(f, "our {key} key needs a peer that verifies {} (RFC 7427)", needed.join(" or "))
            }
            Self::Malformed => write!(f, "the authentication data does not parse"),
            Self::Rng => write!(f, "the system's random number generator failed"),
        }
    }
}

impl std::error::Error for AuthError {}
