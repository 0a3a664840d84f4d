//! AUTH payloads: making ours, checking the peer's, and saying why not (RFC 7296 §2.15, RFC 7427).

use crate::auth::{AuthError, Authorities, CertificateError, Proof, psk};
use crate::config::{Connection, LocalAuth, PeerAuth};
use crate::crypto::prf::Prf;
use crate::endpoint::context::Ctx;
use crate::event::FailureCause;
use crate::exchange::failure::Report;
use crate::identity::Identity;
use crate::message::payload::{Cert, CertReq};
use crate::message::{AuthMethod, CertEncoding, Chain, HashAlgorithm, MessageBuilder, Payload};
use crate::sa::IkeSa;

/// Our proof over `octets`.
pub(crate) fn prove(
    connection: &Connection,
    prf: &Prf,
    hashes: Option<&[HashAlgorithm]>,
    octets: &[u8],
) -> Result<Proof, AuthError> {
    match &connection.local.auth {
        LocalAuth::Psk(secret) => Ok(psk::prove(prf, secret, octets)),
        LocalAuth::Certificate(credential) => credential.sign(octets, hashes),
    }
}

/// Our certificates, if we have some (RFC 7296 §3.6).
pub(crate) fn push_certs(connection: &Connection, message: &mut MessageBuilder) {
    if let LocalAuth::Certificate(credential) = &connection.local.auth {
        for data in credential.chain() {
            message.push(&Payload::Cert(Cert { encoding: CertEncoding::X509_SIGNATURE, data }));
        }
    }
}

/// The authorities that we trust for the peers of these connections, if certificates are what we want (RFC 7296 §3.7).
pub(crate) fn push_cert_req<'a>(connections: impl IntoIterator<Item = &'a Connection>, message: &mut MessageBuilder) {
    let mut trusted: Option<Authorities> = None;
    for connection in connections {
        if let PeerAuth::Certificate(authorities) = &connection.peer.auth {
            trusted.get_or_insert_default().merge(authorities);
        }
    }
    if let Some(trusted) = trusted {
        let authorities = &trusted.hashes();
        message.push(&Payload::CertReq(CertReq { encoding: CertEncoding::X509_SIGNATURE, authorities }));
    }
}

/// Why a peer was not believed.
pub(crate) struct Disbelief {
    cause: FailureCause,
    offered: String,
    wanted: String,
    remedy: String,
}

impl Disbelief {
    /// Of a peer that is not who was expected.
    pub(crate) fn identity(offered: String, wanted: String) -> Self {
        let remedy = "make `remote.id` here and `local.id` at the peer the same".to_owned();
        Self { cause: FailureCause::Authentication, offered, wanted, remedy }
    }

    /// Of a peer that may not use the algorithms that IKE_SA_INIT agreed upon, before its identity was known.
    pub(crate) fn algorithms(offered: String, wanted: String) -> Self {
        let remedy = "let the peer offer only `proposals` of the connection that its identity selects".to_owned();
        Self { cause: FailureCause::NoProposal, offered, wanted, remedy }
    }

    pub(crate) fn report(self, cx: &mut Ctx, sa: &IkeSa) {
        Report::new(sa, self.cause).offered(self.offered).wanted(self.wanted).remedy(self.remedy).send(cx);
    }
}

/// Whether the peer's AUTH payload proves that it is `id`.
///
/// # Errors
/// It does not; nothing of this is told to the peer but AUTHENTICATION_FAILED (RFC 7296 §2.21.2).
pub(crate) fn check(
    cx: &Ctx,
    connection: &Connection,
    prf: &Prf,
    id: &Identity,
    payloads: &Chain<'_>,
    octets: &[u8],
) -> Result<(), Disbelief> {
    let Ok(auth) = payloads.auth() else {
        return Err(Disbelief {
            cause: FailureCause::Authentication,
            offered: format!("{id} without AUTH payload, as for EAP"),
            wanted: wanted(connection),
            remedy: "let the peer authenticate with a pre-shared key or a certificate".to_owned(),
        });
    };
    let proof = Proof { method: auth.method, data: auth.data.to_vec() };
    match &connection.peer.auth {
        PeerAuth::Psk(secret) => {
            let holds = proof.method == AuthMethod::SHARED_KEY && psk::verify(prf, secret, octets, &proof.data);
            let remedy = if proof.method == AuthMethod::SHARED_KEY {
                "configure the same secret on both sides"
            } else {
                "let both sides agree on pre-shared keys or certificates (`auth`)"
            };
            holds.then_some(()).ok_or_else(|| disbelief(connection, id, proof.method, remedy))
        }
        PeerAuth::Certificate(authorities) => {
            if proof.method == AuthMethod::SHARED_KEY {
                let remedy = "let both sides agree on pre-shared keys or certificates (`auth`)";
                return Err(disbelief(connection, id, proof.method, remedy));
            }
            let certs: Vec<&[u8]> = payloads
                .certs()
                .filter(|cert| cert.encoding == CertEncoding::X509_SIGNATURE)
                .map(|cert| cert.data)
                .collect();
            let key = authorities.validate(&certs, id, cx.now.wall).map_err(|error| Disbelief {
                cause: FailureCause::Certificate,
                offered: format!("a certificate for {id}: {error}"),
                wanted: wanted(connection),
                remedy: remedy(&error).to_owned(),
            })?;
            key.verify(octets, proof.method, &proof.data).map_err(|error| {
                let remedy = format!("check that the peer's certificate and private key belong together ({error})");
                disbelief(connection, id, proof.method, &remedy)
            })
        }
    }
}

/// What to change about a certificate that was refused.
fn remedy(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Missing => "let the peer send its certificate",
        CertificateError::UnknownAuthority { .. } | CertificateError::BadSignature { .. } => {
            "add the authority that issued the peer's certificate to this connection, or have the certificate issued \
             by one that is trusted here"
        }
        CertificateError::Expired { .. } => "renew the certificate; if it is still valid, set the clock here",
        CertificateError::NotYetValid { .. } => "set the clock here, or wait until the certificate is valid",
        CertificateError::OtherIdentity { .. } => {
            "make the peer's `local.id` one of the identities in its certificate (subject or subjectAltName)"
        }
        _ => "issue the peer's certificate anew",
    }
}

fn disbelief(connection: &Connection, id: &Identity, method: AuthMethod, remedy: &str) -> Disbelief {
    Disbelief {
        cause: FailureCause::Authentication,
        offered: format!("{id} by {method}"),
        wanted: wanted(connection),
        remedy: remedy.to_owned(),
    }
}

/// What the connection asks of its peer.
pub(crate) fn wanted(connection: &Connection) -> String {
    let how = match &connection.peer.auth {
        PeerAuth::Psk(_) => "the secret of this connection",
        PeerAuth::Certificate(_) => "a certificate of a configured authority",
    };
    format!("{} by {how}", connection.peer.id)
}
