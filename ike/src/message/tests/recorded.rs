//! Whole handshakes between two strongSwan 6.1.0, recorded from the wire, opened with the keys from its log.

use cygnet_esp::{Encr, Spi};

use super::super::payload::*;
use super::*;

mod handshakes;

use handshakes::{CBC, GCM, Handshake};

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn openers(handshake: &Handshake) -> (Opener, Opener) {
    let (id, key_bits, integ) = handshake.encr;
    let encr = Encr::find(id, key_bits, integ).unwrap();
    let opener = |enc, integ| Opener::new(encr, &hex(enc), &hex(integ)).unwrap();
    (opener(handshake.sk_ei, handshake.sk_ai), opener(handshake.sk_er, handshake.sk_ar))
}

fn whole(received: Received<'_>) -> Opened<'_> {
    match received {
        Received::Whole(opened) => opened,
        Received::Fragment(fragment) => panic!("{fragment:?}"),
    }
}

/// Our encoder writes what strongSwan wrote.
fn rebuild(header: &Header, payloads: &Chain<'_>) -> MessageBuilder {
    let mut builder = MessageBuilder::new(*header);
    for payload in payloads {
        builder.push(payload);
    }
    builder
}

#[test]
fn ike_sa_init() {
    let [request, response, ..] = GCM.datagrams.map(hex);
    let message = Message::decode(&request).unwrap();
    assert_eq!(message.header.exchange, ExchangeType::IKE_SA_INIT);
    assert_eq!(message.header.flags, Flags::request(true));
    assert!(message.header.responder_spi.is_zero());
    let offer = Sa {
        proposals: vec![Proposal {
            number: 1,
            protocol: ProtocolId::IKE,
            spi: WireSpi::None,
            transforms: vec![
                Transform::encr(EncrId::AES_GCM_16, Some(128)),
                Transform::prf(PrfId::HMAC_SHA2_256),
                Transform::ke(KeId::CURVE_25519),
            ],
        }],
    };
    let chain = &message.payloads;
    assert_eq!(chain.sa(), Ok(&offer));
    assert_eq!((chain.ke().unwrap().method, chain.ke().unwrap().data.len()), (KeId::CURVE_25519, 32));
    assert_eq!(chain.nonce().unwrap().0.len(), 32);
    assert_eq!(chain.notify(NotifyType::NAT_DETECTION_SOURCE_IP).unwrap().data.len(), 20);
    let hashes = chain.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS).unwrap();
    assert_eq!(
        hashes.u16s().map(HashAlgorithm).collect::<Vec<_>>(),
        [HashAlgorithm::SHA2_256, HashAlgorithm::SHA2_384, HashAlgorithm::SHA2_512, HashAlgorithm::IDENTITY]
    );
    assert_eq!(rebuild(&message.header, chain).encode(), request);

    let message = Message::decode(&response).unwrap();
    assert_eq!(message.header.flags, Flags::response(false));
    assert_eq!(message.payloads.sa(), Ok(&offer));
    assert!(message.payloads.has_notify(NotifyType::CHILDLESS_IKEV2_SUPPORTED));
    assert_eq!(rebuild(&message.header, &message.payloads).encode(), response);
}

#[test]
fn ike_auth() {
    for (handshake, spi) in [(&GCM, Spi(0xa39b_3524)), (&CBC, Spi(0x5bea_ffff))] {
        let (initiator, responder) = openers(handshake);
        let [_, _, mut request, mut response, ..] = handshake.datagrams.map(hex);

        let opened = whole(initiator.open(&mut request).unwrap());
        let chain = opened.payloads();
        assert_eq!(chain.id_i(), Ok(&Id::new(IdType::FQDN, b"a.example")));
        assert_eq!(chain.id_r(), Ok(&Id::new(IdType::FQDN, b"b.example")));
        assert_eq!(chain.auth().unwrap().method, AuthMethod::SHARED_KEY);
        assert_eq!(chain.auth().unwrap().data.len(), 32);
        let proposal = &chain.sa().unwrap().proposals[0];
        assert_eq!(proposal.protocol, ProtocolId::ESP);
        assert_eq!(proposal.spi, WireSpi::Esp(spi));
        assert_eq!(proposal.transforms, [Transform::encr(EncrId::AES_GCM_16, Some(128)), Transform::esn(EsnId::NO)]);
        assert_eq!(chain.ts_i().unwrap().selectors, ["10.1.0.0/16".parse().unwrap()]);
        assert_eq!(chain.ts_r().unwrap().selectors, ["10.2.0.0/16".parse().unwrap()]);
        for kind in [NotifyType::INITIAL_CONTACT, NotifyType::MOBIKE_SUPPORTED, NotifyType::EAP_ONLY_AUTHENTICATION] {
            assert!(chain.has_notify(kind), "{kind}");
        }
        assert_eq!(rebuild(opened.header(), chain).content(), opened.content());

        let opened = whole(responder.open(&mut response).unwrap());
        assert_eq!(opened.header().flags, Flags::response(false));
        assert_eq!(opened.payloads().id_r(), Ok(&Id::new(IdType::FQDN, b"b.example")));
        assert_eq!(rebuild(opened.header(), opened.payloads()).content(), opened.content());
    }
}

#[test]
fn informational() {
    for handshake in [&GCM, &CBC] {
        let (initiator, responder) = openers(handshake);
        let [.., mut request, mut response] = handshake.datagrams.map(hex);
        let opened = whole(initiator.open(&mut request).unwrap());
        assert_eq!(opened.header().message_id, MessageId(2));
        assert_eq!(opened.payloads().deletes().collect::<Vec<_>>(), [&Delete::ike()]);
        assert!(whole(responder.open(&mut response).unwrap()).payloads().is_empty());
    }
}

/// Our own envelope around strongSwan's payloads has the size of its own: same format, same minimal padding.
#[test]
fn sealed_anew_it_has_the_same_length() {
    for handshake in [&GCM, &CBC] {
        let (initiator, _) = openers(handshake);
        let [_, _, mut request, ..] = handshake.datagrams.map(hex);
        let len = request.len();
        let opened = whole(initiator.open(&mut request).unwrap());
        let encr = initiator.encr();
        let mut sealer = Sealer::new(encr, &hex(handshake.sk_ei), &hex(handshake.sk_ai)).unwrap();
        assert_eq!(sealer.seal(&rebuild(opened.header(), opened.payloads())).unwrap().len(), len);
    }
}

#[test]
fn mutated_handshakes_are_survived() {
    for handshake in [&GCM, &CBC] {
        for mut datagram in handshake.datagrams.map(hex) {
            for bit in 0..datagram.len() * 8 {
                datagram[bit / 8] ^= 1 << (bit % 8);
                fuzz::clear(&datagram);
                fuzz::forged(&datagram);
                datagram[bit / 8] ^= 1 << (bit % 8);
            }
            for len in 0..datagram.len() {
                fuzz::clear(&datagram[..len]);
                fuzz::forged(&datagram[..len]);
            }
        }
    }
}
