//! The ENCR registry: every algorithm that can protect an ESP packet or an IKE SK payload, one row each.
//!
//! Adding an algorithm is one file implementing [`Cipher`] plus its rows in [`ENCR`]. A cipher with a separate MAC is
//! one row for the pair, so that the data path has one shape.

mod aes_cbc;
mod aes_gcm_192;
mod ring_aead;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::{HEADER_LEN, trailer};

/// A keyed algorithm: encrypts and authenticates a body in place.
///
/// The lengths of `iv` and `icv` are those of the [`Encr`] row, the length of `body` a multiple of its block.
pub trait Cipher: Send + Sync {
    /// Writes the explicit IV of message number `counter`, which must be unique under this key.
    ///
    /// Counter modes put the counter itself there (RFC 4106 §3.1, RFC 7634 §2); CBC writes something an observer
    /// cannot predict (RFC 3602 §3).
    ///
    /// # Errors
    /// [`CipherError::Length`] if `iv` is not as long as the row says.
    fn write_iv(&self, counter: u64, iv: &mut [u8]) -> Result<(), CipherError>;

    /// Encrypts `body` in place and writes the ICV over `aad`, `iv` and the ciphertext.
    ///
    /// # Errors
    /// [`CipherError::Length`] if a slice is not as long as the row says; nothing is written then.
    fn seal(&self, aad: Aad<'_>, iv: &[u8], body: &mut [u8], icv: &mut [u8]) -> Result<(), CipherError>;

    /// Checks the ICV and decrypts `body` in place. After an error the content of `body` is unspecified.
    ///
    /// # Errors
    /// [`CipherError::Forged`] if the ICV does not fit; [`CipherError::Length`] as for [`Cipher::seal`].
    fn open(&self, aad: Aad<'_>, iv: &[u8], body: &mut [u8], icv: &[u8]) -> Result<(), CipherError>;
}

/// Why a [`Cipher`] refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CipherError {
    /// A slice has a length the algorithm does not know.
    Length,
    /// The integrity check failed.
    Forged,
}

impl fmt::Display for CipherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "length does not fit the algorithm",
            Self::Forged => "integrity check failed",
        })
    }
}

impl std::error::Error for CipherError {}

/// What is authenticated but not encrypted.
#[derive(Debug, Clone, Copy)]
pub struct Aad<'a> {
    header: &'a [u8],
    esn_high: Option<[u8; 4]>,
}

impl<'a> Aad<'a> {
    /// Plain octets: for IKE, the header and payload chain up to and including the SK header (RFC 5282 §5.1).
    pub fn new(header: &'a [u8]) -> Self {
        Self { header, esn_high: None }
    }

    /// An ESP header with, for extended sequence numbers, the high half that is not transmitted: AEADs insert it
    /// between SPI and sequence number (RFC 4106 §5), MACs append it after the ciphertext (RFC 4303 §2.2.1).
    pub fn esp(header: &'a [u8; 8], esn_high: Option<u32>) -> Self {
        Self { header, esn_high: esn_high.map(u32::to_be_bytes) }
    }
}

/// Key octets of a length that the algorithm does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLength;

impl fmt::Display for KeyLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("key length does not fit the algorithm")
    }
}

impl std::error::Error for KeyLength {}

/// A row of the registry: what negotiation must know of an algorithm, and how to key it. Lengths are octets.
pub struct Encr {
    /// IANA transform type 1 (ENCR) number.
    pub id: u16,
    /// IANA transform type 3 (INTEG) number of the MAC that is half of this row; `None` for an AEAD.
    pub integ: Option<u16>,
    /// The Key Length attribute (RFC 7296 §3.3.5), in bits; `None` where the attribute must be absent.
    pub key_bits: Option<u16>,
    /// Configuration keyword of the cipher: `aes256gcm16`, `chacha20poly1305`, `aes256`.
    pub name: &'static str,
    /// Configuration keyword of the MAC: `sha256`.
    pub integ_name: Option<&'static str>,
    /// The registered cipher name without its `ENCR_`, as status displays it: `AES_GCM_16`.
    pub iana_name: &'static str,
    /// The registered MAC name without its `AUTH_`: `HMAC_SHA2_256_128`.
    pub iana_integ_name: Option<&'static str>,
    /// Wireshark's names in its table of ESP SAs.
    pub wireshark_esp: Wireshark,
    /// Wireshark's names in its IKEv2 decryption table; `None` if it cannot decrypt this algorithm there.
    pub wireshark_ike: Option<Wireshark>,
    /// Encryption key, without salt.
    pub enc_key_len: usize,
    /// Integrity key; 0 for an AEAD.
    pub integ_key_len: usize,
    /// Salt: the end of the encryption key material that goes into each nonce (RFC 4106 §4).
    pub salt_len: usize,
    /// Explicit IV.
    pub iv_len: usize,
    /// Integrity check value.
    pub icv_len: usize,
    /// What the body's length must be a multiple of, before ESP's own alignment: a power of two, 1 for stream modes.
    pub block: usize,
    make: Make,
}

/// Keys a row: encryption key with salt, integrity key.
type Make = fn(&[u8], &[u8]) -> Result<Box<dyn Cipher>, KeyLength>;

/// Cipher and MAC as Wireshark's preference tables spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wireshark {
    /// The cipher.
    pub encr: &'static str,
    /// The MAC.
    pub integ: &'static str,
}

