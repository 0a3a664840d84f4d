//! The SPI field of proposals and notifications: a size octet apart, then that many octets (RFC 7296 §3.3.1, §3.10).

use cygnet_esp::Spi;

use super::super::header::IkeSpi;
use super::super::{DecodeError, Reader, Writer};

/// An SPI field, told apart by its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WireSpi<'a> {
    /// No SPI: IKE_SA_INIT, or a notification that concerns no SA or the IKE SA itself.
    #[default]
    None,
    /// Four octets: ESP or AH.
    Esp(Spi),
    /// Eight octets: an IKE SA that is being rekeyed.
    Ike(IkeSpi),
    /// A size that no protocol we know has.
    Other(&'a [u8]),
}

impl<'a> WireSpi<'a> {
    /// The ESP or AH SPI, if it is one.
    pub fn esp(self) -> Option<Spi> {
        if let Self::Esp(spi) = self { Some(spi) } else { None }
    }

    /// The IKE SPI, if it is one.
    pub fn ike(self) -> Option<IkeSpi> {
        if let Self::Ike(spi) = self { Some(spi) } else { None }
    }

    /// Its size, octets.
    pub(super) fn size(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Esp(_) => 4,
            Self::Ike(_) => 8,
            // From a size octet on receipt; and we never send any.
            Self::Other(octets) => u8::try_from(octets.len()).unwrap_or(u8::MAX),
        }
    }

    pub(super) fn read(r: &mut Reader<'a>, size: u8) -> Result<Self, DecodeError> {
        Ok(match size {
            0 => Self::None,
            4 => Self::Esp(Spi(r.u32()?)),
            8 => Self::Ike(IkeSpi(r.u64()?)),
            _ => Self::Other(r.take(usize::from(size))?),
        })
    }

    pub(super) fn write(self, w: &mut Writer) {
        match self {
            Self::None => {}
            Self::Esp(spi) => w.u32(spi.0),
            Self::Ike(spi) => w.u64(spi.0),
            Self::Other(octets) => w.bytes(octets),
        }
    }
}
