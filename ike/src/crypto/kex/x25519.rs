//! Curve25519, group 31 (RFC 8031, RFC 7748).

use rand::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};

use super::{Answered, Kex, KexError, Offered, Pending};
use crate::secret::Secret;

/// Octets of a private or public value.
const LEN: usize = 32;

pub(super) const ROW: Kex =
    Kex { id: 31, keyword: "x25519", name: "CURVE_25519", offer_len: LEN, answer_len: LEN, offer, answer };

struct Private(StaticSecret);

fn offer(rng: &mut dyn CryptoRng) -> Result<Offered, KexError> {
    let private = StaticSecret::random_from_rng(rng);
    let public = PublicKey::from(&private).to_bytes().to_vec();
    Ok((Box::new(Private(private)), public))
}

fn answer(rng: &mut dyn CryptoRng, offer: &[u8]) -> Result<Answered, KexError> {
    let private = StaticSecret::random_from_rng(rng);
    let shared = agree(&private, offer)?;
    Ok((PublicKey::from(&private).to_bytes().to_vec(), shared))
}

impl Pending for Private {
    fn complete(self: Box<Self>, answer: &[u8]) -> Result<Secret, KexError> {
        agree(&self.0, answer)
    }
}

/// Refuses an all-zero result: the peer's value had small order (RFC 7748 §6.1, RFC 8031 §3).
fn agree(private: &StaticSecret, peer: &[u8]) -> Result<Secret, KexError> {
    let peer: [u8; LEN] = peer.try_into().map_err(|_| KexError::Length)?;
    let shared = private.diffie_hellman(&PublicKey::from(peer));
    if !shared.was_contributory() {
        return Err(KexError::Invalid);
    }
    Ok(Secret::new(shared.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::{hex, hex_array};

    /// RFC 7748 §5.2, first and second vector.
    #[test]
    fn rfc7748_scalar_multiplication() {
        for (scalar, u, out) in [
            (
                "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
                "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
            ),
            (
                "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
                "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
                "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
            ),
        ] {
            let shared = agree(&StaticSecret::from(hex_array(scalar)), &hex(u)).unwrap();
            assert_eq!(shared.expose(), hex(out));
        }
    }

    /// RFC 7748 §6.1: the whole exchange, both sides.
    #[test]
    fn rfc7748_diffie_hellman() {
        let alice = StaticSecret::from(hex_array("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
        let bob = StaticSecret::from(hex_array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
        let alice_public = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let bob_public = hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");

        assert_eq!(PublicKey::from(&alice).as_bytes()[..], alice_public);
        assert_eq!(PublicKey::from(&bob).as_bytes()[..], bob_public);
        assert_eq!(agree(&alice, &bob_public).unwrap().expose(), shared);
        assert_eq!(agree(&bob, &alice_public).unwrap().expose(), shared);
    }

    /// RFC 7748 §6.1: the identity and the points of small order give zero, which is refused.
    #[test]
    fn small_order_points_are_refused() {
        let private = StaticSecret::from([7; LEN]);
        let mut one = [0; LEN];
        one[0] = 1;
        assert_eq!(agree(&private, &[0; LEN]), Err(KexError::Invalid));
        assert_eq!(agree(&private, &one), Err(KexError::Invalid));
    }
}