impl Encr {
    /// The row for a negotiated pair of transforms. `integ` is `None` for an AEAD, and so is `key_bits` for an
    /// algorithm with one key length.
    pub fn find(id: u16, key_bits: Option<u16>, integ: Option<u16>) -> Option<&'static Self> {
        ENCR.iter().find(|row| row.id == id && row.key_bits == key_bits && row.integ == integ)
    }

    /// Whether the row is an authenticated cipher, with no INTEG transform beside it.
    pub fn is_aead(&self) -> bool {
        self.integ.is_none()
    }

    /// Encryption key with salt: SK_e of IKE, or the first part of an ESP direction's KEYMAT.
    pub fn encryption_len(&self) -> usize {
        self.enc_key_len + self.salt_len
    }

    /// What one ESP direction takes from KEYMAT: encryption key, salt, integrity key (RFC 7296 §2.17).
    pub fn key_material_len(&self) -> usize {
        self.encryption_len() + self.integ_key_len
    }

    /// What ESP aligns the end of its trailer to: the block, but at least four octets (RFC 4303 §2.4).
    pub fn alignment(&self) -> usize {
        self.block.max(4)
    }

    /// Octets of the ESP packet around a payload of `len` octets: from SPI to ICV (RFC 4303 §2).
    pub fn sealed_len(&self, len: usize) -> usize {
        HEADER_LEN + self.iv_len + len + trailer::len(len, self.alignment()) + self.icv_len
    }

    /// The longest payload whose ESP packet is at most `len` octets; 0 if none is.
    pub fn max_payload(&self, len: usize) -> usize {
        let body = len.saturating_sub(HEADER_LEN + self.iv_len + self.icv_len);
        (body - body % self.alignment()).saturating_sub(trailer::FIXED_LEN)
    }

    /// Keys the algorithm. `encryption` includes the salt; `integrity` is empty for an AEAD.
    ///
    /// # Errors
    /// [`KeyLength`] unless they are [`Self::encryption_len`] and [`Self::integ_key_len`] octets long.
    pub fn key(&self, encryption: &[u8], integrity: &[u8]) -> Result<Box<dyn Cipher>, KeyLength> {
        if encryption.len() != self.encryption_len() || integrity.len() != self.integ_key_len {
            return Err(KeyLength);
        }
        (self.make)(encryption, integrity)
    }
}

impl PartialEq for Encr {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.key_bits, self.integ) == (other.id, other.key_bits, other.integ)
    }
}

impl Eq for Encr {}

impl fmt::Debug for Encr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encr({self})")
    }
}

/// As in a configured proposal: `aes256gcm16`, `aes128-sha256`.
impl fmt::Display for Encr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.integ_name.map_or(Ok(()), |integ| write!(f, "-{integ}"))
    }
}

/// Every row. The order is no preference: proposals carry that.
pub static ENCR: &[Encr] = &[
    ring_aead::AES_GCM_16_128,
    aes_gcm_192::AES_GCM_16_192,
    ring_aead::AES_GCM_16_256,
    ring_aead::CHACHA20_POLY1305,
    aes_cbc::AES_CBC_128_SHA2_256,
    aes_cbc::AES_CBC_128_SHA2_384,
    aes_cbc::AES_CBC_128_SHA2_512,
    aes_cbc::AES_CBC_192_SHA2_256,
    aes_cbc::AES_CBC_192_SHA2_384,
    aes_cbc::AES_CBC_192_SHA2_512,
    aes_cbc::AES_CBC_256_SHA2_256,
    aes_cbc::AES_CBC_256_SHA2_384,
    aes_cbc::AES_CBC_256_SHA2_512,
];

/// Builds the row of an AES-GCM with a 16-octet ICV (RFC 4106, RFC 5282).
const fn aes_gcm_16(bits: u16, name: &'static str, wireshark_ike: &'static str, make: Make) -> Encr {
    Encr {
        id: 20,
        integ: None,
        key_bits: Some(bits),
        name,
        integ_name: None,
        iana_name: "AES_GCM_16",
        iana_integ_name: None,
        wireshark_esp: Wireshark { encr: "AES-GCM with 16 octet ICV [RFC4106]", integ: "NULL" },
        wireshark_ike: Some(Wireshark { encr: wireshark_ike, integ: "NONE [RFC4306]" }),
        enc_key_len: bits as usize / 8,
        integ_key_len: 0,
        salt_len: 4,
        iv_len: 8,
        icv_len: 16,
        block: 1,
        make,
    }
}

/// The nonce that RFC 4106 §4 and RFC 7634 §2 share: salt, then explicit IV.
fn nonce(salt: [u8; 4], iv: &[u8]) -> Result<[u8; 12], CipherError> {
    let iv: [u8; 8] = iv.try_into().map_err(|_| CipherError::Length)?;
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&salt);
    nonce[4..].copy_from_slice(&iv);
    Ok(nonce)
}

/// The IV of a counter mode is the counter.
fn counter_iv(counter: u64, iv: &mut [u8]) -> Result<(), CipherError> {
    *iv.as_mut_array::<8>().ok_or(CipherError::Length)? = counter.to_be_bytes();
    Ok(())
}

/// The associated data of an AEAD, in one piece (RFC 4106 §5, RFC 7634 §2.1).
enum AeadAad<'a> {
    Plain(&'a [u8]),
    Extended([u8; 12]),
}

impl<'a> From<Aad<'a>> for AeadAad<'a> {
    fn from(aad: Aad<'a>) -> Self {
        match (aad.esn_high, aad.header) {
            (Some(high), &[a, b, c, d, e, f, g, h]) => {
                Self::Extended([a, b, c, d, high[0], high[1], high[2], high[3], e, f, g, h])
            }
            _ => Self::Plain(aad.header),
        }
    }
}

impl AsRef<[u8]> for AeadAad<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Plain(octets) => octets,
            Self::Extended(octets) => octets,
        }
    }
}
