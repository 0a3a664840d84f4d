//! What a certificate says (RFC 5280, profiled for IKE by RFC 4945), and why one is refused.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::crypto::sign::PublicKey;
use crate::identity::{Dn, Identity};

/// Why a certificate was refused. Displayed for the operator of either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateError {
    /// The peer sent no certificate.
    Missing,
    /// Not a certificate.
    Malformed,
    /// An X.509 v1 or v2 certificate, which can carry no identity.
    OldVersion {
        /// Its subject.
        subject: String,
    },
    /// A CA's certificate, used as a peer's.
    CaAsPeer {
        /// Its subject.
        subject: String,
    },
    /// No path to an authority that we trust.
    UnknownAuthority {
        /// The subject of the peer's certificate.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// Whom we trust.
        trusted: Vec<String>,
    },
    /// An issuer's signature in the path is wrong.
    BadSignature {
        /// The subject of the peer's certificate.
        subject: String,
    },
    /// A certificate of the path has expired.
    Expired {
        /// The end of its validity.
        not_after: SystemTime,
        /// The time it was checked for.
        now: SystemTime,
    },
    /// A certificate of the path is not valid yet.
    NotYetValid {
        /// The start of its validity.
        not_before: SystemTime,
        /// The time it was checked for.
        now: SystemTime,
    },
    /// Its key is not for signing, or for other purposes than IKE (RFC 4945 §5.1.3).
    Usage {
        /// Its subject.
        subject: String,
    },
    /// The certificate does not carry the identity that the peer claims (RFC 4945 §3.1).
    OtherIdentity {
        /// The peer's claim.
        claimed: Identity,
        /// What the certificate says.
        carries: Vec<String>,
    },
    /// A public key that we do not verify with.
    UnsupportedKey {
        /// Its subject.
        subject: String,
    },
    /// Another rule of path validation (RFC 5280 §6).
    Invalid {
        /// The subject of the peer's certificate.
        subject: String,
        /// The rule.
        rule: String,
    },
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "the peer sent no certificate"),
            Self::Malformed => write!(f, "not a certificate"),
            Self::OldVersion { subject } => write!(
                f,
                "certificate \"{subject}\" is X.509 version 1; issue it as version 3, with a subjectAltName \
                 (`openssl x509 -req -extfile`)"
            ),
            Self::CaAsPeer { subject } => {
                write!(
                    f,
                    "certificate \"{subject}\" is a CA's; a peer needs one of its own (basicConstraints CA:FALSE)"
                )
            }
            Self::UnknownAuthority { subject, issuer, trusted } => {
                let trusted =
                    if trusted.is_empty() { "nobody".to_owned() } else { format!("\"{}\"", trusted.join("\", \"")) };
                write!(
                    f,
                    "certificate \"{subject}\" was issued by \"{issuer}\", which leads to no trusted authority; trusted: {trusted}"
                )
            }
            Self::BadSignature { subject } => write!(f, "the path of certificate \"{subject}\" has a wrong signature"),
            Self::Expired { not_after, now } => {
                write!(f, "a certificate of the path expired on {}; it is {}", date(*not_after), date(*now))
            }
            Self::NotYetValid { not_before, now } => {
                write!(f, "a certificate of the path is valid from {} on; it is {}", date(*not_before), date(*now))
            }
            Self::Usage { subject } => write!(
                f,
                "certificate \"{subject}\" is not for IKE: its keyUsage must allow digitalSignature, and its \
                 extendedKeyUsage, if any, ipsecIKE, serverAuth, clientAuth or any"
            ),
            Self::OtherIdentity { claimed, carries } => {
                write!(
                    f,
                    "the certificate does not carry the identity \"{claimed}\"; it carries \"{}\"",
                    carries.join("\", \"")
                )
            }
            Self::UnsupportedKey { subject } => write!(
                f,
                "certificate \"{subject}\" has an unsupported key; RSA from 2048 bits, ECDSA P-256 and P-384, and Ed25519 are"
            ),
            Self::Invalid { subject, rule } => write!(f, "certificate \"{subject}\" breaks a rule: {rule}"),
        }
    }
}

impl std::error::Error for CertificateError {}

