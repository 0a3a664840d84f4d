//! What the outer network may throw at a gateway, and what it does not: disturb the traffic of others.

use cygnet::workers::audit::Reason;
use cygnet::workers::{AuditEvent, Inbound};
use cygnet_esp::ENCR;

use crate::support::{A, ALLOCATIONS, B, address, inject, packet, pair, seal, thief, v6_packet};

/// Forged packets of each kind.
const COUNT: usize = 10_000;
/// Forged packets between two honest ones: with one of those, what a batch receives.
const BETWEEN: usize = 31;

/// Sends `COUNT` packets from `forge`, among honest ones which must all arrive; the reason of each must be `fate`.
fn flood(fate: Inbound, mut forge: impl FnMut(usize) -> Vec<u8>) {
    let (mut a, mut b) = pair(&ENCR[0]);
    let honest = packet(A, B, 200, 7);
    let mut told: Vec<AuditEvent> = Vec::new();
    for sent in (0..COUNT).step_by(BETWEEN) {
        let count = BETWEEN.min(COUNT - sent);
        for n in sent..sent + count {
            inject(&a, &forge(n), 0);
        }
        a.sends(std::slice::from_ref(&honest));
        assert_eq!(b.receives(), std::slice::from_ref(&honest), "{fate:?}: an honest packet was lost");
        b.path.audit.take(&mut told);
    }
    assert_eq!(b.got(fate), COUNT as u64, "{fate:?}: {:?}", b.path.counters.snapshot());
    // Each was told or counted as not told, and a flood is told of seldom.
    assert!(told.iter().all(|event| event.reason == Reason::Inbound(fate) && event.peer == Some(address(1))));
    assert_eq!(told.len() as u64 + b.path.audit.suppressed(), COUNT as u64);
    assert!((10..200).contains(&told.len()), "{fate:?}: {} events", told.len());
}

#[test]
fn unknown_spis() {
    flood(Inbound::UnknownSpi, |n| [&(0x1000_0000 + n as u32).to_be_bytes()[..], &[7; 60]].concat());
}

#[test]
fn wrong_integrity_check_values() {
    let thief = thief();
    thief.reserve(1 << 20).expect("numbers ahead of the honest ones");
    flood(Inbound::Forged, |n| {
        let mut packet = seal(&thief, &packet(A, B, 60, 1), 4);
        let last = packet.len() - 1 - n % 16;
        packet[last] ^= 1 << (n % 8);
        packet
    });
}

#[test]
fn replayed_packets() {
    let thief = thief();
    // Within the window, and never the first of its number: an honest packet has that.
    let first = seal(&thief, &packet(A, B, 60, 1), 4);
    flood_after(first.clone(), Inbound::Replayed, |_| first.clone());
}

/// As [`flood`], with an SA whose first packet was received already.
fn flood_after(first: Vec<u8>, fate: Inbound, mut forge: impl FnMut(usize) -> Vec<u8>) {
    let (a, mut b) = pair(&ENCR[0]);
    inject(&a, &first, 0);
    assert_eq!(b.receives().len(), 1);
    for sent in (0..COUNT).step_by(BETWEEN) {
        let count = BETWEEN.min(COUNT - sent);
        (sent..sent + count).for_each(|n| inject(&a, &forge(n), 0));
        assert!(b.receives().is_empty());
    }
    assert_eq!(b.got(fate), COUNT as u64);
}

#[test]
fn packets_outside_the_selectors() {
    let thief = thief();
    thief.reserve(1 << 20).expect("numbers ahead of the honest ones");
    late(Inbound::Selector, |n| seal(&thief, &packet([10, 9, (n >> 8) as u8, n as u8], B, 60, 1), 4));
}

#[test]
fn the_wrong_inner_family() {
    let thief = thief();
    thief.reserve(1 << 20).expect("numbers ahead of the honest ones");
    late(Inbound::BadPayload, |n| match n % 3 {
        0 => seal(&thief, &packet(A, B, 60, 1), 41),
        1 => seal(&thief, &v6_packet(60, 1), 4),
        _ => seal(&thief, &packet(A, B, 60, 1), 17),
    });
}

/// As [`flood`], for packets that are authentic: their peer has the keys and moves the window, so that the honest
/// packets are its own.
fn late(fate: Inbound, mut forge: impl FnMut(usize) -> Vec<u8>) {
    let (a, mut b) = pair(&ENCR[0]);
    let mut told = Vec::new();
    for sent in (0..COUNT).step_by(BETWEEN) {
        let count = BETWEEN.min(COUNT - sent);
        (sent..sent + count).for_each(|n| inject(&a, &forge(n), 0));
        assert!(b.receives().is_empty());
        b.path.audit.take(&mut told);
    }
    assert_eq!(b.got(fate), COUNT as u64, "{:?}", b.path.counters.snapshot());
    assert!(told.iter().all(|event| event.reason == Reason::Inbound(fate) && event.sequence > Some(1 << 20)));
    assert!(told.iter().all(|event| event.flow.is_some() == (fate == Inbound::Selector)), "{:?}", told[0]);
}

#[test]
fn packets_cut_off_at_every_length() {
    let (a, mut b) = pair(&ENCR[0]);
    let whole = seal(&thief(), &packet(A, B, 300, 1), 4);
    let mut sent = 0;
    while sent < COUNT {
        for len in 1..whole.len() {
            inject(&a, &whole[..len], 0);
            sent += 1;
            assert!(b.receives().is_empty(), "{len} octets were enough");
        }
    }
    let fates = [Inbound::Malformed, Inbound::BadEsp, Inbound::Forged, Inbound::Keepalive];
    assert_eq!(fates.map(|fate| b.got(fate)).iter().sum::<u64>(), sent as u64);
    inject(&a, &whole, 0);
    assert_eq!(b.receives().len(), 1, "the number is still free");
}

#[test]
fn a_flood_allocates_nothing() {
    let (a, mut b) = pair(&ENCR[0]);
    let thief = thief();
    let mut told = Vec::with_capacity(1000);
    let forged: Vec<_> = (0..BETWEEN as u8).map(|n| seal(&thief, &packet([10, 9, 0, n], B, 60, 1), 4)).collect();
    let mut round = || {
        for (n, packet) in forged.iter().enumerate() {
            inject(&a, if n % 2 == 0 { packet } else { &[0x77; 80] }, 0);
        }
        b.inbound.batch().expect("memory");
        b.path.audit.take(&mut told);
        told.clear();
    };
    (0..40).for_each(|_| round());
    let before = ALLOCATIONS.get();
    (0..100).for_each(|_| round());
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
