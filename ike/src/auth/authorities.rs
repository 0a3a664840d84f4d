//! Trust anchors, and the validation of what they vouch for (RFC 5280 §6, RFC 4945).

use std::time::{Duration, SystemTime};

use ring::digest;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};

use super::certificate::Certificate;
use super::{AuthError, CertificateError, pem, signature};
use crate::crypto::sign::{KeyType, PublicKey};
use crate::identity::Identity;
use crate::message::numbers::AuthMethod;

/// The certification authorities whose word counts for a peer.
#[derive(Debug, Clone, Default)]
pub struct Authorities {
    anchors: Vec<TrustAnchor<'static>>,
    certificates: Vec<Authority>,
}

/// What is kept of an authority's certificate besides its trust anchor, in the same order.
#[derive(Debug, Clone)]
struct Authority {
    der: CertificateDer<'static>,
    subject: String,
    /// SHA-1 of the SubjectPublicKeyInfo.
    hash: [u8; 20],
    validity: (SystemTime, SystemTime),
}

impl Authorities {
    /// From a file of CA certificates: PEM, any number of them, or the DER of one.
    ///
    /// # Errors
    ///
    /// If there is none, or one of them is not a certificate.
    pub fn new(file: &[u8]) -> Result<Self, CertificateError> {
        let mut authorities = Self::default();
        authorities.add(file)?;
        Ok(authorities)
    }

    /// Adds the CA certificates of another file; those already there are not repeated.
    ///
    /// # Errors
    ///
    /// If there is none, or one of them is not a certificate. Nothing is added then.
    pub fn add(&mut self, file: &[u8]) -> Result<(), CertificateError> {
        let certificates = pem::certificates(file).ok_or(CertificateError::Malformed)?;
        if certificates.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let parsed = certificates.into_iter().map(authority).collect::<Result<Vec<_>, _>>()?;
        self.extend(parsed);
        Ok(())
    }

    /// Adds the authorities of another set.
    pub fn merge(&mut self, other: &Self) {
        self.extend(other.anchors.iter().cloned().zip(other.certificates.iter().cloned()));
    }

    fn extend(&mut self, entries: impl IntoIterator<Item = (TrustAnchor<'static>, Authority)>) {
        for (anchor, certificate) in entries {
            if self.certificates.iter().all(|known| known.der != certificate.der) {
                self.anchors.push(anchor);
                self.certificates.push(certificate);
            }
        }
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Subjects, for people.
    pub fn subjects(&self) -> impl Iterator<Item = &str> {
        self.certificates.iter().map(|certificate| certificate.subject.as_str())
    }

    /// DER of the certificates.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(|certificate| certificate.der.as_ref())
    }

    /// Content of a CERTREQ payload: SHA-1 hashes of the authorities' public keys, concatenated (RFC 7296 §3.7).
    pub fn hashes(&self) -> Vec<u8> {
        self.certificates.iter().flat_map(|certificate| certificate.hash).collect()
    }

    /// Validates a peer's certificates for the identity that it claims, at `wall`.
    ///
    /// `chain` holds the content of the CERT payloads: the first is the peer's own, the others, in any order, may
    /// help to find the path (RFC 7296 §3.6). Revocation is not checked.
    ///
    /// # Errors
    ///
    /// The first rule that is broken; meant for the operator.
    pub fn validate(&self, chain: &[&[u8]], id: &Identity, wall: SystemTime) -> Result<PeerKey, CertificateError> {
        let (own, others) = chain.split_first().ok_or(CertificateError::Missing)?;
        let certificate = Certificate::parse(own)?;
        self.validate_path(own, others, &certificate, wall)?;
        if !certificate.may_sign() {
            return Err(CertificateError::Usage { subject: certificate.subject() });
        }
        certificate.carries(id)?;
        Ok(PeerKey { key: certificate.public_key()?, subject: certificate.subject() })
    }

    fn validate_path(
        &self,
        own: &[u8],
        others: &[&[u8]],
        certificate: &Certificate<'_>,
        wall: SystemTime,
    ) -> Result<(), CertificateError> {
        let refuse = |error| self.explain(error, certificate, wall);
        let since_epoch = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let own = CertificateDer::from(own);
        let others: Vec<_> = others.iter().map(|der| CertificateDer::from(*der)).collect();
        let end_entity = EndEntityCert::try_from(&own).map_err(refuse)?;
        let path = end_entity
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.anchors,
                &others,
                UnixTime::since_unix_epoch(since_epoch),
                Usage,
                None,
                None,
            )
            .map_err(refuse)?;
        // Path validation takes an anchor as it is (RFC 5280 §6.1); whoever lets a CA expire means it.
        let index = self.anchors.iter().position(|anchor| anchor == path.anchor());
        let (not_before, not_after) = index.map_or((wall, wall), |index| self.certificates[index].validity);
        if wall > not_after {
            return Err(CertificateError::Expired { not_after, now: wall });
        }
        if wall < not_before {
            return Err(CertificateError::NotYetValid { not_before, now: wall });
        }
        Ok(())
    }

