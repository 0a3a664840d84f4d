//! Nonce payloads Ni and Nr (RFC 7296 §3.9): nothing but the nonce.

use super::super::{Decode, DecodeError, Encode, Reader, Writer};

/// A nonce of 16 to 256 octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce<'a>(pub &'a [u8]);

impl<'a> Decode<'a> for Nonce<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        match r.rest() {
            octets if (16..=256).contains(&octets.len()) => Ok(Self(octets)),
            _ => Err(DecodeError::NonceLength),
        }
    }
}

impl Encode for Nonce<'_> {
    fn encode(&self, w: &mut Writer) {
        w.bytes(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_bounded_both_ways() {
        for (len, good) in [(0, false), (15, false), (16, true), (256, true), (257, false)] {
            assert_eq!(Nonce::decode(&mut Reader::new(&vec![7; len])).is_ok(), good, "{len}");
        }
    }
}
