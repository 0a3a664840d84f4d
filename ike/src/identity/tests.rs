use proptest::prelude::*;

use super::*;

fn id(s: &str) -> Identity {
    s.parse().unwrap_or_else(|e| panic!("{s}: {e}"))
}

#[test]
fn kinds_are_told_apart_as_strongswan_does() {
    assert_eq!(id("192.0.2.1"), Identity::Ip("192.0.2.1".parse().unwrap()));
    assert_eq!(id("2001:db8::1"), Identity::Ip("2001:db8::1".parse().unwrap()));
    assert_eq!(id("gw.example"), Identity::Fqdn("gw.example".into()));
    assert_eq!(id("@gw.example"), Identity::Fqdn("GW.example".into()));
    assert_eq!(id("carol@example.org"), Identity::Email("carol@example.org".into()));
    assert_eq!(id("@@carol"), Identity::Email("carol".into()));
    assert_eq!(id("@#0a:FF"), Identity::KeyId(vec![0x0a, 0xff]));
    assert_eq!(id("keyid:moon"), Identity::KeyId(b"moon".to_vec()));
    assert_eq!(id("keyid:0x6d"), Identity::KeyId(b"m".to_vec()));
    assert!(matches!(id("C=CH, O=strongSwan, CN=moon"), Identity::Dn(_)));
    assert_ne!(id("fqdn:192.0.2.1"), id("192.0.2.1"));
}

#[test]
fn nonsense_is_refused() {
    for s in ["", "@", "@#", "@#abc", "@#zz", "fe80::x", "a b", "CN=", "XX=y", "C=CH,,CN=x", "keyid:"] {
        assert!(s.parse::<Identity>().is_err(), "{s}");
    }
    assert_eq!("XX=y".parse::<Identity>(), Err(IdentityError::UnknownAttribute("XX".into())));
    assert!(Identity::from_wire(IdType::FQDN, b"a\nb").is_err());
    assert!(Identity::from_wire(IdType::IPV4_ADDR, &[1, 2, 3]).is_err());
    assert!(Identity::from_wire(IdType::DER_ASN1_DN, &[0x30, 0]).is_err());
    assert_eq!(Identity::from_wire(IdType::FC_NAME, b"x"), Err(IdentityError::UnknownType(IdType::FC_NAME)));
}

#[test]
fn dn_der_is_what_openssl_writes() {
    // `openssl req -subj /C=CH/O=strongSwan/CN=moon`, PrintableString throughout.
    let der = [
        0x30, 0x31, 0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02, b'C', b'H', 0x31, 0x13, 0x30,
        0x11, 0x06, 0x03, 0x55, 0x04, 0x0a, 0x13, 0x0a, b's', b't', b'r', b'o', b'n', b'g', b'S', b'w', b'a', b'n',
        0x31, 0x0d, 0x30, 0x0b, 0x06, 0x03, 0x55, 0x04, 0x03, 0x13, 0x04, b'm', b'o', b'o', b'n',
    ];
    let dn: Dn = "C=CH, O=strongSwan, CN=moon".parse().unwrap();
    assert_eq!(dn.der(), der);
    assert_eq!(dn, "/C=CH/O=strongSwan/CN=moon".parse().unwrap());
    assert_eq!(dn.to_string(), "C=CH, O=strongSwan, CN=moon");

    // Another string type, another case: the same name. Another order: another name.
    let mut utf8 = der;
    utf8[der.len() - 6] = 0x0c;
    assert_eq!(Dn::from_der(&utf8).unwrap(), dn);
    assert_eq!("c=ch,o=STRONGSWAN,cn= moon".parse::<Dn>().unwrap(), dn);
    assert_ne!("O=strongSwan, C=CH, CN=moon".parse::<Dn>().unwrap(), dn);
    assert_ne!("C=CH, O=strongSwan".parse::<Dn>().unwrap(), dn);
}

#[test]
fn dn_escapes_and_odd_attributes() {
    for s in
        ["O=Foo\\, Inc., CN=a\\+b + SN=7", "CN=x\\ ", "1.3.6.1.4.1.311.60.2.1.3=US", "CN=Zürich", "E=a@b.c, DC=org"]
    {
        let dn: Dn = s.parse().unwrap();
        assert_eq!(dn, dn.to_string().parse().unwrap(), "{s} -> {dn}");
    }
    assert_eq!("CN=Zürich, emailAddress=a@b.c".parse::<Dn>().unwrap().to_string(), "CN=Zürich, E=a@b.c");
}

#[test]
fn patterns() {
    assert!("%any".parse::<IdPattern>().unwrap().matches(&id("x")));
    let exact: IdPattern = "gw.example".parse().unwrap();
    assert!(exact.matches(&id("GW.EXAMPLE")) && !exact.matches(&id("gw.example.org")));
}

fn identities() -> impl Strategy<Value = Identity> {
    prop_oneof![
        any::<IpAddr>().prop_map(Identity::Ip),
        "[!-~]{1,20}".prop_map(Identity::Fqdn),
        "[!-~]{1,20}".prop_map(Identity::Email),
        proptest::collection::vec(any::<u8>(), 1..20).prop_map(Identity::KeyId),
        ("[ -~]{1,20}", "[ -~]{1,20}").prop_filter_map("blank", |(o, cn)| {
            let escape = |s: &str| s.chars().flat_map(|c| ['\\', c]).collect::<String>();
            format!("O={},CN={}", escape(&o), escape(&cn)).parse().ok().map(Identity::Dn)
        }),
    ]
}

proptest! {
    #[test]
    fn text_and_wire_round_trip(identity in identities()) {
        prop_assert_eq!(&identity.to_string().parse::<Identity>().unwrap(), &identity);
        prop_assert_eq!(&Identity::from_wire(identity.id_type(), &identity.data()).unwrap(), &identity);
    }

    #[test]
    fn arbitrary_text_never_panics(s in any::<String>()) {
        let _ = s.parse::<Identity>();
    }

    #[test]
    fn arbitrary_data_never_panics(kind in 0u8..13, data in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(identity) = Identity::from_wire(IdType(kind), &data) {
            let _ = identity.to_string();
        }
    }
}
