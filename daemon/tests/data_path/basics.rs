//! Packets cross, and every one ends in one counter.

use std::io::IoSlice;
use std::time::Duration;

use cygnet::net::{Channel, Outgoing, Wire};
use cygnet::workers::{Inbound, Outbound, Signal};
use cygnet_esp::tunnel::Rules;
use cygnet_sad::{Lifetime, Limits, PairId};

use crate::support::{
    A, ALLOCATIONS, B, POLICY, Recorded, host, inject, install, nat_t, packet, pair, seal, thief, v6_packet,
};

#[test]
fn packets_of_all_sizes_cross_with_every_cipher() {
    for encr in cygnet_esp::ENCR {
        let (mut a, mut b) = pair(encr);
        let mut sent = Vec::new();
        for len in [28, 29, 100, 576, 1000, 1000, 1000, 999, 1399, 1400] {
            sent.push(packet(A, B, len, len as u8));
            sent.push(v6_packet(len.max(48), len as u8));
        }
        for packet in &sent {
            assert!(a.tun.inject(packet));
        }
        assert_eq!(a.outbound.batch().expect("memory").packets, sent.len());
        assert_eq!(a.path.counters.outbound_total(Outbound::Sealed), sent.len() as u64);
        assert!(b.inbound.batch().expect("memory"));
        let received: Vec<_> = std::iter::from_fn(|| b.received()).collect();
        assert_eq!(received, sent, "{encr}");
        a.check_counters();
        b.check_counters();
    }
}

#[test]
fn every_packet_ends_in_one_counter() {
    let (mut a, mut b) = pair(&cygnet_esp::ENCR[0]);
    for (packet, fate) in [
        (packet(A, B, 100, 0), Outbound::Sealed),
        (vec![0x99; 30], Outbound::Unreadable),
        (packet(A, [10, 2, 99, 1], 100, 0), Outbound::Discarded),
        (packet(A, [10, 2, 98, 1], 100, 0), Outbound::Bypassed),
        (packet(A, [10, 7, 0, 1], 100, 0), Outbound::Discarded),
        (packet([10, 7, 0, 1], B, 100, 0), Outbound::Discarded),
    ] {
        let before = a.path.counters.outbound_total(fate);
        assert!(a.tun.inject(&packet));
        assert_eq!(a.outbound.batch().expect("memory").packets, 1);
        assert_eq!(a.path.counters.outbound_total(fate), before + 1, "{fate:?}");
        a.check_counters();
    }
    assert!(b.inbound.batch().expect("memory"));
    assert_eq!(b.path.counters.inbound_total(Inbound::Delivered), 1);

    let send = |contents: &[u8], channel| {
        let out = Outgoing {
            datagrams: &[IoSlice::new(contents)],
            channel,
            local: nat_t(1),
            remote: nat_t(2),
            traffic_class: 0,
            df: false,
        };
        a.path.net.send(&out).expect("on the wire");
    };
    for (contents, channel, fate) in [
        (&[0xff][..], Channel::NatT, Inbound::Keepalive),
        (&[1, 2, 3], Channel::NatT, Inbound::Malformed),
        (&[9; 50], Channel::NatT, Inbound::UnknownSpi),
        (&[9; 3], Channel::RawEsp, Inbound::Malformed),
        (&[0, 0, 3, 0xea, 0, 0, 0, 9, 1], Channel::RawEsp, Inbound::BadEsp),
        (&[0, 0, 0, 0, b'i'], Channel::NatT, Inbound::Ike),
        (b"no room in the queue", Channel::Ike, Inbound::IkeOverflow),
    ] {
        let before = b.path.counters.inbound_total(fate);
        send(contents, channel);
        assert!(b.inbound.batch().expect("memory"));
        assert_eq!(b.path.counters.inbound_total(fate), before + 1, "{fate:?}");
        b.check_counters();
    }
    let ike = b.ike.try_recv().expect("the IKE message");
    assert_eq!((&ike.bytes[..], ike.path.marker, ike.path.local), (&b"i"[..], true, nat_t(2)));
}

