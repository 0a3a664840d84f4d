//! 521-bit random ECP group, 21 (RFC 5903).
//!
//! A public value is `x | y`, 66 octets each (RFC 5903 §7); the shared secret is `x` alone.

use p521::elliptic_curve::Generate;
use p521::{PublicKey, Sec1Point, SecretKey};
use rand::CryptoRng;

use super::{Answered, Kex, KexError, Offered, Pending};
use crate::secret::Secret;

/// Octets of a coordinate.
const LEN: usize = 66;

pub(super) const ROW: Kex =
    Kex { id: 21, keyword: "ecp521", name: "ECP_521", offer_len: 2 * LEN, answer_len: 2 * LEN, offer, answer };

struct Private(SecretKey);

fn offer(rng: &mut dyn CryptoRng) -> Result<Offered, KexError> {
    let private = SecretKey::generate_from_rng(rng);
    let public = public(&private);
    Ok((Box::new(Private(private)), public))
}

fn answer(rng: &mut dyn CryptoRng, offer: &[u8]) -> Result<Answered, KexError> {
    let private = SecretKey::generate_from_rng(rng);
    Ok((public(&private), agree(&private, offer)?))
}

impl Pending for Private {
    fn complete(self: Box<Self>, answer: &[u8]) -> Result<Secret, KexError> {
        agree(&self.0, answer)
    }
}

fn public(private: &SecretKey) -> Vec<u8> {
    let point = Sec1Point::from(private.public_key());
    point.as_bytes()[1..].to_vec()
}

/// Parsing the peer's point checks that it is on the curve and not the identity (RFC 6989 §2.3); the cofactor is 1.
fn agree(private: &SecretKey, peer: &[u8]) -> Result<Secret, KexError> {
    let point = [&[4], peer].concat();
    let peer = PublicKey::from_sec1_bytes(&point).map_err(|_| KexError::Invalid)?;
    let shared = p521::ecdh::diffie_hellman(private.to_nonzero_scalar(), peer.as_affine());
    Ok(Secret::new(shared.raw_secret_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::hex;

    /// RFC 5903 §8.3, both sides.
    #[test]
    fn rfc5903_521() {
        let i = SecretKey::from_slice(&hex("0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A095AA
             85A30FE1C2952C6771D937BA9777F5957B2639BAB072462F68C27A57382D4A52"))
        .unwrap();
        let r = SecretKey::from_slice(&hex("0145BA99A847AF43793FDD0E872E7CDFA16BE30FDC780F97BCCC3F078380201E9C67
             7D600B343757A3BDBF2A3163E4C2F869CCA7458AA4A4EFFC311F5CB151685EB9"))
        .unwrap();
        let gi = hex("0015417E84DBF28C0AD3C278713349DC7DF153C897A1891BD98BAB4357C9ECBEE1E3
             BF42E00B8E380AEAE57C2D107564941885942AF5A7F4601723C4195D176CED3E
             017CAE20B6641D2EEB695786D8C946146239D099E18E1D5A514C739D7CB4A10AD8A7
             88015AC405D7799DC75E7B7D5B6CF2261A6A7F1507438BF01BEB6CA3926F9582");
        let gr = hex("00D0B3975AC4B799F5BEA16D5E13E9AF971D5E9B984C9F39728B5E5739735A219B97
             C356436ADC6E95BB0352F6BE64A6C2912D4EF2D0433CED2B6171640012D9460F
             015C68226383956E3BD066E797B623C27CE0EAC2F551A10C2C724D9852077B87220B
             6536C5C408A1D2AEBB8E86D678AE49CB57091F4732296579AB44FCD17F0FC56A");
        let girx = hex("01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04D142
             7E73CA4BAA240A34786859810C06B3C715A3A8CC3151F2BEE417996D19F3DDEA");
        assert_eq!((public(&i), public(&r)), (gi.clone(), gr.clone()));
        assert_eq!(agree(&i, &gr).unwrap().expose(), girx);
        assert_eq!(agree(&r, &gi).unwrap().expose(), girx);
    }

    /// RFC 6989 §2.3: a point off the curve.
    #[test]
    fn points_off_the_curve_are_refused() {
        let private = SecretKey::generate_from_rng(&mut rand::rng());
        let mut peer = public(&private);
        peer[2 * LEN - 1] ^= 1;
        assert_eq!(agree(&private, &peer), Err(KexError::Invalid));
    }
}
