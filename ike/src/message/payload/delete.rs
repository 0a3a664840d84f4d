//! Delete payload (RFC 7296 §3.11).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Protocol ID   |   SPI Size    |          Num of SPIs          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~               Security Parameter Index(es) (SPI)              ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::borrow::Cow;

use cygnet_esp::Spi;

use super::super::numbers::ProtocolId;
use super::super::{Decode, DecodeError, Encode, Reader, Writer};
use crate::limits;

/// SAs that the sender has deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete<'a> {
    /// IKE (this SA, without SPIs), ESP or AH.
    pub protocol: ProtocolId,
    /// Octets of each SPI: 0 for IKE, 4 for ESP and AH.
    pub spi_size: u8,
    /// The SPIs, one after the other: the sender's inbound ones (RFC 7296 §1.4.1).
    pub spis: Cow<'a, [u8]>,
}

impl Delete<'_> {
    /// Deletes the IKE SA that carries the message.
    pub const fn ike() -> Self {
        Self { protocol: ProtocolId::IKE, spi_size: 0, spis: Cow::Borrowed(&[]) }
    }

    /// Deletes ESP SAs by the sender's inbound SPIs.
    pub fn esp(spis: impl IntoIterator<Item = Spi>) -> Self {
        let spis = spis.into_iter().flat_map(|spi| spi.0.to_be_bytes()).collect();
        Self { protocol: ProtocolId::ESP, spi_size: 4, spis: Cow::Owned(spis) }
    }

    /// Whether it deletes the IKE SA that carries the message.
    pub fn is_ike(&self) -> bool {
        self.protocol == ProtocolId::IKE
    }

    /// The ESP SPIs; none if it is about another protocol.
    pub fn esp_spis(&self) -> impl Iterator<Item = Spi> {
        let spis = if self.protocol == ProtocolId::ESP { &*self.spis } else { &[] };
        spis.as_chunks::<4>().0.iter().map(|octets| Spi(u32::from_be_bytes(*octets)))
    }
}

impl<'a> Decode<'a> for Delete<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let protocol = ProtocolId(r.u8()?);
        let spi_size = r.u8()?;
        let count = usize::from(r.u16()?);
        match (protocol, spi_size) {
            (ProtocolId::IKE, 0) if count != 0 => return Err(DecodeError::BadLength),
            (ProtocolId::IKE, 0) | (ProtocolId::ESP | ProtocolId::AH, 4) => {}
            (ProtocolId::IKE | ProtocolId::ESP | ProtocolId::AH, _) => return Err(DecodeError::SpiSize),
            // Without octets the count would say nothing.
            (_, 0) if count != 0 => return Err(DecodeError::BadLength),
            _ => {}
        }
        if count > limits::DELETE_SPIS {
            return Err(DecodeError::TooMany("SPIs"));
        }
        let spis = r.take(count.saturating_mul(usize::from(spi_size)))?;
        Ok(Self { protocol, spi_size, spis: Cow::Borrowed(spis) })
    }
}

impl Encode for Delete<'_> {
    fn encode(&self, w: &mut Writer) {
        let count = self.spis.len().checked_div(usize::from(self.spi_size)).unwrap_or(0);
        w.u8(self.protocol.0);
        w.u8(self.spi_size);
        w.u16(u16::try_from(count).unwrap_or(u16::MAX));
        w.bytes(&self.spis);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(delete: &Delete<'_>) -> Vec<u8> {
        let mut w = Writer::new();
        delete.encode(&mut w);
        w.into_vec()
    }

    #[test]
    fn known_octets() {
        assert_eq!(octets(&Delete::ike()), [1, 0, 0, 0]);
        let esp = Delete::esp([Spi(256), Spi(0xc000_0001)]);
        let expected = [3, 4, 0, 2, 0, 0, 1, 0, 0xc0, 0, 0, 1];
        assert_eq!(octets(&esp), expected);
        let decoded = Delete::decode(&mut Reader::new(&expected)).unwrap();
        assert_eq!(decoded, esp);
        assert_eq!(decoded.esp_spis().collect::<Vec<_>>(), [Spi(256), Spi(0xc000_0001)]);
    }

    #[test]
    fn broken_rules() {
        for (octets, error) in [
            (&[1, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1][..], DecodeError::SpiSize),
            (&[1, 0, 0, 1], DecodeError::BadLength),
            (&[3, 2, 0, 1, 0, 0], DecodeError::SpiSize),
            (&[3, 4, 0, 2, 0, 0, 0, 1], DecodeError::Truncated),
            (&[3, 4, 255, 255], DecodeError::TooMany("SPIs")),
        ] {
            assert_eq!(Delete::decode(&mut Reader::new(octets)), Err(error));
        }
    }
}
