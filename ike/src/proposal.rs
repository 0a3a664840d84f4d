//! Proposals of the SA payload (RFC 7296 §3.3), in strongSwan's notation: `aes256gcm16-prfsha384-x25519`.
//!
//! A [`Proposal`] lists transforms; a *suite* ([`IkeSuite`], [`EspSuite`]) is one of each type, resolved to rows of
//! the algorithm registry. [`select`] goes from the first to the second for a responder, [`accept`] for an initiator.

use std::fmt;

use cygnet_esp::{ENCR, Encr};

use crate::crypto::kex::Kex;
use crate::crypto::prf::Prf;
use crate::crypto::registry;
pub use crate::crypto::registry::Transform;
use crate::message::numbers::{AttributeType, EncrId, IntegId, KeId, PrfId, ProtocolId, TransformType};
use crate::message::payload::{WireSpi, sa};
use crate::status::IkeAlgorithms;

mod parse;
mod select;

pub use parse::ProposalError;
pub use select::{Chosen, NoProposal, NotOffered, accept, first_group, retry_group, select};

/// What a proposal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Protocol ID 1.
    Ike,
    /// Protocol ID 3.
    Esp,
}

/// Transforms offered or accepted together: per type any one of them, in order of preference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    protocol: Protocol,
    transforms: Vec<Transform>,
}

impl Proposal {
    /// Reads a configured proposal, words joined by `-`.
    ///
    /// The result is more than one proposal if `text` names both AEAD ciphers and ciphers with separate integrity,
    /// because those exclude each other within one (RFC 5282 §8). `default` stands for [`Proposal::defaults`].
    ///
    /// # Errors
    ///
    /// For unknown words, and where a mandatory transform type is missing (RFC 7296 §3.3.3).
    pub fn parse(protocol: Protocol, text: &str) -> Result<Vec<Self>, ProposalError> {
        parse::parse(protocol, text)
    }

    /// What is offered where nothing is configured: modern algorithms only, AEAD before CBC.
    pub fn defaults(protocol: Protocol) -> Vec<Self> {
        let texts: [&str; 2] = match protocol {
            Protocol::Ike => [
                "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha384-prfsha256-prfsha512\
                 -x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048",
                "aes256-aes192-aes128-sha256-sha384-sha512-prfsha384-prfsha256-prfsha512\
                 -x25519-ecp256-ecp384-ecp521-modp3072-modp4096-modp2048",
            ],
            Protocol::Esp => [
                "aes256gcm16-aes128gcm16-chacha20poly1305-esn-noesn",
                "aes256-aes192-aes128-sha256-sha384-sha512-esn-noesn",
            ],
        };
        texts.iter().flat_map(|text| parse::parse(protocol, text).expect("the defaults are legal")).collect()
    }

    /// From a decoded proposal; `None` if it is for neither IKE nor ESP.
    ///
    /// Transforms with attributes that we do not understand are left out, and with the last of a type the whole
    /// proposal: its answer has to have one of each type (RFC 7296 §3.3.6).
    pub fn from_wire(wire: &sa::Proposal<'_>) -> Option<Self> {
        let protocol = match wire.protocol {
            ProtocolId::IKE => Protocol::Ike,
            ProtocolId::ESP => Protocol::Esp,
            _ => return None,
        };
        let understood = wire.transforms.iter().filter(|transform| transform.is_understood());
        let transforms: Vec<_> =
            understood.map(|t| Transform { kind: t.kind, id: t.id, key_bits: t.key_bits() }).collect();
        let is_left = |kind| transforms.iter().any(|transform| transform.kind == kind);
        wire.transforms.iter().all(|transform| is_left(transform.kind)).then_some(Self { protocol, transforms })
    }

