//! Frames of several packets: cut on the way out, put together on the way in, by two gateways that both can, or by one.

use std::time::Duration;

use cygnet::net::Wire;
use cygnet::offload::{Head, Kind, Offloads, Partial, Segments};
use cygnet::workers::{Inbound, Outbound};
use cygnet_esp::{ENCR, Encr};
use cygnet_sad::Lifetime;

use crate::support::{A, ALLOCATIONS, B, Host, MTU, host_that, install};
use crate::transport;

const ALL: Offloads = Offloads { tcp: true, udp: true };
const NONE: Offloads = Offloads { tcp: false, udp: false };
/// Datagrams that the network in memory gives at once.
const AT_ONCE: usize = 32;
const KINDS: [Kind; 3] = [Kind::Tcp4, Kind::Tcp6, Kind::Udp];

fn pair(encr: &'static Encr, a: Offloads, b: Offloads) -> (Host, Host) {
    let wire = Wire::new();
    let (a, b) = (host_that(&wire, 1, 2, a), host_that(&wire, 2, 1, b));
    install(&a, encr, 1, 2, Lifetime::default());
    install(&b, encr, 2, 1, Lifetime::default());
    (a, b)
}

/// RFC 1071 §4.1.
fn sum(octets: &[u8]) -> u16 {
    let word = |word: &[u8]| u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| u32::from(low));
    let all = octets.chunks(2).map(word).fold(0, |all, word| (all + word) % 0xffff);
    if all == 0 && octets.iter().any(|&octet| octet != 0) { 0xffff } else { all as u16 }
}

fn pseudo(packet: &[u8], at: usize, protocol: u8) -> Vec<u8> {
    let addresses = if packet[0] >> 4 == 4 { &packet[12..20] } else { &packet[8..40] };
    let len = (packet.len() - at) as u16;
    [addresses, &[0, protocol], &len.to_be_bytes()].concat()
}

/// `payload` in one frame, to be cut into packets of `size` octets each.
fn frame(kind: Kind, payload: &[u8], size: usize) -> (Head, Vec<u8>) {
    frame_between(A, B, kind, payload, size)
}

fn frame_between(from: [u8; 4], to: [u8; 4], kind: Kind, payload: &[u8], size: usize) -> (Head, Vec<u8>) {
    let (protocol, transport) = match kind {
        Kind::Udp => (17, [&[0, 7, 0, 9][..], &(8 + payload.len() as u16).to_be_bytes(), &[0, 0]].concat()),
        Kind::Tcp4 | Kind::Tcp6 => (6, vec![0, 7, 0, 9, 0xff, 0xff, 0xff, 0, 1, 2, 3, 4, 0x50, 0x18, 4, 0, 0, 0, 0, 0]),
    };
    let len = (transport.len() + payload.len()) as u16;
    let mut frame = if kind == Kind::Tcp6 {
        let mut ip = [&[0x60, 0, 0, 0][..], &len.to_be_bytes(), &[protocol, 64], &[0; 32]].concat();
        ip[8..14].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 1]);
        ip[24..30].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 2]);
        ip
    } else {
        let mut ip =
            [&[0x45, 0][..], &(20 + len).to_be_bytes(), &[0, 1, 0x40, 0, 64, protocol, 0, 0], &from, &to].concat();
        let checksum = !sum(&ip);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        ip
    };
    let start = frame.len();
    frame.extend(transport.iter().chain(payload));
    let offset = if kind == Kind::Udp { 6 } else { 16 };
    let partial = sum(&pseudo(&frame, start, protocol));
    frame[start + offset..start + offset + 2].copy_from_slice(&partial.to_be_bytes());
    let checksum = Some(Partial { start: start as u16, offset: offset as u16 });
    (Head { checksum, segments: Some((kind, size as u16)), headers: 0 }, frame)
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

/// The packets that the inner network of `host` gets, frames cut, and how many frames they came in.
fn packets(host: &Host) -> (Vec<Vec<u8>>, usize) {
    let (mut packets, mut frames) = (Vec::new(), 0);
    let mut look = |frame: &[u8], head: Head| {
        frames += 1;
        match Segments::of(frame, &head).expect("a frame") {
            None => packets.push(frame.to_vec()),
            Some(cut) => packets.extend((0..cut.count()).map(|n| {
                let mut packet = vec![0; cut.len(n)];
                cut.write(frame, n, &mut packet);
                packet
            })),
        }
    };
    while host.tun.take_frame(Duration::ZERO, &mut look).is_some() {}
    (packets, frames)
}

/// That `packets` are whole and carry `payload`, `size` octets each.
fn check(kind: Kind, packets: &[Vec<u8>], payload: &[u8], size: usize) {
    let at = if kind == Kind::Tcp6 { 40 } else { 20 };
    let (protocol, headers) = if kind == Kind::Udp { (17, at + 8) } else { (6, at + 20) };
    let carried: Vec<_> = packets.iter().map(|packet| &packet[headers..]).collect();
    assert_eq!(carried, payload.chunks(size).collect::<Vec<_>>(), "{kind:?}, {size} octets each");
    for packet in packets {
        assert_eq!(sum(&[pseudo(packet, at, protocol), packet[at..].to_vec()].concat()), 0xffff, "{kind:?}, {size}");
        assert!(kind == Kind::Tcp6 || sum(&packet[..20]) == 0xffff, "{kind:?}: the header's checksum");
    }
}

