//! Building SK and SKF messages.

use std::fmt;

use cygnet_esp::cipher::{Aad, Cipher, CipherError, Encr, KeyLength};

use super::super::builder::MessageBuilder;
use super::super::chain::GENERIC_LEN;
use super::super::header::Header;
use super::super::numbers::PayloadType;
use super::super::{Encode, Writer};
use crate::limits;

/// Seals messages under one key, SK_e with SK_a of one direction.
///
/// It owns the counter behind the IVs: no nonce is used twice under its key, whatever its user does.
pub struct Sealer {
    encr: &'static Encr,
    cipher: Box<dyn Cipher>,
    /// Number of the next message or fragment; `None` when all are used up.
    counter: Option<u64>,
}

/// Why a message cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// It exceeds 65,535 octets, or as many fragments as the limits allow.
    TooLarge,
    /// The fragment size leaves no room for content.
    FragmentSize,
    /// Every counter value was used under this key.
    Exhausted,
    /// The cipher refused the lengths its own row gives.
    Cipher(CipherError),
}

/// Octets that SKF has between its generic header and the IV: fragment number and total.
const NUMBERS_LEN: usize = 4;

/// Octets of the Pad Length field.
const PAD_LENGTH_LEN: usize = 1;

impl Sealer {
    /// A sealer for a fresh key. `encryption` is SK_e including the salt, `integrity` SK_a, empty for an AEAD.
    ///
    /// # Errors
    /// The lengths are not those of `encr`.
    pub fn new(encr: &'static Encr, encryption: &[u8], integrity: &[u8]) -> Result<Self, KeyLength> {
        Ok(Self { encr, cipher: encr.key(encryption, integrity)?, counter: Some(0) })
    }

    /// The algorithm.
    pub fn encr(&self) -> &'static Encr {
        self.encr
    }

    /// Seals `message` into one SK payload.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(&mut self, message: &MessageBuilder) -> Result<Vec<u8>, SealError> {
        self.seal_part(message, None, message.first(), message.content())
    }

    /// Seals `message` into one SK payload if the datagram has at most `max` octets then, and into SKF payloads of
    /// at most `max` octets otherwise (RFC 7383 §2.5). `max` counts the IKE message, without UDP and IP.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal_fragmented(&mut self, message: &MessageBuilder, max: usize) -> Result<Vec<Vec<u8>>, SealError> {
        let content = message.content();
        if content.len() <= self.room(max, 0) {
            return Ok(vec![self.seal(message)?]);
        }
        if content.len() > limits::MESSAGE_LEN.saturating_sub(self.overhead(NUMBERS_LEN)) {
            return Err(SealError::TooLarge);
        }
        let room = self.room(max, NUMBERS_LEN);
        if room == 0 {
            return Err(SealError::FragmentSize);
        }
        let total = content.len().div_ceil(room);
        if total > limits::FRAGMENTS {
            return Err(SealError::TooLarge);
        }
        let total = u16::try_from(total).map_err(|_| SealError::TooLarge)?;
        let parts = (1..=total).zip(content.chunks(room));
        parts
            .map(|(number, part)| {
                // Only the first fragment names the first payload inside (RFC 7383 §2.5).
                let first = if number == 1 { message.first() } else { PayloadType::NONE };
                self.seal_part(message, Some((number, total)), first, part)
            })
            .collect()
    }

    /// Continues with this counter value.
    #[cfg(test)]
    pub(super) fn skip_to(&mut self, counter: u64) {
        self.counter = Some(counter);
    }

    /// What surrounds the content of a message, without padding. `numbers` is 0 for SK.
    fn overhead(&self, numbers: usize) -> usize {
        [usize::from(GENERIC_LEN), numbers, self.encr.iv_len, PAD_LENGTH_LEN, self.encr.icv_len]
            .into_iter()
            .fold(Header::LEN, usize::saturating_add)
    }

    /// How much content fits into a message of at most `max` octets.
    fn room(&self, max: usize, numbers: usize) -> usize {
        let body = max.min(limits::MESSAGE_LEN).saturating_sub(self.overhead(numbers)).saturating_add(PAD_LENGTH_LEN);
        let unaligned = body.checked_rem(self.encr.block).unwrap_or(0);
        body.saturating_sub(unaligned).saturating_sub(PAD_LENGTH_LEN)
    }

    fn seal_part(
        &mut self,
        message: &MessageBuilder,
        fragment: Option<(u16, u16)>,
        first: PayloadType,
        content: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        if content.len() > self.room(limits::MESSAGE_LEN, if fragment.is_some() { NUMBERS_LEN } else { 0 }) {
            return Err(SealError::TooLarge);
        }
        let counter = self.counter.ok_or(SealError::Exhausted)?;
        self.counter = counter.checked_add(1);

        let Encr { iv_len, icv_len, block, .. } = *self.encr;
        let plain_len = content.len().saturating_add(PAD_LENGTH_LEN);
        let padding = plain_len.checked_next_multiple_of(block).unwrap_or(plain_len).saturating_sub(plain_len);

        let mut w = Writer::new();
        let kind = if fragment.is_some() { PayloadType::SKF } else { PayloadType::SK };
        Header { next_payload: kind, ..*message.header() }.encode(&mut w);
        let (mut iv_at, mut body_at) = (0, 0);
        w.nested(&[first.0, 0], |w| {
            if let Some((number, total)) = fragment {
                w.u16(number);
                w.u16(total);
            }
            iv_at = w.len();
            w.zeros(iv_len);
            body_at = w.len();
            w.bytes(content);
            w.zeros(padding);
            w.u8(u8::try_from(padding).unwrap_or(u8::MAX));
            w.zeros(icv_len);
        });
        let length = u32::try_from(w.len()).unwrap_or(u32::MAX);
        w.patch_u32(LENGTH_AT, length);

        let mut octets = w.into_vec();
        self.encrypt(&mut octets, iv_at, body_at, counter).map_err(SealError::Cipher)?;
        Ok(octets)
    }

    /// Fills in IV and ICV and encrypts what is between them.
    pub(super) fn encrypt(
        &self,
        octets: &mut [u8],
        iv_at: usize,
        body_at: usize,
        counter: u64,
    ) -> Result<(), CipherError> {
        let icv_at = octets.len().saturating_sub(self.encr.icv_len);
        let (rest, icv) = octets.split_at_mut_checked(icv_at).ok_or(CipherError::Length)?;
        let (rest, body) = rest.split_at_mut_checked(body_at).ok_or(CipherError::Length)?;
        let (aad, iv) = rest.split_at_mut_checked(iv_at).ok_or(CipherError::Length)?;
        self.cipher.write_iv(counter, iv)?;
        self.cipher.seal(Aad::new(aad), iv, body, icv)
    }
}

/// Where the header's length field stands.
const LENGTH_AT: usize = 24;

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("encr", self.encr).field("counter", &self.counter).finish_non_exhaustive()
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the message is too large"),
            Self::FragmentSize => f.write_str("the fragment size leaves no room for content"),
            Self::Exhausted => f.write_str("the key is used up"),
            Self::Cipher(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SealError {}
