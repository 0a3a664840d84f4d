//! Certificates and keys from files, PEM or DER.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize;

/// Whether `octets` is PEM: text with an encapsulation boundary (RFC 7468 §2).
fn is_pem(octets: &[u8]) -> bool {
    octets.windows(10).any(|window| window == b"-----BEGIN")
}

/// The certificates in a file, in its order; `None` if its PEM is broken.
pub(super) fn certificates(octets: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    if is_pem(octets) {
        return CertificateDer::pem_slice_iter(octets).collect::<Result<_, _>>().ok();
    }
    Some(if octets.is_empty() { Vec::new() } else { vec![CertificateDer::from(octets.to_vec())] })
}

/// A private key that is wiped when it is dropped.
pub(super) struct Key(PrivateKeyDer<'static>);

impl Key {
    /// The key in a file.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let key = if is_pem(octets) {
            PrivateKeyDer::from_pem_slice(octets).ok()?
        } else {
            PrivateKeyDer::try_from(octets).ok()?.clone_key()
        };
        Some(Self(key))
    }

    pub(super) fn der(&self) -> &PrivateKeyDer<'static> {
        &self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Whether a file holds a PEM key that is encrypted with a passphrase.
pub(super) fn is_encrypted(octets: &[u8]) -> bool {
    let has = |needle: &[u8]| octets.windows(needle.len()).any(|window| window == needle);
    has(b"ENCRYPTED PRIVATE KEY-----") || has(b"Proc-Type: 4,ENCRYPTED")
}
