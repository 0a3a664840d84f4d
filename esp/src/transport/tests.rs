use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::ip::protocol::*;
use crate::{ENCR, Inbound, Outbound, Spi};

const V4: (IpAddr, IpAddr) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)));
const V6: (IpAddr, IpAddr) = (
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2)),
);
const SCTP: u8 = 132;

fn rebuilt((source, destination): (IpAddr, IpAddr)) -> Rebuilt {
    Rebuilt { source, destination, traffic_class: 0, hop_limit: 64, original: None }
}

/// A buffer with `payload` where opening an ESP packet leaves it.
fn opened(payload: &[u8]) -> PacketBuf {
    let mut packet = PacketBuf::for_receiving(16 + payload.len());
    packet.append(16).unwrap();
    packet.extend(payload).unwrap();
    packet.trim_front(16);
    packet
}

fn held(octets: &[u8]) -> PacketBuf {
    let mut packet = PacketBuf::for_mtu(octets.len());
    packet.extend(octets).unwrap();
    packet
}

/// A whole packet.
fn ip_packet(addresses: (IpAddr, IpAddr), traffic_class: u8, ttl: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = PacketBuf::new(40 + payload.len(), 40);
    packet.extend(payload).unwrap();
    let (source, destination) = addresses;
    let fields = fields(traffic_class, true, ttl);
    Outer { source, destination, fields, identification: 0, protocol }.prepend(&mut packet).unwrap();
    packet.data().to_vec()
}

