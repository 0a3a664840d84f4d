//! Security Association payload: proposals, transforms, attributes (RFC 7296 §3.3).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Last Substruc |   RESERVED    |         Proposal Length       |   2 if more follow, 0 if last
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                        SPI (variable)                         ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Last Substruc |   RESERVED    |        Transform Length       |   3 if more follow, 0 if last
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Transform Type |   RESERVED    |          Transform ID         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                      Transform Attributes                     ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |A|       Attribute Type        |    A=0: Length,  A=1: Value   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::super::numbers::{AttributeType, EncrId, EsnId, IntegId, KeId, PrfId, ProtocolId, TransformType};
use super::super::{Decode, DecodeError, Encode, Reader, Writer};
use super::WireSpi;
use crate::limits;

/// An SA payload: what is offered, most wanted first; in a response, the one choice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sa<'a> {
    /// Numbered one after the other, from 1 in an offer.
    pub proposals: Vec<Proposal<'a>>,
}

/// One proposal: a combination of transforms for one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal<'a> {
    /// From 1; a response repeats the number of the proposal it accepts.
    pub number: u8,
    /// IKE, ESP or AH.
    pub protocol: ProtocolId,
    /// The sender's inbound SPI; none in IKE_SA_INIT.
    pub spi: WireSpi<'a>,
    /// Alternatives where several have the same type.
    pub transforms: Vec<Transform<'a>>,
}

impl<'a> Proposal<'a> {
    /// The transforms of one type, in order.
    pub fn transforms_of(&self, kind: TransformType) -> impl Iterator<Item = &Transform<'a>> {
        self.transforms.iter().filter(move |transform| transform.kind == kind)
    }
}

/// One algorithm of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform<'a> {
    /// What it is about.
    pub kind: TransformType,
    /// Which algorithm, within `kind`: [`EncrId`], [`PrfId`], [`IntegId`], [`KeId`] or [`EsnId`].
    pub id: u16,
    /// Key Length, and nothing else so far.
    pub attributes: Vec<Attribute<'a>>,
}

impl<'a> Transform<'a> {
    /// A transform without attributes.
    pub fn new(kind: TransformType, id: u16) -> Self {
        Self { kind, id, attributes: Vec::new() }
    }

    /// An encryption algorithm, with its key length in bits where it has several.
    pub fn encr(id: EncrId, key_bits: Option<u16>) -> Self {
        let attributes = key_bits.map(|bits| Attribute::Short(AttributeType::KEY_LENGTH, bits)).into_iter().collect();
        Self { kind: TransformType::ENCR, id: id.0, attributes }
    }

    /// A pseudorandom function.
    pub fn prf(id: PrfId) -> Self {
        Self::new(TransformType::PRF, id.0)
    }

    /// An integrity algorithm.
    pub fn integ(id: IntegId) -> Self {
        Self::new(TransformType::INTEG, id.0)
    }

    /// A key exchange method.
    pub fn ke(id: KeId) -> Self {
        Self::new(TransformType::KE, id.0)
    }

    /// Extended sequence numbers or not.
    pub fn esn(id: EsnId) -> Self {
        Self::new(TransformType::ESN, id.0)
    }

    /// The Key Length attribute, bits.
    pub fn key_bits(&self) -> Option<u16> {
        self.attributes.iter().find_map(|attribute| match attribute {
            Attribute::Short(AttributeType::KEY_LENGTH, bits) => Some(*bits),
            _ => None,
        })
    }

    /// Whether every attribute is understood: at most one, a Key Length. A transform with others must not be
    /// chosen (RFC 7296 §3.3.6).
    pub fn is_understood(&self) -> bool {
        matches!(self.attributes.as_slice(), [] | [Attribute::Short(AttributeType::KEY_LENGTH, _)])
    }
}

/// One attribute of a transform (RFC 7296 §3.3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute<'a> {
    /// Type and two-octet value (the A bit is set).
    Short(AttributeType, u16),
    /// Type, length and value.
    Long(AttributeType, &'a [u8]),
}

const MORE_PROPOSALS: u8 = 2;
const MORE_TRANSFORMS: u8 = 3;
const SHORT_FORM: u16 = 0x8000;

/// Octets of a proposal's and a transform's fixed part up to and including its length field.
const LENGTH_END: u16 = 4;

