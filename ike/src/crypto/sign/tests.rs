use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;

use super::*;
use crate::crypto::testing::hex;

/// SubjectPublicKeyInfo of the RSA test key, as `openssl pkey -pubout` writes it.
fn rsa_public() -> PublicKey {
    public(include_bytes!("../../../testdata/rsa2048.pub.der"))
}

fn public(spki: &[u8]) -> PublicKey {
    PublicKey::from_spki(&SubjectPublicKeyInfo::from_der(spki).unwrap().1).unwrap()
}

fn private(pem: &str, public: &PublicKey) -> Result<PrivateKey, KeyError> {
    PrivateKey::new(&PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap(), public)
}

/// A key pair of each type.
fn pairs() -> Vec<(PrivateKey, PublicKey)> {
    let generated =
        [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519].map(|algorithm| {
            let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let public = public(&rcgen::PublicKeyData::subject_public_key_info(&pair));
            (private(&pair.serialize_pem(), &public).unwrap(), public)
        });
    let rsa = (private(include_str!("../../../testdata/rsa2048.pk8.pem"), &rsa_public()).unwrap(), rsa_public());
    generated.into_iter().chain([rsa]).collect()
}

#[test]
fn every_scheme_verifies_what_it_signs_and_nothing_else() {
    for (private, public) in pairs() {
        for scheme in Scheme::of(private.key_type()).filter(|scheme| scheme.signs) {
            let signature = private.sign(scheme, false, b"octets").unwrap();
            assert!(public.verify(scheme, b"octets", &signature), "{scheme:?}");
            assert!(!public.verify(scheme, b"other", &signature), "{scheme:?}");
            assert!(!public.verify(scheme, b"octets", &signature[1..]), "{scheme:?}");
            for other in SCHEMES.iter().filter(|other| !std::ptr::eq(*other, scheme)) {
                assert!(!public.verify(other, b"octets", &signature), "{scheme:?} {other:?}");
            }
            if let Some((method, _)) = scheme.method {
                let signature = private.sign(scheme, true, b"octets").unwrap();
                assert_eq!(public.verify_older(method, b"octets", &signature), Some(true), "{scheme:?}");
                assert_eq!(public.verify_older(method, b"other", &signature), Some(false), "{scheme:?}");
            }
        }
        assert_eq!(public.verify_older(AuthMethod::DSS, b"octets", b"x"), None);
    }
}

/// RFC 4754 §7: the older methods carry `r | s`, 64 and 96 octets.
#[test]
fn ecdsa_of_the_older_methods_has_a_fixed_length() {
    for (private, _) in pairs() {
        let scheme = Scheme::of(private.key_type()).next().unwrap();
        let len = private.sign(scheme, true, b"octets").unwrap().len();
        match private.key_type() {
            KeyType::EcdsaP256 => assert_eq!(len, 64),
            KeyType::EcdsaP384 => assert_eq!(len, 96),
            KeyType::Ed25519 => assert_eq!(len, 64),
            KeyType::Rsa => assert_eq!(len, 256),
        }
    }
}

/// RFC 7427 Appendix A, octet by octet.
#[test]
fn algorithm_identifiers_of_rfc7427() {
    for (key, octets, name) in [
        (KeyType::Rsa, "300d 0609 2a864886f70d01010b 0500", "RSA PKCS#1 v1.5 with SHA2-256"),
        (KeyType::Rsa, "300d 0609 2a864886f70d01010c 0500", "RSA PKCS#1 v1.5 with SHA2-384"),
        (KeyType::Rsa, "300d 0609 2a864886f70d01010d 0500", "RSA PKCS#1 v1.5 with SHA2-512"),
        (KeyType::EcdsaP256, "300a 0608 2a8648ce3d040302", "ECDSA P-256 with SHA2-256"),
        (KeyType::EcdsaP384, "300a 0608 2a8648ce3d040303", "ECDSA P-384 with SHA2-384"),
        // RFC 8420 Appendix A.
        (KeyType::Ed25519, "3005 0603 2b6570", "Ed25519"),
        // Appendix A.4.3, with the default trailer written out.
        (
            KeyType::Rsa,
            "3046 0609 2a864886f70d01010a 3039 a00f 300d 0609 608648016503040201 0500
             a11c 301a 0609 2a864886f70d010108 300d 0609 608648016503040201 0500 a203 020120 a303 020101",
            "RSA-PSS with SHA2-256",
        ),
        // Hash parameters absent (RFC 4055 §2.1 wants both accepted).
        (
            KeyType::Rsa,
            "303d 0609 2a864886f70d01010a 3030 a00d 300b 0609 608648016503040201
             a11a 3018 0609 2a864886f70d010108 300b 0609 608648016503040201 a203 020120",
            "RSA-PSS with SHA2-256",
        ),
        (KeyType::Rsa, "300b 0609 2a864886f70d01010b", "RSA PKCS#1 v1.5 with SHA2-256"),
    ] {
        assert_eq!(Scheme::named(key, &hex(octets)).map(|scheme| scheme.name), Some(name));
    }
}

