//! RSA: RSASSA-PSS and RSASSA-PKCS1-v1_5 with SHA-2 (RFC 7427 Appendix A.1 and A.4, RFC 8247 §3.2).
//!
//! Method 1 is RSASSA-PKCS1-v1_5 with a hash of the signer's choice (RFC 7296 §3.8). SHA-1, once its default, is
//! refused: a transcript collision is what breaks this very use (RFC 8247 §3.2, CVE-2015-7575).

use ring::rand::SystemRandom;
use ring::signature::{
    RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    RsaKeyPair, RsaParameters, VerificationAlgorithm,
};
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::AlgorithmIdentifier;

use super::{KeyType, Scheme, Signer};
use crate::message::numbers::{AuthMethod, HashAlgorithm};

/// DER content of rsaEncryption, 1.2.840.113549.1.1.1.
pub(super) const KEY_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// What method 1 was made with before SHA-2.
pub(super) const SHA1: &dyn VerificationAlgorithm = &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY;

const fn pss(
    name: &'static str,
    hash: HashAlgorithm,
    algorithm: &'static [u8],
    verify: &'static RsaParameters,
) -> Scheme {
    Scheme { name, key: KeyType::Rsa, hash, algorithm, method: None, signs: true, verify }
}

const fn pkcs1(
    name: &'static str,
    hash: HashAlgorithm,
    algorithm: &'static [u8],
    verify: &'static RsaParameters,
) -> Scheme {
    Scheme { name, key: KeyType::Rsa, hash, algorithm, method: Some((AuthMethod::RSA, verify)), signs: true, verify }
}

pub(super) const PSS_SHA256: Scheme =
    pss("RSA-PSS with SHA2-256", HashAlgorithm::SHA2_256, PSS_SHA256_ID, &RSA_PSS_2048_8192_SHA256);
pub(super) const PSS_SHA384: Scheme =
    pss("RSA-PSS with SHA2-384", HashAlgorithm::SHA2_384, PSS_SHA384_ID, &RSA_PSS_2048_8192_SHA384);
pub(super) const PSS_SHA512: Scheme =
    pss("RSA-PSS with SHA2-512", HashAlgorithm::SHA2_512, PSS_SHA512_ID, &RSA_PSS_2048_8192_SHA512);
pub(super) const PKCS1_SHA256: Scheme =
    pkcs1("RSA PKCS#1 v1.5 with SHA2-256", HashAlgorithm::SHA2_256, PKCS1_SHA256_ID, &RSA_PKCS1_2048_8192_SHA256);
pub(super) const PKCS1_SHA384: Scheme =
    pkcs1("RSA PKCS#1 v1.5 with SHA2-384", HashAlgorithm::SHA2_384, PKCS1_SHA384_ID, &RSA_PKCS1_2048_8192_SHA384);
pub(super) const PKCS1_SHA512: Scheme =
    pkcs1("RSA PKCS#1 v1.5 with SHA2-512", HashAlgorithm::SHA2_512, PKCS1_SHA512_ID, &RSA_PKCS1_2048_8192_SHA512);

/// id-RSASSA-PSS with SHA2-256, MGF1 with the same, and a salt as long as the hash.
const PSS_SHA256_ID: &[u8] = &[
    0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x34, 0xa0, 0x0f, 0x30, 0x0d,
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09,
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03,
    0x04, 0x02, 0x01, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x20,
];
/// id-RSASSA-PSS with SHA2-384, MGF1 with the same, and a salt as long as the hash.
const PSS_SHA384_ID: &[u8] = &[
    0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x34, 0xa0, 0x0f, 0x30, 0x0d,
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09,
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03,
    0x04, 0x02, 0x02, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x30,
];
/// id-RSASSA-PSS with SHA2-512, MGF1 with the same, and a salt as long as the hash.
const PSS_SHA512_ID: &[u8] = &[
    0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x34, 0xa0, 0x0f, 0x30, 0x0d,
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09,
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03,
    0x04, 0x02, 0x03, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x40,
];
/// sha256WithRSAEncryption, parameters NULL.
const PKCS1_SHA256_ID: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00];
/// sha384WithRSAEncryption, parameters NULL.
const PKCS1_SHA384_ID: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c, 0x05, 0x00];
/// sha512WithRSAEncryption, parameters NULL.
const PKCS1_SHA512_ID: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d, 0x05, 0x00];

/// Whether `other` names the same RSA algorithm as `ours` in another spelling: parameters NULL or absent, defaults
/// of RSASSA-PSS written out (RFC 4055 §3.1, §5; RFC 7427 Appendix A.4 itself writes one out).
pub(super) fn same_algorithm(ours: &[u8], other: &[u8]) -> bool {
    let (Ok(([], ours)), Ok(([], other))) = (AlgorithmIdentifier::from_der(ours), AlgorithmIdentifier::from_der(other))
    else {
        return false;
    };
    if ours.algorithm != other.algorithm {
        return false;
    }
    match (pss_parameters(&ours), pss_parameters(&other)) {
        (Some(ours), Some(other)) => ours == other,
        (None, None) => {
            let empty = |id: &AlgorithmIdentifier<'_>| id.parameters.as_ref().is_none_or(|any| any.data.is_empty());
            KEY_OID.starts_with(&ours.algorithm.as_bytes()[..ours.algorithm.as_bytes().len() - 1]) && empty(&other)
        }
        _ => false,
    }
}

/// Hash, hash of MGF1 and salt length of an id-RSASSA-PSS, if its mask generation is MGF1 and its trailer usual.
fn pss_parameters(id: &AlgorithmIdentifier<'_>) -> Option<(Vec<u8>, Vec<u8>, u32)> {
    const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
    // Anything but id-RSASSA-PSS is left to the other comparison; the crate's reader is for this one alone.
    if id.algorithm.as_bytes() != [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10] {
        return None;
    }
    let Ok(SignatureAlgorithm::RSASSA_PSS(params)) = SignatureAlgorithm::try_from(id) else { return None };
    let mask = params.mask_gen_algorithm().ok()?;
    (mask.mgf.as_bytes() == MGF1 && params.trailer_field() == 1)
        .then(|| (params.hash_algorithm_oid().as_bytes().to_vec(), mask.hash.as_bytes().to_vec(), params.salt_length()))
}

impl Signer for RsaKeyPair {
    fn sign(&self, scheme: &Scheme, _: bool, message: &[u8], rng: &SystemRandom) -> Option<Vec<u8>> {
        let encoding: &'static dyn RsaEncoding = match (scheme.is_pkcs1(), scheme.hash) {
            (false, HashAlgorithm::SHA2_256) => &RSA_PSS_SHA256,
            (false, HashAlgorithm::SHA2_384) => &RSA_PSS_SHA384,
            (false, HashAlgorithm::SHA2_512) => &RSA_PSS_SHA512,
            (true, HashAlgorithm::SHA2_256) => &RSA_PKCS1_SHA256,
            (true, HashAlgorithm::SHA2_384) => &RSA_PKCS1_SHA384,
            (true, HashAlgorithm::SHA2_512) => &RSA_PKCS1_SHA512,
            _ => return None,
        };
        let mut signature = vec![0; self.public().modulus_len()];
        RsaKeyPair::sign(self, encoding, rng, message, &mut signature).ok()?;
        Some(signature)
    }
}
