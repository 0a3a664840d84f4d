//! Key exchange methods (transform type 4), in the shape of a KEM: the initiator *offers*, the responder *answers*
//! and has the secret, the initiator *completes* with the answer. A post-quantum method is one more row.

use rand::CryptoRng;

use crate::secret::Secret;

mod modp;
mod nist;
mod p521;
mod x25519;

/// A row of the key exchange registry.
pub struct Kex {
    /// IANA transform ID ("group").
    pub id: u16,
    /// Name in configuration, e.g. `x25519`.
    pub keyword: &'static str,
    /// IANA name, as `swanctl` prints it.
    pub name: &'static str,
    /// Octets of the initiator's KE data; any other length is refused.
    pub offer_len: usize,
    /// Octets of the responder's KE data; any other length is refused.
    pub answer_len: usize,
    offer: fn(&mut dyn CryptoRng) -> Result<Offered, KexError>,
    answer: fn(&mut dyn CryptoRng, &[u8]) -> Result<Answered, KexError>,
}

/// The private half that waits, and our KE data.
type Offered = (Box<dyn Pending>, Vec<u8>);

/// Our KE data, and the shared secret.
type Answered = (Vec<u8>, Secret);

/// All key exchange methods, in the order of our preference.
pub static KEX: &[Kex] =
    &[x25519::ROW, nist::P256, nist::P384, p521::ROW, modp::MODP_3072, modp::MODP_4096, modp::MODP_2048];

/// Why a key exchange failed. Always the peer's fault, save for `Rng`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KexError {
    /// KE data of the wrong length (RFC 7296 §3.4, RFC 5903 §7).
    Length,
    /// Not a point on the curve, or outside the group (RFC 6989 §2), or no contribution (RFC 8031 §3).
    Invalid,
    /// The system's random number generator failed.
    Rng,
}

impl std::fmt::Display for KexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Length => "key exchange data has the wrong length for its group",
            Self::Invalid => "key exchange data is not a valid public value of its group",
            Self::Rng => "the system's random number generator failed",
        })
    }
}

impl std::error::Error for KexError {}

/// The initiator's private half, waiting for the answer. Consumed by it.
trait Pending: Send + Sync {
    fn complete(self: Box<Self>, answer: &[u8]) -> Result<Secret, KexError>;
}

/// An offered key exchange: the public value to send, and the private one that waits for the answer.
pub struct Offer {
    group: &'static Kex,
    public: Vec<u8>,
    pending: Box<dyn Pending>,
}

impl Kex {
    /// The row with IANA transform ID `id`.
    pub fn by_id(id: u16) -> Option<&'static Self> {
        KEX.iter().find(|row| row.id == id)
    }

    /// Starts an exchange as its initiator, with a fresh private value.
    ///
    /// The groups served by `ring` (19, 20) draw from the operating system instead of `rng`.
    ///
    /// # Errors
    ///
    /// [`KexError::Rng`] only.
    pub fn offer(&'static self, rng: &mut dyn CryptoRng) -> Result<Offer, KexError> {
        let (pending, public) = (self.offer)(rng)?;
        Ok(Offer { group: self, public, pending })
    }

    /// Answers the initiator's KE data: our KE data, and the shared secret `g^ir`.
    ///
    /// # Errors
    ///
    /// If `offer` is not a valid public value of this group.
    pub fn answer(&self, rng: &mut dyn CryptoRng, offer: &[u8]) -> Result<(Vec<u8>, Secret), KexError> {
        if offer.len() != self.offer_len {
            return Err(KexError::Length);
        }
        (self.answer)(rng, offer)
    }
}

impl Offer {
    /// The method offered.
    pub fn group(&self) -> &'static Kex {
        self.group
    }

    /// Our KE data.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Takes the responder's KE data and yields the shared secret `g^ir`.
    ///
    /// # Errors
    ///
    /// If `answer` is not a valid public value of this group.
    pub fn complete(self, answer: &[u8]) -> Result<Secret, KexError> {
        if answer.len() != self.group.answer_len {
            return Err(KexError::Length);
        }
        self.pending.complete(answer)
    }
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Offer({})", self.group.name)
    }
}

impl std::fmt::Debug for Kex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Kex {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Kex {}

#[cfg(test)]
mod tests;
