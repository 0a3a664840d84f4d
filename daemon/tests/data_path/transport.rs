//! Transport mode: the packet that arrives is the one that was sent, its header rebuilt.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use cygnet::net::Wire;
use cygnet::workers::{Inbound, Outbound};
use cygnet_esp::ENCR;
use cygnet_esp::tunnel::{DfRule, DscpRule, EcnMode, Rules};
use cygnet_sad::{NewPair, OriginalAddresses, Path};
use cygnet_spd::{Action, AddrRange, Mode, Selector, Terms, TrafficSelector};

use crate::support::{A, B, Host, POLICY, Recorded, host_with, new_pair, packet, policy};

pub(crate) fn v4(side: u8) -> IpAddr {
    [192, 0, 2, side].into()
}

pub(crate) fn v6(side: u8) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, side.into()).into()
}

fn side(address: IpAddr) -> Vec<TrafficSelector> {
    vec![TrafficSelector::any(AddrRange::host(address))]
}

/// The pair of the host `local` with `remote`, whose keys are those of sides 1 and 2.
fn between(local: (u8, IpAddr), remote: (u8, IpAddr), udp: bool) -> NewPair {
    let port = if udp { 4500 } else { 0 };
    NewPair {
        selector: Selector { local: side(local.1), remote: side(remote.1) },
        mode: Mode::Transport,
        path: Path {
            local: SocketAddr::new(local.1, port),
            remote: SocketAddr::new(remote.1, port),
            udp_encapsulation: udp,
        },
        ..new_pair(&ENCR[0], local.0, remote.0)
    }
}

/// Two hosts that protect everything between them.
pub(crate) fn hosts(address: fn(u8) -> IpAddr, udp: bool) -> (Host, Host) {
    let wire = Wire::new();
    let one = |n: u8, other: u8| {
        let terms = Terms { mode: Mode::Transport, ..Terms::default() };
        let selector = Selector { local: side(address(n)), remote: side(address(other)) };
        let host = host_with(wire.host(address(n), 500, 4500), vec![policy(selector, Action::Protect(POLICY), terms)]);
        let new = between((n, address(n)), (other, address(other)), udp);
        host.path.sad.install(Instant::now(), new).expect("an empty SAD");
        host
    };
    (one(1, 2), one(2, 1))
}

fn sum(octets: &[u8]) -> u32 {
    octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// A UDP packet with right checksums.
pub(crate) fn udp(from: IpAddr, to: IpAddr, len: usize, traffic_class: u8) -> Vec<u8> {
    let header = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut header = vec![0x45, traffic_class, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0];
            header[2..4].copy_from_slice(&(20 + len as u16).to_be_bytes());
            header.extend([from.octets(), to.octets()].concat());
            let checksum = !folded(sum(&header));
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            header
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut header = vec![0x60 | traffic_class >> 4, traffic_class << 4, 0, 0, 0, len as u8, 17, 64];
            header[4..6].copy_from_slice(&(len as u16).to_be_bytes());
            header.extend([from.octets(), to.octets()].concat());
            header
        }
        _ => panic!("unlike addresses"),
    };
    let mut payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
    payload[..4].copy_from_slice(&[0x12, 0x34, 0x56, 0x78]);
    payload[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    payload[6..8].fill(0);
    let checksum = !folded(pseudo(&header, len) + sum(&payload));
    payload[6..8].copy_from_slice(&checksum.to_be_bytes());
    [header, payload].concat()
}

/// The part of the header that the checksum covers.
fn pseudo(header: &[u8], len: usize) -> u32 {
    let addresses = if header[0] >> 4 == 4 { &header[12..20] } else { &header[8..40] };
    sum(addresses) + 17 + len as u32
}

/// Whether header and payload have right checksums.
pub(crate) fn is_sound(packet: &[u8]) -> bool {
    let header_len = if packet[0] >> 4 == 4 { 20 } else { 40 };
    let (header, payload) = packet.split_at(header_len);
    (header_len == 40 || folded(sum(header)) == 0xffff)
        && folded(pseudo(header, payload.len()) + sum(payload)) == 0xffff
}

