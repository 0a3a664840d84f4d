//! Forged, mutated and repeated messages: nothing panics, nothing grows, the tunnel stays up.

use cygnet_ike::testing::scenario::NET;
use cygnet_ike::testing::{Kind, Packet, Side, at};
use cygnet_ike::{DropReason, Event};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// Everything sent in a life of both roles: handshakes, rekeys, deletes.
fn recorded() -> Vec<Vec<u8>> {
    let mut pair = tunnel(1, Side::A, |_, scenario| scenario.connection.fragment_size = Some(250));
    let child = pair.a.children()[0].id;
    pair.command(Side::A, Command::RekeyChild(child));
    pair.run();
    let ike = the_ike(&pair.b);
    pair.command(Side::B, Command::RekeyIke(ike));
    pair.run();
    let ike = the_ike(&pair.a);
    pair.command(Side::A, Command::DeleteIke(ike));
    pair.run();
    pair.a.sent.iter().chain(&pair.b.sent).cloned().collect()
}

/// Flips bits, truncates, extends, breaks lengths and critical bits.
fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    let at = |rng: &mut StdRng, len: usize| (rng.next_u64() % len.max(1) as u64) as usize;
    for _ in 0..=at(rng, 3) {
        if bytes.is_empty() {
            return;
        }
        let i = at(rng, bytes.len());
        match rng.next_u32() % 6 {
            0 => bytes[i] ^= 1 << (rng.next_u32() % 8),
            1 => bytes.truncate(i),
            2 => bytes.extend(std::iter::repeat_n(rng.next_u32() as u8, at(rng, 64))),
            3 => bytes[i] = rng.next_u32() as u8,
            // A generic payload header's critical bit, or a length field.
            4 if bytes.len() > 32 => bytes[29] |= 0x80,
            5 if bytes.len() > 32 => bytes[30 + at(rng, 2)] = rng.next_u32() as u8,
            _ => bytes[i] ^= 0xff,
        }
    }
    // Often a length that fits, so that parsing gets further.
    if bytes.len() >= 28 && rng.next_u32().is_multiple_of(2) {
        let length = (bytes.len() as u32).to_be_bytes();
        bytes[24..28].copy_from_slice(&length);
    }
}

#[test]
fn ten_thousand_mutated_messages_do_no_harm() {
    let recorded = recorded();
    let mut rng = StdRng::seed_from_u64(4);
    let mut pair = tunnel(2, Side::A, |_, _| {});
    let (ike, child) = (pair.b.ike_sas()[0].spi_r, pair.b.children()[0].spi_in);
    // The tunnel's own messages as well: those name SAs that exist.
    let own: Vec<Vec<u8>> = pair.a.sent.iter().chain(&pair.b.sent).cloned().collect();
    for round in 0..10_000 {
        let source = if round % 2 == 0 { &recorded } else { &own };
        let mut bytes = source[(rng.next_u64() % source.len() as u64) as usize].clone();
        mutate(&mut rng, &mut bytes);
        if own.contains(&bytes) || recorded.contains(&bytes) {
            continue;
        }
        let to = if rng.next_u32() % 2 == 0 { Side::A } else { Side::B };
        let marker = rng.next_u32() % 4 == 0;
        let port = if marker { 4500 } else { 500 };
        let packet = Packet { from: at(to.other(), port), to: at(to, port), kind: Kind::Ike { marker }, bytes };
        pair.inject(to, packet);
        let bound = 1 + 128;
        assert!(pair.a.endpoint.footprint() <= bound && pair.b.endpoint.footprint() <= bound, "round {round}");
        if round % 100 == 0 {
            pair.run_for(SECOND);
            // What is reported is drained by its owner; here it must not count as memory of the core.
            pair.a.events.clear();
            pair.b.events.clear();
        }
    }
    pair.run_for(120 * SECOND);
    assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (1, 1));
    assert_eq!((pair.b.ike_sas()[0].spi_r, pair.b.children()[0].spi_in), (ike, child));
    assert!(pair.is_open(NET));
    // Its IKE still works, too.
    let child = pair.a.children()[0].id;
    pair.command(Side::A, Command::RekeyChild(child));
    pair.run();
    pair.run_for(10 * SECOND);
    assert_up(&mut pair);
}

#[test]
fn repeated_messages_of_the_past_change_nothing() {
    let mut pair = tunnel(3, Side::A, |_, _| {});
    for side in [Side::A, Side::B] {
        for bytes in pair.node(side).sent.clone() {
            let (from, to) = (at(side, 500), at(side.other(), 500));
            pair.inject(side.other(), Packet { from, to, kind: Kind::Ike { marker: false }, bytes });
        }
    }
    pair.run();
    assert_up(&mut pair);
    assert_eq!((pair.a.endpoint.footprint(), pair.b.endpoint.footprint()), (1, 1));
}

