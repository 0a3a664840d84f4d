//! The receiving half of an SA (RFC 4303 §3.4).
//!
//! `check the window (lock) → verify and decrypt in place → mark the window (lock)`: two short locks per batch. A
//! packet that turns up twice at once, in two workers or in one batch, passes the check twice; marking has the last
//! word and lets one through.

use std::borrow::BorrowMut;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cipher::{Aad, Cipher, CipherError, Encr, KeyLength};
use crate::packet::PacketBuf;
use crate::replay::{Refused, Replay};
use crate::{HEADER_LEN, NextHeader, Spi, trailer};

/// A receiving SA: an SPI, a key, and the anti-replay window. Shared by reference between workers.
pub struct Inbound {
    spi: Spi,
    encr: &'static Encr,
    cipher: Box<dyn Cipher>,
    esn: bool,
    replay: Mutex<Replay>,
}

/// Why a packet was dropped. Each is an auditable event (RFC 4303 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenError {
    /// Too short, or not a multiple of the cipher's block: no ESP packet of this SA.
    Malformed,
    /// Another SPI than this SA's.
    WrongSpi,
    /// Left of the anti-replay window.
    Old,
    /// Its sequence number was received before.
    Replayed,
    /// The integrity check failed.
    Forged,
    /// Authentic, but the padding is not what RFC 4303 §2.4 prescribes.
    Padding,
}

/// Packets whose state is kept on the stack between the two locks; longer batches are taken in chunks.
const CHUNK: usize = 64;

impl Inbound {
    /// Keys an SA. `encryption` includes the salt, `integrity` is empty for an AEAD: the two parts of the direction's
    /// KEYMAT (RFC 7296 §2.17). `esn` is whether sequence numbers have 64 bits, `window` the size of the anti-replay
    /// window in packets (see [`Replay::new`]).
    ///
    /// # Errors
    /// [`KeyLength`] unless the keys are as long as `encr` says.
    pub fn new(
        spi: Spi,
        encr: &'static Encr,
        encryption: &[u8],
        integrity: &[u8],
        esn: bool,
        window: u32,
    ) -> Result<Self, KeyLength> {
        let cipher = encr.key(encryption, integrity)?;
        Ok(Self { spi, encr, cipher, esn, replay: Mutex::new(Replay::new(window, esn)) })
    }

