//! AUTH payloads that carry a signature: method 14 (RFC 7427 §3) and the older methods 1, 9, 10 (RFC 7296 §3.8).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | ASN.1 Length  | AlgorithmIdentifier ASN.1 object              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                        Signature Value                        ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use x509_parser::prelude::FromDer;
use x509_parser::x509::AlgorithmIdentifier;

use super::{AuthError, Proof};
use crate::crypto::sign::{PrivateKey, PublicKey, Scheme};
use crate::message::numbers::{AuthMethod, HashAlgorithm};

/// Signs for a peer that verifies `peer_hashes`; `None` if it did not send SIGNATURE_HASH_ALGORITHMS, so that only
/// the older methods are left.
///
/// With method 1 we sign SHA2-256: its hash is ours to choose (RFC 7296 §3.8).
pub(super) fn sign(
    key: &PrivateKey,
    prefer_pkcs1: bool,
    peer_hashes: Option<&[HashAlgorithm]>,
    signed_octets: &[u8],
) -> Result<Proof, AuthError> {
    let mut schemes: Vec<_> = Scheme::of(key.key_type()).filter(|scheme| scheme.signs).collect();
    if prefer_pkcs1 {
        schemes.sort_by_key(|scheme| !scheme.is_pkcs1());
    }
    let hashes = peer_hashes.unwrap_or_default();
    if let Some(scheme) = schemes.iter().find(|scheme| hashes.contains(&scheme.hash)) {
        let signature = key.sign(scheme, false, signed_octets).ok_or(AuthError::Rng)?;
        let length = u8::try_from(scheme.algorithm.len()).map_err(|_| AuthError::Malformed)?;
        return Ok(Proof { method: AuthMethod::SIGNATURE, data: [&[length], scheme.algorithm, &signature].concat() });
    }
    if let Some((scheme, (method, _))) = schemes.iter().find_map(|scheme| Some((scheme, scheme.method?))) {
        let data = key.sign(scheme, true, signed_octets).ok_or(AuthError::Rng)?;
        return Ok(Proof { method, data });
    }
    let needed = schemes.iter().map(|scheme| scheme.hash).collect();
    Err(AuthError::NoCommonHash(key.key_type().name(), needed))
}

/// Checks a peer's proof with its public key.
pub(super) fn verify(key: &PublicKey, signed_octets: &[u8], method: AuthMethod, data: &[u8]) -> Result<(), AuthError> {
    if method != AuthMethod::SIGNATURE {
        return match key.verify_older(method, signed_octets, data) {
            Some(true) => Ok(()),
            Some(false) if key.is_rsa_sha1(signed_octets, data) => Err(AuthError::Sha1),
            Some(false) => Err(AuthError::Mismatch),
            None => Err(AuthError::UnexpectedMethod(method)),
        };
    }
    let (length, rest) = data.split_first().ok_or(AuthError::Malformed)?;
    let (algorithm, signature) = rest.split_at_checked(usize::from(*length)).ok_or(AuthError::Malformed)?;
    let scheme = Scheme::named(key.key_type(), algorithm).ok_or_else(|| unsupported(key, algorithm))?;
    if key.verify(scheme, signed_octets, signature) { Ok(()) } else { Err(AuthError::Mismatch) }
}

fn unsupported(key: &PublicKey, algorithm: &[u8]) -> AuthError {
    match AlgorithmIdentifier::from_der(algorithm) {
        Ok(([], id)) => {
            let key = key.key_type().name();
            AuthError::UnsupportedAlgorithm(format!("algorithm {} and its {key} key", id.algorithm))
        }
        _ => AuthError::Malformed,
    }
}
