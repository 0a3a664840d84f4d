//! Certificates made for one run: per algorithm a root, an intermediate, and end entities good and bad.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, DnValue, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, SanType, date_time_ymd, string::PrintableString,
};

use crate::failure::{Context, Result, fail};
use crate::process;
use crate::scenario::Auth;

/// What a side holds: its certificate with the intermediates above it, its key, and the authority it trusts.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    /// End entity, then intermediates (PEM).
    pub(crate) chain: Vec<String>,
    /// PKCS#8 PEM.
    pub(crate) key: String,
}

/// Everything that one algorithm needs.
#[derive(Debug)]
pub(crate) struct Pki {
    /// The root that both sides trust.
    pub(crate) root: String,
    certificates: BTreeMap<(String, &'static str), Credentials>,
}

impl Pki {
    /// Credentials of `owner` (`ours` or `theirs`); `kind` is `good`, `expired` or `stranger`.
    ///
    /// # Errors
    /// When a scenario asks for another kind.
    pub(crate) fn of(&self, owner: &str, kind: &str) -> Result<&Credentials> {
        let found = self.certificates.iter().find(|((name, known), _)| name == owner && *known == kind);
        found.map(|(_, credentials)| credentials).context(format!("no certificate of kind {kind:?}"))
    }
}

/// Makes each algorithm's certificates once, when first asked for.
#[derive(Debug, Default)]
pub(crate) struct PkiStore(Mutex<BTreeMap<&'static str, std::sync::Arc<Pki>>>);

impl PkiStore {
    /// The certificates for `auth`, if it uses any.
    pub(crate) fn of(&self, auth: Auth) -> Result<Option<std::sync::Arc<Pki>>> {
        if auth == Auth::Psk {
            return Ok(None);
        }
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pki) = made.get(auth.label()) {
            return Ok(Some(pki.clone()));
        }
        let pki = std::sync::Arc::new(make(auth)?);
        made.insert(auth.label(), pki.clone());
        Ok(Some(pki))
    }
}

struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn make(auth: Auth) -> Result<Pki> {
    let root = authority(auth, "Root", None)?;
    let intermediate = authority(auth, "Intermediate", Some(&root))?;
    let stranger = authority(auth, "Stranger", None)?;
    // Only RSA has an intermediate: its larger messages then always need IKE fragmentation (RFC 7383).
    let (issuer, above) = if auth == Auth::Rsa { (&intermediate, Some(&intermediate)) } else { (&root, None) };
    let mut certificates = BTreeMap::new();
    for owner in ["ours", "theirs"] {
        for (kind, issuer, above) in
            [("good", issuer, above), ("expired", issuer, above), ("stranger", &stranger, None)]
        {
            let made = end_entity(auth, owner, kind == "expired", issuer, above)?;
            certificates.insert((owner.to_owned(), kind), made);
        }
    }
    Ok(Pki { root: root.certificate.pem(), certificates })
}

fn authority(auth: Auth, name: &str, above: Option<&Authority>) -> Result<Authority> {
    let key = key(auth)?;
    let mut params = params(&format!("Cygnet Test {name}"), false)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = match above {
        Some(above) => params.signed_by(&key, &above.issuer),
        None => params.self_signed(&key),
    };
    Ok(Authority { certificate: certificate.context("authority")?, issuer: Issuer::new(params, key) })
}

fn end_entity(
    auth: Auth,
    owner: &str,
    expired: bool,
    issuer: &Authority,
    above: Option<&Authority>,
) -> Result<Credentials> {
    let key = key(auth)?;
    let mut params = params(owner, expired)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names = vec![
        SanType::DnsName(format!("{owner}.test").try_into().context("name")?),
        SanType::Rfc822Name(format!("gate@{owner}.test").try_into().context("name")?),
    ];
    let certificate = params.signed_by(&key, &issuer.issuer).context("certificate")?;
    let chain = [Some(certificate.pem()), above.map(|above| above.certificate.pem())];
    Ok(Credentials { chain: chain.into_iter().flatten().collect(), key: key.serialize_pem() })
}

fn params(name: &str, expired: bool) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in [(DnType::CountryName, "CH"), (DnType::OrganizationName, "Cygnet"), (DnType::CommonName, name)]
    {
        let value = PrintableString::try_from(value).context(value)?;
        params.distinguished_name.push(kind, DnValue::PrintableString(value));
    }
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(if expired { 2021 } else { 2049 }, 1, 1);
    Ok(params)
}

fn key(auth: Auth) -> Result<KeyPair> {
    match auth {
        Auth::Psk => fail!("PSK needs no certificate"),
        Auth::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("key"),
        Auth::Ed25519 => KeyPair::generate_for(&PKCS_ED25519).context("key"),
        Auth::Rsa => {
            let pem = process::run(Command::new("openssl").args(["genrsa", "2048"]), Duration::from_secs(60))?;
            KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &PKCS_RSA_SHA256).context("RSA key")
        }
    }
}
