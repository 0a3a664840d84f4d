//! The chain of payloads behind the header (RFC 7296 §3.2), and the rules for payloads we do not know (§2.5).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! Payloads may come in any order (§2.5): accessors look them up by type.

use super::header::Header;
use super::numbers::{NotifyType, PayloadType};
use super::payload::{Auth, Cert, CertReq, Cp, Delete, Eap, Id, Ke, Nonce, Notify, Payload, Sa, Ts, VendorId};
use super::{Decode, DecodeError, Reader};
use crate::limits;

/// The critical bit in the second octet of a generic payload header.
pub(super) const CRITICAL: u8 = 0x80;

/// Octets of a generic payload header.
pub(super) const GENERIC_LEN: u16 = 4;

/// A message in the clear: IKE_SA_INIT, and notifications outside of any SA. Nothing it says is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its header.
    pub header: Header,
    /// Its payloads.
    pub payloads: Chain<'a>,
}

impl<'a> Message<'a> {
    /// Reads a whole datagram.
    ///
    /// # Errors
    /// The version is not 2, the format is broken, an unknown payload is critical, or there is an SK or SKF payload.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(datagram);
        let header = Header::decode(&mut r)?;
        header.check(datagram.len())?;
        let payloads = Chain::decode(header.next_payload, r.rest()).map_err(|error| match error {
            DecodeError::Misplaced(_) => DecodeError::NotProtected,
            other => other,
        })?;
        Ok(Self { header, payloads })
    }
}

/// The payloads of a message, in the order received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain<'a> {
    payloads: Vec<Payload<'a>>,
}

impl<'a> Chain<'a> {
    /// Reads the payloads in `octets`, the first of them of type `first`.
    ///
    /// The whole chain is walked first: an unknown critical payload is reported even if another one is malformed,
    /// for it may be the reason why.
    ///
    /// # Errors
    /// The format is broken, an unknown payload is critical, or there is an SK or SKF payload.
    pub fn decode(first: PayloadType, octets: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut certificates, mut requests) = (0_usize, 0_usize);
        for raw in RawChain::new(first, octets) {
            let raw = raw?;
            raw.refuse_critical()?;
            match raw.kind {
                PayloadType::SK | PayloadType::SKF => return Err(DecodeError::Misplaced(raw.kind)),
                PayloadType::CERT => certificates = certificates.saturating_add(1),
                PayloadType::CERTREQ => requests = requests.saturating_add(1),
                _ => {}
            }
        }
        if certificates > limits::CERTIFICATES {
            return Err(DecodeError::TooMany("certificates"));
        }
        if requests > limits::CERTIFICATE_REQUESTS {
            return Err(DecodeError::TooMany("certificate requests"));
        }
        let payloads = RawChain::new(first, octets)
            .map(|raw| raw.and_then(|raw| Payload::decode(raw.kind, raw.critical, raw.body)))
            .collect::<Result<_, _>>()?;
        Ok(Self { payloads })
    }

    /// Every payload, in the order received.
    pub fn iter(&self) -> std::slice::Iter<'_, Payload<'a>> {
        self.payloads.iter()
    }

    /// How many payloads.
    pub fn len(&self) -> usize {
        self.payloads.len()
    }

    /// Whether there is none, as in a liveness check (RFC 7296 §2.4).
    pub fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }

    /// The only value that `pick` finds, if any.
    fn at_most_one<'c, T>(
        &'c self,
        kind: PayloadType,
        pick: impl Fn(&'c Payload<'a>) -> Option<T>,
    ) -> Result<Option<T>, DecodeError> {
        let mut found = self.payloads.iter().filter_map(pick);
        let first = found.next();
        if found.next().is_some() { Err(DecodeError::Repeated(kind)) } else { Ok(first) }
    }

    /// Every notification.
    pub fn notifies(&self) -> impl Iterator<Item = &Notify<'a>> {
        self.payloads.iter().filter_map(|p| if let Payload::Notify(n) = p { Some(n) } else { None })
    }

    /// The first notification of this type.
    pub fn notify(&self, kind: NotifyType) -> Option<&Notify<'a>> {
        self.notifies().find(|notify| notify.kind == kind)
    }

    /// Whether there is a notification of this type.
    pub fn has_notify(&self, kind: NotifyType) -> bool {
        self.notify(kind).is_some()
    }

    /// The first notification that reports an error, known or not (RFC 7296 §3.10.1).
    pub fn error(&self) -> Option<&Notify<'a>> {
        self.notifies().find(|notify| notify.kind.is_error())
    }

    /// Every certificate, in order.
    pub fn certs(&self) -> impl Iterator<Item = &Cert<'a>> {
        self.payloads.iter().filter_map(|p| if let Payload::Cert(c) = p { Some(c) } else { None })
    }

    /// Every certificate request.
    pub fn cert_reqs(&self) -> impl Iterator<Item = &CertReq<'a>> {
        self.payloads.iter().filter_map(|p| if let Payload::CertReq(c) = p { Some(c) } else { None })
    }

    /// Every Delete payload.
    pub fn deletes(&self) -> impl Iterator<Item = &Delete<'a>> {
        self.payloads.iter().filter_map(|p| if let Payload::Delete(d) = p { Some(d) } else { None })
    }

    /// Every vendor ID.
    pub fn vendor_ids(&self) -> impl Iterator<Item = &VendorId<'a>> {
        self.payloads.iter().filter_map(|p| if let Payload::VendorId(v) = p { Some(v) } else { None })
    }
}

