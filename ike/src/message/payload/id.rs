//! Identification payloads IDi and IDr (RFC 7296 §3.5).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   ID Type     |                 RESERVED                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                   Identification Data                         ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::super::numbers::IdType;
use super::super::{Decode, DecodeError, Encode, Reader, Writer};

/// Who a peer claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id<'a> {
    /// How to read `data`.
    pub kind: IdType,
    /// Without meaning, yet kept: the AUTH payload covers them as sent (RFC 7296 §2.15, `RestOfIDPayload`).
    pub reserved: [u8; 3],
    /// The identity.
    pub data: &'a [u8],
}

impl<'a> Id<'a> {
    /// An identity to send.
    pub const fn new(kind: IdType, data: &'a [u8]) -> Self {
        Self { kind, reserved: [0; 3], data }
    }

    /// The payload without its generic header, as AUTH covers it: `RestOfInitIDPayload`, `RestOfRespIDPayload`
    /// (RFC 7296 §2.15).
    pub fn body(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.encode(&mut w);
        w.into_vec()
    }
}

impl<'a> Decode<'a> for Id<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { kind: IdType(r.u8()?), reserved: r.array()?, data: r.rest() })
    }
}

impl Encode for Id<'_> {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.kind.0);
        w.bytes(&self.reserved);
        w.bytes(self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_octets() {
        assert_eq!(Id::new(IdType::FQDN, b"a.b").body(), [2, 0, 0, 0, b'a', b'.', b'b']);
    }

    #[test]
    fn reserved_octets_survive_for_auth() {
        let octets = [1, 9, 8, 7, 192, 0, 2, 1];
        let id = Id::decode(&mut Reader::new(&octets)).unwrap();
        assert_eq!((id.kind, id.data), (IdType::IPV4_ADDR, &[192, 0, 2, 1][..]));
        assert_eq!(id.body(), octets);
        assert_eq!(Id::decode(&mut Reader::new(&[1, 0, 0])), Err(DecodeError::Truncated));
    }
}