    fn explain(&self, error: webpki::Error, certificate: &Certificate<'_>, now: SystemTime) -> CertificateError {
        let subject = certificate.subject();
        let time = |time: UnixTime| SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs());
        match error {
            webpki::Error::CertExpired { not_after, .. } => {
                CertificateError::Expired { not_after: time(not_after), now }
            }
            webpki::Error::CertNotValidYet { not_before, .. } => {
                CertificateError::NotYetValid { not_before: time(not_before), now }
            }
            webpki::Error::UnknownIssuer => CertificateError::UnknownAuthority {
                subject,
                issuer: certificate.issuer(),
                trusted: self.subjects().map(str::to_owned).collect(),
            },
            webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature { subject },
            webpki::Error::UnsupportedCertVersion => CertificateError::OldVersion { subject },
            webpki::Error::CaUsedAsEndEntity => CertificateError::CaAsPeer { subject },
            webpki::Error::RequiredEkuNotFoundContext(_) | webpki::Error::EmptyEkuExtension => {
                CertificateError::Usage { subject }
            }
            other => CertificateError::Invalid { subject, rule: other.to_string() },
        }
    }
}

fn authority(der: CertificateDer<'static>) -> Result<(TrustAnchor<'static>, Authority), CertificateError> {
    let certificate = Certificate::parse(&der)?;
    let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| CertificateError::Malformed)?.to_owned();
    let (subject, validity) = (certificate.subject(), certificate.validity());
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.spki());
    let hash = sha1.as_ref().try_into().map_err(|_| CertificateError::Malformed)?;
    Ok((anchor, Authority { der, subject, hash, validity }))
}

/// Extended key usage as deployments have it: none, or one that allows IKE or TLS (RFC 4945 §5.1.3.12).
struct Usage;

/// anyExtendedKeyUsage, serverAuth, clientAuth, ipsecEndSystem, ipsecTunnel, ipsecUser, ipsecIKE, iKEIntermediate.
const PURPOSES: &[&[usize]] = &[
    &[2, 5, 29, 37, 0],
    &[1, 3, 6, 1, 5, 5, 7, 3, 1],
    &[1, 3, 6, 1, 5, 5, 7, 3, 2],
    &[1, 3, 6, 1, 5, 5, 7, 3, 5],
    &[1, 3, 6, 1, 5, 5, 7, 3, 6],
    &[1, 3, 6, 1, 5, 5, 7, 3, 7],
    &[1, 3, 6, 1, 5, 5, 7, 3, 17],
    &[1, 3, 6, 1, 5, 5, 8, 2, 2],
];

impl ExtendedKeyUsageValidator for Usage {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut none = true;
        for purpose in purposes {
            if PURPOSES.contains(&&purpose?.to_decoded_oid()[..]) {
                return Ok(());
            }
            none = false;
        }
        if none { Ok(()) } else { Err(webpki::Error::EmptyEkuExtension) }
    }
}

/// The public key of a peer whose certificate was validated for the identity it claims.
#[derive(Debug, Clone)]
pub struct PeerKey {
    key: PublicKey,
    subject: String,
}

impl PeerKey {
    /// Verifies the peer's AUTH payload: methods 14, 1, 9 and 10.
    ///
    /// # Errors
    ///
    /// Unless the signature is the peer's over `signed_octets`.
    pub fn verify(&self, signed_octets: &[u8], method: AuthMethod, data: &[u8]) -> Result<(), AuthError> {
        signature::verify(&self.key, signed_octets, method, data)
    }

    /// Type of the key.
    pub fn key_type(&self) -> KeyType {
        self.key.key_type()
    }

    /// Subject of the certificate, for people.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}
