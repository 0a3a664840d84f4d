use proptest::prelude::*;

use super::*;
use crate::message::numbers::EncrId;

fn ike(text: &str) -> Vec<Proposal> {
    Proposal::parse(Protocol::Ike, text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn esp(text: &str) -> Vec<Proposal> {
    Proposal::parse(Protocol::Esp, text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn text_reads_and_writes_as_strongswan_has_it() {
    for text in
        ["aes256gcm16-prfsha384-x25519", "aes128-prfsha256-sha256-ecp256", "chacha20poly1305-prfsha512-modp2048"]
    {
        assert_eq!(list(&ike(text)), text);
    }
    assert_eq!(list(&ike("aes128-sha256-ecp256")), "aes128-prfsha256-sha256-ecp256");
    assert_eq!(list(&ike("aes256gcm128-sha2_384-curve25519")), "aes256gcm16-prfsha384-x25519");
    assert_eq!(list(&esp("aes256gcm16")), "aes256gcm16-noesn");
    assert_eq!(list(&esp("aes256gcm16-esn-noesn")), "aes256gcm16-esn-noesn");
    assert_eq!(list(&esp("aes256-sha512-x25519")), "aes256-sha512-x25519-noesn");
}

/// RFC 7296 §3.3, RFC 5282 §8.
#[test]
fn aead_and_separate_integrity_become_two_proposals() {
    let proposals = ike("aes256gcm16-aes256-sha256-prfsha256-x25519");
    assert_eq!(list(&proposals), "aes256gcm16-prfsha256-x25519, aes256-prfsha256-sha256-x25519");
    assert_eq!(list(&esp("aes128-sha256-aes128gcm16")), "aes128-sha256-noesn, aes128gcm16-noesn");
}

#[test]
fn illegal_proposals_say_what_is_missing() {
    let error = |protocol, text| Proposal::parse(protocol, text).unwrap_err();
    assert_eq!(error(Protocol::Ike, "aes256gcm16-x25519"), ProposalError::NoPrf);
    assert_eq!(error(Protocol::Ike, "aes256gcm16-prfsha256"), ProposalError::NoGroup);
    assert_eq!(error(Protocol::Ike, "aes256-prfsha256-x25519"), ProposalError::NoIntegrity("aes256"));
    assert_eq!(error(Protocol::Ike, "sha256-x25519"), ProposalError::NoCipher);
    assert_eq!(error(Protocol::Ike, "aes256gcm16-prfsha256-x25519-esn"), ProposalError::Misplaced("esn".into()));
    assert_eq!(error(Protocol::Esp, "aes256gcm16-prfsha256"), ProposalError::Misplaced("prfsha256".into()));
    assert_eq!(error(Protocol::Esp, "3des-sha256"), ProposalError::Weak("3des".into()));
    assert_eq!(error(Protocol::Esp, "aes256gcm16-"), ProposalError::UnknownWord(String::new()));
    assert!(error(Protocol::Esp, "rot13").to_string().contains("chacha20poly1305"));
}

#[test]
fn defaults_are_legal_and_understand_each_other() {
    for protocol in [Protocol::Ike, Protocol::Esp] {
        let defaults = Proposal::defaults(protocol);
        assert_eq!(defaults.len(), 2);
        assert_eq!(Proposal::parse(protocol, "default").unwrap(), defaults);
    }
    let defaults = Proposal::defaults(Protocol::Ike);
    let chosen = select::<IkeSuite>(&defaults, &defaults).unwrap();
    assert_eq!(chosen.suite.to_string(), "aes256gcm16-prfsha384-x25519");
    let defaults = Proposal::defaults(Protocol::Esp);
    assert_eq!(select::<EspSuite>(&defaults, &defaults).unwrap().suite.to_string(), "aes256gcm16-esn");
}

#[test]
fn the_responders_order_decides() {
    let offered = ike("aes128gcm16-aes256gcm16-prfsha256-prfsha512-modp2048-x25519");
    let ours = ike("aes256gcm16-aes128gcm16-prfsha512-prfsha256-x25519-modp2048");
    let chosen = select::<IkeSuite>(&offered, &ours).unwrap();
    assert_eq!((chosen.index, chosen.suite.to_string().as_str()), (0, "aes256gcm16-prfsha512-x25519"));
    assert_eq!(accept::<IkeSuite>(&offered[0], &chosen.answer).unwrap(), chosen.suite);

    // The first of our proposals that fits any offered one wins, even against a better fit further down.
    let ours = [ike("aes256-sha256-x25519"), ike("aes256gcm16-prfsha256-x25519")].concat();
    let offered = [ike("aes256gcm16-prfsha256-x25519"), ike("aes256-sha256-x25519")].concat();
    assert_eq!(select::<IkeSuite>(&offered, &ours).unwrap().index, 1);
}

#[test]
fn a_failure_names_the_nearest_miss() {
    let failure = select::<IkeSuite>(
        &[ike("aes128-sha256-modp2048"), ike("aes256gcm16-prfsha384-ecp256-modp2048")].concat(),
        &ike("aes256gcm16-prfsha384-x25519"),
    )
    .unwrap_err();
    assert_eq!(failure.difference, "key exchange: offered ecp256-modp2048, wanted x25519");
    assert_eq!(failure.wanted, "aes256gcm16-prfsha384-x25519");
    assert!(failure.offered.starts_with("aes128-prfsha256-sha256-modp2048, aes256gcm16"));

    let triple_des = Transform::new(TransformType::ENCR, EncrId::TRIPLE_DES.0);
    let offered = Proposal { protocol: Protocol::Esp, transforms: vec![triple_des] };
    let failure = select::<EspSuite>(&[offered], &esp("aes256gcm16")).unwrap_err();
    assert_eq!(failure.difference, "cipher: offered 3DES, wanted aes256gcm16");
    assert!(select::<EspSuite>(&[], &esp("aes256gcm16")).is_err());
}

#[test]
fn what_is_told_of_a_huge_offer_is_bounded() {
    let offered = vec![esp("aes256gcm16").remove(0); 100];
    assert!(list(&offered).ends_with(", aes256gcm16-noesn, and 92 more"));
    assert!(!list(&offered[..8]).contains("more"));
}

/// RFC 7296 §3.3.6, RFC 5282 §8, RFC 9370 §2.2.1: what we do not use may be there only as NONE, and is echoed so.
#[test]
fn unused_types_must_be_offered_as_none() {
    let with = |kind, id| {
        let mut offered = ike("aes256gcm16-prfsha384-x25519").remove(0);
        offered.transforms.push(Transform::new(kind, id));
        [offered]
    };
    let ours = ike("aes256gcm16-prfsha384-x25519");
    for kind in [TransformType::INTEG, TransformType::ADDKE1] {
        let offered = with(kind, 0);
        let chosen = select::<IkeSuite>(&offered, &ours).unwrap();
        assert!(chosen.answer.transforms().contains(&Transform::new(kind, 0)));
        assert_eq!(accept::<IkeSuite>(&offered[0], &chosen.answer).unwrap(), chosen.suite);
        assert!(select::<IkeSuite>(&with(kind, 12), &ours).is_err());
    }
    assert!(select::<IkeSuite>(&with(TransformType(99), 7), &ours).is_err());
}

/// Perfect forward secrecy: wanted by us and not offered is a failure, and the other way round.
#[test]
fn a_childs_own_key_exchange_must_be_agreed() {
    assert!(select::<EspSuite>(&esp("aes256gcm16"), &esp("aes256gcm16-x25519")).is_err());
    assert!(select::<EspSuite>(&esp("aes256gcm16-x25519"), &esp("aes256gcm16")).is_err());
    let chosen = select::<EspSuite>(&esp("aes256gcm16-x25519"), &esp("aes256gcm16-ecp256-x25519")).unwrap();
    assert_eq!(chosen.suite.kex.map(|kex| kex.id), Some(31));
    // In IKE_AUTH there is none, whatever is configured.
    let without: Vec<_> = esp("aes256gcm16-x25519").iter().map(Proposal::without_groups).collect();
    assert_eq!(select::<EspSuite>(&esp("aes256gcm16"), &without).unwrap().suite.kex, None);
}

/// RFC 7296 §2.7: one transform of each type, none that was not offered.
#[test]
fn an_initiator_refuses_what_it_did_not_offer() {
    let offered = ike("aes256gcm16-aes128gcm16-prfsha384-x25519-ecp256").remove(0);
    for bad in [
        "aes256gcm16-prfsha384-modp2048",
        "aes256gcm16-prfsha256-x25519",
        "aes256gcm16-aes128gcm16-prfsha384-x25519",
        "aes256-sha256-prfsha384-x25519",
    ] {
        assert!(accept::<IkeSuite>(&offered, &ike(bad)[0]).is_err(), "{bad}");
    }
    assert!(accept::<IkeSuite>(&offered, &ike("aes128gcm16-prfsha384-ecp256")[0]).is_ok());
    let short = Proposal { protocol: Protocol::Ike, transforms: offered.of(TransformType::ENCR).take(1).collect() };
    assert!(accept::<IkeSuite>(&offered, &short).is_err());
}

#[test]
fn invalid_ke_payload_is_followed_once_and_only_to_what_was_offered() {
    let ours = ike("aes256gcm16-prfsha384-x25519-ecp256");
    assert_eq!(first_group(&ours).map(|group| group.id), Some(31));
    assert_eq!(retry_group(&ours, &[31], 19).map(|group| group.id), Some(19));
    assert_eq!(retry_group(&ours, &[31], 14), None);
    assert_eq!(retry_group(&ours, &[31, 19], 31), None);
}

#[test]
fn wire_round_trip_leaves_out_unknown_attributes() {
    let proposal = ike("aes256gcm16-prfsha384-x25519").remove(0);
    let mut wire = proposal.to_wire(1, WireSpi::None);
    assert_eq!(Proposal::from_wire(&wire), Some(proposal.clone()));
    let mut odd = wire.transforms[0].clone();
    odd.attributes.push(sa::Attribute::Short(AttributeType(77), 1));
    wire.transforms.push(odd);
    assert_eq!(Proposal::from_wire(&wire), Some(proposal));
    wire.protocol = ProtocolId::AH;
    assert_eq!(Proposal::from_wire(&wire), None);
}

fn words() -> impl Strategy<Value = Vec<&'static str>> {
    let all: Vec<_> = registry::transforms().map(|(word, _)| word).collect();
    proptest::collection::vec(proptest::sample::select(all), 1..12)
}

proptest! {
    /// Whatever is legal reads back as itself, selects itself, and a selection is always acceptable to the offerer.
    #[test]
    fn laws(a in words(), b in words(), ike in any::<bool>()) {
        let protocol = if ike { Protocol::Ike } else { Protocol::Esp };
        let (Ok(a), Ok(b)) = (Proposal::parse(protocol, &a.join("-")), Proposal::parse(protocol, &b.join("-"))) else {
            return Ok(());
        };
        for proposal in a.iter().chain(&b) {
            prop_assert_eq!(&Proposal::parse(protocol, &proposal.to_string()).unwrap()[..], std::slice::from_ref(proposal));
            let wire = proposal.to_wire(1, WireSpi::None);
            prop_assert_eq!(Proposal::from_wire(&wire), Some(proposal.clone()));
        }
        match protocol {
            Protocol::Ike => selection::<IkeSuite>(&a, &b)?,
            Protocol::Esp => selection::<EspSuite>(&a, &b)?,
        }
    }
}

fn selection<S: Suite + PartialEq + std::fmt::Debug>(a: &[Proposal], b: &[Proposal]) -> Result<(), TestCaseError> {
    prop_assert!(select::<S>(a, a).is_ok());
    if let Ok(chosen) = select::<S>(a, b) {
        prop_assert_eq!(accept::<S>(&a[chosen.index], &chosen.answer).unwrap(), chosen.suite);
        prop_assert!(select::<S>(b, a).is_ok());
    }
    Ok(())
}