#[test]
fn a_flood_of_first_messages_meets_cookies_and_a_bound() {
    let mut pair = tunnel(4, Side::A, |_, scenario| {
        scenario.config.cookie_threshold = 10;
        scenario.config.max_half_open = 20;
    });
    let mut rng = StdRng::seed_from_u64(1);
    let first = pair.a.sent[0].clone();
    let before = pair.b.sent.len();
    for _ in 0..1000 {
        let mut bytes = first.clone();
        rng.fill_bytes(&mut bytes[..8]);
        let (from, to) = (at(Side::A, 500), at(Side::B, 500));
        pair.inject(Side::B, Packet { from, to, kind: Kind::Ike { marker: false }, bytes });
    }
    assert_eq!(pair.b.endpoint.footprint(), 1 + 10);
    // Whoever is challenged gets less than was sent.
    let answers = &pair.b.sent[before + 10..];
    assert!(answers.iter().all(|answer| answer.len() < first.len()));
    pair.run_for(60 * SECOND);
    assert_eq!(pair.b.endpoint.footprint(), 1);
    assert_up(&mut pair);
}

/// `message` with a payload put before its first one.
fn with_first(message: &[u8], kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = message[..28].to_vec();
    bytes[16] = kind;
    bytes.extend([message[16], 0]);
    bytes.extend((4 + body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes.extend(&message[28..]);
    let length = (bytes.len() as u32).to_be_bytes();
    bytes[24..28].copy_from_slice(&length);
    bytes
}

fn strangers_request(bytes: Vec<u8>) -> Packet {
    Packet { from: at(Side::A, 500), to: at(Side::B, 500), kind: Kind::Ike { marker: false }, bytes }
}

#[test]
fn a_host_that_returns_its_cookies_leaves_places_for_others() {
    let mut pair = tunnel(4, Side::A, |_, scenario| scenario.config.cookie_threshold = 0);
    let first = pair.a.sent.iter().find(|sent| sent[18] == 34).unwrap().clone();
    for round in 0..200_u64 {
        let mut bytes = first.clone();
        bytes[..8].copy_from_slice(&(0xbad0_0000 + round).to_be_bytes());
        pair.inject(Side::B, strangers_request(bytes.clone()));
        // Challenged: HDR, N(COOKIE). The same again behind the notification as it came.
        let challenge = pair.b.sent.last().unwrap().clone();
        assert_eq!((challenge[16], &challenge[34..36]), (41, &16390_u16.to_be_bytes()[..]));
        pair.inject(Side::B, strangers_request(with_first(&bytes, 41, &challenge[32..])));
    }
    assert_eq!(pair.b.endpoint.footprint(), 1 + 16);
    pair.run_for(60 * SECOND);
    assert_eq!(pair.b.endpoint.footprint(), 1);
    assert_up(&mut pair);
}

#[test]
fn a_stranger_cannot_make_us_keep_much() {
    let mut pair = tunnel(4, Side::A, |_, _| {});
    let mut bytes = pair.a.sent[0].clone();
    bytes[0] ^= 0xff;
    // Vendor IDs mean nothing to us, but AUTH covers them.
    pair.inject(Side::B, strangers_request(with_first(&bytes, 43, &[7; 60_000])));
    assert_eq!(pair.b.endpoint.footprint(), 1);
    pair.inject(Side::B, strangers_request(with_first(&bytes, 43, &[7; 4000])));
    assert_eq!(pair.b.endpoint.footprint(), 2);
}

#[test]
fn requests_for_unknown_sas_are_answered_in_the_clear_and_seldom() {
    let mut pair = tunnel(5, Side::A, |_, _| {});
    let request = pair.a.sent.last().unwrap().clone();
    pair.restart(Side::B);
    for _ in 0..1000 {
        let (from, to) = (at(Side::A, 500), at(Side::B, 500));
        let packet = Packet { from, to, kind: Kind::Ike { marker: false }, bytes: request.clone() };
        pair.inject(Side::B, packet);
    }
    assert_eq!(pair.b.sent.len(), 10);
    assert!(pair.b.sent.iter().all(|answer| answer[19] & 0x20 != 0 && answer[16] == 41));
    let unknown = |event: &&Event| matches!(event, Event::Dropped { reason: DropReason::UnknownSpi, .. });
    assert_eq!(pair.b.events.iter().filter(unknown).count(), 1000);
    // A believes none of it.
    pair.run();
    assert_eq!(pair.a.children().len(), 1);
}

#[test]
fn a_higher_major_version_is_told_ours() {
    let mut pair = psk(6, |_, _| {});
    initiate(&mut pair, Side::A);
    let mut bytes = pair.a.sent[0].clone();
    bytes[17] = 0x30;
    let before = pair.b.sent.len();
    let (from, to) = (at(Side::A, 500), at(Side::B, 500));
    pair.inject(Side::B, Packet { from, to, kind: Kind::Ike { marker: false }, bytes });
    let [answer] = &pair.b.sent[before..] else { panic!("one answer expected") };
    assert_eq!((answer[17], answer[16]), (0x20, 41));
}
