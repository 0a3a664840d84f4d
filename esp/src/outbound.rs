//! The sending half of an SA (RFC 4303 §3.3).
//!
//! `reserve a range of sequence numbers → seal each packet in place`: one atomic operation per batch.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cipher::{Aad, Cipher, Encr, KeyLength};
use crate::packet::{NoRoom, PacketBuf};
use crate::{HEADER_LEN, NextHeader, Spi, trailer};

/// A sending SA: an SPI, a key, and the next sequence number. Shared by reference between workers.
pub struct Outbound {
    spi: Spi,
    encr: &'static Encr,
    cipher: Box<dyn Cipher>,
    esn: bool,
    /// The last sequence number reserved, 0 before the first (RFC 4303 §3.3.3).
    last: AtomicU64,
}

/// All sequence numbers of the SA are used up. It can never send again (RFC 4303 §3.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceExhausted;

/// Why a packet was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// The reservation is used up.
    Exhausted,
    /// The buffer has too little head- or tailroom: [`PacketBuf::HEADROOM`] and [`PacketBuf::TAILROOM`] suffice.
    NoRoom,
    /// The packet is longer than the cipher can encrypt.
    TooLong,
}

impl Outbound {
    /// Keys an SA. `encryption` includes the salt, `integrity` is empty for an AEAD: the two parts of the direction's
    /// KEYMAT (RFC 7296 §2.17). `esn` is whether sequence numbers have 64 bits.
    ///
    /// # Errors
    /// [`KeyLength`] unless the keys are as long as `encr` says.
    pub fn new(
        spi: Spi,
        encr: &'static Encr,
        encryption: &[u8],
        integrity: &[u8],
        esn: bool,
    ) -> Result<Self, KeyLength> {
        let cipher = encr.key(encryption, integrity)?;
        Ok(Self { spi, encr, cipher, esn, last: AtomicU64::new(0) })
    }

    /// The SPI that the receiver chose.
    pub fn spi(&self) -> Spi {
        self.spi
    }

    /// The algorithm.
    pub fn encr(&self) -> &'static Encr {
        self.encr
    }

    /// Whether sequence numbers have 64 bits.
    pub fn esn(&self) -> bool {
        self.esn
    }

    /// The last sequence number reserved, 0 if none is. Rekey long before the last there is.
    pub fn sequence(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Sets aside the next `count` sequence numbers, all or none. Those not used are lost, which harms nothing.
    ///
    /// # Errors
    /// [`SequenceExhausted`] rather than wrap: a number used twice would repeat a nonce under the same key.
    #[inline]
    pub fn reserve(&self, count: u32) -> Result<Reservation<'_>, SequenceExhausted> {
        let limit = if self.esn { u64::MAX } else { u64::from(u32::MAX) };
        let last = self
            .last
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                last.checked_add(u64::from(count)).filter(|&new| new <= limit)
            })
            .map_err(|_| SequenceExhausted)?;
        Ok(Reservation { sa: self, next: last.wrapping_add(1), left: count })
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound({}, {}, sequence {})", self.spi, self.encr, self.sequence())
    }
}

/// Sequence numbers that belong to the holder alone. It cannot be copied and each number is used up by the packet it
/// seals, so no number, hence no nonce, is used twice.
#[derive(Debug)]
pub struct Reservation<'a> {
    sa: &'a Outbound,
    next: u64,
    left: u32,
}

impl Reservation<'_> {
    /// How many packets it can still seal.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// Turns the payload in `packet` into an ESP packet, in place (RFC 4303 §3.3.2). On error neither the packet nor
    /// the reservation has changed, except after [`SealError::TooLong`].
    ///
    /// A dummy packet is any payload with [`NextHeader::NONE`].
    ///
    /// # Errors
    /// See [`SealError`].
    #[inline]
    pub fn seal(&mut self, next: NextHeader, packet: &mut PacketBuf) -> Result<(), SealError> {
        let Outbound { spi, encr, cipher, esn, .. } = self.sa;
        let left = self.left.checked_sub(1).ok_or(SealError::Exhausted)?;
        let front = HEADER_LEN + encr.iv_len;
        let trailer = trailer::len(packet.len(), encr.alignment());
        if packet.headroom() < front || packet.tailroom() < trailer + encr.icv_len {
            return Err(SealError::NoRoom);
        }
        let seq = self.next;
        self.next = seq.wrapping_add(1);
        self.left = left;

        trailer::append(packet, trailer, next)?;
        packet.append(encr.icv_len)?;
        packet.prepend(front)?;
        let (header, rest) = packet.data_mut().split_first_chunk_mut::<HEADER_LEN>().ok_or(SealError::NoRoom)?;
        let (iv, rest) = rest.split_at_mut(encr.iv_len);
        let (body, icv) = rest.split_at_mut(rest.len() - encr.icv_len);
        header[..4].copy_from_slice(&spi.0.to_be_bytes());
        header[4..].copy_from_slice(&(seq as u32).to_be_bytes());
        let aad = Aad::esp(header, esn.then_some((seq >> 32) as u32));
        cipher.write_iv(seq, iv).and_then(|()| cipher.seal(aad, iv, body, icv)).map_err(|_| SealError::TooLong)
    }
}

impl From<NoRoom> for SealError {
    fn from(_: NoRoom) -> Self {
        Self::NoRoom
    }
}

impl fmt::Display for SequenceExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no sequence number left")
    }
}

impl std::error::Error for SequenceExhausted {}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exhausted => "no reserved sequence number left",
            Self::NoRoom => "packet buffer too small",
            Self::TooLong => "packet too long for the cipher",
        })
    }
}

impl std::error::Error for SealError {}

#[cfg(test)]
mod tests;
