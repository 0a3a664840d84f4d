//! Authentication of the IKE SA (RFC 7296 §2.15, RFC 7427): what is signed, and the proofs.
//!
//! [`signed_octets`] is what either side proves to have seen; [`psk`] and [`Credential`] make the proof,
//! [`psk`] and [`PeerKey`] check it; [`Authorities`] decide whose key a [`PeerKey`] is.

mod authorities;
mod credential;
pub mod psk;
mod signed_octets;

pub use authorities::{Authorities, CertificateError, PeerKey};
pub use credential::{Credential, CredentialError};
pub use signed_octets::signed_octets;

/// The content of an AUTH payload (RFC 7296 §3.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Auth Method.
    pub method: u8,
    /// Authentication Data.
    pub data: Vec<u8>,
}

/// Auth Method: RSA Digital Signature (RFC 7296 §3.8).
pub const AUTH_RSA: u8 = 1;
/// Auth Method: Shared Key Message Integrity Code (RFC 7296 §3.8).
pub const AUTH_PSK: u8 = 2;
/// Auth Method: ECDSA with SHA-256 on P-256 (RFC 4754).
pub const AUTH_ECDSA_256: u8 = 9;
/// Auth Method: ECDSA with SHA-384 on P-384 (RFC 4754).
pub const AUTH_ECDSA_384: u8 = 10;
/// Auth Method: Digital Signature (RFC 7427 §3).
pub const AUTH_SIGNATURE: u8 = 14;

/// Why a proof could not be made, or did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    /// The proof is wrong: another secret, another key, or another message.
    Mismatch,
    /// The peer used an Auth Method that does not fit its key or our configuration.
    UnexpectedMethod(u8),
    /// The peer signed with an algorithm that we do not accept; what it was.
    UnsupportedAlgorithm(String),
    /// The peer verifies no hash that our key can sign with (RFC 7427 §4); what our key needs.
    NoCommonHash(&'static str),
    /// The Authentication Data does not parse.
    Malformed,
    /// The system's random number generator failed.
    Rng,
}
