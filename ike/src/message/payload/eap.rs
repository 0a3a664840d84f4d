//! EAP payload (RFC 7296 §3.16): an EAP message (RFC 3748 §4).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Code      | Identifier    |           Length              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Type      | Type_Data...                                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::super::numbers::EapCode;
use super::super::{Decode, DecodeError, Encode, Reader, Writer};

/// An EAP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eap<'a> {
    /// Request, response, success or failure.
    pub code: EapCode,
    /// Pairs responses with requests.
    pub identifier: u8,
    /// Type and type data; empty for success and failure.
    pub data: &'a [u8],
}

impl<'a> Decode<'a> for Eap<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let code = EapCode(r.u8()?);
        let identifier = r.u8()?;
        let length = r.u16()?;
        let data = r.sub_counted(length, 4)?.rest();
        match code {
            EapCode::REQUEST | EapCode::RESPONSE if data.is_empty() => Err(DecodeError::Eap),
            EapCode::SUCCESS | EapCode::FAILURE if !data.is_empty() => Err(DecodeError::Eap),
            _ => Ok(Self { code, identifier, data }),
        }
    }
}

impl Encode for Eap<'_> {
    fn encode(&self, w: &mut Writer) {
        w.nested(&[self.code.0, self.identifier], |w| w.bytes(self.data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_octets() {
        let identity = Eap { code: EapCode::REQUEST, identifier: 7, data: &[1] };
        let mut w = Writer::new();
        identity.encode(&mut w);
        assert_eq!(w.as_slice(), [1, 7, 0, 5, 1]);
        assert_eq!(Eap::decode(&mut Reader::new(w.as_slice())), Ok(identity));
    }

    #[test]
    fn broken_rules() {
        for (octets, error) in [
            (&[1, 7, 0, 4][..], DecodeError::Eap),
            (&[3, 7, 0, 5, 1], DecodeError::Eap),
            (&[1, 7, 0, 3, 1], DecodeError::BadLength),
            (&[1, 7, 0, 6, 1], DecodeError::Truncated),
        ] {
            assert_eq!(Eap::decode(&mut Reader::new(octets)), Err(error));
        }
    }
}
