//! AES-CBC (RFC 3602) with HMAC-SHA2 (RFC 4868): encrypt, then MAC. AES through `aes`, HMAC through `ring`.
//!
//! The MAC covers associated data, IV, ciphertext and, with ESN, the high half of the sequence number
//! (RFC 4303 §3.3.2.1, RFC 7296 §3.14).

use aes::cipher::{BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::{Block, BlockCipherDecrypt, BlockSizeUser, consts::U16};
use ring::hmac;
use subtle::ConstantTimeEq;

use super::{Aad, Cipher, CipherError, Encr, KeyLength, Make, Wireshark};

/// What differs between the three MACs.
struct Mac {
    integ: u16,
    name: &'static str,
    iana_name: &'static str,
    wireshark_esp: &'static str,
    wireshark_ike: &'static str,
    key_len: usize,
    icv_len: usize,
}

const SHA2_256: Mac = Mac {
    integ: 12,
    name: "sha256",
    iana_name: "HMAC_SHA2_256_128",
    wireshark_esp: "HMAC-SHA-256-128 [RFC4868]",
    wireshark_ike: "HMAC_SHA2_256_128 [RFC4868]",
    key_len: 32,
    icv_len: 16,
};

const SHA2_384: Mac = Mac {
    integ: 13,
    name: "sha384",
    iana_name: "HMAC_SHA2_384_192",
    wireshark_esp: "HMAC-SHA-384-192 [RFC4868]",
    wireshark_ike: "HMAC_SHA2_384_192 [RFC4868]",
    key_len: 48,
    icv_len: 24,
};

const SHA2_512: Mac = Mac {
    integ: 14,
    name: "sha512",
    iana_name: "HMAC_SHA2_512_256",
    wireshark_esp: "HMAC-SHA-512-256 [RFC4868]",
    wireshark_ike: "HMAC_SHA2_512_256 [RFC4868]",
    key_len: 64,
    icv_len: 32,
};

const fn row(bits: u16, name: &'static str, wireshark_ike: &'static str, mac: Mac, make: Make) -> Encr {
    Encr {
        id: 12,
        integ: Some(mac.integ),
        key_bits: Some(bits),
        name,
        integ_name: Some(mac.name),
        iana_name: "AES_CBC",
        iana_integ_name: Some(mac.iana_name),
        wireshark_esp: Wireshark { encr: "AES-CBC [RFC3602]", integ: mac.wireshark_esp },
        wireshark_ike: Some(Wireshark { encr: wireshark_ike, integ: mac.wireshark_ike }),
        enc_key_len: bits as usize / 8,
        integ_key_len: mac.key_len,
        salt_len: 0,
        iv_len: 16,
        icv_len: mac.icv_len,
        block: 16,
        make,
    }
}

const fn aes128(mac: Mac, make: Make) -> Encr {
    row(128, "aes128", "AES-CBC-128 [RFC3602]", mac, make)
}

const fn aes192(mac: Mac, make: Make) -> Encr {
    row(192, "aes192", "AES-CBC-192 [RFC3602]", mac, make)
}

const fn aes256(mac: Mac, make: Make) -> Encr {
    row(256, "aes256", "AES-CBC-256 [RFC3602]", mac, make)
}

pub(super) const AES_CBC_128_SHA2_256: Encr = aes128(SHA2_256, boxed::<Aes128, 16, 256>);
pub(super) const AES_CBC_128_SHA2_384: Encr = aes128(SHA2_384, boxed::<Aes128, 24, 384>);
pub(super) const AES_CBC_128_SHA2_512: Encr = aes128(SHA2_512, boxed::<Aes128, 32, 512>);
pub(super) const AES_CBC_192_SHA2_256: Encr = aes192(SHA2_256, boxed::<Aes192, 16, 256>);
pub(super) const AES_CBC_192_SHA2_384: Encr = aes192(SHA2_384, boxed::<Aes192, 24, 384>);
pub(super) const AES_CBC_192_SHA2_512: Encr = aes192(SHA2_512, boxed::<Aes192, 32, 512>);
pub(super) const AES_CBC_256_SHA2_256: Encr = aes256(SHA2_256, boxed::<Aes256, 16, 256>);
pub(super) const AES_CBC_256_SHA2_384: Encr = aes256(SHA2_384, boxed::<Aes256, 24, 384>);
pub(super) const AES_CBC_256_SHA2_512: Encr = aes256(SHA2_512, boxed::<Aes256, 32, 512>);

/// What CBC needs of a block cipher; all three AES key lengths have it.
trait Aes: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + KeyInit + Send + Sync {}

impl Aes for Aes128 {}
impl Aes for Aes192 {}
impl Aes for Aes256 {}

fn boxed<A: Aes + 'static, const ICV: usize, const HASH: u16>(
    encryption: &[u8],
    integrity: &[u8],
) -> Result<Box<dyn Cipher>, KeyLength> {
    let algorithm = match HASH {
        256 => hmac::HMAC_SHA256,
        384 => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA512,
    };
    let aes = A::new_from_slice(encryption).map_err(|_| KeyLength)?;
    Ok(Box::new(AesCbcHmac::<A, ICV> { aes, mac: hmac::Key::new(algorithm, integrity) }))
}