impl<'a> Decode<'a> for Sa<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut proposals: Vec<Proposal<'a>> = Vec::new();
        loop {
            let last = r.u8()?;
            r.u8()?;
            let length = r.u16()?;
            let proposal = proposal(&mut r.sub_counted(length, LENGTH_END)?)?;
            if proposals.last().is_some_and(|before| before.number.checked_add(1) != Some(proposal.number)) {
                return Err(DecodeError::ProposalNumber);
            }
            if proposals.len() >= limits::PROPOSALS {
                return Err(DecodeError::TooMany("proposals"));
            }
            proposals.push(proposal);
            match last {
                0 => return Ok(Self { proposals }),
                MORE_PROPOSALS => {}
                _ => return Err(DecodeError::LastSubstructure),
            }
        }
    }
}

fn proposal<'a>(r: &mut Reader<'a>) -> Result<Proposal<'a>, DecodeError> {
    let number = r.u8()?;
    let protocol = ProtocolId(r.u8()?);
    let spi_size = r.u8()?;
    let count = usize::from(r.u8()?);
    match (protocol, spi_size) {
        (ProtocolId::IKE, 0 | 8) | (ProtocolId::ESP | ProtocolId::AH, 4) => {}
        (ProtocolId::IKE | ProtocolId::ESP | ProtocolId::AH, _) => return Err(DecodeError::SpiSize),
        _ => {}
    }
    let spi = WireSpi::read(r, spi_size)?;
    if count > limits::TRANSFORMS {
        return Err(DecodeError::TooMany("transforms"));
    }
    let mut transforms = Vec::with_capacity(count);
    while transforms.len() < count {
        let last = r.u8()?;
        r.u8()?;
        let length = r.u16()?;
        transforms.push(transform(&mut r.sub_counted(length, LENGTH_END)?)?);
        let expected = if transforms.len() == count { 0 } else { MORE_TRANSFORMS };
        if last != expected {
            return Err(DecodeError::LastSubstructure);
        }
    }
    r.clone().finish()?;
    Ok(Proposal { number, protocol, spi, transforms })
}

fn transform<'a>(r: &mut Reader<'a>) -> Result<Transform<'a>, DecodeError> {
    let kind = TransformType(r.u8()?);
    r.u8()?;
    let id = r.u16()?;
    let mut attributes = Vec::new();
    while !r.is_empty() {
        if attributes.len() >= limits::TRANSFORM_ATTRIBUTES {
            return Err(DecodeError::TooMany("transform attributes"));
        }
        let field = r.u16()?;
        let value = r.u16()?;
        let kind = AttributeType(field & !SHORT_FORM);
        attributes.push(if field & SHORT_FORM != 0 {
            Attribute::Short(kind, value)
        } else {
            Attribute::Long(kind, r.take(usize::from(value))?)
        });
    }
    Ok(Transform { kind, id, attributes })
}

impl Encode for Sa<'_> {
    fn encode(&self, w: &mut Writer) {
        let mut rest = self.proposals.iter().peekable();
        while let Some(proposal) = rest.next() {
            let more = if rest.peek().is_some() { MORE_PROPOSALS } else { 0 };
            w.nested(&[more, 0], |w| proposal.encode(w));
        }
    }
}

impl Encode for Proposal<'_> {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.number);
        w.u8(self.protocol.0);
        w.u8(self.spi.size());
        w.u8(u8::try_from(self.transforms.len()).unwrap_or(u8::MAX));
        self.spi.write(w);
        let mut rest = self.transforms.iter().peekable();
        while let Some(transform) = rest.next() {
            let more = if rest.peek().is_some() { MORE_TRANSFORMS } else { 0 };
            w.nested(&[more, 0], |w| transform.encode(w));
        }
    }
}