/// The checksum over a pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1) and as much of `upper` as is `covered`, whose
/// checksum field is zero, by the book: octet by octet.
fn computed((source, destination): (IpAddr, IpAddr), protocol: u8, upper: &[u8], covered: usize) -> u16 {
    let mut octets = Vec::new();
    for address in [source, destination] {
        match address {
            IpAddr::V4(v4) => octets.extend(v4.octets()),
            IpAddr::V6(v6) => octets.extend(v6.octets()),
        }
    }
    octets.extend((upper.len() as u32).to_be_bytes());
    octets.extend([0, 0, 0, protocol]);
    octets.extend(&upper[..covered]);
    octets.resize(octets.len().next_multiple_of(2), 0);
    let mut sum = 0;
    for (i, octet) in octets.into_iter().enumerate() {
        sum += u32::from(octet) << (8 * (1 - i % 2));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    !(sum as u16)
}

#[test]
fn a_tcp_segment_to_the_octet() {
    // A SYN between 10.0.0.1:4660 and 10.0.0.2:80, checksums computed by another program.
    let segment = [0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0x89, 0x5b, 0, 0];
    let addresses = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
    let mut packet = opened(&segment);
    let header = Rebuilt { traffic_class: 0x28, hop_limit: 61, ..rebuilt(addresses) };
    decapsulate(&mut packet, NextHeader(6), &header).unwrap();
    let expected = [0x45, 0x28, 0, 40, 0, 0, 0x40, 0, 61, 6, 0x29, 0xa6, 10, 0, 0, 1, 10, 0, 0, 2];
    assert_eq!(packet.data(), [&expected[..], &segment].concat());

    // The same, sent as 192.168.1.1 to 203.0.113.2.
    let original = Some((IpAddr::from([192, 168, 1, 1]), IpAddr::from([203, 0, 113, 2])));
    let mut sent = segment;
    sent[16..18].copy_from_slice(&[0x9f, 0xb1]);
    let mut packet = opened(&sent);
    decapsulate(&mut packet, NextHeader(6), &Rebuilt { original, ..header }).unwrap();
    assert_eq!(packet.data()[20..], segment);
}

#[test]
fn an_ipv6_header_to_the_octet() {
    let mut packet = opened(b"payload");
    decapsulate(&mut packet, NextHeader(17), &Rebuilt { traffic_class: 0xb9, ..rebuilt(V6) }).unwrap();
    let mut expected = vec![0x6b, 0x90, 0, 0, 0, 7, 17, 64];
    expected.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    expected.extend([0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    expected.extend(b"payload");
    assert_eq!(packet.data(), expected);
}

#[test]
fn header_and_padding_are_taken_off() {
    for addresses in [V4, V6] {
        let mut packet = held(&[&ip_packet(addresses, 0xb9, 7, 17, b"payload")[..], b"padding"].concat());
        let stripped = encapsulate(&mut packet).unwrap();
        assert_eq!(
            stripped,
            Stripped {
                next: NextHeader(17),
                source: addresses.0,
                destination: addresses.1,
                fields: OuterFields { dscp: 0x2e, ecn: Ecn::Ect1, df: true, ttl: 7 },
            }
        );
        assert_eq!(packet.data(), b"payload");
    }
    let mut may_be_fragmented = ip_packet(V4, 0, 64, 17, b"payload");
    may_be_fragmented[6] = 0;
    assert!(!encapsulate(&mut held(&may_be_fragmented)).unwrap().fields.df);
}

/// An IPv6 packet with these extension headers of eight octets before a UDP header.
fn with_headers(headers: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    for next in headers.iter().skip(1).chain(&[UDP]) {
        payload.extend([*next, 0, 0, 0, 0, 0, 0, 0]);
    }
    payload.extend([0x11; 20]);
    ip_packet(V6, 0, 64, headers[0], &payload)
}

#[test]
fn what_transport_mode_cannot_carry() {
    use EncapsulateError::*;
    let mut options = ip_packet(V4, 0, 64, 17, &[1; 40]);
    options[0] = 0x46;
    let fragment = |field: [u8; 2]| {
        let mut packet = ip_packet(V4, 0, 64, 17, &[1; 40]);
        packet[6..8].copy_from_slice(&field);
        packet
    };
    for (packet, error) in [
        (options, Options),
        (fragment([0x20, 0]), Fragment),
        (fragment([0x20, 9]), Fragment),
        (fragment([0, 9]), Fragment),
        (with_headers(&[HOP_BY_HOP]), Options),
        (with_headers(&[ROUTING]), Options),
        (with_headers(&[DESTINATION_OPTIONS, ROUTING]), Options),
        (with_headers(&[FRAGMENT]), Fragment),
        (with_headers(&[DESTINATION_OPTIONS, FRAGMENT]), Fragment),
        (with_headers(&[DESTINATION_OPTIONS; 9]), Malformed),
    ] {
        let mut held = held(&packet);
        assert_eq!(encapsulate(&mut held), Err(error), "{packet:x?}");
        assert_eq!(held.data(), packet);
    }
}

#[test]
fn destination_options_travel_inside() {
    let whole = with_headers(&[DESTINATION_OPTIONS, DESTINATION_OPTIONS]);
    let mut packet = held(&whole);
    let stripped = encapsulate(&mut packet).unwrap();
    assert_eq!((stripped.next, packet.data()), (NextHeader(DESTINATION_OPTIONS), &whole[40..]));
    decapsulate(&mut packet, stripped.next, &rebuilt(V6)).unwrap();
    assert_eq!(packet.data(), whole);
}

#[test]
fn a_checksum_behind_destination_options_is_corrected() {
    let original = (IpAddr::V6(Ipv6Addr::LOCALHOST), V6.1);
    let mut udp = [1, 2, 3, 4, 0, 8, 0, 0];
    let expected = computed(V6, UDP, &udp, 8);
    let sent = computed(original, UDP, &udp, 8);
    udp[6..].copy_from_slice(&sent.to_be_bytes());
    let mut packet = opened(&[&[UDP, 0, 1, 4, 0, 0, 0, 0], &udp[..]].concat());
    let header = Rebuilt { original: Some(original), ..rebuilt(V6) };
    decapsulate(&mut packet, NextHeader(DESTINATION_OPTIONS), &header).unwrap();
    assert_eq!(packet.data()[54..], expected.to_be_bytes());
}

#[test]
fn the_peer_writes_no_header_of_ours() {
    for next in [HOP_BY_HOP, ROUTING, FRAGMENT] {
        let payload = [&[UDP, 0, 0, 9, 0, 0, 0, 0][..], &[0; 16]].concat();
        let refused = decapsulate(&mut opened(&payload), NextHeader(next), &rebuilt(V6));
        assert_eq!(refused, Err(DecapsulateError::ExtensionHeader), "{next}");
        let payload = [&[next, 0, 0, 0, 0, 0, 0, 0][..], &payload].concat();
        let refused = decapsulate(&mut opened(&payload), NextHeader(DESTINATION_OPTIONS), &rebuilt(V6));
        assert_eq!(refused, Err(DecapsulateError::ExtensionHeader), "{next}");
        // To IPv4 they are protocols like any other.
        assert_eq!(decapsulate(&mut opened(&payload), NextHeader(next), &rebuilt(V4)), Ok(()));
    }
}

#[test]
fn any_protocol_is_legal_but_none() {
    for addresses in [V4, V6] {
        for next in [NextHeader::IPV4, NextHeader::IPV6, NextHeader(50), NextHeader(255)] {
            let mut packet = opened(b"");
            assert_eq!(decapsulate(&mut packet, next, &rebuilt(addresses)), Ok(()));
            assert_eq!(packet.data(), ip_packet(addresses, 0, 64, next.0, b""));
        }
        let dummy = decapsulate(&mut opened(b"dummy"), NextHeader::NONE, &rebuilt(addresses));
        assert_eq!(dummy, Err(DecapsulateError::Dummy));
    }
}

#[test]
fn what_cannot_be_rebuilt() {
    use DecapsulateError::*;
    let mixed = Rebuilt { destination: V6.1, ..rebuilt(V4) };
    assert_eq!(decapsulate(&mut opened(b"x"), NextHeader(17), &mixed), Err(UnlikeAddresses));
    for (addresses, len) in [(V4, 20), (V6, 40)] {
        let mut packet = PacketBuf::new(len, len - 1);
        assert_eq!(decapsulate(&mut packet, NextHeader(17), &rebuilt(addresses)), Err(NoRoom));
    }
    let mut packet = PacketBuf::new(70_000, 100);
    packet.append(65_516).unwrap();
    assert_eq!(decapsulate(&mut packet, NextHeader(17), &rebuilt(V4)), Err(NoRoom));
    packet.trim_back(1);
    assert_eq!(decapsulate(&mut packet, NextHeader(17), &rebuilt(V4)), Ok(()));
    for (protocol, len) in [(TCP, 18), (UDP, 8), (UDP_LITE, 8), (DCCP, 8), (ICMPV6, 4), (MOBILITY, 6)] {
        let header = Rebuilt { original: Some((V6.1, V6.0)), ..rebuilt(V6) };
        let whole = vec![1; len];
        assert_eq!(decapsulate(&mut opened(&whole), NextHeader(protocol), &header), Ok(()), "{protocol}");
        for len in 0..len {
            let cut = decapsulate(&mut opened(&whole[..len]), NextHeader(protocol), &header);
            assert_eq!(cut, Err(Malformed), "{protocol} {len}");
        }
    }
    // A destination options header longer than the payload.
    let cut = decapsulate(&mut opened(&[17, 1, 0, 0, 0, 0, 0, 0]), NextHeader(60), &rebuilt(V6));
    assert_eq!(cut, Err(Malformed));
}

#[test]
fn no_udp_checksum_stays_none() {
    for (addresses, original) in [(V4, V6), (V4, (V4.1, V4.0)), (V6, (V6.1, V6.0))] {
        let mut packet = opened(&[1, 2, 3, 4, 0, 8, 0, 0]);
        let header = Rebuilt { original: Some(original), ..rebuilt(addresses) };
        decapsulate(&mut packet, NextHeader(UDP), &header).unwrap();
        assert!(packet.data().ends_with(&[1, 2, 3, 4, 0, 8, 0, 0]));
    }
}

#[test]
fn a_computed_zero_is_written_as_ones() {
    for protocol in [UDP, UDP_LITE] {
        // The last word is chosen so that the sum is 0xffff.
        let mut upper = [1, 2, 3, 4, 0, 10, 0, 0, 0, 0];
        let rest = computed(V4, protocol, &upper, 10);
        upper[8..].copy_from_slice(&rest.to_be_bytes());
        assert_eq!(computed(V4, protocol, &upper, 10), 0);
        let original = (IpAddr::from([10, 0, 0, 1]), V4.1);
        let sent = computed(original, protocol, &upper, 10);
        let mut packet = opened(&upper);
        packet.data_mut()[6..8].copy_from_slice(&sent.to_be_bytes());
        decapsulate(&mut packet, NextHeader(protocol), &Rebuilt { original: Some(original), ..rebuilt(V4) }).unwrap();
        assert_eq!(packet.data()[26..28], [0xff, 0xff], "{protocol}");
    }
}

fn address(v6: bool) -> impl Strategy<Value = IpAddr> {
    (any::<[u8; 16]>(), any::<[u8; 4]>()).prop_map(move |(a, b)| if v6 { a.into() } else { b.into() })
}

fn addresses() -> impl Strategy<Value = [IpAddr; 4]> {
    any::<bool>().prop_flat_map(|v6| [address(v6), address(v6), address(v6), address(v6)])
}

proptest! {
    #[test]
    fn there_and_back_is_the_same_packet(
        [source, destination, ..] in addresses(),
        protocol in any::<u8>().prop_filter("not in transport mode", |p| ![0, 43, 44, 59, 60].contains(p)),
        traffic_class: u8,
        ttl: u8,
        row in 0..ENCR.len(),
        payload in prop::collection::vec(any::<u8>(), 0..200),
        padding in 0..9usize,
    ) {
        let encr = &ENCR[row];
        let (key, integrity) = (vec![1; encr.encryption_len()], vec![2; encr.integ_key_len]);
        let sending = Outbound::new(Spi(256), encr, &key, &integrity, true).unwrap();
        let receiving = Inbound::new(Spi(256), encr, &key, &integrity, true, 64).unwrap();
        let whole = ip_packet((source, destination), traffic_class, ttl, protocol, &payload);

        let mut packet = held(&[&whole[..], &vec![0; padding]].concat());
        let stripped = encapsulate(&mut packet).unwrap();
        sending.reserve(1).unwrap().seal(stripped.next, &mut packet).unwrap();

        let mut arrived = PacketBuf::for_receiving(packet.len());
        arrived.extend(packet.data()).unwrap();
        let next = receiving.open(&mut arrived).unwrap();
        let header = Rebuilt {
            source: stripped.source,
            destination: stripped.destination,
            traffic_class: stripped.fields.traffic_class(),
            hop_limit: stripped.fields.ttl,
            original: None,
        };
        decapsulate(&mut arrived, next, &header).unwrap();
        prop_assert_eq!(arrived.data(), whole);
    }

    #[test]
    fn a_correction_equals_a_computation(
        [a, b, c, d] in addresses(),
        (protocol, at, least) in prop::sample::select(vec![
            (TCP, 16, 20), (UDP, 6, 8), (UDP_LITE, 6, 8), (DCCP, 6, 12), (ICMPV6, 2, 4), (MOBILITY, 4, 8),
        ]),
        payload in prop::collection::vec(any::<u8>(), 20..200),
        covered in 12..200usize,
        // Often only one address is changed, or none.
        (same_source, same_destination) in any::<(bool, bool)>(),
    ) {
        let (original, actual) = ((a, b), (if same_source { a } else { c }, if same_destination { b } else { d }));
        // Where coverage may be partial.
        let partial = matches!(protocol, UDP_LITE | DCCP);
        let covered = if partial { covered.clamp(least, payload.len()) } else { payload.len() };
        let has_pseudo_header = a.is_ipv6() || !matches!(protocol, ICMPV6 | MOBILITY);
        let mut upper = payload;
        upper[at..at + 2].fill(0);
        let form = |checksum: u16| {
            if checksum == 0 && matches!(protocol, UDP | UDP_LITE) { [0xff; 2] } else { checksum.to_be_bytes() }
        };
        let (sent, expected) = (
            form(computed(original, protocol, &upper, covered)),
            form(computed(actual, protocol, &upper, covered)),
        );
        upper[at..at + 2].copy_from_slice(&sent);
        let mut packet = opened(&upper);
        let header = Rebuilt { original: Some(original), ..rebuilt(actual) };
        decapsulate(&mut packet, NextHeader(protocol), &header).unwrap();
        upper[at..at + 2].copy_from_slice(if has_pseudo_header { &expected } else { &sent });
        prop_assert!(packet.data().ends_with(&upper));
    }

    #[test]
    fn other_protocols_are_left_alone(
        [a, b, c, d] in addresses(),
        protocol in prop::sample::select(vec![1, 4, 41, 47, 50, 51, SCTP, 255]),
        payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut packet = opened(&payload);
        let header = Rebuilt { original: Some((a, b)), ..rebuilt((c, d)) };
        decapsulate(&mut packet, NextHeader(protocol), &header).unwrap();
        prop_assert!(packet.data().ends_with(&payload));
    }

    #[test]
    fn any_octets_are_survived(
        octets in prop::collection::vec(any::<u8>(), 0..120),
        first in prop::sample::select(vec![0x00, 0x45, 0x46, 0x60]),
        next: u8,
        [a, b, c, d] in addresses(),
        original: bool,
    ) {
        let mut octets = octets;
        if let [version, _, l0, l1, l2, l3, ..] = &mut octets[..] {
            (*version, *l0, *l2) = (first, 0, 0);
            (*l1, *l3) = (*l1 % 120, *l3 % 80);
        }
        let mut packet = held(&octets);
        match encapsulate(&mut packet) {
            Ok(_) => prop_assert!(packet.len() < octets.len()),
            Err(_) => prop_assert_eq!(packet.data(), &octets),
        }
        let mut packet = opened(&octets);
        let header = Rebuilt { original: original.then_some((a, b)), ..rebuilt((c, d)) };
        if decapsulate(&mut packet, NextHeader(next), &header).is_ok() {
            let mut again = held(packet.data());
            prop_assert!(encapsulate(&mut again).is_ok_and(|stripped| stripped.next == NextHeader(next)));
            prop_assert_eq!(again.len(), octets.len());
        }
    }
}
