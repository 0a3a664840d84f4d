//! Trust anchors and what they vouch for.

use std::time::SystemTime;

use super::{AuthError, Proof};
use crate::identity::Identity;

/// Trust anchors.
#[derive(Debug, Default)]
pub struct Authorities {}

/// Why a certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateError {
    /// The peer sent none.
    Missing,
}

/// The validated public key of a peer.
pub struct PeerKey {}

impl Authorities {
    /// From CA certificates, PEM (any number) or DER.
    pub fn new(_certificates: &[u8]) -> Result<Self, CertificateError> {
        Ok(Self {})
    }

    /// Content of a CERTREQ payload: SHA-1 hashes of the authorities' public keys (RFC 7296 §3.7).
    pub fn hashes(&self) -> Vec<[u8; 20]> {
        Vec::new()
    }

    /// Validates the peer's certificates (the first is the end entity's, RFC 7296 §3.6) for `id` at `wall`.
    pub fn validate(&self, _chain: &[&[u8]], _id: &Identity, _wall: SystemTime) -> Result<PeerKey, CertificateError> {
        Ok(PeerKey {})
    }
}

impl PeerKey {
    /// Verifies the peer's AUTH payload.
    pub fn verify(&self, _signed_octets: &[u8], _proof: &Proof) -> Result<(), AuthError> {
        Err(AuthError::Mismatch)
    }
}