#[test]
fn packets_arrive_as_they_were_sent() {
    for address in [v4 as fn(u8) -> IpAddr, v6] {
        for encapsulated in [false, true] {
            let (mut a, mut b) = hosts(address, encapsulated);
            let there: Vec<_> = [8, 9, 100, 1300].map(|len| udp(address(1), address(2), len, 0)).into();
            let back: Vec<_> = [8, 1001].map(|len| udp(address(2), address(1), len, 0)).into();
            assert!(there.iter().all(|packet| is_sound(packet)));
            a.sends(&there);
            assert_eq!(b.receives(), there);
            b.sends(&back);
            assert_eq!(a.receives(), back);
            assert_eq!((a.sent(Outbound::Sealed), a.got(Inbound::Delivered)), (4, 2));
        }
    }
}

#[test]
fn checksums_are_those_of_the_addresses_behind_the_nat() {
    let (inside, outside, server) = (v4(77), v4(1), v4(2));
    let wire = Wire::new();
    // The client knows itself by another address than the server does.
    let terms = Terms { mode: Mode::Transport, ..Terms::default() };
    let entry =
        |local, remote| policy(Selector { local: side(local), remote: side(remote) }, Action::Protect(POLICY), terms);
    let mut client = host_with(wire.host(outside, 500, 4500), vec![entry(inside, server)]);
    let mut peer = host_with(wire.host(server, 500, 4500), vec![entry(server, outside)]);
    let new = between((1, inside), (2, server), true);
    let original = Some(OriginalAddresses { local: outside, remote: server });
    client.path.sad.install(Instant::now(), NewPair { original, ..new }).expect("an empty SAD");
    let new = between((2, server), (1, outside), true);
    let original = Some(OriginalAddresses { local: server, remote: inside });
    peer.path.sad.install(Instant::now(), NewPair { original, ..new }).expect("an empty SAD");

    client.sends(&[udp(inside, server, 50, 0)]);
    let [arrived] = &peer.receives()[..] else { panic!("one packet") };
    assert_eq!(arrived[12..16], [192, 0, 2, 1], "the address that the server knows");
    assert!(is_sound(arrived));
    peer.sends(&[udp(server, outside, 60, 0)]);
    let [answer] = &client.receives()[..] else { panic!("one packet") };
    assert_eq!(answer[16..20], [192, 0, 2, 77], "its own address");
    assert!(is_sound(answer));
}

#[test]
fn the_outer_header_says_how_congested_the_way_was() {
    let (mut a, mut b) = hosts(v4, true);
    let marked = udp(v4(1), v4(2), 20, 0xb9);
    a.sends(std::slice::from_ref(&marked));
    assert_eq!(b.receives(), [marked]);
}

#[test]
fn what_transport_mode_cannot_carry_is_dropped_and_counted() {
    let (mut a, _b) = hosts(v4, true);
    let mut options = udp(v4(1), v4(2), 40, 0);
    options[0] = 0x46;
    a.sends(&[options]);
    assert_eq!(a.sent(Outbound::Options), 1);
}

#[test]
fn outer_headers_follow_the_rules_and_packets_alike_leave_together() {
    let inner = |dscp: u8, df: bool| {
        let mut packet = packet(A, B, 100, 0);
        (packet[1], packet[6]) = (dscp << 2 | 2, u8::from(df) << 6);
        packet
    };
    let packets = [inner(46, true), inner(46, true), inner(46, false), inner(0, false), inner(0, true)];
    let copy = Rules::default();
    let fixed = Rules { dscp: DscpRule::Set(8), df: DfRule::Set, ecn: EcnMode::Compatibility, ..copy };
    let clear = Rules { dscp: DscpRule::Set(0), df: DfRule::Clear, ..copy };
    for (headers, expected) in [
        (copy, vec![(0xba, true, 2), (0xba, false, 1), (2, false, 1), (2, true, 1)]),
        (fixed, vec![(0x20, true, 5)]),
        (clear, vec![(2, false, 5)]),
    ] {
        let mut host = Recorded::new(headers);
        assert_eq!(host.sends(&packets), expected, "{headers:?}");
    }
}
