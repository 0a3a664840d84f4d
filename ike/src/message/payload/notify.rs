//! Notify payload (RFC 7296 §3.10).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Protocol ID  |   SPI Size    |      Notify Message Type      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                Security Parameter Index (SPI)                 ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                       Notification Data                       ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use cygnet_esp::Spi;

use super::super::numbers::{KeId, NotifyType, ProtocolId};
use super::super::{Decode, DecodeError, Encode, Reader, Writer};
use super::WireSpi;

/// An error or status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notify<'a> {
    /// The protocol of `spi`; [`ProtocolId::NONE`] if it concerns no Child SA.
    pub protocol: ProtocolId,
    /// The SA it concerns, if it is not the IKE SA of the message.
    pub spi: WireSpi<'a>,
    /// What it says.
    pub kind: NotifyType,
    /// Details, by `kind`.
    pub data: &'a [u8],
}

impl<'a> Notify<'a> {
    /// A notification that concerns no Child SA.
    pub const fn new(kind: NotifyType, data: &'a [u8]) -> Self {
        Self { protocol: ProtocolId::NONE, spi: WireSpi::None, kind, data }
    }

    /// A notification about an ESP SA, without data: REKEY_SA, CHILD_SA_NOT_FOUND.
    pub const fn about_esp(kind: NotifyType, spi: Spi) -> Self {
        Self { protocol: ProtocolId::ESP, spi: WireSpi::Esp(spi), kind, data: &[] }
    }

    /// The method that the peer wants instead, in INVALID_KE_PAYLOAD (RFC 7296 §1.2).
    pub fn accepted_ke(&self) -> Option<KeId> {
        let octets: &[u8; 2] = self.data.try_into().ok()?;
        (self.kind == NotifyType::INVALID_KE_PAYLOAD).then_some(KeId(u16::from_be_bytes(*octets)))
    }

    /// The data as a list of 16-bit numbers, as in SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4). An odd last octet is
    /// left out.
    pub fn u16s(&self) -> impl Iterator<Item = u16> {
        self.data.as_chunks::<2>().0.iter().map(|octets| u16::from_be_bytes(*octets))
    }
}

impl<'a> Decode<'a> for Notify<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let protocol = ProtocolId(r.u8()?);
        let spi_size = r.u8()?;
        let kind = NotifyType(r.u16()?);
        Ok(Self { protocol, kind, spi: WireSpi::read(r, spi_size)?, data: r.rest() })
    }
}

impl Encode for Notify<'_> {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.protocol.0);
        w.u8(self.spi.size());
        w.u16(self.kind.0);
        self.spi.write(w);
        w.bytes(self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_octets() {
        let cookie = Notify::new(NotifyType::COOKIE, &[9, 9]);
        let mut w = Writer::new();
        cookie.encode(&mut w);
        assert_eq!(w.as_slice(), [0, 0, 0x40, 0x06, 9, 9]);

        let octets = [3, 4, 0x40, 0x09, 0, 0, 1, 0];
        let rekey = Notify::decode(&mut Reader::new(&octets)).unwrap();
        assert_eq!(rekey, Notify::about_esp(NotifyType::REKEY_SA, Spi(256)));

        let octets = [3, 4, 0x40, 0x09, 0, 0, 1];
        assert_eq!(Notify::decode(&mut Reader::new(&octets)), Err(DecodeError::Truncated));
    }

    #[test]
    fn typed_data() {
        let notify = Notify::new(NotifyType::INVALID_KE_PAYLOAD, &[0, 19]);
        assert_eq!(notify.accepted_ke(), Some(KeId::ECP_256));
        assert_eq!(Notify { data: &[19], ..notify }.accepted_ke(), None);
        let hashes = Notify::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, &[0, 2, 0, 5, 1]);
        assert_eq!(hashes.u16s().collect::<Vec<_>>(), [2, 5]);
    }
}
