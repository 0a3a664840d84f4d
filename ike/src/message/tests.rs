//! Laws of the codec: what is written reads the same, whatever else is read gives a value or an error.

use proptest::prelude::*;

use super::*;

mod generate;
mod recorded;

fn header() -> Header {
    Header::new(IkeSpi(0xa1), IkeSpi(0xb2), ExchangeType::INFORMATIONAL, Flags::request(true), MessageId(7))
}

fn encode(payloads: &[Payload<'_>]) -> Vec<u8> {
    let mut builder = MessageBuilder::new(header());
    for payload in payloads {
        builder.push(payload);
    }
    builder.encode()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn decode_after_encode_is_identity(payloads in generate::payloads(6)) {
        let payloads: Vec<Payload<'_>> = payloads.iter().map(generate::Owned::borrow).collect();
        let datagram = encode(&payloads);
        let message = Message::decode(&datagram).unwrap();
        prop_assert_eq!(message.payloads.iter().cloned().collect::<Vec<_>>(), payloads.clone());
        // And the other way round: what was read is written as the same octets.
        prop_assert_eq!(encode(&payloads), datagram);
    }

    #[test]
    fn every_truncation_is_an_error(payloads in generate::payloads(3)) {
        let payloads: Vec<Payload<'_>> = payloads.iter().map(generate::Owned::borrow).collect();
        let datagram = encode(&payloads);
        for len in 0..datagram.len() {
            let cut = &datagram[..len];
            prop_assert!(Message::decode(cut).is_err());
            // Even when the header agrees with the cut.
            if len > Header::LEN {
                let mut cut = cut.to_vec();
                cut[24..28].copy_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
                prop_assert!(Message::decode(&cut).is_err());
            }
        }
    }

    #[test]
    fn every_bit_flip_is_survived(payloads in generate::payloads(2)) {
        let payloads: Vec<Payload<'_>> = payloads.iter().map(generate::Owned::borrow).collect();
        let mut datagram = encode(&payloads);
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            fuzz::clear(&datagram);
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn any_octets_are_survived(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::message(&octets);
    }
}

#[test]
fn payloads_are_found_in_any_order() {
    let (nonce, notify) = ([7; 16], Payload::notify(NotifyType::COOKIE, &[1]));
    let forth = [Payload::Nonce(payload::Nonce(&nonce)), notify.clone()];
    let back = [notify, Payload::Nonce(payload::Nonce(&nonce))];
    for payloads in [forth, back] {
        let datagram = encode(&payloads);
        let chain = Message::decode(&datagram).unwrap().payloads;
        assert_eq!(chain.nonce().unwrap().0, nonce);
        assert_eq!(chain.notify(NotifyType::COOKIE).unwrap().data, [1]);
        assert!(!chain.has_notify(NotifyType::COOKIE2) && chain.error().is_none());
    }
}

#[test]
fn missing_and_repeated_payloads() {
    let nonce = Payload::Nonce(payload::Nonce(&[7; 16]));
    let datagram = encode(&[nonce.clone(), nonce]);
    let message = Message::decode(&datagram).unwrap();
    let chain = &message.payloads;
    assert_eq!(chain.nonce(), Err(DecodeError::Repeated(PayloadType::NONCE)));
    assert_eq!(chain.nonce_opt(), Err(DecodeError::Repeated(PayloadType::NONCE)));
    assert_eq!(chain.sa(), Err(DecodeError::Missing(PayloadType::SA)));
    assert_eq!(chain.sa_opt(), Ok(None));
}

/// RFC 7296 §2.5: unknown payloads are skipped, unless critical; the bit means nothing on known ones.
#[test]
fn the_critical_bit() {
    let unknown = |critical| Payload::Unknown { kind: PayloadType(200), critical, body: &[1, 2, 3] };
    let vendor = Payload::VendorId(payload::VendorId(b"x"));
    let datagram = encode(&[unknown(false), vendor.clone()]);
    assert_eq!(Message::decode(&datagram).unwrap().payloads.vendor_ids().count(), 1);

    let datagram = encode(&[vendor.clone(), unknown(true)]);
    let error = Message::decode(&datagram).unwrap_err();
    assert_eq!(error, DecodeError::UnsupportedCriticalPayload(PayloadType(200)));
    assert_eq!((error.notify(), error.notify_data()), (NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![200]));

    let mut datagram = encode(&[vendor]);
    datagram[Header::LEN + 1] = 0xff;
    assert!(Message::decode(&datagram).is_ok(), "a known payload with critical and reserved bits");
}

#[test]
fn an_unknown_critical_payload_wins_over_bad_syntax_elsewhere() {
    let short_nonce = Payload::Nonce(payload::Nonce(&[7]));
    let unknown = Payload::Unknown { kind: PayloadType(54), critical: true, body: &[] };
    let datagram = encode(&[short_nonce.clone(), unknown]);
    let error = DecodeError::UnsupportedCriticalPayload(PayloadType::PS);
    assert_eq!(Message::decode(&datagram), Err(error));
    let datagram = encode(&[short_nonce]);
    let error = Message::decode(&datagram).unwrap_err();
    assert_eq!((error, error.notify()), (DecodeError::NonceLength, NotifyType::INVALID_SYNTAX));
}

#[test]
fn other_major_versions() {
    let mut datagram = encode(&[]);
    assert!(Message::decode(&datagram).is_ok());
    datagram[17] = 0x2f;
    assert!(Message::decode(&datagram).is_ok(), "the minor version is ignored");
    datagram[17] = 0x30;
    let error = Message::decode(&datagram).unwrap_err();
    assert_eq!((error, error.notify()), (DecodeError::InvalidMajorVersion(3), NotifyType::INVALID_MAJOR_VERSION));
    assert_eq!(Header::peek(&datagram).unwrap().message_id, MessageId(7), "enough for an answer");
}

#[test]
fn counts_are_bounded() {
    let vendor = Payload::VendorId(payload::VendorId(b""));
    assert!(Message::decode(&encode(&vec![vendor.clone(); 128])).is_ok());
    assert_eq!(Message::decode(&encode(&vec![vendor; 129])), Err(DecodeError::TooMany("payloads")));

    let cert = Payload::Cert(payload::Cert { encoding: CertEncoding::X509_SIGNATURE, data: &[] });
    assert!(Message::decode(&encode(&vec![cert.clone(); 16])).is_ok());
    assert_eq!(Message::decode(&encode(&vec![cert; 17])), Err(DecodeError::TooMany("certificates")));

    let request = payload::CertReq { encoding: CertEncoding::X509_SIGNATURE, authorities: &[] };
    let requests = vec![Payload::CertReq(request); 33];
    assert_eq!(Message::decode(&encode(&requests)), Err(DecodeError::TooMany("certificate requests")));
}

#[test]
fn a_chain_must_fill_its_message_and_be_in_the_clear() {
    let mut datagram = encode(&[Payload::VendorId(payload::VendorId(b"abc"))]);
    datagram.push(0);
    assert_eq!(Message::decode(&datagram), Err(DecodeError::MessageLength));
    let len = u8::try_from(datagram.len()).unwrap();
    datagram[27] = len;
    assert_eq!(Message::decode(&datagram), Err(DecodeError::TrailingOctets));

    let protected = Payload::Unknown { kind: PayloadType::SK, critical: false, body: &[0; 32] };
    assert_eq!(Message::decode(&encode(&[protected])), Err(DecodeError::NotProtected));
}

#[test]
fn names_as_the_registries_write_them() {
    assert_eq!(NotifyType::NO_PROPOSAL_CHOSEN.to_string(), "NO_PROPOSAL_CHOSEN");
    assert_eq!(NotifyType(40_000).to_string(), "40000");
    assert!(NotifyType::CHILD_SA_NOT_FOUND.is_error() && NotifyType(8_192).is_error());
    assert!(!NotifyType::INITIAL_CONTACT.is_error());
    assert_eq!(format!("{:>5}", PayloadType::TS_I), "  TSi");
    assert_eq!(PrfId::HMAC_SHA2_256.to_string(), "PRF_HMAC_SHA2_256");
    assert_eq!(EncrId::AES_GCM_16.short(), Some("AES_GCM_16"));
    assert_eq!(IntegId::HMAC_SHA2_256_128.short(), Some("HMAC_SHA2_256_128"));
    assert_eq!(
        (KeId::CURVE_25519.to_string().as_str(), KeId::CURVE_25519.short()),
        ("Curve25519", Some("CURVE_25519"))
    );
    assert_eq!(KeId(99).short(), None);
    assert!(KeId::KNOWN.iter().all(|id| id.short().is_some()));
    assert_eq!(TransformType::ADDKE.map(|kind| kind.0), [6, 7, 8, 9, 10, 11, 12]);
}
