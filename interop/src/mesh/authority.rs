//! Certificates for nodes, whose identity is their address.

use std::net::IpAddr;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

use crate::failure::{Context, Result};

/// A certificate authority.
#[derive(Debug)]
pub(super) struct Authority {
    /// Its certificate (PEM).
    pub(super) certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one.
    pub(super) fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate().context("key")?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).context("authority")?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// Certificate and key (PEM) of the node at `address`.
    pub(super) fn issue(&self, address: IpAddr) -> Result<(String, String)> {
        let key = KeyPair::generate().context("key")?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, address.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = vec![SanType::IpAddress(address)];
        let certificate = params.signed_by(&key, &self.issuer).context("certificate")?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}