/// `2024-12-31 23:59:59 UTC`, or what comes near for times out of range.
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let parsed = i64::try_from(seconds).ok().and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
    match parsed.map(|time| time.to_datetime()) {
        Some(t) => {
            let (month, (h, m, s)) = (u8::from(t.month()), t.time().as_hms());
            format!("{:04}-{month:02}-{:02} {h:02}:{m:02}:{s:02} UTC", t.year(), t.day())
        }
        None => format!("second {seconds} of 1970"),
    }
}

/// A parsed certificate.
pub(super) struct Certificate<'a>(X509Certificate<'a>);

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, CertificateError> {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Ok(Self(certificate)),
            _ => Err(CertificateError::Malformed),
        }
    }

    /// Subject, for people.
    pub(super) fn subject(&self) -> String {
        name(self.0.subject().as_raw())
    }

    /// Issuer, for people.
    pub(super) fn issuer(&self) -> String {
        name(self.0.issuer().as_raw())
    }

    /// Subject, as an identity; `None` if it is empty.
    pub(super) fn subject_identity(&self) -> Option<Identity> {
        Dn::from_der(self.0.subject().as_raw()).ok().map(Identity::Dn)
    }

    /// Validity, first and last second.
    pub(super) fn validity(&self) -> (SystemTime, SystemTime) {
        let time = |time: ASN1Time| {
            let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        };
        (time(self.0.validity().not_before), time(self.0.validity().not_after))
    }

    pub(super) fn public_key(&self) -> Result<PublicKey, CertificateError> {
        PublicKey::from_spki(self.0.public_key())
            .ok_or_else(|| CertificateError::UnsupportedKey { subject: self.subject() })
    }

    /// DER of the SubjectPublicKeyInfo.
    pub(super) fn spki(&self) -> &[u8] {
        self.0.public_key().raw
    }

    pub(super) fn is_ca(&self) -> bool {
        self.0.is_ca()
    }

    /// A present keyUsage must allow digitalSignature or nonRepudiation (RFC 4945 §5.1.3.2).
    pub(super) fn may_sign(&self) -> bool {
        match self.0.key_usage() {
            Ok(None) => true,
            Ok(Some(usage)) => usage.value.digital_signature() || usage.value.non_repudiation(),
            Err(_) => false,
        }
    }

    /// Everything that the certificate says its owner is: subjectAltNames, then the subject.
    pub(super) fn identities(&self) -> Vec<Identity> {
        let names = match self.0.subject_alternative_name() {
            Ok(Some(names)) => &names.value.general_names[..],
            _ => &[],
        };
        names.iter().filter_map(identity).chain(self.subject_identity()).collect()
    }

    /// Whether the certificate is `claimed`'s: a subjectAltName of the same type, or the subject for a DN
    /// (RFC 4945 §3.1). A KEY_ID is opaque; the one meaning it has here is the subjectKeyIdentifier.
    pub(super) fn carries(&self, claimed: &Identity) -> Result<(), CertificateError> {
        let carries = self.identities();
        let found = match claimed {
            Identity::KeyId(octets) => self.key_identifier() == Some(octets),
            other => carries.contains(other),
        };
        if found {
            return Ok(());
        }
        let carries = carries.iter().map(ToString::to_string).collect();
        Err(CertificateError::OtherIdentity { claimed: claimed.clone(), carries })
    }

    fn key_identifier(&self) -> Option<&[u8]> {
        self.0.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        })
    }
}

fn identity(name: &GeneralName<'_>) -> Option<Identity> {
    use crate::message::numbers::IdType;
    match name {
        GeneralName::DNSName(name) => Identity::from_wire(IdType::FQDN, name.as_bytes()).ok(),
        GeneralName::RFC822Name(name) => Identity::from_wire(IdType::RFC822_ADDR, name.as_bytes()).ok(),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => Some(Identity::Ip(IpAddr::from(<[u8; 4]>::try_from(*octets).ok()?))),
            16 => Some(Identity::Ip(IpAddr::from(<[u8; 16]>::try_from(*octets).ok()?))),
            _ => None,
        },
        GeneralName::DirectoryName(name) => Dn::from_der(name.as_raw()).ok().map(Identity::Dn),
        _ => None,
    }
}

fn name(der: &[u8]) -> String {
    Dn::from_der(der).map_or_else(|_| "(no subject)".to_owned(), |dn| dn.to_string())
}