#[test]
fn forged_replayed_and_foreign_packets_are_dropped() {
    let (a, mut b) = pair(&cygnet_esp::ENCR[0]);
    // A third party has stolen the keys of `a`, and knows how to misbehave.
    let thief = thief();
    let seal = |inner: &[u8], next| seal(&thief, inner, next);
    let good = seal(&packet(A, B, 60, 1), 4);
    let mut forged = seal(&packet(A, B, 60, 1), 4);
    forged[30] ^= 1;
    let expectations = [
        (good.clone(), Inbound::Delivered),
        (good, Inbound::Replayed),
        (forged, Inbound::Forged),
        (seal(b"anything", 59), Inbound::Dummy),
        (seal(b"not an IP packet", 4), Inbound::BadPayload),
        (seal(&packet(A, B, 60, 1), 41), Inbound::BadPayload),
        (seal(&packet([10, 9, 0, 1], B, 60, 1), 4), Inbound::Selector),
    ];
    for (sealed, fate) in expectations {
        let before = b.got(fate);
        inject(&a, &sealed, 0);
        assert!(b.inbound.batch().expect("memory"));
        assert_eq!(b.got(fate), before + 1, "{fate:?}");
        b.check_counters();
    }
    // RFC 6040 §4.2: congestion marked outside a packet that can't say so.
    let sealed = seal(&packet(A, B, 60, 1), 4);
    inject(&a, &sealed, 3);
    assert!(b.inbound.batch().expect("memory"));
    assert_eq!(b.path.counters.inbound_total(Inbound::Congestion), 1);
}

#[test]
fn congestion_marks_travel_both_ways() {
    let (mut a, mut b) = pair(&cygnet_esp::ENCR[0]);
    let mut ect = packet(A, B, 60, 1);
    ect[1] = 2;
    assert!(a.tun.inject(&ect));
    a.outbound.batch().expect("memory");
    // The outer header carries ECT(0); a router on the way would mark it, and here nobody does.
    assert!(b.inbound.batch().expect("memory"));
    assert_eq!(b.received(), Some(ect));
}

#[test]
fn missing_and_spent_sas_are_told_once() {
    let wire = Wire::new();
    let mut a = host(&wire, 1, 2);
    let _b = host(&wire, 2, 1);
    for _ in 0..3 {
        assert!(a.tun.inject(&packet(A, B, 100, 0)));
    }
    a.outbound.batch().expect("memory");
    assert_eq!(a.path.counters.outbound_total(Outbound::NoSa), 3);
    let mut signals = Vec::new();
    a.path.signals.take(&mut signals);
    assert!(matches!(signals[..], [Signal::Acquire { policy: POLICY, .. }]), "{signals:?}");

    let limits = |packets| Limits { packets: Some(packets), ..Limits::default() };
    install(&a, &cygnet_esp::ENCR[0], 1, 2, Lifetime { soft: limits(2), hard: limits(4) });
    signals.clear();
    for _ in 0..6 {
        assert!(a.tun.inject(&packet(A, B, 100, 0)));
        a.outbound.batch().expect("memory");
    }
    a.path.signals.take(&mut signals);
    assert_eq!(signals[..2], [Signal::Soft(PairId(1)), Signal::Hard(PairId(1))]);
    assert!(matches!(signals[2..], [Signal::Acquire { .. }]), "{signals:?}");
    a.check_counters();
}

#[test]
fn the_steady_state_allocates_nothing() {
    let (mut a, mut b) = pair(&cygnet_esp::ENCR[0]);
    let mut packets: Vec<_> = [60, 576, 1400].map(|len| packet(A, B, len, 7)).into();
    packets.push(v6_packet(1280, 7));
    packets.push(packet(A, [10, 2, 99, 1], 100, 0));
    packets.push(packet(A, [10, 2, 98, 1], 100, 0));
    let mut round = || {
        for packet in packets.iter().cycle().take(60) {
            a.tun.inject(packet);
        }
        a.outbound.batch().expect("memory");
        b.inbound.batch().expect("memory");
        b.inbound.batch().expect("memory");
        let mut received = 0;
        while b.tun.take(Duration::ZERO, |_| ()).is_some() {
            received += 1;
        }
        while a.net.take_clear(Duration::ZERO, |_| ()).is_some() {
            received += 1;
        }
        received
    };
    for _ in 0..20 {
        assert_eq!(round(), 50);
    }
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        assert_eq!(round(), 50);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations in 5000 packets");
}

/// The sender waits for room once, not once for each datagram: other threads may wait for their turn.
#[test]
fn an_outer_network_without_room_is_waited_for_once() {
    let mut a = Recorded::new(Rules::default());
    // Of growing length, so that each leaves by itself.
    let packets: Vec<_> = (1..=5).map(|n| packet(A, B, 100 * n, 0)).collect();
    a.has_room(false);
    assert_eq!(a.sends(&packets).len(), 1);
    assert_eq!(a.path.counters.outbound_total(Outbound::Unsent), 5);
    a.has_room(true);
    assert_eq!(a.sends(&packets).len(), 5);
    assert_eq!(a.path.counters.outbound_total(Outbound::Sealed), 5);
}
