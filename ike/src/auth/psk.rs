//! Pre-shared keys (RFC 7296 §2.15).

use super::Proof;
use crate::crypto::prf::Prf;
use crate::message::numbers::AuthMethod;
use crate::secret::Secret;

/// What a shared secret is stretched with, so that it need not be kept (RFC 7296 §2.15).
const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// `AUTH = prf(prf(Shared Secret, "Key Pad for IKEv2"), <SignedOctets>)`, for our own octets.
pub fn prove(prf: &Prf, secret: &Secret, signed_octets: &[u8]) -> Proof {
    let key = prf.prf(secret.expose(), &[KEY_PAD]);
    Proof { method: AuthMethod::SHARED_KEY, data: prf.prf(key.expose(), &[signed_octets]).expose().to_vec() }
}

/// Whether the peer's Authentication Data proves that it knows `secret`, compared in constant time.
pub fn verify(prf: &Prf, secret: &Secret, signed_octets: &[u8], data: &[u8]) -> bool {
    let key = prf.prf(secret.expose(), &[KEY_PAD]);
    prf.verify(key.expose(), &[signed_octets], data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proves_the_secret_and_the_octets() {
        for prf in crate::crypto::prf::PRF {
            let secret = Secret::new(b"correct horse".to_vec());
            let proof = prove(prf, &secret, b"octets");
            assert_eq!((proof.method.0, proof.data.len()), (2, prf.len));
            assert!(verify(prf, &secret, b"octets", &proof.data));
            assert!(!verify(prf, &secret, b"octet", &proof.data));
            assert!(!verify(prf, &Secret::new(b"battery staple".to_vec()), b"octets", &proof.data));
            assert!(!verify(prf, &secret, b"octets", &proof.data[1..]));
        }
    }
}
