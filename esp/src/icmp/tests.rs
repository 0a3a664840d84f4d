use proptest::prelude::*;

use super::*;
use crate::PacketBuf;
use crate::tunnel::{Inner, Outer, Rules};

const V4: [&str; 2] = ["10.0.0.1", "10.9.8.7"];
const V6: [&str; 2] = ["2001:db8::1", "2001:db8:9::7"];

/// A packet with DF.
fn packet([source, destination]: [&str; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = PacketBuf::new(40 + payload.len(), 40);
    packet.extend(payload).unwrap();
    let fields = Rules::default().outer(Inner::parse(&[[0x60, 0, 0, 0, 0, 0, 0, 0]; 5].concat()).unwrap());
    let header = Outer::esp(source.parse().unwrap(), destination.parse().unwrap(), fields).unwrap();
    Outer { protocol, ..header }.prepend(&mut packet).unwrap();
    packet.data().to_vec()
}

fn answer(packet: &[u8], mtu: usize) -> Result<Vec<u8>, Unanswerable> {
    packet_too_big(packet, mtu, &mut [0xaa; MAX_LEN]).map(<[u8]>::to_vec)
}

#[test]
fn an_icmpv4_message_to_the_octet() {
    let big = packet(V4, 17, &[0x5a; 1480]);
    let reply = answer(&big, 1400).unwrap();
    let header = [0x45, 0xc0, 2, 64, 0, 0, 0x40, 0, 64, 1, 0x1b, 0xed, 10, 9, 8, 7, 10, 0, 0, 1];
    assert_eq!(reply[..20], header);
    assert_eq!(reply[20..28], [3, 4, 0xca, 0x56, 0, 0, 0x05, 0x78]);
    assert_eq!(reply[28..], big[..548]);
}

#[test]
fn an_icmpv6_message_to_the_octet() {
    let big = packet(V6, 17, &[0x5a; 1460]);
    let reply = answer(&big, 1400).unwrap();
    assert_eq!(reply[..8], [0x6c, 0, 0, 0, 0x04, 0xd8, 58, 64]);
    assert_eq!((&reply[8..24], &reply[24..40]), (&big[24..40], &big[8..24]));
    assert_eq!(reply[40..48], [2, 0, 0x6b, 0x20, 0, 0, 0x05, 0x78]);
    assert_eq!(reply[48..], big[..1232]);
}

#[test]
fn what_policy_forbids_is_told_to_the_octet() {
    let told = |packet: &[u8]| prohibited(packet, &mut [0xaa; MAX_LEN]).map(<[u8]>::to_vec);
    // Of any length, with DF or without.
    let mut small = packet(V4, 17, &[0x5a; 8]);
    small[6] = 0;
    let reply = told(&small).unwrap();
    assert_eq!((&reply[..4], &reply[12..20]), (&[0x45, 0xc0, 0, 56][..], &[10, 9, 8, 7, 10, 0, 0, 1][..]));
    assert_eq!((&reply[20..22], &reply[24..28], &reply[28..]), (&[3, 13][..], &[0; 4][..], &small[..]));
    assert_eq!((Sum::of(&reply[..20]).fold(), Sum::of(&reply[20..]).fold()), (0xffff, 0xffff));
    let small = packet(V6, 17, &[0x5a; 8]);
    let reply = told(&small).unwrap();
    assert_eq!((&reply[4..8], &reply[40..42], &reply[44..48]), (&[0, 56, 58, 64][..], &[1, 1][..], &[0; 4][..]));
    assert_eq!((&reply[8..24], &reply[24..40], &reply[48..]), (&small[24..40], &small[8..24], &small[..]));
    // RFC 1122 §3.2.2, RFC 4443 §2.4 e: not in answer to these.
    assert_eq!(told(&reply), Err(Unanswerable::IcmpError));
    assert_eq!(told(&packet(V4, 1, &[3, 1, 0, 0, 0, 0, 0, 0])), Err(Unanswerable::IcmpError));
    assert!(told(&packet(V4, 1, &[8, 0, 0, 0, 0, 0, 0, 0])).is_ok());
    assert_eq!(told(&packet([V4[0], "224.0.0.1"], 17, &[0; 8])), Err(Unanswerable::Destination));
    assert_eq!(told(&packet(["255.255.255.255", V4[1]], 17, &[0; 8])), Err(Unanswerable::Source));
    let mut later = packet(V4, 17, &[0; 8]);
    later[7] = 9;
    assert_eq!(told(&later), Err(Unanswerable::Fragment));
}

#[test]
fn a_short_packet_is_quoted_whole_without_its_padding() {
    let big = packet(V4, 17, &[0x5a; 300]);
    let padded = [&big[..], &[0; 9]].concat();
    assert_eq!(answer(&padded, 200).unwrap()[28..], big);
}

#[test]
fn no_mtu_below_what_senders_heed() {
    let big = packet(V4, 17, &[0x5a; 100]);
    assert_eq!(answer(&big, 0).unwrap()[26..28], [0, 68]);
    assert_eq!(answer(&packet(V4, 17, &[0; 48]), 0), Err(Unanswerable::Fits));
    let big = packet(V6, 17, &[0x5a; 1241]);
    assert_eq!(answer(&big, 1000).unwrap()[44..48], [0, 0, 5, 0]);
    assert_eq!(answer(&packet(V6, 17, &[0x5a; 1240]), 1000), Err(Unanswerable::Fits));
}

#[test]
fn what_fits_or_may_be_fragmented_gets_no_answer() {
    let big = packet(V4, 17, &[0x5a; 480]);
    assert_eq!(answer(&big, 500), Err(Unanswerable::Fits));
    assert!(answer(&big, 499).is_ok());
    let mut fragmentable = big;
    fragmentable[6] = 0;
    assert_eq!(answer(&fragmentable, 499), Err(Unanswerable::Fragmentable));
}

#[test]
fn only_the_first_fragment_gets_an_answer() {
    let mut fragment = packet(V4, 17, &[0x5a; 480]);
    fragment[6] = 0x60;
    assert!(answer(&fragment, 400).is_ok());
    fragment[7] = 9;
    assert_eq!(answer(&fragment, 400), Err(Unanswerable::Fragment));

    let mut payload = [0x5a; 1400];
    payload[..8].copy_from_slice(&[17, 0, 0, 1, 0, 0, 0, 1]);
    assert!(answer(&packet(V6, 44, &payload), 1300).is_ok());
    payload[3] = 9;
    assert_eq!(answer(&packet(V6, 44, &payload), 1300), Err(Unanswerable::Fragment));
}

#[test]
fn icmp_errors_get_no_answer() {
    for kind in 0..=255 {
        let mut payload = [0; 1400];
        payload[0] = kind;
        let error = matches!(kind, 3 | 4 | 5 | 11 | 12);
        assert_eq!(answer(&packet(V4, 1, &payload), 1300).err(), error.then_some(Unanswerable::IcmpError), "{kind}");
        let error = kind < 128 || kind == 137;
        assert_eq!(answer(&packet(V6, 58, &payload), 1300).err(), error.then_some(Unanswerable::IcmpError), "{kind}");
        // Behind an extension header.
        let mut payload = [0; 1400];
        (payload[0], payload[8]) = (58, kind);
        assert_eq!(answer(&packet(V6, 60, &payload), 1300).err(), error.then_some(Unanswerable::IcmpError), "{kind}");
        // Each other's numbers mean nothing.
        assert!(answer(&packet(V4, 58, &payload), 1300).is_ok());
        assert!(answer(&packet(V6, 1, &payload), 1300).is_ok());
    }
    // A destination options header that fills the packet: what follows is unknown.
    let mut payload = [0; 1400];
    (payload[0], payload[1]) = (58, 174);
    assert_eq!(answer(&packet(V6, 60, &payload), 1300), Err(Unanswerable::IcmpError));
}

#[test]
fn nobody_in_particular_gets_no_answer() {
    for source in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255"] {
        assert_eq!(answer(&packet([source, V4[1]], 17, &[0; 1400]), 1300), Err(Unanswerable::Source), "{source}");
    }
    for source in ["::", "::1", "ff02::1"] {
        assert_eq!(answer(&packet([source, V6[1]], 17, &[0; 1400]), 1300), Err(Unanswerable::Source), "{source}");
    }
    for destination in ["224.0.0.1", "255.255.255.255", "0.0.0.0"] {
        let big = packet([V4[0], destination], 17, &[0; 1400]);
        assert_eq!(answer(&big, 1300), Err(Unanswerable::Destination), "{destination}");
    }
    assert_eq!(answer(&packet([V6[0], "ff0e::1"], 17, &[0; 1400]), 1300), Err(Unanswerable::Destination));
}