/// The AES key schedule is wiped on drop; `ring` does not wipe its HMAC state.
struct AesCbcHmac<A, const ICV: usize> {
    aes: A,
    mac: hmac::Key,
}

impl<A, const ICV: usize> AesCbcHmac<A, ICV> {
    fn icv(&self, aad: Aad<'_>, iv: &[u8], ciphertext: &[u8]) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.mac);
        mac.update(aad.header);
        mac.update(iv);
        mac.update(ciphertext);
        if let Some(high) = aad.esn_high {
            mac.update(&high);
        }
        mac.sign()
    }
}

impl<A: Aes, const ICV: usize> Cipher for AesCbcHmac<A, ICV> {
    /// The counter, encrypted under the same key: unique and unpredictable (NIST SP 800-38A appendix C).
    fn write_iv(&self, counter: u64, iv: &mut [u8]) -> Result<(), CipherError> {
        let iv: &mut Block<A> = iv.try_into().map_err(|_| CipherError::Length)?;
        iv[..8].fill(0);
        iv[8..].copy_from_slice(&counter.to_be_bytes());
        self.aes.encrypt_block(iv);
        Ok(())
    }

    fn seal(&self, aad: Aad<'_>, iv: &[u8], body: &mut [u8], icv: &mut [u8]) -> Result<(), CipherError> {
        let icv: &mut [u8; ICV] = icv.as_mut_array().ok_or(CipherError::Length)?;
        let iv_block: &Block<A> = iv.try_into().map_err(|_| CipherError::Length)?;
        let (blocks, rest) = Block::<A>::slice_as_chunks_mut(body);
        if !rest.is_empty() {
            return Err(CipherError::Length);
        }
        cbc::Encryptor::inner_iv_init(&self.aes, iv_block).encrypt_blocks(blocks);
        icv.copy_from_slice(&self.icv(aad, iv, body).as_ref()[..ICV]);
        Ok(())
    }

    fn open(&self, aad: Aad<'_>, iv: &[u8], body: &mut [u8], icv: &[u8]) -> Result<(), CipherError> {
        let icv: &[u8; ICV] = icv.as_array().ok_or(CipherError::Length)?;
        let iv_block: &Block<A> = iv.try_into().map_err(|_| CipherError::Length)?;
        if !body.len().is_multiple_of(16) {
            return Err(CipherError::Length);
        }
        if !bool::from(self.icv(aad, iv, body).as_ref()[..ICV].ct_eq(icv)) {
            return Err(CipherError::Forged);
        }
        let (blocks, _) = Block::<A>::slice_as_chunks_mut(body);
        cbc::Decryptor::inner_iv_init(&self.aes, iv_block).decrypt_blocks(blocks);
        Ok(())
    }
}
