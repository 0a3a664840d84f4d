use std::net::IpAddr;

use super::*;

const SOURCES: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
const DESTINATIONS: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

/// An inner packet: an outer one with nothing special about it.
fn inner_packet(v6: bool, traffic_class: u8, df: bool, ttl: u8, payload: &[u8]) -> PacketBuf {
    let mut packet = PacketBuf::new(400, 128);
    packet.extend(payload).unwrap();
    header(v6, OuterFields { dscp: traffic_class >> 2, ecn: Ecn::from_traffic_class(traffic_class), df, ttl })
        .prepend(&mut packet)
        .unwrap();
    packet
}

fn header(v6: bool, fields: OuterFields) -> Outer {
    let address = |of: [&str; 2]| of[usize::from(v6)].parse::<IpAddr>().unwrap();
    Outer { protocol: 17, ..Outer::esp(address(SOURCES), address(DESTINATIONS), fields).unwrap() }
}

#[test]
fn every_family_in_every_family() {
    for (inner_v6, outer_v6) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut packet = inner_packet(inner_v6, 0xb9, true, 63, b"payload");
        let original = packet.data().to_vec();
        let inner = Inner::parse(packet.data()).unwrap();
        let outer = Outer { protocol: PROTOCOL_ESP, ..header(outer_v6, Rules::default().outer(inner)) };
        outer.prepend(&mut packet).unwrap();
        assert_eq!(packet.len(), original.len() + if outer_v6 { 40 } else { 20 });
        // Link-layer padding goes with the header.
        packet.append(3).unwrap();
        let stripped = Outer::strip(&mut packet).unwrap();
        assert_eq!((stripped, packet.data()), (outer, &original[..]));
        assert_eq!((stripped.fields.dscp, stripped.fields.ecn, stripped.fields.ttl), (0x2e, Ecn::Ect1, 64));
    }
}

const PROTOCOL_ESP: u8 = super::outer::PROTOCOL_ESP;

#[test]
fn an_ipv4_header_to_the_octet() {
    let fields = OuterFields { dscp: 0x2e, ecn: Ecn::Ect0, df: true, ttl: 64 };
    let mut packet = PacketBuf::for_mtu(8);
    packet.extend(&[0xaa; 4]).unwrap();
    Outer { identification: 0x1234, ..header(false, fields) }.prepend(&mut packet).unwrap();
    assert_eq!(
        packet.data(),
        [
            0x45, 0xba, 0, 24, 0x12, 0x34, 0x40, 0, 64, 17, 0xa3, 0xe3, 192, 0, 2, 1, 192, 0, 2, 2, 0xaa, 0xaa, 0xaa,
            0xaa
        ]
    );
}

#[test]
fn dscp_df_and_ttl_rules() {
    for v6 in [false, true] {
        for df in [false, true] {
            let packet = inner_packet(v6, 0x88, df, 7, &[]);
            let inner = Inner::parse(packet.data()).unwrap();
            assert_eq!(inner, Inner { dscp: 0x22, ecn: Ecn::NotEct, df: df || v6, ttl: 7, len: packet.len() });
            for (rule, expected) in [(DfRule::Copy, df || v6), (DfRule::Set, true), (DfRule::Clear, false)] {
                assert_eq!(Rules { df: rule, ..Rules::default() }.outer(inner).df, expected, "{v6} {df} {rule:?}");
            }
            for (rule, expected) in [(DscpRule::Copy, 0x22), (DscpRule::Set(0), 0), (DscpRule::Set(0xff), 0x3f)] {
                assert_eq!(Rules { dscp: rule, ..Rules::default() }.outer(inner).dscp, expected);
            }
            assert_eq!(Rules { ttl: 200, ..Rules::default() }.outer(inner).ttl, 200);
        }
    }
}

#[test]
fn congestion_comes_out_of_the_tunnel() {
    for v6 in [false, true] {
        for inner in [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
            for outer in [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
                let mut packet = inner_packet(v6, 0xb8 | inner as u8, false, 64, b"payload");
                let next = if v6 { NextHeader::IPV6 } else { NextHeader::IPV4 };
                let outcome = decapsulate(&mut packet, next, outer);
                match inner.decapsulate(outer) {
                    Err(EcnConflict) => assert_eq!(outcome, Err(DecapsulateError::Ecn)),
                    // Byte for byte, the checksum too.
                    Ok(ecn) => {
                        let expected = inner_packet(v6, 0xb8 | ecn as u8, false, 64, b"payload");
                        assert_eq!((outcome, packet.data()), (Ok(()), expected.data()));
                    }
                }
            }
        }
    }
}

