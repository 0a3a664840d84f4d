//! Vendor ID payload (RFC 7296 §3.12): nothing but the identifier.

use super::super::{Decode, DecodeError, Encode, Reader, Writer};

/// Which implementation or private extension the sender has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VendorId<'a>(pub &'a [u8]);

impl<'a> Decode<'a> for VendorId<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self(r.rest()))
    }
}

impl Encode for VendorId<'_> {
    fn encode(&self, w: &mut Writer) {
        w.bytes(self.0);
    }
}
