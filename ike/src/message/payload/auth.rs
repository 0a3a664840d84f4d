//! Authentication payload (RFC 7296 §3.8).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Auth Method   |                RESERVED                       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                      Authentication Data                      ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::super::numbers::AuthMethod;
use super::super::{Decode, DecodeError, Encode, Reader, Writer};

/// The proof of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// How it was made.
    pub method: AuthMethod,
    /// MAC or signature; for [`AuthMethod::SIGNATURE`] behind its AlgorithmIdentifier (RFC 7427 §3).
    pub data: &'a [u8],
}

impl<'a> Decode<'a> for Auth<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let method = AuthMethod(r.u8()?);
        r.array::<3>()?;
        Ok(Self { method, data: r.rest() })
    }
}

impl Encode for Auth<'_> {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.method.0);
        w.bytes(&[0; 3]);
        w.bytes(self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_octets() {
        let auth = Auth { method: AuthMethod::SHARED_KEY, data: &[1, 2] };
        let mut w = Writer::new();
        auth.encode(&mut w);
        assert_eq!(w.as_slice(), [2, 0, 0, 0, 1, 2]);
        assert_eq!(Auth::decode(&mut Reader::new(w.as_slice())), Ok(auth));
        assert_eq!(Auth::decode(&mut Reader::new(&[2, 0, 0])), Err(DecodeError::Truncated));
    }
}
