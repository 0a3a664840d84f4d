//! Private keys from their DER containers: PKCS#8 (RFC 5958), SEC1 (RFC 5915), PKCS#1 (RFC 8017 A.1.2).

use std::fmt;

use ring::signature::{Ed25519KeyPair, KeyPair, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;

use super::der::{self, take};
use super::{KeyType, PrivateKey, PublicKey, Signer, ecdsa, ed25519, rsa};

/// Why a private key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// Not a key in any container that we read.
    Malformed,
    /// A key type that we do not sign with.
    Unsupported,
    /// The certificate's key is of another type; which.
    OtherType(KeyType),
    /// The private key does not belong to the certificate.
    Mismatch,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "not a private key (PKCS#8, SEC1 or PKCS#1)"),
            Self::Unsupported => {
                write!(f, "unsupported type of private key; RSA from 2048 bits, ECDSA P-256 and P-384, and Ed25519 are")
            }
            Self::OtherType(wanted) => {
                write!(f, "the certificate has an {} key, the private key is another", wanted.name())
            }
            Self::Mismatch => write!(f, "the private key does not belong to the certificate"),
        }
    }
}

impl std::error::Error for KeyError {}

impl PrivateKey {
    /// Reads `der` and checks that it is the private half of `public`.
    ///
    /// # Errors
    ///
    /// If it is not, or not readable.
    pub fn new(der: &PrivateKeyDer<'_>, public: &PublicKey) -> Result<Self, KeyError> {
        let signer = match der {
            PrivateKeyDer::Pkcs1(key) => rsa_pair(RsaKeyPair::from_der(key.secret_pkcs1_der()), public)?,
            PrivateKeyDer::Sec1(key) => ec_pair(key.secret_sec1_der(), None, public)?,
            PrivateKeyDer::Pkcs8(key) => from_pkcs8(key.secret_pkcs8_der(), public)?,
            _ => return Err(KeyError::Malformed),
        };
        Ok(Self { key: public.key, signer })
    }
}

fn from_pkcs8(der: &[u8], public: &PublicKey) -> Result<Box<dyn Signer>, KeyError> {
    let (algorithm, parameters, key) = pkcs8(der).ok_or(KeyError::Malformed)?;
    match algorithm {
        rsa::KEY_OID => rsa_pair(RsaKeyPair::from_pkcs8(der), public),
        ecdsa::KEY_OID => ec_pair(key, take(&mut &*parameters, der::OID), public),
        ed25519::OID => {
            if public.key != KeyType::Ed25519 {
                return Err(KeyError::OtherType(public.key));
            }
            let seed = take(&mut &*key, der::OCTET_STRING).ok_or(KeyError::Malformed)?;
            let pair =
                Ed25519KeyPair::from_seed_and_public_key(seed, &public.octets).map_err(|_| KeyError::Mismatch)?;
            Ok(Box::new(pair))
        }
        _ => Err(KeyError::Unsupported),
    }
}

/// Algorithm OID, its parameters, and the key of a PrivateKeyInfo.
fn pkcs8(mut der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut info = take(&mut der, der::SEQUENCE)?;
    take(&mut info, der::INTEGER)?;
    let mut algorithm = take(&mut info, der::SEQUENCE)?;
    let oid = take(&mut algorithm, der::OID)?;
    Some((oid, algorithm, take(&mut info, der::OCTET_STRING)?))
}

fn rsa_pair<E>(pair: Result<RsaKeyPair, E>, public: &PublicKey) -> Result<Box<dyn Signer>, KeyError> {
    let pair = pair.map_err(|_| KeyError::Unsupported)?;
    if public.key != KeyType::Rsa {
        return Err(KeyError::OtherType(public.key));
    }
    if KeyPair::public_key(&pair).as_ref() != public.octets {
        return Err(KeyError::Mismatch);
    }
    Ok(Box::new(pair))
}

/// `der` is an ECPrivateKey; `curve` is named outside of it in PKCS#8, and may be inside.
fn ec_pair(mut der: &[u8], curve: Option<&[u8]>, public: &PublicKey) -> Result<Box<dyn Signer>, KeyError> {
    let wanted = match public.key {
        KeyType::EcdsaP256 => ecdsa::P256_OID,
        KeyType::EcdsaP384 => ecdsa::P384_OID,
        KeyType::Rsa | KeyType::Ed25519 => return Err(KeyError::OtherType(public.key)),
    };
    let mut key = take(&mut der, der::SEQUENCE).ok_or(KeyError::Malformed)?;
    take(&mut key, der::INTEGER).ok_or(KeyError::Malformed)?;
    let scalar = take(&mut key, der::OCTET_STRING).ok_or(KeyError::Malformed)?;
    let inner = take(&mut key, der::CONTEXT_0);
    let inner = inner.and_then(|mut parameters| take(&mut parameters, der::OID));
    match curve.or(inner) {
        Some(curve) if curve != wanted => Err(KeyError::OtherType(public.key)),
        _ => ecdsa::signer(scalar, public),
    }
}
