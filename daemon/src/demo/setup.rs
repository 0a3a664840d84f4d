//! What both hosts are told: configuration and secrets, made for one run.

use std::path::Path;
use std::sync::Arc;

use cygnet_ike::auth::{Authorities, Credential};
use cygnet_ike::config::{LocalAuth, PeerAuth};
use rand::RngExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde::{Deserialize, Serialize};

use super::{DemoError, Side};
use crate::config::{self, Config};

/// Secrets of one run. They travel to the hosts through a pipe, and never touch a disk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Secrets {
    psk: String,
    pki: Option<Pki>,
}

/// A certification authority and one certificate per host, PEM.
#[derive(Debug, Serialize, Deserialize)]
struct Pki {
    authority: String,
    hosts: [Pair; 2],
}

#[derive(Debug, Serialize, Deserialize)]
struct Pair {
    certificate: String,
    key: String,
}

impl Secrets {
    pub(super) fn generate(cert: bool) -> Result<Self, DemoError> {
        let random: [u8; 32] = rand::rng().random();
        let psk = random.iter().map(|octet| format!("{octet:02x}")).collect();
        let pki = cert.then(Pki::generate).transpose();
        Ok(Self { psk, pki: pki.map_err(|error| DemoError::new("certificates could not be made", error))? })
    }

    /// The configuration of one host.
    pub(super) fn config(&self, side: Side) -> Result<Config, DemoError> {
        let text = text(side, &self.psk);
        let mut config = config::parse(&text, "demo.toml", Path::new(""))
            .map_err(|report| DemoError::new("the demonstration's configuration is wrong", format!("{report:?}")))?;
        let Some(pki) = &self.pki else { return Ok(config) };
        let failed = |error: &dyn std::fmt::Display| DemoError::new("a certificate could not be used", error);
        let authorities = Authorities::new(pki.authority.as_bytes()).map_err(|error| failed(&error))?;
        let pair = &pki.hosts[side.index()];
        let credential = Credential::new(pair.certificate.as_bytes(), pair.key.as_bytes());
        let credential = Arc::new(credential.map_err(|error| failed(&error))?);
        let authorities = Arc::new(authorities);
        for connection in &mut config.ike.connections {
            let connection = Arc::make_mut(connection);
            connection.local.auth = LocalAuth::Certificate(Arc::clone(&credential));
            connection.peer.auth = PeerAuth::Certificate(Arc::clone(&authorities));
        }
        Ok(config)
    }
}

/// What an operator would write.
fn text(side: Side, psk: &str) -> String {
    let (own, other) = (side, side.other());
    let start = if side == Side::A { "start" } else { "none" };
    format!(
        r#"
        [gateway]
        clear_filter = "off"
        listen = ["0.0.0.0"]
        retransmit = {{ timeout = "300ms", base = 1.5, tries = 8 }}
        [connections.demo]
        local_addrs = ["{}"]
        remote_addrs = ["{}"]
        local = {{ id = "{}", auth = "psk" }}
        remote = {{ id = "{}", auth = "psk" }}
        children.net = {{ local_ts = ["{}/32"], remote_ts = ["{}/32"], start_action = "{start}" }}
        [secrets.demo]
        psk = "{psk}"
        "#,
        own.outer(),
        other.outer(),
        own.name(),
        other.name(),
        own.inner(),
        other.inner(),
    )
}

impl Pki {
    fn generate() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Cygnet demonstration CA");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let host = |side: Side| {
            let mut params = CertificateParams::new(vec![side.name().to_owned()])?;
            params.distinguished_name.push(DnType::CommonName, side.name());
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &authority)?.pem();
            Ok::<_, rcgen::Error>(Pair { certificate, key: key.serialize_pem() })
        };
        let hosts = [host(Side::A)?, host(Side::B)?];
        Ok(Self { authority: authority.pem(), hosts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hosts_get_a_configuration() {
        for cert in [false, true] {
            let secrets = Secrets::generate(cert).expect("secrets");
            for side in [Side::A, Side::B] {
                let config = secrets.config(side).expect("a configuration");
                let by_certificate = matches!(config.ike.connections[0].local.auth, LocalAuth::Certificate(_));
                assert_eq!(by_certificate, cert);
            }
        }
    }
}
