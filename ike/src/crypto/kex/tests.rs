use super::*;

/// Both sides of every row agree, on values of the promised lengths, and disagree with a third.
#[test]
fn both_sides_agree() {
    let mut rng = rand::rng();
    for row in KEX {
        let offer = row.offer(&mut rng).unwrap();
        assert_eq!(offer.public().len(), row.offer_len, "{row:?}");
        let (answer, shared) = row.answer(&mut rng, offer.public()).unwrap();
        assert_eq!(answer.len(), row.answer_len, "{row:?}");
        assert!(offer.complete(&answer).unwrap() == shared, "{row:?}");

        let other = row.offer(&mut rng).unwrap();
        assert!(other.complete(&answer).unwrap() != shared, "{row:?}");
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let mut rng = rand::rng();
    for row in KEX {
        for len in [0, 1, row.offer_len - 1, row.offer_len + 1] {
            assert_eq!(row.answer(&mut rng, &vec![9; len]).err(), Some(KexError::Length), "{row:?}");
            let offer = row.offer(&mut rng).unwrap();
            assert_eq!(offer.complete(&vec![9; len]).err(), Some(KexError::Length), "{row:?}");
        }
    }
}

/// RFC 6989 §2: points off the curve, 0, 1, p-1, p and values above.
#[test]
fn invalid_public_values_are_refused() {
    let mut rng = rand::rng();
    for row in KEX {
        let mut one = vec![0; row.offer_len];
        *one.last_mut().unwrap() = 1;
        for public in [vec![0; row.offer_len], one, vec![0xff; row.offer_len]] {
            // Every other string is a coordinate to x25519; its small orders are tested beside it.
            if row.id == 31 && public.iter().any(|octet| *octet != 0) {
                continue;
            }
            assert_eq!(row.answer(&mut rng, &public).err(), Some(KexError::Invalid), "{row:?}");
            assert_eq!(row.offer(&mut rng).unwrap().complete(&public).err(), Some(KexError::Invalid), "{row:?}");
        }
    }
}

#[test]
fn ids_and_names_are_unique() {
    for (i, row) in KEX.iter().enumerate() {
        assert!(KEX[..i].iter().all(|other| other.id != row.id && other.keyword != row.keyword));
        assert_eq!(Kex::by_id(row.id), Some(row));
    }
}