/// Sends a frame from `a` to `b`, in as many batches as it takes.
fn cross(a: &mut Host, b: &mut Host, (head, frame): &(Head, Vec<u8>), count: usize) -> (Vec<Vec<u8>>, usize) {
    assert!(a.tun.inject_frame(frame, *head));
    let (mut sent, mut all, mut frames) = (0, Vec::new(), 0);
    while sent < count {
        sent += a.outbound.batch().expect("memory").packets;
        while all.len() < sent {
            assert!(b.inbound.batch().expect("memory"));
            let (packets, some) = packets(b);
            all.extend(packets);
            frames += some;
        }
    }
    a.check_counters();
    b.check_counters();
    (all, frames)
}

#[test]
fn frames_cross_whatever_either_side_can() {
    for kind in KINDS {
        for (from, to) in [(ALL, ALL), (ALL, NONE), (NONE, ALL)] {
            let (mut a, mut b) = pair(&ENCR[0], from, to);
            for (len, size) in [(30_000, 1300), (1, 1), (2, 1), (300, 1), (5000, 1000), (1001, 1000), (9000, 536)] {
                let payload = payload(len);
                let count = len.div_ceil(size);
                let (got, frames) = cross(&mut a, &mut b, &frame(kind, &payload, size), count);
                check(kind, &got, &payload, size);
                let expected = if to == ALL { count.div_ceil(AT_ONCE) } else { count };
                assert!(frames <= expected + 2, "{kind:?}, {len} octets in {size}: {frames} frames of {count} packets");
            }
            assert_eq!(a.sent(Outbound::Sealed), b.got(Inbound::Delivered));
        }
    }
}

#[test]
fn frames_cross_in_transport_mode() {
    let (mut a, mut b) = transport::hosts(transport::v4, true);
    let payload = payload(20_000);
    let (_, four) = frame_between([192, 0, 2, 1], [192, 0, 2, 2], Kind::Tcp4, &payload, 1300);
    let (head, _) = frame(Kind::Tcp4, &payload, 1300);
    check(Kind::Tcp4, &cross(&mut a, &mut b, &(head, four), 16).0, &payload, 1300);
}

#[test]
fn what_is_left_to_be_done_is_done_or_the_packet_is_dropped() {
    let (mut a, mut b) = pair(&ENCR[0], ALL, NONE);
    let payload = payload(500);
    let (head, packet) = frame(Kind::Udp, &payload, 500);
    assert!(a.tun.inject_frame(&packet, Head { segments: None, ..head }));
    a.outbound.batch().expect("memory");
    assert!(b.inbound.batch().expect("memory"));
    check(Kind::Udp, &packets(&b).0, &payload, 500);
    // Heads that do not fit, and packets longer than the device's MTU.
    let wrong = Some(Partial { start: 600, offset: 6 });
    let (long, longer) = frame(Kind::Tcp4, &vec![0; 3 * MTU], MTU);
    let heads = [Head { checksum: wrong, ..head }, Head { checksum: wrong, segments: None, headers: 0 }];
    for head in heads {
        assert!(a.tun.inject_frame(&packet, head));
    }
    assert!(a.tun.inject_frame(&longer, long));
    a.outbound.batch().expect("memory");
    assert_eq!(a.sent(Outbound::Unreadable), 2 + 3);
    a.check_counters();
}

/// A device that says it takes frames, and does not.
#[test]
fn a_device_that_refuses_frames_gets_packets() {
    let (mut a, mut b) = pair(&ENCR[0], ALL, ALL);
    b.tun.refuse_frames();
    let payload = payload(10_000);
    for _ in 0..2 {
        let (got, frames) = cross(&mut a, &mut b, &frame(Kind::Tcp4, &payload, 1000), 10);
        check(Kind::Tcp4, &got, &payload, 1000);
        assert_eq!(frames, 10);
    }
    assert_eq!(b.tun.frames_refused(), 1, "not tried again");
}

#[test]
fn frames_allocate_nothing() {
    let (mut a, mut b) = pair(&ENCR[0], ALL, ALL);
    let frames: Vec<_> = KINDS.map(|kind| frame(kind, &payload(40_000), 1300)).into();
    let mut round = || {
        for (head, frame) in &frames {
            assert!(a.tun.inject_frame(frame, *head));
        }
        a.outbound.batch().expect("memory");
        let (mut received, mut left) = (0, 93);
        while left > 0 {
            assert!(b.inbound.batch().expect("memory"));
            while b.tun.take_frame(Duration::ZERO, |frame, _| received += frame.len()).is_some() {}
            left = if received > 3 * 40_000 { 0 } else { 1 };
        }
        received
    };
    let each = round();
    (0..20).for_each(|_| assert_eq!(round(), each));
    let before = ALLOCATIONS.get();
    (0..50).for_each(|_| assert_eq!(round(), each));
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations in 4650 packets");
}
