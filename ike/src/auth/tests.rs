//! A test PKI by rcgen (and RSA certificates from `testdata/`), every method, every reason to refuse.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SignatureAlgorithm, date_time_ymd,
};

use super::*;
use crate::crypto::sign::KeyType;
use crate::identity::Identity;

const RSA_CA: &[u8] = include_bytes!("../../testdata/rsa2048.ca.pem");
const RSA_LEAF: &[u8] = include_bytes!("../../testdata/rsa2048.leaf.pem");
const RSA_KEY: &[u8] = include_bytes!("../../testdata/rsa2048.leaf.key.pem");
const RSA_V1: &[u8] = include_bytes!("../../testdata/rsa2048.v1.pem");

/// 2027-01-15 08:00:00 UTC.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A certification authority.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "CH");
    name.push(DnType::OrganizationName, "Cygnet test");
    name.push(DnType::CommonName, common_name);
    name
}

fn ca_params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Ca {
    fn root(params: CertificateParams) -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn intermediate(&self, common_name: &str) -> Self {
        let (params, key) = (ca_params(common_name), KeyPair::generate().unwrap());
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key, PEM.
    fn issue(
        &self,
        algorithm: &'static SignatureAlgorithm,
        change: impl Fn(&mut CertificateParams),
    ) -> (String, String) {
        let mut params = CertificateParams::new(vec!["gw.example".to_owned(), "192.0.2.1".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::Rfc822Name("gw@example.org".try_into().unwrap()));
        params.distinguished_name = name("gw");
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn authorities(&self) -> Authorities {
        Authorities::new(self.pem.as_bytes()).unwrap()
    }
}

fn credential((certificate, key): &(String, String)) -> Credential {
    Credential::new(certificate.as_bytes(), key.as_bytes()).unwrap()
}

fn id(text: &str) -> Identity {
    text.parse().unwrap()
}

/// Validates a credential's own chain.
fn validate(authorities: &Authorities, credential: &Credential, claimed: &str) -> Result<PeerKey, CertificateError> {
    authorities.validate(&credential.chain().collect::<Vec<_>>(), &id(claimed), now())
}

/// A leaf with `change` made to it, validated under its own root.
fn refusal(change: impl Fn(&mut CertificateParams)) -> Option<CertificateError> {
    let ca = Ca::root(ca_params("root"));
    let leaf = credential(&ca.issue(&rcgen::PKCS_ECDSA_P256_SHA256, change));
    validate(&ca.authorities(), &leaf, "gw.example").err()
}

/// Every key type, with and without RFC 7427 at the peer.
#[test]
fn signatures_from_credential_to_peer_key() {
    let ca = Ca::root(ca_params("root"));
    let mut authorities = ca.authorities();
    authorities.add(RSA_CA).unwrap();
    let issued = |algorithm| credential(&ca.issue(algorithm, |_| {}));
    for (credential, older) in [
        (issued(&rcgen::PKCS_ECDSA_P256_SHA256), Some(AuthMethod::ECDSA_P256)),
        (issued(&rcgen::PKCS_ECDSA_P384_SHA384), Some(AuthMethod::ECDSA_P384)),
        (issued(&rcgen::PKCS_ED25519), None),
        (Credential::new(RSA_LEAF, RSA_KEY).unwrap(), Some(AuthMethod::RSA)),
        (Credential::new(RSA_LEAF, RSA_KEY).unwrap().prefer_pkcs1(), Some(AuthMethod::RSA)),
    ] {
        let claimed = if credential.key_type() == KeyType::Rsa { "rsa.example" } else { "gw.example" };
        let peer = validate(&authorities, &credential, claimed).unwrap();
        let proof = credential.sign(b"octets", Some(&SIGNATURE_HASHES)).unwrap();
        assert_eq!(proof.method, AuthMethod::SIGNATURE);
        peer.verify(b"octets", proof.method, &proof.data).unwrap();
        assert_eq!(peer.verify(b"other", proof.method, &proof.data), Err(AuthError::Mismatch));
        assert_eq!(
            peer.verify(b"octets", AuthMethod::DSS, &proof.data),
            Err(AuthError::UnexpectedMethod(AuthMethod::DSS))
        );
        assert!(peer.verify(b"octets", AuthMethod::SHARED_KEY, &proof.data).is_err());

        // A peer without RFC 7427, and one whose only hash is of no use to us.
        for hashes in [None, Some(&[HashAlgorithm::SHA1][..])] {
            match (credential.sign(b"octets", hashes), older) {
                (Ok(proof), Some(method)) => {
                    assert_eq!(proof.method, method);
                    peer.verify(b"octets", proof.method, &proof.data).unwrap();
                    assert_eq!(peer.verify(b"other", proof.method, &proof.data), Err(AuthError::Mismatch));
                }
                (Err(AuthError::NoCommonHash(key, needed)), None) => {
                    assert_eq!((key, &needed[..]), ("Ed25519", &[HashAlgorithm::IDENTITY][..]));
                }
                (other, _) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn rsa_follows_the_hashes_of_the_peer_and_our_padding() {
    let signed_by = |credential: &Credential, hashes: &[HashAlgorithm]| {
        let proof = credential.sign(b"octets", Some(hashes)).unwrap();
        let (length, rest) = proof.data.split_first().unwrap();
        crate::crypto::sign::Scheme::named(KeyType::Rsa, &rest[..usize::from(*length)]).unwrap().name
    };
    let credential = Credential::new(RSA_LEAF, RSA_KEY).unwrap();
    assert_eq!(signed_by(&credential, &SIGNATURE_HASHES), "RSA-PSS with SHA2-256");
    assert_eq!(signed_by(&credential, &[HashAlgorithm::SHA1, HashAlgorithm::SHA2_512]), "RSA-PSS with SHA2-512");
    let credential = credential.prefer_pkcs1();
    assert_eq!(signed_by(&credential, &[HashAlgorithm::SHA2_384]), "RSA PKCS#1 v1.5 with SHA2-384");
}

#[test]
fn sha1_is_refused_by_name() {
    let authorities = Authorities::new(RSA_CA).unwrap();
    let peer = validate(&authorities, &Credential::new(RSA_LEAF, RSA_KEY).unwrap(), "rsa.example").unwrap();
    let signature = include_bytes!("../../testdata/rsa2048.sha1.sig");
    assert_eq!(peer.verify(b"octets", AuthMethod::RSA, signature), Err(AuthError::Sha1));
    assert_eq!(peer.verify(b"other", AuthMethod::RSA, signature), Err(AuthError::Mismatch));
    // sha1WithRSAEncryption in method 14.
    let data = [&crate::crypto::testing::hex("0f 300d 0609 2a864886f70d010105 0500"), &signature[..]].concat();
    let error = peer.verify(b"octets", AuthMethod::SIGNATURE, &data).unwrap_err();
    assert_eq!(error, AuthError::UnsupportedAlgorithm("algorithm 1.2.840.113549.1.1.5 and its RSA key".into()));
    for malformed in [&[][..], &[200, 1], &[1, 5, 5]] {
        assert_eq!(peer.verify(b"octets", AuthMethod::SIGNATURE, malformed), Err(AuthError::Malformed));
    }
}

#[test]
fn identities_of_every_type_must_be_in_the_certificate() {
    let ca = Ca::root(ca_params("root"));
    let credential = credential(&ca.issue(&rcgen::PKCS_ED25519, |_| {}));
    let authorities = ca.authorities();
    for claimed in ["gw.example", "GW.Example", "192.0.2.1", "gw@example.org", "C=CH, O=Cygnet test, CN=gw"] {
        assert!(validate(&authorities, &credential, claimed).is_ok(), "{claimed}");
        assert!(credential.identities().contains(&id(claimed)));
    }
    for claimed in ["gw", "other.example", "192.0.2.2", "x@example.org", "C=CH, CN=gw", "@#0102", "fqdn:192.0.2.1"] {
        let error = validate(&authorities, &credential, claimed).unwrap_err();
        assert!(matches!(error, CertificateError::OtherIdentity { .. }), "{claimed}: {error}");
        assert!(error.to_string().contains("gw@example.org"), "{error}");
    }
    assert_eq!(credential.subject(), Some(&id("C=CH, O=Cygnet test, CN=gw")));
}

/// KEY_ID stands for the subjectKeyIdentifier.
#[test]
fn key_id_is_the_subject_key_identifier() {
    let authorities = Authorities::new(RSA_CA).unwrap();
    let leaf = Credential::new(RSA_LEAF, RSA_KEY).unwrap();
    assert!(validate(&authorities, &leaf, "@#582316073782e07001ebc3fffd2226edc4b82a38").is_ok());
    assert!(validate(&authorities, &leaf, "@#0102").is_err());
}

#[test]
fn intermediates_come_from_the_peer_in_any_order() {
    let root = Ca::root(ca_params("root"));
    let first = root.intermediate("first");
    let second = first.intermediate("second");
    let (leaf, key) = second.issue(&rcgen::PKCS_ECDSA_P256_SHA256, |_| {});
    for chain in [[&leaf, &first.pem, &second.pem], [&leaf, &second.pem, &first.pem]] {
        let chain = chain.map(String::as_str).concat();
        let credential = Credential::new(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(credential.chain().count(), 3);
        assert!(validate(&root.authorities(), &credential, "gw.example").is_ok());
    }
    let alone = credential(&(leaf, key));
    let error = validate(&root.authorities(), &alone, "gw.example").unwrap_err();
    let CertificateError::UnknownAuthority { issuer, trusted, .. } = error else { panic!("{error}") };
    assert_eq!(issuer, "C=CH, O=Cygnet test, CN=second");
    assert_eq!(trusted, ["C=CH, O=Cygnet test, CN=root"]);
}

#[test]
fn unknown_authorities_and_forged_signatures() {
    let ca = Ca::root(ca_params("root"));
    let leaf = credential(&ca.issue(&rcgen::PKCS_ECDSA_P256_SHA256, |_| {}));
    let other = Ca::root(ca_params("other root")).authorities();
    assert!(matches!(validate(&other, &leaf, "gw.example"), Err(CertificateError::UnknownAuthority { .. })));
    assert!(matches!(
        validate(&Authorities::default(), &leaf, "gw.example"),
        Err(CertificateError::UnknownAuthority { .. })
    ));
    // Another CA of the same name.
    let impostor = Ca::root(ca_params("root")).authorities();
    assert!(matches!(validate(&impostor, &leaf, "gw.example"), Err(CertificateError::BadSignature { .. })));

    let authorities = ca.authorities();
    assert_eq!(authorities.validate(&[], &id("gw.example"), now()).err(), Some(CertificateError::Missing));
    assert_eq!(authorities.validate(&[b"junk"], &id("gw.example"), now()).err(), Some(CertificateError::Malformed));
}

#[test]
fn validity_is_that_of_the_wall_clock_given() {
    let error = refusal(|params| params.not_after = date_time_ymd(2020, 2, 29)).unwrap();
    assert!(matches!(error, CertificateError::Expired { .. }));
    assert_eq!(
        error.to_string(),
        "a certificate of the path expired on 2020-02-29 00:00:00 UTC; it is 2027-01-15 08:00:00 UTC"
    );
    let error = refusal(|params| params.not_before = date_time_ymd(2030, 1, 1)).unwrap();
    assert!(matches!(error, CertificateError::NotYetValid { .. }));
    assert!(error.to_string().contains("2030-01-01"), "{error}");

    // An authority that has expired vouches for nobody.
    let mut params = ca_params("old root");
    params.not_after = date_time_ymd(2020, 1, 1);
    let ca = Ca::root(params);
    let leaf = credential(&ca.issue(&rcgen::PKCS_ECDSA_P256_SHA256, |_| {}));
    assert!(matches!(validate(&ca.authorities(), &leaf, "gw.example"), Err(CertificateError::Expired { .. })));
}

/// RFC 4945 §5.1.3.
#[test]
fn usages() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, Other, ServerAuth};
    let ipsec_ike = Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]);
    for purposes in
        [vec![], vec![Any], vec![ServerAuth], vec![ClientAuth], vec![ipsec_ike], vec![CodeSigning, ServerAuth]]
    {
        assert_eq!(refusal(|params| params.extended_key_usages.clone_from(&purposes)), None, "{purposes:?}");
    }
    let error = refusal(|params| params.extended_key_usages = vec![CodeSigning]);
    assert!(matches!(error, Some(CertificateError::Usage { .. })), "{error:?}");
    let error = refusal(|params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement]);
    assert!(matches!(error, Some(CertificateError::Usage { .. })), "{error:?}");
    assert_eq!(refusal(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]), None);
}

#[test]
fn version_1_and_ca_certificates_are_refused_by_name() {
    let authorities = Authorities::new(RSA_CA).unwrap();
    let v1 = Credential::new(RSA_V1, RSA_KEY).unwrap();
    let error = validate(&authorities, &v1, "C=CH, O=Cygnet test, CN=rsa.example").unwrap_err();
    assert!(matches!(error, CertificateError::OldVersion { .. }), "{error}");

    let ca = Ca::root(ca_params("root"));
    let der = ca.authorities().certificates().next().unwrap().to_vec();
    let error = ca.authorities().validate(&[&der], &id("C=CH, O=Cygnet test, CN=root"), now()).unwrap_err();
    assert!(matches!(error, CertificateError::CaAsPeer { .. }), "{error}");
    let error = Credential::new(RSA_CA, include_bytes!("../../testdata/rsa2048.pk8.pem")).unwrap_err();
    assert!(matches!(error, CredentialError::Certificate(CertificateError::CaAsPeer { .. })), "{error}");
}

#[test]
fn credentials_that_do_not_fit() {
    use crate::crypto::sign::KeyError;
    let ca = Ca::root(ca_params("root"));
    let (certificate, key) = ca.issue(&rcgen::PKCS_ECDSA_P256_SHA256, |_| {});
    let new = |certificate: &[u8], key: &[u8]| Credential::new(certificate, key).unwrap_err();
    let other = ca.issue(&rcgen::PKCS_ECDSA_P256_SHA256, |_| {}).1;
    assert_eq!(new(certificate.as_bytes(), other.as_bytes()), CredentialError::Key(KeyError::Mismatch));
    assert_eq!(new(certificate.as_bytes(), RSA_KEY), CredentialError::Key(KeyError::OtherType(KeyType::EcdsaP256)));
    assert_eq!(new(b"", key.as_bytes()), CredentialError::NoCertificate);
    assert_eq!(new(key.as_bytes(), key.as_bytes()), CredentialError::NoCertificate);
    assert_eq!(new(certificate.as_bytes(), certificate.as_bytes()), CredentialError::NoKey);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(new(certificate.as_bytes(), encrypted.as_bytes()), CredentialError::EncryptedKey);

    // DER serves as well as PEM.
    let whole = credential(&(certificate, key));
    let der = whole.chain().next().unwrap().to_vec();
    assert_eq!(new(&der, b"junk"), CredentialError::NoKey);
    assert_eq!(
        format!("{whole:?}"),
        "Credential(ECDSA P-256 key, gw.example, 192.0.2.1, gw@example.org, C=CH, O=Cygnet test, CN=gw)"
    );
}

/// RFC 7296 §3.7; the hash is what `openssl x509 -pubkey | openssl pkey -pubin -outform DER | sha1sum` prints.
#[test]
fn certificate_requests_carry_sha1_of_the_public_keys() {
    let mut authorities = Authorities::new(RSA_CA).unwrap();
    assert_eq!(authorities.hashes(), crate::crypto::testing::hex("eed6bc00a893ea1069f6b4a2f68549d9decaa986"));
    let both = [RSA_CA, Ca::root(ca_params("root")).pem.as_bytes()].concat();
    authorities.merge(&Authorities::new(&both).unwrap());
    assert_eq!((authorities.hashes().len(), authorities.subjects().count()), (40, 2));
    assert!(Authorities::new(b"").is_err() && Authorities::new(RSA_KEY).is_err());
}

#[test]
fn hash_lists() {
    assert_eq!(encode_hashes(&SIGNATURE_HASHES), [0, 2, 0, 3, 0, 4, 0, 5]);
    assert_eq!(decode_hashes(&[0, 2, 0, 5, 1]), [HashAlgorithm::SHA2_256, HashAlgorithm::IDENTITY]);
}

/// RFC 7296 §2.15: `RealMessage | Nonce | prf(SK_p, IDPayload body)`.
#[test]
fn signed_octets_are_the_concatenation() {
    use crate::crypto::key_schedule::{KeyLengths, Nonces, SkeySeed};
    use crate::crypto::prf::PRF;
    use crate::message::IkeSpi;
    use crate::secret::Secret;
    let nonces = Nonces { ni: &[1; 16], nr: &[2; 16] };
    let seed = SkeySeed::initial(&PRF[0], Secret::new(vec![3; 32]), nonces);
    let keys = seed.expand(KeyLengths { encr: 36, integ: 0 }, nonces, IkeSpi(1), IkeSpi(2));
    let body = id("gw.example").payload_body();
    assert_eq!(body, b"\x02\0\0\0gw.example");
    let octets = signed_octets(b"message", b"nonce", &keys.sk_pi, &body);
    assert_eq!(octets, [&b"messagenonce"[..], keys.sk_pi.mac(&body).expose()].concat());
    assert_ne!(octets, signed_octets(b"message", b"nonce", &keys.sk_pr, &body));
}
