//! Certificates of all key types, both roles, with fragmentation.

use cygnet_ike::auth::{Authorities, Credential};
use cygnet_ike::testing::scenario::NAMES;
use cygnet_ike::testing::{Faults, Side};
use cygnet_ike::{Config, FailureCause};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd,
};

use super::*;

pub(super) type Ca = CertifiedIssuer<'static, KeyPair>;

pub(super) fn authority(name: &str) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()).unwrap()
}

pub(super) fn trusting(ca: &Ca) -> Authorities {
    Authorities::new(ca.pem().as_bytes()).unwrap()
}

/// A certificate for `name`, bent.
pub(super) fn credential(ca: &Ca, name: &str, key: &KeyPair, bend: impl Fn(&mut CertificateParams)) -> Credential {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    bend(&mut params);
    let certificate = params.signed_by(key, ca).unwrap();
    Credential::new(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

fn rsa() -> KeyPair {
    KeyPair::from_pem(include_str!("../../testdata/rsa2048.pk8.pem")).unwrap()
}

pub(super) fn p256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

pub(super) fn side(side: Side, credential: Credential, authorities: Authorities) -> Config {
    Scenario::certificate(side, credential, authorities).build()
}

#[test]
fn every_key_type_in_both_roles() {
    let ca = authority("CA");
    let keys = [
        p256(),
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        rsa(),
    ];
    for (seed, (a, b)) in (0..).zip(keys.iter().zip(keys.iter().cycle().skip(1))) {
        for initiator in [Side::A, Side::B] {
            let of = |name, key| credential(&ca, name, key, |_| {});
            let a = side(Side::A, of(NAMES[0], a), trusting(&ca));
            let b = side(Side::B, of(NAMES[1], b), trusting(&ca));
            let mut pair = Pair::new(seed, a, b);
            initiate(&mut pair, initiator);
            assert_up(&mut pair);
        }
    }
}

#[test]
fn fragments_survive_a_rough_network() {
    let ca = authority("CA");
    for seed in 0..50 {
        let scenario = |side, name: &str| {
            let credential = credential(&ca, name, &p256(), |_| {});
            let scenario = Scenario::certificate(side, credential, trusting(&ca));
            scenario.with(|s| s.connection.fragment_size = Some(300)).build()
        };
        let mut pair = Pair::new(seed, scenario(Side::A, NAMES[0]), scenario(Side::B, NAMES[1]));
        pair.link.faults = Faults::ROUGH;
        initiate(&mut pair, Side::A);
        pair.link.faults = Faults::NONE;
        pair.run();
        assert!(pair.a.sent.iter().all(|datagram| datagram.len() <= 300 || datagram[18] == 34), "seed {seed}");
        if pair.a.children().len() == 1 {
            assert_up(&mut pair);
        } else {
            // So much loss that it was given up.
            initiate(&mut pair, Side::A);
            assert!(pair.is_open(NET), "seed {seed}");
        }
    }
}

/// A refuses B's certificate, whoever initiates.
#[track_caller]
fn refused(b: impl Fn(&Ca) -> Credential) {
    let ca = authority("CA");
    for initiator in [Side::A, Side::B] {
        let a = side(Side::A, credential(&ca, NAMES[0], &p256(), |_| {}), trusting(&ca));
        let mut pair = Pair::new(1, a, side(Side::B, b(&ca), trusting(&ca)));
        initiate(&mut pair, initiator);
        pair.run_for(60 * SECOND);
        assert_eq!(failures(&pair.a)[0].cause, FailureCause::Certificate, "{:#?}", pair.a.events);
        assert_eq!(failures(&pair.b)[0].cause, FailureCause::Authentication, "{:#?}", pair.b.events);
        assert_eq!((pair.a.installed(), pair.b.installed()), ((0, 0), (0, 0)));
        assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (0, 0));
    }
}

#[test]
fn an_unknown_authority_is_refused() {
    refused(|_| credential(&authority("Other CA"), NAMES[1], &p256(), |_| {}));
}

#[test]
fn an_expired_certificate_is_refused() {
    refused(|ca| {
        credential(ca, NAMES[1], &p256(), |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    });
}

#[test]
fn a_certificate_for_somebody_else_is_refused() {
    refused(|ca| credential(ca, "mallory.example", &p256(), |_| {}));
}

#[test]
fn a_certificate_does_not_pass_for_a_secret() {
    let ca = authority("CA");
    let a = side(Side::A, credential(&ca, NAMES[0], &p256(), |_| {}), trusting(&ca));
    let mut pair = Pair::new(1, a, Scenario::psk(Side::B).build());
    initiate(&mut pair, Side::A);
    pair.run_for(60 * SECOND);
    assert_eq!(failures(&pair.a)[0].cause, FailureCause::Authentication);
    assert_eq!(failures(&pair.b)[0].cause, FailureCause::Authentication);
}
