//! 256-bit and 384-bit random ECP groups, 19 and 20 (RFC 5903), through `ring`.
//!
//! A public value is `x | y` without the leading 0x04 of SEC1 (RFC 5903 §7); the shared secret is `x` alone.
//! `ring` checks that the peer's point is on the curve (RFC 6989 §2.3) and draws private keys from the operating
//! system.

use ring::agreement::{self, Algorithm, ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Answered, Kex, KexError, Offered, Pending};
use crate::secret::Secret;

pub(super) const P256: Kex = Kex {
    id: 19,
    keyword: "ecp256",
    name: "ECP_256",
    offer_len: 64,
    answer_len: 64,
    offer: |_| offer(&ECDH_P256),
    answer: |_, public| answer(&ECDH_P256, public),
};

pub(super) const P384: Kex = Kex {
    id: 20,
    keyword: "ecp384",
    name: "ECP_384",
    offer_len: 96,
    answer_len: 96,
    offer: |_| offer(&ECDH_P384),
    answer: |_, public| answer(&ECDH_P384, public),
};

/// SEC1 tag of an uncompressed point, absent from KE data.
const UNCOMPRESSED: u8 = 4;

fn offer(curve: &'static Algorithm) -> Result<Offered, KexError> {
    let (private, public) = generate(curve, &SystemRandom::new())?;
    Ok((Box::new(private), public))
}

fn answer(curve: &'static Algorithm, offer: &[u8]) -> Result<Answered, KexError> {
    let (private, public) = generate(curve, &SystemRandom::new())?;
    Ok((public, agree(private, offer)?))
}

impl Pending for EphemeralPrivateKey {
    fn complete(self: Box<Self>, answer: &[u8]) -> Result<Secret, KexError> {
        agree(*self, answer)
    }
}

fn generate(curve: &'static Algorithm, rng: &dyn SecureRandom) -> Result<(EphemeralPrivateKey, Vec<u8>), KexError> {
    let private = EphemeralPrivateKey::generate(curve, rng).map_err(|_| KexError::Rng)?;
    let point = private.compute_public_key().map_err(|_| KexError::Rng)?;
    let public = point.as_ref().strip_prefix(&[UNCOMPRESSED]).ok_or(KexError::Invalid)?.to_vec();
    Ok((private, public))
}

fn agree(private: EphemeralPrivateKey, peer: &[u8]) -> Result<Secret, KexError> {
    let curve = private.algorithm();
    let point = [&[UNCOMPRESSED], peer].concat();
    agreement::agree_ephemeral(private, &UnparsedPublicKey::new(curve, point), |x| Secret::new(x.to_vec()))
        .map_err(|_| KexError::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::hex;

    /// Both sides of a vector, private keys injected through `ring`'s own test generator.
    fn check(curve: &'static Algorithm, i: &str, gi: &str, r: &str, gr: &str, girx: &str) {
        #[allow(deprecated)]
        let pair = |private: &str| {
            let private = hex(private);
            generate(curve, &ring::test::rand::FixedSliceRandom { bytes: &private }).unwrap()
        };
        let ((private_i, public_i), (private_r, public_r)) = (pair(i), pair(r));
        assert_eq!((&public_i, &public_r), (&hex(gi), &hex(gr)));
        assert_eq!(agree(private_i, &public_r).unwrap().expose(), hex(girx));
        assert_eq!(agree(private_r, &public_i).unwrap().expose(), hex(girx));
    }

    /// RFC 5903 §8.1.
    #[test]
    fn rfc5903_256() {
        check(
            &ECDH_P256,
            "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
            "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180
             5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
            "C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53",
            "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63
             56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
            "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE",
        );
    }

    /// RFC 5903 §8.2.
    #[test]
    fn rfc5903_384() {
        check(
            &ECDH_P384,
            "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
            "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AEE95F41AA
             9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C",
            "41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942E0308312916B8ED2960E4BD55A7448FC",
            "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571
             DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
            "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746",
        );
    }

    /// RFC 6989 §2.3: a point off the curve.
    #[test]
    fn points_off_the_curve_are_refused() {
        let (private, mut public) = generate(&ECDH_P256, &SystemRandom::new()).unwrap();
        public[63] ^= 1;
        assert_eq!(agree(private, &public), Err(KexError::Invalid));
    }
}