/// SHA-1, PSS with default (SHA-1) parameters, another key's algorithm, nonsense.
#[test]
fn other_algorithm_identifiers_are_refused() {
    for (key, octets) in [
        (KeyType::Rsa, "300d 0609 2a864886f70d010105 0500"),
        (KeyType::Rsa, "300d 0609 2a864886f70d01010a 3000"),
        (KeyType::Rsa, "300b 0609 2a864886f70d01010a"),
        (KeyType::Rsa, "300a 0608 2a8648ce3d040302"),
        (KeyType::EcdsaP256, "3009 0607 2a8648ce3d0401"),
        (KeyType::EcdsaP256, "3005 0603 2b6570"),
        (KeyType::Ed25519, "3005 0603 2b6571"),
        (KeyType::Ed25519, ""),
        // Salt of 20 octets.
        (
            KeyType::Rsa,
            "3041 0609 2a864886f70d01010a 3034 a00f 300d 0609 608648016503040201 0500
             a11c 301a 0609 2a864886f70d010108 300d 0609 608648016503040201 0500 a203 020114",
        ),
    ] {
        assert!(Scheme::named(key, &hex(octets)).is_none(), "{octets}");
    }
}

#[test]
fn containers() {
    let rsa = rsa_public();
    assert!(private(include_str!("../../../testdata/rsa2048.pkcs1.pem"), &rsa).is_ok());
    let p256 = public(include_bytes!("../../../testdata/p256.pub.der"));
    let sec1 = include_str!("../../../testdata/p256.sec1.pem");
    assert!(private(sec1, &p256).is_ok());

    assert_eq!(private(sec1, &rsa).err(), Some(KeyError::OtherType(KeyType::Rsa)));
    let pk8 = include_str!("../../../testdata/rsa2048.pk8.pem");
    assert_eq!(private(pk8, &p256).err(), Some(KeyError::OtherType(KeyType::EcdsaP256)));
    for (algorithm, key) in
        [(&rcgen::PKCS_ECDSA_P256_SHA256, KeyType::EcdsaP256), (&rcgen::PKCS_ED25519, KeyType::Ed25519)]
    {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let other = pairs().into_iter().find(|(_, public)| public.key_type() == key).unwrap().1;
        assert_eq!(private(&pair.serialize_pem(), &other).err(), Some(KeyError::Mismatch));
    }
    let garbage = PrivateKeyDer::Pkcs8(vec![0x30, 3, 2, 1, 0].into());
    assert_eq!(PrivateKey::new(&garbage, &rsa).err(), Some(KeyError::Malformed));
}

/// `ring` verifies RSA from 2048 bits; a smaller key is refused where its certificate is read.
#[test]
fn small_rsa_keys_are_unsupported() {
    let modulus = der::element(der::INTEGER, &[&[0][..], &[0xc1; 128]].concat());
    let key = der::element(der::SEQUENCE, &[modulus, der::element(der::INTEGER, &[1, 0, 1])].concat());
    let algorithm = hex("300d 0609 2a864886f70d010101 0500");
    let bits = der::element(0x03, &[&[0], &key[..]].concat());
    let spki = der::element(der::SEQUENCE, &[algorithm, bits].concat());
    assert_eq!(PublicKey::from_spki(&SubjectPublicKeyInfo::from_der(&spki).unwrap().1), None);
}
