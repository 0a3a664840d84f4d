//! The protection of one packet, in place.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{Cipher, HEADER, TAG};

/// Of one direction; without one nothing is protected.
#[derive(Debug)]
pub(super) struct Keys(Option<LessSafeKey>);

impl Keys {
    /// Those of the end with this number.
    pub(super) fn new(cipher: Cipher, end: u8) -> Self {
        let algorithm = match cipher {
            Cipher::None => return Self(None),
            Cipher::Aes128 => &AES_128_GCM,
            Cipher::Aes256 => &AES_256_GCM,
        };
        let octets = [end; 32];
        let key = octets.get(..algorithm.key_len()).and_then(|key| UnboundKey::new(algorithm, key).ok());
        Self(key.map(LessSafeKey::new))
    }

    /// Seals the packet that is between header and tag of `whole`.
    #[inline]
    pub(super) fn seal(&self, counter: u64, whole: &mut [u8]) {
        let Some((header, rest)) = whole.split_first_chunk_mut::<HEADER>() else { return };
        let Some((packet, tag)) = rest.split_last_chunk_mut::<TAG>() else { return };
        *header = counter.to_be_bytes();
        let Some(key) = &self.0 else { return };
        if let Ok(sealed) = key.seal_in_place_separate_tag(nonce(header), Aad::from(*header), packet) {
            tag.copy_from_slice(sealed.as_ref());
        }
    }

    /// Opens one; the packet is then between its header and tag. `false` if it was forged.
    #[inline]
    pub(super) fn open(&self, whole: &mut [u8]) -> bool {
        let Some((header, rest)) = whole.split_first_chunk_mut::<HEADER>() else { return false };
        match &self.0 {
            None => rest.len() >= TAG,
            Some(key) => key.open_in_place(nonce(header), Aad::from(*header), rest).is_ok(),
        }
    }
}

fn nonce(counter: &[u8; HEADER]) -> Nonce {
    let mut octets = [0; 12];
    octets[4..].copy_from_slice(counter);
    Nonce::assume_unique_for_key(octets)
}
