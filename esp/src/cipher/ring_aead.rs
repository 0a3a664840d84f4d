//! AES-GCM with 128 and 256-bit keys (RFC 4106, RFC 5282) and ChaCha20-Poly1305 (RFC 7634), through `ring`.

use ring::aead::{self, LessSafeKey, Nonce, Tag, UnboundKey};

use super::{Aad, AeadAad, Cipher, CipherError, Encr, KeyLength, Wireshark, aes_gcm_16, counter_iv, nonce};

pub(super) const AES_GCM_16_128: Encr =
    aes_gcm_16(128, "aes128gcm16", "AES-GCM-128 with 16 octet ICV [RFC5282]", |key, _| {
        RingAead::boxed(&aead::AES_128_GCM, key)
    });

pub(super) const AES_GCM_16_256: Encr =
    aes_gcm_16(256, "aes256gcm16", "AES-GCM-256 with 16 octet ICV [RFC5282]", |key, _| {
        RingAead::boxed(&aead::AES_256_GCM, key)
    });

pub(super) const CHACHA20_POLY1305: Encr = Encr {
    id: 28,
    integ: None,
    key_bits: None,
    name: "chacha20poly1305",
    integ_name: None,
    iana_name: "CHACHA20_POLY1305",
    iana_integ_name: None,
    wireshark_esp: Wireshark { encr: "ChaCha20 with Poly1305 [RFC7634]", integ: "NULL" },
    wireshark_ike: None,
    enc_key_len: 32,
    integ_key_len: 0,
    salt_len: 4,
    iv_len: 8,
    icv_len: 16,
    block: 1,
    make: |key, _| RingAead::boxed(&aead::CHACHA20_POLY1305, key),
};

/// `ring` does not wipe its expanded keys on drop; the salt is not secret.
struct RingAead {
    key: LessSafeKey,
    salt: [u8; 4],
}

impl RingAead {
    fn boxed(algorithm: &'static aead::Algorithm, key: &[u8]) -> Result<Box<dyn Cipher>, KeyLength> {
        let (key, salt) = key.split_last_chunk().ok_or(KeyLength)?;
        let key = UnboundKey::new(algorithm, key).map_err(|_| KeyLength)?;
        Ok(Box::new(Self { key: LessSafeKey::new(key), salt: *salt }))
    }
}

impl Cipher for RingAead {
    fn write_iv(&self, counter: u64, iv: &mut [u8]) -> Result<(), CipherError> {
        counter_iv(counter, iv)
    }

    fn seal(&self, aad: Aad<'_>, iv: &[u8], body: &mut [u8], icv: &mut [u8]) -> Result<(), CipherError> {
        let nonce = Nonce::assume_unique_for_key(nonce(self.salt, iv)?);
        let icv: &mut [u8; 16] = icv.as_mut_array().ok_or(CipherError::Length)?;
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, aead::Aad::from(AeadAad::from(aad)), body)
            .map_err(|_| CipherError::Length)?;
        icv.copy_from_slice(tag.as_ref());
        Ok(())
    }

    fn open(&self, aad: Aad<'_>, iv: &[u8], body: &mut [u8], icv: &[u8]) -> Result<(), CipherError> {
        let nonce = Nonce::assume_unique_for_key(nonce(self.salt, iv)?);
        let tag = Tag::try_from(icv).map_err(|_| CipherError::Length)?;
        self.key
            .open_in_place_separate_tag(nonce, aead::Aad::from(AeadAad::from(aad)), tag, body, 0..)
            .map(|_| ())
            .map_err(|_| CipherError::Forged)
    }
}
