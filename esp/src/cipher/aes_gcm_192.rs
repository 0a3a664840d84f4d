//! AES-GCM with a 192-bit key (RFC 4106), which `ring` does not offer, through `aes-gcm`.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{AesGcm, Tag, aes::Aes192};

use super::{Aad, AeadAad, Cipher, CipherError, Encr, KeyLength, aes_gcm_16, counter_iv, nonce};

pub(super) const AES_GCM_16_192: Encr =
    aes_gcm_16(192, "aes192gcm16", "AES-GCM-192 with 16 octet ICV [RFC5282]", |key, _| {
        let (key, salt) = key.split_last_chunk().ok_or(KeyLength)?;
        let key = AesGcm::new_from_slice(key).map_err(|_| KeyLength)?;
        Ok(Box::new(AesGcm192 { key, salt: *salt }))
    });

struct AesGcm192 {
    key: AesGcm<Aes192, U12>,
    salt: [u8; 4],
}

impl Cipher for AesGcm192 {
    fn write_iv(&self, counter: u64, iv: &mut [u8]) -> Result<(), CipherError> {
        counter_iv(counter, iv)
    }

    fn seal(&self, aad: Aad<'_>, iv: &[u8], body: &mut [u8], icv: &mut [u8]) -> Result<(), CipherError> {
        let nonce = nonce(self.salt, iv)?;
        let icv: &mut [u8; 16] = icv.as_mut_array().ok_or(CipherError::Length)?;
        let aad = AeadAad::from(aad);
        let tag = self
            .key
            .encrypt_inout_detached(&nonce.into(), aad.as_ref(), body.into())
            .map_err(|_| CipherError::Length)?;
        *icv = tag.into();
        Ok(())
    }

    fn open(&self, aad: Aad<'_>, iv: &[u8], body: &mut [u8], icv: &[u8]) -> Result<(), CipherError> {
        let nonce = nonce(self.salt, iv)?;
        let tag: Tag = icv.try_into().map_err(|_| CipherError::Length)?;
        let aad = AeadAad::from(aad);
        self.key.decrypt_inout_detached(&nonce.into(), aad.as_ref(), body.into(), &tag).map_err(|_| CipherError::Forged)
    }
}