    /// As proposal `number` of an SA payload, with our SPI.
    pub fn to_wire<'a>(&self, number: u8, spi: WireSpi<'a>) -> sa::Proposal<'a> {
        let transform = |t: &Transform| sa::Transform {
            kind: t.kind,
            id: t.id,
            attributes: t
                .key_bits
                .map(|bits| sa::Attribute::Short(AttributeType::KEY_LENGTH, bits))
                .into_iter()
                .collect(),
        };
        let protocol = match self.protocol {
            Protocol::Ike => ProtocolId::IKE,
            Protocol::Esp => ProtocolId::ESP,
        };
        sa::Proposal { number, protocol, spi, transforms: self.transforms.iter().map(transform).collect() }
    }

    /// IKE or ESP.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// All transforms, for the wire: by type, within a type the most wanted first.
    pub fn transforms(&self) -> &[Transform] {
        &self.transforms
    }

    /// The transforms of one type, the most wanted first.
    pub fn of(&self, kind: TransformType) -> impl Iterator<Item = Transform> {
        self.transforms.iter().copied().filter(move |transform| transform.kind == kind)
    }

    /// The ciphers for ESP that it allows, in no order.
    pub fn ciphers(&self) -> impl Iterator<Item = &'static Encr> {
        let allows = |kind, id, key_bits| self.of(kind).any(|known| (known.id, known.key_bits) == (id, key_bits));
        ENCR.iter().filter(move |row| {
            allows(TransformType::ENCR, row.id, row.key_bits)
                && row.integ.is_none_or(|integ| allows(TransformType::INTEG, integ, None))
        })
    }

    /// The key exchange methods that we know, the most wanted first.
    pub fn groups(&self) -> impl Iterator<Item = &'static Kex> {
        self.of(TransformType::KE).filter_map(|transform| Kex::by_id(transform.id))
    }

    /// Whether it holds every algorithm of `suite`.
    pub fn allows(&self, suite: &IkeSuite) -> bool {
        let IkeSuite { encr, prf, kex } = suite;
        let has = |kind, id, key_bits| self.transforms.contains(&Transform { kind, id, key_bits });
        has(TransformType::ENCR, encr.id, encr.key_bits)
            && encr.integ.is_none_or(|id| has(TransformType::INTEG, id, None))
            && has(TransformType::PRF, prf.id, None)
            && has(TransformType::KE, kex.id, None)
    }

    /// With this cipher and this kind of sequence numbers alone; `None` if it does not allow them.
    pub(crate) fn only(&self, encr: &Encr, esn: bool) -> Option<Self> {
        let keeps = |t: &Transform| match t.kind {
            TransformType::ENCR => (t.id, t.key_bits) == (encr.id, encr.key_bits),
            TransformType::INTEG => encr.integ == Some(t.id),
            TransformType::ESN => t.id == u16::from(esn),
            _ => true,
        };
        let transforms = self.transforms.iter().copied().filter(keeps).collect();
        let only = Self { protocol: self.protocol, transforms };
        let is_left = |kind| only.of(kind).next().is_some();
        // Without a transform of that type, sequence numbers have 32 bits (RFC 7296 §3.3.2).
        let numbers = is_left(TransformType::ESN) || !esn && self.of(TransformType::ESN).next().is_none();
        let cipher = is_left(TransformType::ENCR) && (encr.integ.is_none() || is_left(TransformType::INTEG));
        (cipher && numbers).then_some(only)
    }

    /// Without key exchange methods, as for the Child SA of IKE_AUTH (RFC 7296 §1.2).
    #[must_use]
    pub fn without_groups(&self) -> Self {
        let transforms = self.transforms.iter().copied().filter(|transform| transform.kind != TransformType::KE);
        Self { protocol: self.protocol, transforms: transforms.collect() }
    }
}

impl fmt::Display for Proposal {
    /// Configuration syntax, which [`Proposal::parse`] reads back; transforms that we do not implement by their registered names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_transforms(f, &self.transforms)
    }
}

fn write_transforms(f: &mut fmt::Formatter<'_>, transforms: &[Transform]) -> fmt::Result {
    for (i, transform) in transforms.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { "-" })?;
        f.write_str(&describe(*transform))?;
    }
    Ok(())
}

