use proptest::prelude::*;

use super::*;

const SRC4: [u8; 4] = [10, 0, 0, 1];
const DST4: [u8; 4] = [10, 0, 0, 2];

/// An IPv4 packet; `options` are a multiple of four octets, `fragment` is the flags and offset word.
pub(crate) fn v4(protocol: u8, options: &[u8], fragment: u16, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let total = u16::try_from(header_len + payload.len()).unwrap();
    let mut p = vec![0x40 | (header_len / 4) as u8, 0];
    p.extend(total.to_be_bytes());
    p.extend([0, 0]);
    p.extend(fragment.to_be_bytes());
    p.extend([64, protocol, 0, 0]);
    p.extend(SRC4);
    p.extend(DST4);
    p.extend(options);
    p.extend(payload);
    p
}

/// An IPv6 packet whose `payload` starts with header `next`.
pub(crate) fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x60, 0, 0, 0];
    p.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    p.extend([next, 64]);
    p.extend(Ipv6Addr::LOCALHOST.octets());
    p.extend(Ipv6Addr::UNSPECIFIED.octets());
    p.extend(payload);
    p
}

/// An extension header with `units` times eight octets beyond the first eight.
pub(crate) fn extension(next: u8, units: u8) -> Vec<u8> {
    let mut h = vec![0; 8 + usize::from(units) * 8];
    h[..2].copy_from_slice(&[next, units]);
    h
}

pub(crate) fn fragment(next: u8, offset: u16, more: bool) -> Vec<u8> {
    let mut h = vec![next, 0];
    h.extend((offset << 3 | u16::from(more)).to_be_bytes());
    h.extend([0, 0, 0, 1]);
    h
}

fn out(packet: &[u8]) -> Result<(u8, Ports), FlowError> {
    Flow::parse(packet, Direction::Outbound).map(|f| (f.protocol, f.ports))
}

const UDP53: [u8; 8] = [0x9c, 0x40, 0, 53, 0, 8, 0, 0];
const PAIR: Ports = Ports::Pair { local: 40000, remote: 53 };

#[test]
fn direction_says_which_side_is_ours() {
    let packet = v4(17, &[], 0, &UDP53);
    let out = Flow::parse(&packet, Direction::Outbound).unwrap();
    assert_eq!((out.local, out.remote, out.ports), (SRC4.into(), DST4.into(), PAIR));
    let inbound = Flow::parse(&packet, Direction::Inbound).unwrap();
    assert_eq!((inbound.local, inbound.remote), (DST4.into(), SRC4.into()));
    assert_eq!(inbound.ports, Ports::Pair { local: 53, remote: 40000 });
}

#[test]
fn ipv4() {
    assert_eq!(out(&v4(17, &[1; 40], 0, &UDP53)), Ok((17, PAIR)));
    assert_eq!(out(&v4(6, &[], 0x4000, &UDP53)), Ok((6, PAIR)), "don't fragment");
    assert_eq!(out(&v4(17, &[], 0x2000, &UDP53)), Ok((17, PAIR)), "first fragment");
    assert_eq!(out(&v4(17, &[], 1, &UDP53)), Ok((17, Ports::Opaque)));
    assert_eq!(out(&v4(17, &[], 0x3fff, &[])), Ok((17, Ports::Opaque)));
    assert_eq!(out(&v4(1, &[], 0, &[3, 4, 0, 0])), Ok((1, Ports::Icmp { kind: 3, code: 4 })));
    assert_eq!(out(&v4(50, &[], 0, &[])), Ok((50, Ports::None)));
    assert_eq!(out(&v4(17, &[], 0, &UDP53[..3])), Err(FlowError::Truncated));
    assert_eq!(out(&v4(1, &[], 0, &[8])), Err(FlowError::Truncated));
}

#[test]
fn ipv4_lengths() {
    let with = |at: usize, value: u8| {
        let mut p = v4(17, &[], 0, &UDP53);
        p[at] = value;
        out(&p)
    };
    assert_eq!(with(0, 0x44), Err(FlowError::HeaderLength));
    assert_eq!(with(0, 0x4f), Err(FlowError::HeaderLength));
    assert_eq!(with(3, 19), Err(FlowError::HeaderLength));
    assert_eq!(with(3, 29), Err(FlowError::Truncated));
    assert_eq!(with(3, 22), Err(FlowError::Truncated), "what follows the packet is not part of it");
    assert_eq!(with(0, 0x55), Err(FlowError::Version));
    assert_eq!(out(&[]), Err(FlowError::Empty));
}