/// Accessors of payloads that a message has once: the mandatory form, and the optional one.
macro_rules! singular {
    ($($name:ident, $optional:ident: $variant:ident($type:ty) = $kind:ident, $what:literal;)*) => {
        impl<'a> Chain<'a> { $(
            #[doc = concat!("The ", $what, " payload.\n\n# Errors\nThere is none, or more than one.")]
            pub fn $name(&self) -> Result<&$type, DecodeError> {
                self.$optional()?.ok_or(DecodeError::Missing(PayloadType::$kind))
            }

            #[doc = concat!("The ", $what, " payload, if there is one.\n\n# Errors\nThere is more than one.")]
            pub fn $optional(&self) -> Result<Option<&$type>, DecodeError> {
                self.at_most_one(PayloadType::$kind, |p| if let Payload::$variant(v) = p { Some(v) } else { None })
            }
        )* }
    };
}

singular! {
    sa, sa_opt: Sa(Sa<'a>) = SA, "SA";
    ke, ke_opt: Ke(Ke<'a>) = KE, "KE";
    nonce, nonce_opt: Nonce(Nonce<'a>) = NONCE, "Ni or Nr";
    id_i, id_i_opt: IdI(Id<'a>) = ID_I, "IDi";
    id_r, id_r_opt: IdR(Id<'a>) = ID_R, "IDr";
    auth, auth_opt: Auth(Auth<'a>) = AUTH, "AUTH";
    ts_i, ts_i_opt: TsI(Ts<'a>) = TS_I, "TSi";
    ts_r, ts_r_opt: TsR(Ts<'a>) = TS_R, "TSr";
    cp, cp_opt: Cp(Cp<'a>) = CP, "CP";
    eap, eap_opt: Eap(Eap<'a>) = EAP, "EAP";
}

impl<'c, 'a> IntoIterator for &'c Chain<'a> {
    type Item = &'c Payload<'a>;
    type IntoIter = std::slice::Iter<'c, Payload<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A payload by its generic header alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawPayload<'a> {
    pub(super) kind: PayloadType,
    pub(super) critical: bool,
    /// Type of the payload behind; of SK and SKF, of the first one inside.
    pub(super) next: PayloadType,
    pub(super) body: &'a [u8],
}

impl RawPayload<'_> {
    /// RFC 7296 §2.5: an unknown payload is skipped, unless it is critical. The bit means nothing on known ones.
    pub(super) fn refuse_critical(&self) -> Result<(), DecodeError> {
        let known = Payload::is_known(self.kind) || self.kind == PayloadType::SK || self.kind == PayloadType::SKF;
        if self.critical && !known { Err(DecodeError::UnsupportedCriticalPayload(self.kind)) } else { Ok(()) }
    }
}

/// Walks generic headers. Ends after the last payload, after SK or SKF, or after the first error.
#[derive(Debug, Clone)]
pub(super) struct RawChain<'a> {
    next: PayloadType,
    rest: Reader<'a>,
    count: usize,
    ended: bool,
}

impl<'a> RawChain<'a> {
    pub(super) fn new(first: PayloadType, octets: &'a [u8]) -> Self {
        Self { next: first, rest: Reader::new(octets), count: 0, ended: false }
    }

    fn step(&mut self) -> Result<Option<RawPayload<'a>>, DecodeError> {
        if self.next == PayloadType::NONE {
            return self.rest.clone().finish().map(|()| None);
        }
        self.count = self.count.saturating_add(1);
        if self.count > limits::PAYLOADS {
            return Err(DecodeError::TooMany("payloads"));
        }
        let kind = self.next;
        let next = PayloadType(self.rest.u8()?);
        let critical = self.rest.u8()? & CRITICAL != 0;
        let length = self.rest.u16()?;
        let body = self.rest.sub_counted(length, GENERIC_LEN)?.rest();
        // SK and SKF are last; their Next Payload names what is inside (RFC 7296 §3.14, RFC 7383 §2.5).
        let protected = kind == PayloadType::SK || kind == PayloadType::SKF;
        self.next = if protected { PayloadType::NONE } else { next };
        Ok(Some(RawPayload { kind, critical, next, body }))
    }
}

impl<'a> Iterator for RawChain<'a> {
    type Item = Result<RawPayload<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step().transpose();
        self.ended = !matches!(step, Some(Ok(_)));
        step
    }
}