/// The keyword of `transform`, or its registered name if we do not implement it.
fn describe(transform: Transform) -> String {
    if let Some(keyword) = registry::keyword(transform) {
        return keyword.to_owned();
    }
    let id = transform.id;
    let name = match transform.kind {
        TransformType::ENCR => EncrId(id).short(),
        TransformType::PRF => PrfId(id).short(),
        TransformType::INTEG => IntegId(id).short(),
        TransformType::KE => KeId(id).short(),
        _ => None,
    };
    match (name, transform.key_bits) {
        (Some(name), Some(bits)) => format!("{name}_{bits}"),
        (Some(name), None) => name.to_owned(),
        (None, Some(bits)) => format!("{}({id},{bits})", transform.kind.0),
        (None, None) => format!("{}({id})", transform.kind.0),
    }
}

/// `a, b`: several proposals in a message. A peer decides how many it offers, so there is a limit to what is told.
pub fn list(proposals: &[Proposal]) -> String {
    const TOLD: usize = 8;
    let mut text = proposals.iter().take(TOLD).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = proposals.len().checked_sub(TOLD) {
        text.push_str(&format!(", and {more} more"));
    }
    text
}

/// The algorithms of an IKE SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IkeSuite {
    /// Protects SK payloads.
    pub encr: &'static Encr,
    /// Derives keys and makes proofs.
    pub prf: &'static Prf,
    /// Makes the shared secret.
    pub kex: &'static Kex,
}

/// The algorithms of a Child SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EspSuite {
    /// Protects packets.
    pub encr: &'static Encr,
    /// A key exchange of its own; always `None` in IKE_AUTH (RFC 7296 §1.2).
    pub kex: Option<&'static Kex>,
    /// Extended sequence numbers (RFC 4303 §2.2.1).
    pub esn: bool,
}

/// One algorithm of each type, resolved.
pub trait Suite: Sized {
    /// What it belongs to.
    const PROTOCOL: Protocol;

    /// From one transform of each type; `None` if one is missing or unknown to us.
    fn resolve(transforms: &[Transform]) -> Option<Self>;
}

/// ID of the one transform of `kind`; NONE (0) is as good as absent (RFC 7296 §3.3.2).
fn id_of(transforms: &[Transform], kind: TransformType) -> Option<u16> {
    transforms.iter().find(|transform| transform.kind == kind).map(|transform| transform.id).filter(|id| *id != 0)
}

fn encr_of(transforms: &[Transform]) -> Option<&'static Encr> {
    let encr = transforms.iter().find(|transform| transform.kind == TransformType::ENCR)?;
    Encr::find(encr.id, encr.key_bits, id_of(transforms, TransformType::INTEG))
}

impl IkeSuite {
    /// The suite in use on an IKE SA.
    pub(crate) fn of(algorithms: &IkeAlgorithms) -> Option<Self> {
        let IkeAlgorithms { encr, prf, group } = *algorithms;
        Some(Self { encr, prf: Prf::by_id(prf)?, kex: Kex::by_id(group)? })
    }
}

impl Suite for IkeSuite {
    const PROTOCOL: Protocol = Protocol::Ike;

    fn resolve(transforms: &[Transform]) -> Option<Self> {
        Some(Self {
            encr: encr_of(transforms)?,
            prf: Prf::by_id(id_of(transforms, TransformType::PRF)?)?,
            kex: Kex::by_id(id_of(transforms, TransformType::KE)?)?,
        })
    }
}

impl Suite for EspSuite {
    const PROTOCOL: Protocol = Protocol::Esp;

    fn resolve(transforms: &[Transform]) -> Option<Self> {
        let kex = match id_of(transforms, TransformType::KE) {
            Some(id) => Some(Kex::by_id(id)?),
            None => None,
        };
        Some(Self { encr: encr_of(transforms)?, kex, esn: id_of(transforms, TransformType::ESN) == Some(1) })
    }
}

impl fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.encr, self.prf.keyword, self.kex.keyword)
    }
}

impl fmt::Display for EspSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.encr)?;
        if let Some(kex) = self.kex {
            write!(f, "-{}", kex.keyword)?;
        }
        f.write_str(if self.esn { "-esn" } else { "" })
    }
}

#[cfg(test)]
mod tests;