#[test]
fn padding_after_the_packet_is_removed() {
    for (v6, next) in [(false, NextHeader::IPV4), (true, NextHeader::IPV6)] {
        let mut packet = inner_packet(v6, 0, false, 64, b"payload");
        let len = packet.len();
        packet.append(100).unwrap();
        assert_eq!(decapsulate(&mut packet, next, Ecn::NotEct), Ok(()));
        assert_eq!(packet.len(), len);
    }
}

#[test]
fn what_is_no_ip_packet_is_refused() {
    let error = |octets: &[u8], next| {
        let mut packet = PacketBuf::for_mtu(100);
        packet.extend(octets).unwrap();
        decapsulate(&mut packet, next, Ecn::NotEct)
    };
    let v4 = inner_packet(false, 0, false, 64, b"payload").data().to_vec();
    let v6 = inner_packet(true, 0, false, 64, b"payload").data().to_vec();
    assert_eq!(error(&v4, NextHeader::IPV6), Err(DecapsulateError::Malformed));
    assert_eq!(error(&v6, NextHeader::IPV4), Err(DecapsulateError::Malformed));
    assert_eq!(error(&v4, NextHeader(17)), Err(DecapsulateError::NotIp));
    assert_eq!(error(&v4, NextHeader::NONE), Err(DecapsulateError::NotIp));
    for (packet, next) in [(&v4, NextHeader::IPV4), (&v6, NextHeader::IPV6)] {
        for len in 0..packet.len() {
            assert_eq!(error(&packet[..len], next), Err(DecapsulateError::Malformed), "{len}");
        }
    }
    let mut short_header = v4.clone();
    short_header[0] = 0x44;
    assert_eq!(error(&short_header, NextHeader::IPV4), Err(DecapsulateError::Malformed));
    let mut short_total = v4;
    short_total[2..4].copy_from_slice(&[0, 19]);
    assert_eq!(error(&short_total, NextHeader::IPV4), Err(DecapsulateError::Malformed));
}

#[test]
fn damaged_and_fragmented_outer_headers_are_refused() {
    for v6 in [false, true] {
        let intact = inner_packet(v6, 0, false, 64, b"payload");
        for len in 0..intact.len() {
            let mut packet = PacketBuf::for_mtu(100);
            packet.extend(&intact.data()[..len]).unwrap();
            assert_eq!(Outer::strip(&mut packet), None, "{len}");
            assert_eq!(packet.len(), len);
        }
    }
    for bit in 0..160 {
        let mut packet = inner_packet(false, 0, false, 64, b"payload");
        packet.data_mut()[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Outer::strip(&mut packet), None, "bit {bit}");
    }
    let mut fragment = inner_packet(false, 0, false, 64, b"payload");
    fragment.data_mut()[6] = 0x20;
    fragment.data_mut()[10..12].fill(0);
    assert_eq!(Outer::strip(&mut fragment), None);
}

#[test]
fn ttl_counts_down_to_one() {
    for v6 in [false, true] {
        for ttl in (2..=255).rev() {
            let mut packet = inner_packet(v6, 0, true, ttl, b"payload");
            assert_eq!(decrement_ttl(packet.data_mut()), Ok(()));
            assert_eq!(packet.data(), inner_packet(v6, 0, true, ttl - 1, b"payload").data());
        }
        for ttl in [0, 1] {
            let mut packet = inner_packet(v6, 0, true, ttl, b"payload");
            assert_eq!(decrement_ttl(packet.data_mut()), Err(TtlExpired));
        }
    }
    for octets in [&mut [][..], &mut [0x45; 19], &mut [0x60; 7], &mut [0; 40]] {
        assert_eq!(decrement_ttl(octets), Err(TtlExpired));
        set_ecn(octets, Ecn::NotEct);
    }
}