    /// Keys an SA that accepts a packet as often as it comes: for manual keys only, whose sender starts again at number 1
    /// whenever it restarts (RFC 4303 §3.4.3). Sequence numbers have 32 bits, since the high half of longer ones is
    /// inferred from a window (RFC 4303 §2.2.1).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn without_anti_replay(
        spi: Spi,
        encr: &'static Encr,
        encryption: &[u8],
        integrity: &[u8],
    ) -> Result<Self, KeyLength> {
        let cipher = encr.key(encryption, integrity)?;
        Ok(Self { spi, encr, cipher, esn: false, replay: Mutex::new(Replay::off()) })
    }

    /// The SPI that we chose.
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

    /// Size of the anti-replay window, in packets; 0 if there is none.
    pub fn window(&self) -> u32 {
        self.lock().window()
    }

    /// The highest sequence number received and verified, 0 if none is.
    pub fn sequence(&self) -> u64 {
        self.lock().top()
    }

    /// Turns one ESP packet into its payload, in place. After an error the packet's content is unspecified.
    ///
    /// # Errors
    /// See [`OpenError`].
    #[inline]
    pub fn open(&self, packet: &mut PacketBuf) -> Result<NextHeader, OpenError> {
        let seq = self.check(&self.lock(), packet)?;
        let next = self.decrypt(seq, packet)?;
        self.lock().mark(seq)?;
        next
    }

    /// Opens the ESP packets of a batch, as [`open`](Self::open) would, with two holds of the lock for all of them.
    /// `done` is called once for each, in order, with its index.
    #[inline]
    pub fn open_batch<P: BorrowMut<PacketBuf>>(
        &self,
        packets: &mut [P],
        mut done: impl FnMut(usize, &mut P, Result<NextHeader, OpenError>),
    ) {
        for (chunk, packets) in packets.chunks_mut(CHUNK).enumerate() {
            let mut seqs = [Err(OpenError::Malformed); CHUNK];
            let mut outcomes = [Err(OpenError::Malformed); CHUNK];
            {
                let replay = self.lock();
                for (seq, packet) in seqs.iter_mut().zip(&*packets) {
                    *seq = self.check(&replay, packet.borrow());
                }
            }
            for ((seq, outcome), packet) in seqs.iter_mut().zip(&mut outcomes).zip(&mut *packets) {
                match seq.and_then(|seq| self.decrypt(seq, packet.borrow_mut())) {
                    Ok(next) => *outcome = next,
                    Err(error) => *seq = Err(error),
                }
            }
            {
                let mut replay = self.lock();
                for seq in seqs.iter_mut().take(packets.len()) {
                    *seq = seq.and_then(|seq| Ok(replay.mark(seq).map(|()| seq)?));
                }
            }
            for (i, ((seq, outcome), packet)) in seqs.iter().zip(outcomes).zip(packets).enumerate() {
                done(chunk * CHUNK + i, packet, seq.and(outcome));
            }
        }
    }

    /// The cheap part, before any cryptography: form, SPI, sequence number (RFC 4303 §3.4.3).
    #[inline]
    fn check(&self, replay: &Replay, packet: &PacketBuf) -> Result<u64, OpenError> {
        let Some(&[s0, s1, s2, s3, n0, n1, n2, n3]) = packet.data().first_chunk() else {
            return Err(OpenError::Malformed);
        };
        if Spi(u32::from_be_bytes([s0, s1, s2, s3])) != self.spi {
            return Err(OpenError::WrongSpi);
        }
        let seq = replay.infer(u32::from_be_bytes([n0, n1, n2, n3]))?;
        replay.check(seq)?;
        Ok(seq)
    }

    /// Verifies, decrypts and strips header, IV, trailer and ICV (RFC 4303 §3.4.4). The outer error is that of a
    /// packet which is not authentic and leaves no mark, the inner that of one which is.
    #[inline]
    fn decrypt(&self, seq: u64, packet: &mut PacketBuf) -> Result<Result<NextHeader, OpenError>, OpenError> {
        let Encr { iv_len, icv_len, block, .. } = *self.encr;
        let body_len = packet.len().checked_sub(HEADER_LEN + iv_len + icv_len).ok_or(OpenError::Malformed)?;
        // A mask, not a division: this is once per packet.
        if body_len < trailer::FIXED_LEN || body_len & (block - 1) != 0 {
            return Err(OpenError::Malformed);
        }
        let (header, rest) = packet.data_mut().split_first_chunk_mut().ok_or(OpenError::Malformed)?;
        let (iv, rest) = rest.split_at_mut(iv_len);
        let (body, icv) = rest.split_at_mut(body_len);
        let aad = Aad::esp(header, self.esn.then_some((seq >> 32) as u32));
        self.cipher.open(aad, iv, body, icv)?;
        packet.trim_front(HEADER_LEN + iv_len);
        packet.truncate(body_len);
        Ok(trailer::strip(packet).map_err(|_| OpenError::Padding))
    }

    /// A window is valid at every point where a panic could strike, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Replay> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbound({}, {}, sequence {})", self.spi, self.encr, self.sequence())
    }
}

impl From<Refused> for OpenError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Old => Self::Old,
            Refused::Replayed => Self::Replayed,
        }
    }
}

impl From<CipherError> for OpenError {
    fn from(error: CipherError) -> Self {
        match error {
            CipherError::Length => Self::Malformed,
            CipherError::Forged => Self::Forged,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "no ESP packet",
            Self::WrongSpi => "another SA's SPI",
            Self::Old => "sequence number left of the anti-replay window",
            Self::Replayed => "sequence number received before",
            Self::Forged => "integrity check failed",
            Self::Padding => "wrong padding",
        })
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests;
