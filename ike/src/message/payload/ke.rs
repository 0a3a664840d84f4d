//! Key Exchange payload (RFC 7296 §3.4).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Diffie-Hellman Group Num    |           RESERVED            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                       Key Exchange Data                       ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::super::numbers::KeId;
use super::super::{Decode, DecodeError, Encode, Reader, Writer};

/// A public value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ke<'a> {
    /// Key exchange method; must be one of those in the SA payload beside it.
    pub method: KeId,
    /// Its length and meaning are the method's.
    pub data: &'a [u8],
}

impl<'a> Decode<'a> for Ke<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let method = KeId(r.u16()?);
        r.u16()?;
        Ok(Self { method, data: r.rest() })
    }
}

impl Encode for Ke<'_> {
    fn encode(&self, w: &mut Writer) {
        w.u16(self.method.0);
        w.u16(0);
        w.bytes(self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_octets() {
        let ke = Ke { method: KeId::CURVE_25519, data: &[5, 6] };
        let mut w = Writer::new();
        ke.encode(&mut w);
        assert_eq!(w.as_slice(), [0, 31, 0, 0, 5, 6]);
        assert_eq!(Ke::decode(&mut Reader::new(&[0, 31, 0xff, 0xff, 5, 6])), Ok(ke), "RESERVED is ignored");
        assert_eq!(Ke::decode(&mut Reader::new(&[0, 31, 0])), Err(DecodeError::Truncated));
    }
}
