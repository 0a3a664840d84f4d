//! Our own certificate and private key.

use std::fmt;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use super::certificate::Certificate;
use super::{AuthError, CertificateError, Proof, pem, signature};
use crate::crypto::sign::{KeyError, KeyType, PrivateKey};
use crate::identity::Identity;
use crate::message::numbers::HashAlgorithm;

/// A certificate, what is sent along with it, and its private key.
pub struct Credential {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    subject: Option<Identity>,
    identities: Vec<Identity>,
    validity: (SystemTime, SystemTime),
    prefer_pkcs1: bool,
}

/// Why a credential could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialError {
    /// The certificate file holds no certificate.
    NoCertificate,
    /// The certificate is not usable.
    Certificate(CertificateError),
    /// The key file holds no private key.
    NoKey,
    /// The private key is encrypted with a passphrase.
    EncryptedKey,
    /// The private key is not usable, or not that of the certificate.
    Key(KeyError),
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => write!(f, "no certificate found (PEM or DER)"),
            Self::Certificate(error) => error.fmt(f),
            Self::NoKey => write!(f, "no private key found (PEM or DER; PKCS#8, SEC1 or PKCS#1)"),
            Self::EncryptedKey => {
                write!(f, "the private key is encrypted; decrypt it (`openssl pkey`) and protect the file")
            }
            Self::Key(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CredentialError {}

impl Credential {
    /// From a certificate file (our own first, then those above it) and a private key file, each PEM or DER.
    ///
    /// # Errors
    ///
    /// If one is missing or unusable, or they do not belong together.
    pub fn new(certificates: &[u8], key: &[u8]) -> Result<Self, CredentialError> {
        let chain = pem::certificates(certificates).ok_or(CredentialError::NoCertificate)?;
        let first = chain.first().ok_or(CredentialError::NoCertificate)?;
        let certificate = Certificate::parse(first).map_err(CredentialError::Certificate)?;
        if certificate.is_ca() {
            // Peers would refuse it; here the operator sees why.
            let error = CertificateError::CaAsPeer { subject: certificate.subject() };
            return Err(CredentialError::Certificate(error));
        }
        let public = certificate.public_key().map_err(CredentialError::Certificate)?;
        if pem::is_encrypted(key) {
            return Err(CredentialError::EncryptedKey);
        }
        let der = pem::Key::read(key).ok_or(CredentialError::NoKey)?;
        let key = PrivateKey::new(der.der(), &public).map_err(CredentialError::Key)?;
        let (subject, identities) = (certificate.subject_identity(), certificate.identities());
        let validity = certificate.validity();
        Ok(Self { chain, key, subject, identities, validity, prefer_pkcs1: false })
    }

    /// Prefers RSASSA-PKCS1-v1_5 to RSASSA-PSS, for peers that cannot verify the latter.
    #[must_use]
    pub fn prefer_pkcs1(mut self) -> Self {
        self.prefer_pkcs1 = true;
        self
    }

    /// DER of the certificates to send, our own first (RFC 7296 §3.6).
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.iter().map(AsRef::as_ref)
    }

    /// The subject of the certificate: our identity where none is configured. `None` if it is empty.
    pub fn subject(&self) -> Option<&Identity> {
        self.subject.as_ref()
    }

    /// Every identity that the certificate carries, subjectAltNames first; a peer accepts no other.
    pub fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// First and last second of the certificate's validity.
    pub fn validity(&self) -> (SystemTime, SystemTime) {
        self.validity
    }

    /// Type of the key.
    pub fn key_type(&self) -> KeyType {
        self.key.key_type()
    }

    /// Makes our AUTH payload. `peer_hashes` is what the peer's SIGNATURE_HASH_ALGORITHMS lists, `None` if it sent
    /// none, so that one of the older methods is used (RFC 7427 §4).
    ///
    /// # Errors
    ///
    /// If the peer can verify nothing that our key signs.
    pub fn sign(&self, signed_octets: &[u8], peer_hashes: Option<&[HashAlgorithm]>) -> Result<Proof, AuthError> {
        signature::sign(&self.key, self.prefer_pkcs1, peer_hashes, signed_octets)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} key", self.key_type().name())?;
        self.identities.iter().try_for_each(|identity| write!(f, ", {identity}"))?;
        f.write_str(")")
    }
}
