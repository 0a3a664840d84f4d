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

use crate::message::numbers::AuthMethod;

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
    /// The peer verifies no hash that our key can sign with (RFC 7427 §4); what our key needs.
    NoCommonHash(&'static str),
    /// The Authentication Data does not parse.
    Malformed,
    /// The system's random number generator failed.
    Rng,
}