#[test]
fn a_short_buffer_is_no_panic() {
    for (big, len) in [(packet(V4, 17, &[0; 1400]), 576), (packet(V6, 17, &[0; 1400]), 1280)] {
        for room in 0..len {
            assert_eq!(packet_too_big(&big, 1300, &mut vec![0; room]), Err(Unanswerable::NoRoom));
        }
        assert!(packet_too_big(&big, 1300, &mut vec![0; len]).is_ok());
    }
}

proptest! {
    #[test]
    fn an_answer_is_an_intact_packet_and_gets_none_itself(
        v6: bool,
        protocol in prop::sample::select(vec![6, 17, 50, 132]),
        payload in prop::collection::vec(any::<u8>(), 1300..1500),
        mtu in 0..1500usize,
    ) {
        let big = packet(if v6 { V6 } else { V4 }, protocol, &payload);
        let Ok(reply) = answer(&big, mtu) else {
            prop_assert!(big.len() <= mtu);
            return Ok(());
        };
        let most = if v6 { 1280 } else { 576 };
        prop_assert!(reply.len() <= most);
        prop_assert_eq!(answer(&reply, 0).err(), Some(if v6 { Unanswerable::Fits } else { Unanswerable::IcmpError }));
        let mut stripped = PacketBuf::for_mtu(1280);
        stripped.extend(&reply).unwrap();
        let header = Outer::strip(&mut stripped).expect("an intact header");
        prop_assert_eq!(stripped.len() + if v6 { 40 } else { 20 }, reply.len());
        let pseudo = Sum::addresses(header.source, header.destination)
            + Sum::word(stripped.len() as u16)
            + Sum::word(58);
        let sum = Sum::of(stripped.data()) + if v6 { pseudo } else { Sum::default() };
        prop_assert_eq!(sum.fold(), 0xffff);
    }

    #[test]
    fn any_octets_are_survived(
        octets in prop::collection::vec(any::<u8>(), 0..2000),
        first in prop::sample::select(vec![0x00, 0x45, 0x46, 0x60]),
        mtu in 0..2000usize,
    ) {
        let mut octets = octets;
        if let [version, _, l0, _, l2, ..] = &mut octets[..] {
            (*version, *l0, *l2) = (first, *l0 % 8, *l2 % 8);
        }
        let _ = answer(&octets, mtu);
    }
}
