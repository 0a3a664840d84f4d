//! The payloads (RFC 7296 §3.3–§3.16), one file each, and the enum over them.
//!
//! A payload's `Decode` and `Encode` handle its body; the generic header (§3.2) belongs to [`chain`](super::chain).

pub mod auth;
pub mod cert;
pub mod cp;
pub mod delete;
pub mod eap;
pub mod id;
pub mod ke;
pub mod nonce;
pub mod notify;
pub mod sa;
pub mod spi;
pub mod ts;
pub mod vendor_id;

pub use auth::Auth;
pub use cert::{Cert, CertReq};
pub use cp::{CfgAttribute, Cp};
pub use delete::Delete;
pub use eap::Eap;
pub use id::Id;
pub use ke::Ke;
pub use nonce::Nonce;
pub use notify::Notify;
pub use sa::{Attribute, Proposal, Sa, Transform};
pub use spi::WireSpi;
pub use ts::{Ts, UnknownSelector};
pub use vendor_id::VendorId;

use super::numbers::PayloadType;
use super::{Decode, DecodeError, Encode, Reader, Writer};

/// One payload of a message.
///
/// SK and SKF are not among them: they are the envelope, see [`sealed`](super::sealed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload<'a> {
    /// SA: proposals, or the chosen one.
    Sa(Sa<'a>),
    /// KE: a public value.
    Ke(Ke<'a>),
    /// IDi: the initiator's identity.
    IdI(Id<'a>),
    /// IDr: the responder's identity.
    IdR(Id<'a>),
    /// CERT: a certificate.
    Cert(Cert<'a>),
    /// CERTREQ: authorities that the sender trusts.
    CertReq(CertReq<'a>),
    /// AUTH: the proof.
    Auth(Auth<'a>),
    /// Ni or Nr.
    Nonce(Nonce<'a>),
    /// N: error or status.
    Notify(Notify<'a>),
    /// D: SAs that the sender has deleted.
    Delete(Delete<'a>),
    /// V: which implementation or extension.
    VendorId(VendorId<'a>),
    /// TSi: what lies behind the initiator.
    TsI(Ts<'a>),
    /// TSr: what lies behind the responder.
    TsR(Ts<'a>),
    /// CP: configuration.
    Cp(Cp<'a>),
    /// EAP: an EAP message.
    Eap(Eap<'a>),
    /// A type that we do not know. On receipt never critical: [`chain`](super::chain) refuses those.
    Unknown {
        /// Its type.
        kind: PayloadType,
        /// The critical bit (RFC 7296 §2.5).
        critical: bool,
        /// Its body.
        body: &'a [u8],
    },
}

impl<'a> Payload<'a> {
    /// A Notify payload that concerns no particular SA.
    pub fn notify(kind: super::NotifyType, data: &'a [u8]) -> Self {
        Self::Notify(Notify::new(kind, data))
    }

    /// Its type.
    pub fn kind(&self) -> PayloadType {
        match self {
            Self::Sa(_) => PayloadType::SA,
            Self::Ke(_) => PayloadType::KE,
            Self::IdI(_) => PayloadType::ID_I,
            Self::IdR(_) => PayloadType::ID_R,
            Self::Cert(_) => PayloadType::CERT,
            Self::CertReq(_) => PayloadType::CERTREQ,
            Self::Auth(_) => PayloadType::AUTH,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::VendorId(_) => PayloadType::VENDOR_ID,
            Self::TsI(_) => PayloadType::TS_I,
            Self::TsR(_) => PayloadType::TS_R,
            Self::Cp(_) => PayloadType::CP,
            Self::Eap(_) => PayloadType::EAP,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Whether its critical bit is sent: never for the types of RFC 7296 (§3.2).
    pub fn critical(&self) -> bool {
        matches!(self, Self::Unknown { critical: true, .. })
    }

    /// Reads the body of a payload of type `kind`. A body must be read to its end.
    ///
    /// # Errors
    /// Whatever breaks that payload's format.
    pub fn decode(kind: PayloadType, critical: bool, body: &'a [u8]) -> Result<Self, DecodeError> {
        let r = &mut Reader::new(body);
        let payload = match kind {
            PayloadType::SA => Self::Sa(Sa::decode(r)?),
            PayloadType::KE => Self::Ke(Ke::decode(r)?),
            PayloadType::ID_I => Self::IdI(Id::decode(r)?),
            PayloadType::ID_R => Self::IdR(Id::decode(r)?),
            PayloadType::CERT => Self::Cert(Cert::decode(r)?),
            PayloadType::CERTREQ => Self::CertReq(CertReq::decode(r)?),
            PayloadType::AUTH => Self::Auth(Auth::decode(r)?),
            PayloadType::NONCE => Self::Nonce(Nonce::decode(r)?),
            PayloadType::NOTIFY => Self::Notify(Notify::decode(r)?),
            PayloadType::DELETE => Self::Delete(Delete::decode(r)?),
            PayloadType::VENDOR_ID => Self::VendorId(VendorId::decode(r)?),
            PayloadType::TS_I => Self::TsI(Ts::decode(r)?),
            PayloadType::TS_R => Self::TsR(Ts::decode(r)?),
            PayloadType::CP => Self::Cp(Cp::decode(r)?),
            PayloadType::EAP => Self::Eap(Eap::decode(r)?),
            _ => Self::Unknown { kind, critical, body: r.rest() },
        };
        r.clone().finish()?;
        Ok(payload)
    }

    /// Whether `kind` has a variant of its own, so that its critical bit is ignored (RFC 7296 §3.2).
    pub fn is_known(kind: PayloadType) -> bool {
        (PayloadType::SA..=PayloadType::TS_R).contains(&kind) || kind == PayloadType::CP || kind == PayloadType::EAP
    }
}

impl Encode for Payload<'_> {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Sa(p) => p.encode(w),
            Self::Ke(p) => p.encode(w),
            Self::IdI(p) | Self::IdR(p) => p.encode(w),
            Self::Cert(p) => p.encode(w),
            Self::CertReq(p) => p.encode(w),
            Self::Auth(p) => p.encode(w),
            Self::Nonce(p) => p.encode(w),
            Self::Notify(p) => p.encode(w),
            Self::Delete(p) => p.encode(w),
            Self::VendorId(p) => p.encode(w),
            Self::TsI(p) | Self::TsR(p) => p.encode(w),
            Self::Cp(p) => p.encode(w),
            Self::Eap(p) => p.encode(w),
            Self::Unknown { body, .. } => w.bytes(body),
        }
    }
}
