use crypto_bigint::{Limb, NonZero};

use super::*;

/// RFC 3526 §3-5 defines each prime as `2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + k)`. Pi is computed here
/// (Machin's formula), so that no digit of the constants is taken on trust.
#[test]
fn primes_are_what_rfc3526_defines() {
    check(PRIME_2048, U2048::from_u64(124_476));
    check(PRIME_3072, U3072::from_u64(1_690_314));
    check(PRIME_4096, U4096::from_u64(240_904));

    fn check<const N: usize>(prime: &str, k: Uint<N>) {
        let bits = Uint::<N>::BITS;
        let one = Uint::<N>::ONE;
        // [2^(n-130) pi], with 64 bits more in the series to absorb its rounding.
        let scale = bits - 130 + 64;
        let sum = arctan_inverse::<N>(5, scale).shl(2).wrapping_sub(&arctan_inverse(239, scale));
        let pi = sum.shl(2).shr(64);
        let digits = pi.wrapping_add(&k).shl(64);
        let expected = Uint::<N>::ZERO.wrapping_sub(&one.shl(bits - 64)).wrapping_sub(&one).wrapping_add(&digits);
        assert_eq!(Uint::from_be_hex(prime), expected, "{bits}");
    }

    /// `2^scale * arctan(1/x)`.
    fn arctan_inverse<const N: usize>(x: u32, scale: u32) -> Uint<N> {
        let divide = |n: &Uint<N>, d: u32| n.div_rem_limb(NonZero::new(Limb::from(d)).unwrap()).0;
        let mut power = divide(&Uint::ONE.shl(scale), x);
        let (mut sum, mut n, mut add) = (power, 3, false);
        while power != Uint::ZERO {
            power = divide(&power, x * x);
            let term = divide(&power, n);
            sum = if add { sum.wrapping_add(&term) } else { sum.wrapping_sub(&term) };
            (n, add) = (n + 2, !add);
        }
        sum
    }
}

/// A group element raised to both exponents in either order is the same, for every group and against plain
/// square-and-multiply.
#[test]
fn power_agrees_with_the_schoolbook() {
    check(&GROUP_14);
    check(&GROUP_15);
    check(&GROUP_16);

    fn check<const N: usize>(group: &Group<N>) {
        let exponent = Zeroizing::new(Uint::<EXPONENT_LIMBS>::from_u64(0x1_0000_0001));
        let base = FixedMontyForm::new(&Uint::from_u8(2), &group.params);
        let mut power = base;
        for _ in 0..32 {
            power = power.square();
        }
        let expected = power.mul(&base).retrieve();
        assert_eq!(group.power(&Uint::from_u8(2), &exponent), to_octets(&expected));
    }
}

/// RFC 6989 §2.1: 0, 1, p-1 and p are no public values; 2 and p-2 are.
#[test]
fn range_of_public_values() {
    check(&GROUP_14);
    check(&GROUP_15);
    check(&GROUP_16);

    fn check<const N: usize>(group: &Group<N>) {
        let exponent = group.exponent(&mut rand::rng());
        let p = *group.params.modulus().as_ref();
        let agree = |y: Uint<N>| group.agree(&exponent, &to_octets(&y)).map(|_| ());
        for bad in [Uint::ZERO, Uint::ONE, p.wrapping_sub(&Uint::ONE), p, Uint::MAX] {
            assert_eq!(agree(bad), Err(KexError::Invalid));
        }
        for good in [Uint::from_u8(2), p.wrapping_sub(&Uint::from_u8(2))] {
            assert_eq!(agree(good), Ok(()));
        }
    }
}

#[test]
fn octets_round_trip_with_leading_zeros() {
    let value = U2048::from_u64(0x0102_0304);
    let octets = to_octets(&value);
    assert_eq!((octets.len(), &octets[252..]), (256, &[1, 2, 3, 4][..]));
    assert_eq!(from_octets(&octets), value);
}
