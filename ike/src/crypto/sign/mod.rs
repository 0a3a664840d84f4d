//! Signature keys: RSA, ECDSA on P-256 and P-384, Ed25519.
