//! Known answers of NIST SP 800-135 for every PRF; the sources are named in the file.

use std::collections::HashMap;

use super::*;
use crate::crypto::prf::PRF;
use crate::crypto::testing::hex;

/// The fields of one case.
struct Case(HashMap<&'static str, &'static str>);

impl Case {
    fn octets(&self, field: &str) -> Option<Vec<u8>> {
        self.0.get(field).map(|value| hex(value))
    }

    fn spi(&self, field: &str) -> IkeSpi {
        IkeSpi(u64::from_be_bytes(self.octets(field).unwrap().try_into().unwrap()))
    }

    fn shared(&self, field: &str) -> Secret {
        Secret::new(self.octets(field).unwrap())
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for line in include_str!("../../../testdata/ikev2_kdf.txt").lines() {
        let Some((field, value)) = line.split_once(" = ") else { continue };
        if field == "prf" {
            cases.push(Case(HashMap::new()));
        }
        cases.last_mut().unwrap().0.insert(field, value);
    }
    cases
}

fn concat(keys: &[&Secret]) -> Vec<u8> {
    keys.iter().flat_map(|key| key.expose().to_vec()).collect()
}

#[test]
fn sp800_135_ikev2() {
    let cases = cases();
    assert_eq!(cases.len(), PRF.len());
    for case in cases {
        let prf = PRF.iter().find(|row| row.keyword == case.0["prf"]).unwrap();
        let (ni, nr) = (case.octets("ni").unwrap(), case.octets("nr").unwrap());
        let nonces = Nonces { ni: &ni, nr: &nr };
        let seed = SkeySeed::initial(prf, case.shared("gir"), nonces);
        assert_eq!(seed.seed.expose(), case.octets("skeyseed").unwrap(), "{prf:?}");

        // The cases derive as much as their SA would need; the cut into keys is ours.
        let dkm = case.octets("dkm").unwrap();
        let rest = dkm.len().saturating_sub(3 * prf.len) / 2;
        let lengths = KeyLengths { encr: rest / 2, integ: rest - rest / 2 };
        let keys = seed.expand(lengths, nonces, case.spi("spi_i"), case.spi("spi_r"));
        let all = concat(&[
            &keys.sk_d.key,
            &keys.sk_ai,
            &keys.sk_ar,
            &keys.sk_ei,
            &keys.sk_er,
            &keys.sk_pi.key,
            &keys.sk_pr.key,
        ]);
        assert_eq!(all[..dkm.len()], dkm, "{prf:?}");

        for (field, shared) in [("dkm_child", None), ("dkm_child_dh", Some("gir_new"))] {
            let Some(keymat) = case.octets(field) else { continue };
            let lengths = KeyLengths { encr: keymat.len() / 4, integ: keymat.len() / 4 };
            let child = keys.sk_d.child_keys(lengths, shared.map(|field| case.shared(field)), nonces);
            let (i, r) = (child.initiator, child.responder);
            assert_eq!(concat(&[&i.encr, &i.integ, &r.encr, &r.integ]), keymat, "{prf:?} {field}");
        }

        let rekeyed = SkeySeed::rekeyed(&keys.sk_d, prf, case.shared("gir_new"), nonces);
        assert_eq!(rekeyed.seed.expose(), case.octets("skeyseed_rekey").unwrap(), "{prf:?}");
    }
}

/// Cutting the material differently must not change what each key starts with, only where.
#[test]
fn aead_has_no_integrity_keys() {
    let encr = cygnet_esp::Encr::find(20, Some(256), None).unwrap();
    let nonces = Nonces { ni: &[1; 32], nr: &[2; 32] };
    let seed = SkeySeed::initial(&PRF[0], Secret::new(vec![3; 32]), nonces);
    let keys = seed.expand(encr.into(), nonces, IkeSpi(4), IkeSpi(5));
    assert_eq!((keys.sk_ei.expose().len(), keys.sk_ai.expose().len()), (36, 0));
    assert_ne!(keys.sk_ei, keys.sk_er);
    assert_eq!(keys.sk_pi.mac(b"id").expose().len(), 32);
}
