//! The published vector of RFC 7634, and laws over every row of the ENCR registry.

use cygnet_esp::{ENCR, Encr};

use super::super::*;
use super::*;

fn keyed(encr: &'static Encr) -> (Sealer, Opener) {
    let (encryption, integrity) = (vec![0x11; encr.encryption_len()], vec![0x22; encr.integ_key_len]);
    (Sealer::new(encr, &encryption, &integrity).unwrap(), Opener::new(encr, &encryption, &integrity).unwrap())
}

/// One AEAD, one cipher with a separate MAC.
fn two_rows() -> [&'static Encr; 2] {
    [Encr::find(20, Some(256), None).unwrap(), Encr::find(12, Some(256), Some(12)).unwrap()]
}

fn builder() -> MessageBuilder {
    let flags = Flags::request(true);
    MessageBuilder::new(Header::new(IkeSpi(0xa1), IkeSpi(0xb2), ExchangeType::IKE_AUTH, flags, MessageId(1)))
}

fn whole(received: Received<'_>) -> Opened<'_> {
    match received {
        Received::Whole(opened) => opened,
        Received::Fragment(fragment) => panic!("{fragment:?}"),
    }
}

fn fragment(received: Received<'_>) -> Fragment {
    match received {
        Received::Fragment(fragment) => fragment,
        Received::Whole(opened) => panic!("{opened:?}"),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// RFC 7634 appendix B: an INFORMATIONAL message with SET_WINDOW_SIZE.
#[test]
fn rfc_7634_appendix_b() {
    let encr = Encr::find(28, None, None).unwrap();
    let key: Vec<u8> = (0x80..0xa4).collect();
    let mut datagram = hex("c0c1c2c3c4c5c6c7 d0d1d2d3d4d5d6d7 2e202500 00000009 00000045 29000029 1011121314151617
         6103 9470 1f8d 017f 7c12 9248 89 6b71 bfe2 5236 efd7 cdc6 7066 9063 15b2");
    let opener = Opener::new(encr, &key, &[]).unwrap();
    let opened = whole(opener.open(&mut datagram).unwrap());
    assert_eq!(opened.header().exchange, ExchangeType::INFORMATIONAL);
    assert_eq!(opened.header().message_id, MessageId(9));
    assert_eq!(opened.first(), PayloadType::NOTIFY);
    assert_eq!(opened.content(), hex("0000000c 00004001 0000000a"));
    assert_eq!(opened.payloads().notify(NotifyType::SET_WINDOW_SIZE).unwrap().data, [0, 0, 0, 10]);
}

#[test]
fn what_is_sealed_opens_under_every_row_and_length() {
    for encr in ENCR {
        let (mut sealer, opener) = keyed(encr);
        for len in 0..40 {
            let data = vec![len; usize::from(len)];
            let mut message = builder();
            message.push(&Payload::VendorId(payload::VendorId(&data)));
            let mut datagram = sealer.seal(&message).unwrap();
            let header = Header::peek(&datagram).unwrap();
            assert_eq!((header.next_payload, header.check(datagram.len())), (PayloadType::SK, Ok(())));
            let opened = whole(opener.open(&mut datagram).unwrap());
            assert_eq!(opened.content(), message.content());
            assert_eq!(opened.payloads().vendor_ids().next().unwrap().0, data);
        }
        // A liveness check has no payload (RFC 7296 §2.4).
        assert!(whole(opener.open(&mut sealer.seal(&builder()).unwrap()).unwrap()).payloads().is_empty());
    }
}

#[test]
fn padding_is_minimal() {
    let [aead, cbc] = two_rows();
    let length = |encr: &'static Encr| keyed(encr).0.seal(&builder()).unwrap().len();
    assert_eq!(length(aead), 28 + 4 + 8 + 1 + 16);
    assert_eq!(length(cbc), 28 + 4 + 16 + 16 + 16);
}

#[test]
fn nothing_can_be_changed_or_cut() {
    for encr in two_rows() {
        let (mut sealer, opener) = keyed(encr);
        let mut message = builder();
        message.push(&Payload::VendorId(payload::VendorId(&[7; 60]))).notify(NotifyType::INITIAL_CONTACT, &[]);
        let mut datagrams = sealer.seal_fragmented(&message, 120).unwrap();
        assert_eq!(datagrams.len(), 2);
        datagrams.push(sealer.seal(&message).unwrap());
        for sealed in &datagrams {
            for bit in 0..sealed.len() * 8 {
                // Reserved bits and the minor version are ignored, yet covered like everything else.
                let mut forged = sealed.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                let error = opener.open(&mut forged).unwrap_err();
                assert!(!matches!(error, OpenError::Content(_)), "bit {bit}: {error}");
            }
            for len in 0..sealed.len() {
                let mut cut = sealed[..len].to_vec();
                assert!(matches!(opener.open(&mut cut), Err(OpenError::Envelope(_))));
            }
        }
    }
}

#[test]
fn another_key_does_not_open() {
    for encr in two_rows() {
        let (mut sealer, _) = keyed(encr);
        let other = Opener::new(encr, &vec![0x11; encr.encryption_len()], &vec![0x23; encr.integ_key_len]);
        let wrong_salt = Opener::new(encr, &vec![0x12; encr.encryption_len()], &vec![0x22; encr.integ_key_len]);
        let opener = if encr.is_aead() { wrong_salt } else { other };
        let error = opener.unwrap().open(&mut sealer.seal(&builder()).unwrap()).unwrap_err();
        assert_eq!(error, OpenError::Integrity);
    }
}

#[test]
fn no_iv_repeats_and_the_last_counter_is_the_end() {
    let [aead, _] = two_rows();
    let (mut sealer, _) = keyed(aead);
    let ivs: Vec<Vec<u8>> = (0..3).map(|_| sealer.seal(&builder()).unwrap()[32..40].to_vec()).collect();
    assert_eq!(ivs, [0_u64, 1, 2].map(|counter| counter.to_be_bytes().to_vec()));
    sealer.skip_to(u64::MAX);
    assert!(sealer.seal(&builder()).is_ok());
    assert_eq!(sealer.seal(&builder()), Err(SealError::Exhausted));
}

#[test]
fn large_messages_go_in_fragments() {
    for encr in two_rows() {
        let (mut sealer, opener) = keyed(encr);
        let certificate: Vec<u8> = (0..3_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut message = builder();
        message.push(&Payload::Cert(payload::Cert { encoding: CertEncoding::X509_SIGNATURE, data: &certificate }));
        message.notify(NotifyType::INITIAL_CONTACT, &[]);
        assert_eq!(sealer.seal_fragmented(&message, 4_000).unwrap().len(), 1, "it fits");

        let datagrams = sealer.seal_fragmented(&message, 1_000).unwrap();
        assert_eq!(datagrams.len(), 4);
        let fragments: Vec<Fragment> = datagrams
            .into_iter()
            .map(|mut datagram| {
                assert!(datagram.len() <= 1_000);
                assert_eq!(Header::peek(&datagram).unwrap().next_payload, PayloadType::SKF);
                fragment(opener.open(&mut datagram).unwrap())
            })
            .collect();
        assert_eq!(fragments.iter().map(Fragment::number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(fragments.iter().all(|fragment| fragment.total() == 4));

        let whole = Reassembled::new(&fragments).unwrap();
        let opened = whole.opened().unwrap();
        assert_eq!(opened.content(), message.content());
        assert_eq!(opened.payloads().certs().next().unwrap().data, certificate);

        let missing = [&fragments[0], &fragments[1], &fragments[3]];
        for wrong in [&missing[..], &missing[..2], &missing[1..], &[]] {
            assert_eq!(Reassembled::new(wrong.iter().copied()).unwrap_err(), DecodeError::FragmentNumber);
        }
    }
}

#[test]
fn fragments_of_different_messages_do_not_mix() {
    let [aead, _] = two_rows();
    let (mut sealer, opener) = keyed(aead);
    let mut parts = |id| {
        let header = Header { message_id: MessageId(id), ..*builder().header() };
        let mut message = MessageBuilder::new(header);
        message.push(&Payload::VendorId(payload::VendorId(&[7; 100])));
        let datagrams = sealer.seal_fragmented(&message, 120).unwrap();
        datagrams.into_iter().map(|mut d| fragment(opener.open(&mut d).unwrap())).collect::<Vec<_>>()
    };
    let (one, two) = (parts(1), parts(2));
    assert!(Reassembled::new(&one).is_ok());
    assert_eq!(Reassembled::new([&one[0], &two[1]]).unwrap_err(), DecodeError::FragmentNumber);
}

#[test]
fn limits_of_fragmentation() {
    let [aead, cbc] = two_rows();
    let mut message = builder();
    let data = vec![7; 40_000];
    message.push(&Payload::VendorId(payload::VendorId(&data)));
    for encr in [aead, cbc] {
        let (mut sealer, _) = keyed(encr);
        assert_eq!(sealer.seal_fragmented(&message, 60), Err(SealError::FragmentSize));
        assert_eq!(sealer.seal_fragmented(&message, 200), Err(SealError::TooLarge), "more than 128 fragments");
        assert!(sealer.seal_fragmented(&message, 576).is_ok());
    }
    message.push(&Payload::VendorId(payload::VendorId(&data)));
    assert_eq!(keyed(aead).0.seal(&message), Err(SealError::TooLarge));
    assert_eq!(keyed(aead).0.seal_fragmented(&message, 1_280), Err(SealError::TooLarge));
}

/// Seals `content`, whatever it is, as a peer with our keys could.
fn sealed_content(sealer: &mut Sealer, first: PayloadType, content: &[u8]) -> Vec<u8> {
    sealer.seal(&MessageBuilder::from_content(*builder().header(), first, content)).unwrap()
}

#[test]
fn authentic_nonsense_is_told_from_forgery() {
    for encr in two_rows() {
        let (mut sealer, opener) = keyed(encr);
        let mut open = |first, content: &[u8]| {
            let mut datagram = sealed_content(&mut sealer, first, content);
            opener.open(&mut datagram).map(drop).unwrap_err()
        };
        assert_eq!(open(PayloadType::NONCE, &[0, 0, 0, 5, 1]), OpenError::Content(DecodeError::NonceLength));
        assert_eq!(
            open(PayloadType(77), &[0, 0x80, 0, 4]),
            OpenError::Content(DecodeError::UnsupportedCriticalPayload(PayloadType(77)))
        );
        for envelope in [PayloadType::SK, PayloadType::SKF] {
            let error = DecodeError::Misplaced(envelope);
            assert_eq!(open(envelope, &[0, 0, 0, 4]), OpenError::Content(error), "an envelope in an envelope");
        }
    }
}

#[test]
fn padding_may_hold_anything_but_must_fit() {
    assert_eq!(open::without_padding(&[1, 2, 9, 9, 9, 3]), Ok(&[1, 2][..]));
    assert_eq!(open::without_padding(&[9, 9, 2]), Ok(&[][..]));
    assert_eq!(open::without_padding(&[9, 9, 3]), Err(DecodeError::Padding));
    assert_eq!(open::without_padding(&[]), Err(DecodeError::Padding));
}

#[test]
fn the_envelope_is_checked_before_the_key_is_used() {
    let [aead, _] = two_rows();
    let opener = keyed(aead).1;
    let open = |datagram: &[u8]| opener.open(&mut datagram.to_vec()).map(drop).unwrap_err();
    let with = |kind, body: &[u8]| {
        let mut message = builder();
        message.push(&Payload::Unknown { kind, critical: false, body });
        message.encode()
    };
    assert_eq!(open(&builder().encode()), OpenError::Envelope(DecodeError::NotProtected));
    assert_eq!(open(&with(PayloadType::SK, &[0; 23])), OpenError::Envelope(DecodeError::Truncated));
    assert_eq!(open(&with(PayloadType::SK, &[0; 25])), OpenError::Integrity);
    for (numbers, error) in [
        ([0, 0, 0, 1], DecodeError::FragmentNumber),
        ([0, 2, 0, 1], DecodeError::FragmentNumber),
        ([0, 1, 0, 129], DecodeError::TooMany("fragments")),
    ] {
        let body: Vec<u8> = numbers.into_iter().chain([0; 30]).collect();
        assert_eq!(open(&with(PayloadType::SKF, &body)), OpenError::Envelope(error));
    }
    // Something behind SK.
    let mut datagram = with(PayloadType::SK, &[0; 30]);
    datagram.extend([0, 0, 0, 4]);
    datagram[27] += 4;
    assert_eq!(open(&datagram), OpenError::Envelope(DecodeError::TrailingOctets));
}

/// Payloads in front of SK are covered by the integrity check, but nobody gets to see them; unknown critical ones
/// count all the same (RFC 7296 §2.5).
#[test]
fn payloads_in_front_of_the_envelope() {
    for encr in two_rows() {
        for critical in [false, true] {
            let mut w = Writer::new();
            let mut header = Header { next_payload: PayloadType(99), ..*builder().header() };
            header.length = u32::try_from(Header::LEN + 4 + 4 + encr.iv_len + 16 + encr.icv_len).unwrap();
            header.encode(&mut w);
            w.nested(&[PayloadType::SK.0, if critical { 0x80 } else { 0 }], |_| {});
            w.nested(&[PayloadType::NONE.0, 0], |w| {
                w.zeros(encr.iv_len + 15);
                w.u8(15);
                w.zeros(encr.icv_len);
            });
            let mut datagram = w.into_vec();
            keyed(encr).0.encrypt(&mut datagram, 36, 36 + encr.iv_len, 0).unwrap();
            let opened = keyed(encr).1.open(&mut datagram).map(|received| whole(received).payloads().len());
            let error = OpenError::Content(DecodeError::UnsupportedCriticalPayload(PayloadType(99)));
            assert_eq!(opened, if critical { Err(error) } else { Ok(0) });
        }
    }
}