impl Encode for Transform<'_> {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.kind.0);
        w.u8(0);
        w.u16(self.id);
        for attribute in &self.attributes {
            match attribute {
                Attribute::Short(kind, value) => {
                    w.u16(kind.0 | SHORT_FORM);
                    w.u16(*value);
                }
                Attribute::Long(kind, value) => w.nested_body(&kind.0.to_be_bytes(), |w| w.bytes(value)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cygnet_esp::Spi;

    use super::*;

    /// An ESP offer: AES-GCM-16-256 or ChaCha20-Poly1305, no ESN.
    const OFFER: [u8; 40] = [
        0, 0, 0, 40, 1, 3, 4, 3, 0xc0, 0xff, 0xee, 0x01, // proposal 1, ESP, SPI, three transforms
        3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 1, 0, // ENCR_AES_GCM_16, 256 bits
        3, 0, 0, 8, 1, 0, 0, 28, // ENCR_CHACHA20_POLY1305
        0, 0, 0, 8, 5, 0, 0, 0, // no ESN
    ];

    fn decode(octets: &[u8]) -> Result<Sa<'_>, DecodeError> {
        let mut r = Reader::new(octets);
        let sa = Sa::decode(&mut r)?;
        r.finish()?;
        Ok(sa)
    }

    #[test]
    fn known_octets() {
        let sa = Sa {
            proposals: vec![Proposal {
                number: 1,
                protocol: ProtocolId::ESP,
                spi: WireSpi::Esp(Spi(0xc0ff_ee01)),
                transforms: vec![
                    Transform::encr(EncrId::AES_GCM_16, Some(256)),
                    Transform::encr(EncrId::CHACHA20_POLY1305, None),
                    Transform::esn(EsnId::NO),
                ],
            }],
        };
        assert_eq!(decode(&OFFER), Ok(sa.clone()));
        let mut w = Writer::new();
        sa.encode(&mut w);
        assert_eq!(w.as_slice(), OFFER);
        assert_eq!(sa.proposals[0].transforms[0].key_bits(), Some(256));
        assert_eq!(sa.proposals[0].transforms_of(TransformType::ENCR).count(), 2);
    }

    #[test]
    fn broken_rules() {
        let with = |at: usize, value: u8| {
            let mut octets = OFFER;
            octets[at] = value;
            decode(&octets).map(drop).unwrap_err()
        };
        assert_eq!(decode(&[]), Err(DecodeError::Truncated), "no proposal at all");
        assert_eq!(with(0, 2), DecodeError::Truncated, "promises another proposal");
        assert_eq!(with(0, 1), DecodeError::LastSubstructure);
        assert_eq!(with(3, 3), DecodeError::BadLength);
        assert_eq!(with(3, 41), DecodeError::Truncated);
        assert_eq!(with(5, 1), DecodeError::SpiSize, "four octets of SPI for IKE");
        assert_eq!(with(7, 2), DecodeError::LastSubstructure, "one transform more than counted");
        assert_eq!(with(7, 4), DecodeError::LastSubstructure, "one transform less than counted");
        assert_eq!(with(7, 200), DecodeError::TooMany("transforms"));
        assert_eq!(with(12, 0), DecodeError::LastSubstructure);
        assert_eq!(with(20, 0), DecodeError::Truncated, "the attribute claims 256 octets");
    }

    #[test]
    fn numbers_must_follow_each_other() {
        let proposal = |number| Proposal { number, protocol: ProtocolId::IKE, spi: WireSpi::None, transforms: vec![] };
        let encode = |numbers: &[u8]| {
            let mut w = Writer::new();
            Sa { proposals: numbers.iter().copied().map(proposal).collect() }.encode(&mut w);
            w.into_vec()
        };
        assert!(decode(&encode(&[1, 2, 3])).is_ok());
        assert!(decode(&encode(&[7])).is_ok(), "a response repeats the accepted number");
        assert_eq!(decode(&encode(&[1, 3])), Err(DecodeError::ProposalNumber));
        assert_eq!(decode(&encode(&[1, 1])), Err(DecodeError::ProposalNumber));
        let many: Vec<u8> = (1..=129).collect();
        assert_eq!(decode(&encode(&many)), Err(DecodeError::TooMany("proposals")));
    }

    #[test]
    fn unknown_attributes_survive_but_are_not_understood() {
        let mut transform = Transform::encr(EncrId::AES_CBC, Some(128));
        assert!(transform.is_understood());
        transform.attributes.push(Attribute::Long(AttributeType(99), &[1, 2, 3]));
        assert!(!transform.is_understood());
        let sa = Sa {
            proposals: vec![Proposal {
                number: 1,
                protocol: ProtocolId::IKE,
                spi: WireSpi::None,
                transforms: vec![transform],
            }],
        };
        let mut w = Writer::new();
        sa.encode(&mut w);
        assert_eq!(decode(w.as_slice()), Ok(sa));
    }
}
