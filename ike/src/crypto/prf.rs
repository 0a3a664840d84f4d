//! Pseudorandom functions (RFC 7296 §2.13, §3.3.2; HMAC-SHA-2 per RFC 4868).

use ring::hmac;

use crate::secret::Secret;

/// A row of the PRF registry (transform type 2).
pub struct Prf {
    /// IANA transform ID.
    pub id: u16,
    /// Name in configuration, e.g. `prfsha256`.
    pub keyword: &'static str,
    /// IANA name, as `swanctl` prints it.
    pub name: &'static str,
    /// Octets of output, which is also the preferred key length (RFC 7296 §2.13).
    pub len: usize,
    algorithm: &'static hmac::Algorithm,
}

/// All pseudorandom functions, strongest last.
pub static PRF: &[Prf] = &[
    Prf { id: 5, keyword: "prfsha256", name: "PRF_HMAC_SHA2_256", len: 32, algorithm: &hmac::HMAC_SHA256 },
    Prf { id: 6, keyword: "prfsha384", name: "PRF_HMAC_SHA2_384", len: 48, algorithm: &hmac::HMAC_SHA384 },
    Prf { id: 7, keyword: "prfsha512", name: "PRF_HMAC_SHA2_512", len: 64, algorithm: &hmac::HMAC_SHA512 },
];

impl Prf {
    /// The row with IANA transform ID `id`.
    pub fn by_id(id: u16) -> Option<&'static Self> {
        PRF.iter().find(|row| row.id == id)
    }

    /// `prf(key, data)`, where `data` is the concatenation of its parts.
    pub fn prf(&self, key: &[u8], data: &[&[u8]]) -> Secret {
        Secret::new(self.tag(key, data).as_ref().to_vec())
    }

    /// Whether `expected` is `prf(key, data)`, compared in constant time.
    pub fn verify(&self, key: &[u8], data: &[&[u8]], expected: &[u8]) -> bool {
        use subtle::ConstantTimeEq;
        self.tag(key, data).as_ref().ct_eq(expected).into()
    }

    /// `len` octets of `prf+(key, seed)` (RFC 7296 §2.13): `T1 | T2 | ...`, `Tn = prf(K, Tn-1 | S | n)`.
    ///
    /// # Panics
    ///
    /// If `len` exceeds 255 blocks, which no sum of our fixed key lengths comes near.
    pub fn prf_plus(&self, key: &[u8], seed: &[&[u8]], len: usize) -> Secret {
        assert!(len <= 255 * self.len, "prf+ is defined for at most 255 blocks (RFC 7296 §2.13)");
        let key = hmac::Key::new(*self.algorithm, key);
        // Exact capacity: a growing vector would leave unwiped copies behind.
        let mut out = Vec::with_capacity(len.next_multiple_of(self.len));
        for block in 1..=u8::MAX {
            if out.len() >= len {
                break;
            }
            let mut context = hmac::Context::with_key(&key);
            context.update(&out[out.len().saturating_sub(self.len)..]);
            seed.iter().for_each(|part| context.update(part));
            context.update(&[block]);
            out.extend_from_slice(context.sign().as_ref());
        }
        zeroize::Zeroize::zeroize(&mut out[len..]);
        out.truncate(len);
        Secret::new(out)
    }

    fn tag(&self, key: &[u8], data: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&hmac::Key::new(*self.algorithm, key));
        data.iter().for_each(|part| context.update(part));
        context.sign()
    }
}

impl std::fmt::Debug for Prf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Prf {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Prf {}

#[cfg(test)]
mod tests;
