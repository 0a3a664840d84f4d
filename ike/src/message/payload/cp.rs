//! Configuration payload (RFC 7296 §3.15).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   CFG Type    |                    RESERVED                   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//!
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |R|         Attribute Type      |            Length             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                             Value                             ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::super::numbers::{CfgAttributeType, CfgType};
use super::super::{Decode, DecodeError, Encode, Reader, Writer};
use crate::limits;

/// Configuration asked for or given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cp<'a> {
    /// Request, reply, set or acknowledgement.
    pub kind: CfgType,
    /// In order.
    pub attributes: Vec<CfgAttribute<'a>>,
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CfgAttribute<'a> {
    /// Which.
    pub kind: CfgAttributeType,
    /// Empty in a request that wants any.
    pub value: &'a [u8],
}

impl<'a> Decode<'a> for Cp<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let kind = CfgType(r.u8()?);
        r.array::<3>()?;
        let mut attributes = Vec::new();
        while !r.is_empty() {
            if attributes.len() >= limits::CONFIGURATION_ATTRIBUTES {
                return Err(DecodeError::TooMany("configuration attributes"));
            }
            let kind = CfgAttributeType(r.u16()? & 0x7fff);
            let length = usize::from(r.u16()?);
            attributes.push(CfgAttribute { kind, value: r.take(length)? });
        }
        Ok(Self { kind, attributes })
    }
}

impl Encode for Cp<'_> {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.kind.0);
        w.bytes(&[0; 3]);
        for attribute in &self.attributes {
            w.nested_body(&(attribute.kind.0 & 0x7fff).to_be_bytes(), |w| w.bytes(attribute.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_octets() {
        let cp = Cp {
            kind: CfgType::REPLY,
            attributes: vec![
                CfgAttribute { kind: CfgAttributeType::INTERNAL_IP4_ADDRESS, value: &[10, 0, 0, 2] },
                CfgAttribute { kind: CfgAttributeType::INTERNAL_IP4_DNS, value: &[] },
            ],
        };
        let octets = [2, 0, 0, 0, 0, 1, 0, 4, 10, 0, 0, 2, 0, 3, 0, 0];
        let mut w = Writer::new();
        cp.encode(&mut w);
        assert_eq!(w.as_slice(), octets);
        assert_eq!(Cp::decode(&mut Reader::new(&octets)), Ok(cp.clone()));
        let mut reserved = octets;
        reserved[4] = 0x80;
        assert_eq!(Cp::decode(&mut Reader::new(&reserved)), Ok(cp), "the reserved bit is ignored");
        assert_eq!(Cp::decode(&mut Reader::new(&octets[..10])), Err(DecodeError::Truncated));
    }

    #[test]
    fn attributes_are_bounded() {
        let octets: Vec<u8> =
            [1, 0, 0, 0].into_iter().chain(std::iter::repeat_n([0, 1, 0, 0], 129).flatten()).collect();
        let error = DecodeError::TooMany("configuration attributes");
        assert_eq!(Cp::decode(&mut Reader::new(&octets)), Err(error));
    }
}