#[test]
fn ipv6_extension_headers() {
    let chain = |parts: &[&[u8]]| parts.concat();
    assert_eq!(out(&v6(17, &UDP53)), Ok((17, PAIR)));
    let options = chain(&[&extension(43, 0), &extension(60, 3), &extension(17, 1), &UDP53]);
    assert_eq!(out(&v6(0, &options)), Ok((17, PAIR)));
    assert_eq!(out(&v6(44, &chain(&[&fragment(17, 0, true), &UDP53]))), Ok((17, PAIR)), "first fragment");
    assert_eq!(out(&v6(44, &chain(&[&fragment(17, 0, false), &UDP53]))), Ok((17, PAIR)), "atomic fragment");
    assert_eq!(out(&v6(44, &chain(&[&fragment(17, 1, false), &UDP53]))), Ok((17, Ports::Opaque)));
    assert_eq!(out(&v6(44, &fragment(60, 9, true))), Ok((60, Ports::Opaque)), "next layer in another fragment");
    assert_eq!(out(&v6(51, &extension(17, 1))), Ok((51, Ports::None)), "AH is a next layer protocol");
    assert_eq!(out(&v6(58, &[128, 0])), Ok((58, Ports::Icmp { kind: 128, code: 0 })));
    assert_eq!(out(&v6(135, &[59, 0, 5])), Ok((135, Ports::Mobility { kind: 5 })));
    assert_eq!(out(&v6(59, &[])), Ok((59, Ports::None)));
    assert_eq!(out(&v6(60, &extension(17, 1)[..8])), Err(FlowError::Truncated));
    assert_eq!(out(&v6(44, &fragment(60, 0, true))), Err(FlowError::Truncated), "RFC 7112 §5");
}

#[test]
fn the_number_of_extension_headers_is_bounded() {
    let chain = |n: usize| -> Vec<u8> {
        let mut p: Vec<u8> = (1..n).flat_map(|_| extension(60, 0)).collect();
        p.extend(extension(17, 0));
        p.extend(UDP53);
        v6(60, &p)
    };
    assert_eq!(out(&chain(MAX_EXTENSION_HEADERS)), Ok((17, PAIR)));
    assert_eq!(out(&chain(MAX_EXTENSION_HEADERS + 1)), Err(FlowError::ExtensionHeaders));
}

/// One packet of every shape above.
fn samples() -> Vec<Vec<u8>> {
    let options = [extension(43, 0), extension(60, 1), fragment(17, 0, true), UDP53.to_vec()].concat();
    vec![
        v4(17, &[], 0, &UDP53),
        v4(6, &[1; 8], 0x2000, &UDP53),
        v4(1, &[], 0, &[8, 0, 0, 0]),
        v6(17, &UDP53),
        v6(0, &options),
        v6(44, &fragment(6, 3, true)),
        v6(135, &[59, 0, 5, 0]),
    ]
}

#[test]
fn every_truncation_is_an_error() {
    for packet in samples() {
        assert!(out(&packet).is_ok());
        for len in 0..packet.len() {
            assert!(out(&packet[..len]).is_err(), "{packet:02x?} cut to {len}");
        }
    }
}

#[test]
fn padding_behind_the_packet_is_ignored() {
    for packet in samples() {
        let padded = [packet.as_slice(), &[0xff; 64]].concat();
        assert_eq!(out(&packet), out(&padded));
    }
}

#[test]
fn no_bit_flip_panics() {
    for packet in samples() {
        for first in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[first / 8] ^= 1 << (first % 8);
            crate::fuzz::flow(&flipped);
            // Two flips reach a wrong length behind a wrong next header.
            for second in 0..first {
                flipped[second / 8] ^= 1 << (second % 8);
                for len in [flipped.len(), flipped.len() - 1, flipped.len() / 2] {
                    let _ = Flow::parse(&flipped[..len], Direction::Inbound);
                }
                flipped[second / 8] ^= 1 << (second % 8);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_octets_panic(mut packet in prop::collection::vec(any::<u8>(), 0..200), version in 0u8..4) {
        if let Some(first) = packet.first_mut() {
            match version {
                0 => *first = 0x45,
                1 => *first = 0x60,
                _ => {}
            }
        }
        crate::fuzz::flow(&packet);
    }

    // The oracle is the construction: whatever headers come first, the flow is that of the last one.
    #[test]
    fn extension_headers_do_not_change_the_flow(
        kinds in prop::collection::vec((prop_oneof![Just(0u8), Just(43), Just(60), Just(44)], 0u8..4), 0..=8),
        local: u16, remote: u16,
    ) {
        let mut payload = Vec::new();
        for (i, (kind, units)) in kinds.iter().enumerate() {
            let next = kinds.get(i + 1).map_or(6, |(kind, _)| *kind);
            payload.extend(if *kind == 44 { fragment(next, 0, true) } else { extension(next, *units) });
        }
        payload.extend(local.to_be_bytes());
        payload.extend(remote.to_be_bytes());
        let packet = v6(kinds.first().map_or(6, |(kind, _)| *kind), &payload);
        prop_assert_eq!(out(&packet), Ok((6, Ports::Pair { local, remote })));
    }
}
