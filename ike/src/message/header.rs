//! The IKE header (RFC 7296 §3.1).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       IKE SA Initiator's SPI                  |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       IKE SA Responder's SPI                  |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Next Payload | MjVer | MnVer | Exchange Type |     Flags     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          Message ID                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                            Length                             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::fmt;

use super::numbers::{ExchangeType, PayloadType};
use super::{Decode, DecodeError, Encode, Reader, Writer};

/// An IKE SPI: chosen by each side, zero while the responder's is not known (RFC 7296 §2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct IkeSpi(pub u64);

impl IkeSpi {
    /// Not chosen yet.
    pub const ZERO: Self = Self(0);

    /// As in the header, and in the SPI field of a proposal that rekeys an IKE SA.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Whether it is not chosen yet.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// Sixteen hexadecimal digits, as strongSwan writes them.
impl fmt::Display for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A message ID (RFC 7296 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MessageId(pub u32);

impl MessageId {
    /// The ID of the next request; none after the last, when the SA must be rekeyed or closed (RFC 7296 §2.2).
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The version of IKE (RFC 7296 §2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// Four bits.
    pub major: u8,
    /// Four bits; ignored on receipt.
    pub minor: u8,
}

impl Version {
    /// IKEv2.
    pub const V2: Self = Self { major: 2, minor: 0 };
}

/// The flags of a message. Reserved bits are sent zero and ignored on receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags {
    /// I: sent by the original initiator of the IKE SA.
    pub initiator: bool,
    /// V: the sender can speak a higher major version.
    pub higher_version: bool,
    /// R: a response to the request with the same message ID.
    pub response: bool,
}

impl Flags {
    const INITIATOR: u8 = 0x08;
    const VERSION: u8 = 0x10;
    const RESPONSE: u8 = 0x20;

    /// Flags of a request by the original initiator (`true`) or responder of the SA.
    pub const fn request(initiator: bool) -> Self {
        Self { initiator, higher_version: false, response: false }
    }

    /// Flags of a response by the original initiator (`true`) or responder of the SA.
    pub const fn response(initiator: bool) -> Self {
        Self { initiator, higher_version: false, response: true }
    }

    const fn from_octet(octet: u8) -> Self {
        Self {
            initiator: octet & Self::INITIATOR != 0,
            higher_version: octet & Self::VERSION != 0,
            response: octet & Self::RESPONSE != 0,
        }
    }

    const fn to_octet(self) -> u8 {
        let mut octet = 0;
        if self.initiator {
            octet |= Self::INITIATOR;
        }
        if self.higher_version {
            octet |= Self::VERSION;
        }
        if self.response {
            octet |= Self::RESPONSE;
        }
        octet
    }
}

/// The header of every IKE message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// The SPI chosen by the original initiator.
    pub initiator_spi: IkeSpi,
    /// The SPI chosen by the responder; zero in the first message.
    pub responder_spi: IkeSpi,
    /// Type of the first payload. Filled in by [`MessageBuilder`](super::MessageBuilder).
    pub next_payload: PayloadType,
    /// Version; [`peek`](Self::peek) accepts any.
    pub version: Version,
    /// Which exchange.
    pub exchange: ExchangeType,
    /// Who sends, request or response.
    pub flags: Flags,
    /// Pairs requests with responses.
    pub message_id: MessageId,
    /// Octets of the whole message. Filled in by [`MessageBuilder`](super::MessageBuilder).
    pub length: u32,
}

impl Header {
    /// Octets of a header.
    pub const LEN: usize = 28;

    /// A header to build a message with; first payload and length come later.
    pub const fn new(
        initiator_spi: IkeSpi,
        responder_spi: IkeSpi,
        exchange: ExchangeType,
        flags: Flags,
        message_id: MessageId,
    ) -> Self {
        Self {
            initiator_spi,
            responder_spi,
            next_payload: PayloadType::NONE,
            version: Version::V2,
            exchange,
            flags,
            message_id,
            length: 0,
        }
    }

    /// The header that answers this request, with the same exchange and message ID (RFC 7296 §2.2).
    #[must_use]
    pub const fn reply(&self) -> Self {
        Self::new(
            self.initiator_spi,
            self.responder_spi,
            self.exchange,
            Flags::response(!self.flags.initiator),
            self.message_id,
        )
    }

    /// Reads the header of a datagram, whatever its version: enough to find the SA, or to answer
    /// INVALID_MAJOR_VERSION (RFC 7296 §2.5). Only [`Message`](super::Message) and [`Opener`](super::Opener)
    /// check version and length.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] on fewer than 28 octets.
    pub fn peek(datagram: &[u8]) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(datagram))
    }

    /// Checks the version, and that the message fills its datagram of `len` octets.
    ///
    /// # Errors
    /// [`DecodeError::InvalidMajorVersion`], [`DecodeError::MessageLength`].
    pub fn check(&self, len: usize) -> Result<(), DecodeError> {
        if self.version.major != Version::V2.major {
            return Err(DecodeError::InvalidMajorVersion(self.version.major));
        }
        if usize::try_from(self.length) != Ok(len) || len > crate::limits::MESSAGE_LEN {
            return Err(DecodeError::MessageLength);
        }
        Ok(())
    }
}

impl Encode for Header {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.initiator_spi.0);
        w.u64(self.responder_spi.0);
        w.u8(self.next_payload.0);
        w.u8(self.version.major << 4 | self.version.minor & 0x0f);
        w.u8(self.exchange.0);
        w.u8(self.flags.to_octet());
        w.u32(self.message_id.0);
        w.u32(self.length);
    }
}

impl<'a> Decode<'a> for Header {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let initiator_spi = IkeSpi(r.u64()?);
        let responder_spi = IkeSpi(r.u64()?);
        let next_payload = PayloadType(r.u8()?);
        let version = r.u8()?;
        Ok(Self {
            initiator_spi,
            responder_spi,
            next_payload,
            version: Version { major: version >> 4, minor: version & 0x0f },
            exchange: ExchangeType(r.u8()?),
            flags: Flags::from_octet(r.u8()?),
            message_id: MessageId(r.u32()?),
            length: r.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_octets() {
        let mut header = Header::new(
            IkeSpi(0x0102_0304_0506_0708),
            IkeSpi::ZERO,
            ExchangeType::IKE_SA_INIT,
            Flags::request(true),
            MessageId(0),
        );
        header.next_payload = PayloadType::SA;
        header.length = 28;
        let mut w = Writer::new();
        header.encode(&mut w);
        let octets = [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 33, 0x20, 34, 0x08, 0, 0, 0, 0, 0, 0, 0, 28];
        assert_eq!(w.as_slice(), octets);
        assert_eq!(Header::peek(&octets), Ok(header));
        assert_eq!(header.check(28), Ok(()));
        assert_eq!(header.check(29), Err(DecodeError::MessageLength));
        assert_eq!(header.reply().flags, Flags { initiator: false, higher_version: false, response: true });
    }

    #[test]
    fn reserved_flags_are_ignored_and_other_versions_told_apart() {
        let mut octets = [0; 28];
        octets[17] = 0x31;
        octets[19] = 0xc7;
        let header = Header::peek(&octets).unwrap();
        assert_eq!(header.flags, Flags::default());
        assert_eq!(header.version, Version { major: 3, minor: 1 });
        assert_eq!(header.check(28), Err(DecodeError::InvalidMajorVersion(3)));
    }
}
