use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::Ports;

/// The internet checksum, one octet after the other.
fn sum(header: &[u8]) -> u16 {
    let mut sum = 0u64;
    for (at, octet) in header.iter().enumerate() {
        sum += u64::from(*octet) << if at % 2 == 0 { 8 } else { 0 };
    }
    !(((sum - 1) % 0xffff + 1) as u16)
}

/// A packet, and where it may be cut: behind the headers that each fragment repeats.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    octets: Vec<u8>,
    head: usize,
    next_at: usize,
    /// Octets of `data` that have to be in the first fragment.
    least: usize,
}

pub(crate) fn v4(source: [u8; 4], id: u16, options: usize, data: &[u8]) -> Packet {
    let head = 20 + options * 4;
    let mut p = vec![0x40 | (head / 4) as u8, 0];
    p.extend(((head + data.len()) as u16).to_be_bytes());
    p.extend(id.to_be_bytes());
    p.extend([0, 0, 64, 17, 0, 0]);
    p.extend(source);
    p.extend([10, 0, 0, 2]);
    p.extend(vec![1; options * 4]);
    let checksum = sum(&p);
    p[10..12].copy_from_slice(&checksum.to_be_bytes());
    p.extend(data);
    Packet { octets: p, head, next_at: 9, least: 8 }
}

/// With `before` and `behind` extension headers on this and that side of the cut; the last one says UDP.
fn v6(before: usize, behind: usize, data: &[u8]) -> Packet {
    let mut p = vec![0x60, 0, 0, 0, 0, 0, if before + behind > 0 { 60 } else { 17 }, 64];
    p.extend(Ipv6Addr::LOCALHOST.octets());
    p.extend(Ipv6Addr::UNSPECIFIED.octets());
    for n in 1..=before + behind {
        p.extend([if n < before + behind { 60 } else { 17 }, 0, 1, 4, 0, 0, 0, 0]);
    }
    p.extend(data);
    let payload = (p.len() - 40) as u16;
    p[4..6].copy_from_slice(&payload.to_be_bytes());
    let next_at = if before == 0 { 6 } else { 40 + (before - 1) * 8 };
    Packet { octets: p, head: 40 + before * 8, next_at, least: behind * 8 + 8 }
}

impl Packet {
    fn data(&self) -> &[u8] {
        &self.octets[self.head..]
    }

    /// The fragment with the data from `start` to `end`, both in octets.
    pub(crate) fn fragment(&self, start: usize, end: usize, more: bool) -> Vec<u8> {
        self.fragment_with(start, &self.data()[start..end], more)
    }

    fn fragment_with(&self, start: usize, data: &[u8], more: bool) -> Vec<u8> {
        let mut p = self.octets[..self.head].to_vec();
        if p[0] >> 4 == 4 {
            let field = (start / 8) as u16 | if more { 0x2000 } else { 0 };
            p[6..8].copy_from_slice(&field.to_be_bytes());
            let total = (p.len() + data.len()) as u16;
            p[2..4].copy_from_slice(&total.to_be_bytes());
        } else {
            let next = std::mem::replace(&mut p[self.next_at], 44);
            p.extend([next, 0]);
            p.extend((start as u16 | u16::from(more)).to_be_bytes());
            p.extend([0, 0, 0, 9]);
            let payload = (p.len() - 40 + data.len()) as u16;
            p[4..6].copy_from_slice(&payload.to_be_bytes());
        }
        p.extend(data);
        p
    }

    /// Where `cuts`, which count eight octets each, divide the data: once at least. With both ends.
    fn bounds(&self, cuts: &[usize]) -> Vec<usize> {
        let len = self.data().len();
        let mut at: Vec<usize> = cuts.iter().map(|cut| (cut * 8).max(self.least)).filter(|at| *at < len).collect();
        if at.is_empty() {
            at.push(self.least);
        }
        at.extend([0, len]);
        at.sort_unstable();
        at.dedup();
        at
    }

    fn cut(&self, cuts: &[usize]) -> Vec<Vec<u8>> {
        let len = self.data().len();
        self.bounds(cuts).windows(2).map(|w| self.fragment(w[0], w[1], w[1] < len)).collect()
    }
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

fn any_packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        (0usize..=10, 17usize..2000).prop_map(|(options, len)| v4([10, 0, 0, 1], 9, options, &data(len))),
        (0usize..3, 0usize..3, 17usize..2000).prop_map(|(before, behind, len)| v6(before, behind, &data(len))),
    ]
}

/// Pushes all and returns what came out.
fn push_all<'a>(to: &mut Reassembler, fragments: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<Vec<u8>> {
    let (now, mut packet, mut whole) = (Instant::now(), Vec::new(), Vec::new());
    for fragment in fragments {
        if to.push(fragment, now, &mut packet) == Progress::Whole {
            whole.push(packet.clone());
        }
    }
    whole
}

proptest! {
    #[test]
    fn however_a_packet_is_cut_and_mixed_it_comes_out_the_same(
        packet in any_packet(), cuts in prop::collection::vec(1usize..250, 1..40),
        order: prop::sample::Index, again in prop::collection::vec(any::<prop::sample::Index>(), 0..10), seed: u64,
    ) {
        let fragments = packet.cut(&cuts);
        let mut sent: Vec<&Vec<u8>> = fragments.iter().collect();
        // All but one may come twice, before or behind the packet's completion.
        let once = order.index(sent.len());
        sent.extend(again.iter().map(|n| n.index(fragments.len())).filter(|n| *n != once).map(|n| &fragments[n]));
        let mut random = seed;
        for n in (1..sent.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            sent.swap(n, (random >> 33) as usize % (n + 1));
        }
        let mut reassembler = Reassembler::new();
        let whole = push_all(&mut reassembler, sent);
        prop_assert_eq!(whole, [packet.octets]);
        let counters = reassembler.counters();
        prop_assert_eq!(counters, Counters { completed: 1, ..Counters::default() });
    }

    #[test]
    fn fragments_that_overlap_give_nothing(
        packet in any_packet(), cuts in prop::collection::vec(1usize..250, 2..20),
        start: prop::sample::Index, len in 1usize..250, at: prop::sample::Index, backwards: bool,
    ) {
        let mut fragments = packet.cut(&cuts);
        let total = packet.data().len();
        let start = 8 + start.index((total - 9) / 8) * 8;
        // It begins within one of the others, so that no packet can be made of it and some of them.
        prop_assume!(!packet.bounds(&cuts).contains(&start));
        let more = start + len * 8 < total;
        let extra = packet.fragment(start, if more { start + len * 8 } else { total }, more);
        if backwards {
            fragments.reverse();
        }
        fragments.insert(at.index(fragments.len()), extra);
        let mut reassembler = Reassembler::new();
        prop_assert_eq!(push_all(&mut reassembler, &fragments), Vec::<Vec<u8>>::new());
        // Nor do its fragments, sent again, count for a new packet.
        prop_assert_eq!(push_all(&mut reassembler, &packet.cut(&cuts)), Vec::<Vec<u8>>::new());
        prop_assert_eq!(reassembler.counters(), Counters { overlapping: 1, ..Counters::default() });
    }

    #[test]
    fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        crate::fuzz::reassembly(&octets);
    }
}

/// What becomes of each of these.
fn progress<'a>(to: &mut Reassembler, fragments: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<Progress> {
    let now = Instant::now();
    fragments.into_iter().map(|f| to.push(f, now, &mut Vec::new())).collect()
}

use Loss::*;
use Progress::*;

#[test]
fn the_same_place_with_other_octets_is_an_overlap() {
    let packet = v4([10, 0, 0, 1], 1, 0, &data(100));
    let first = packet.fragment(0, 48, true);
    let mut forged = first.clone();
    forged[20] ^= 1;
    let rest = packet.fragment(48, 100, false);
    let all = [first.clone(), first, forged, rest];
    let expected = [Kept, Kept, Dropped(Overlapping), Dropped(Overlapping)];
    assert_eq!(progress(&mut Reassembler::new(), &all), expected);
}

#[test]
fn a_packet_has_one_end() {
    let packet = v6(0, 0, &data(100));
    let (first, last) = (packet.fragment(0, 48, true), packet.fragment(48, 96, false));
    let longer = packet.fragment(96, 100, false);
    for all in [[&last, &longer, &first], [&longer, &last, &first]] {
        let expected = [Kept, Dropped(Overlapping), Dropped(Overlapping)];
        assert_eq!(progress(&mut Reassembler::new(), all), expected);
    }
    let goes_on = packet.fragment(48, 96, true);
    assert_eq!(progress(&mut Reassembler::new(), [&last, &goes_on]), [Kept, Dropped(Overlapping)]);
}

#[test]
fn fragments_of_different_packets_do_not_mix() {
    let packets = [
        v4([10, 0, 0, 1], 1, 0, &data(100)),
        v4([10, 0, 0, 1], 2, 0, &data(100)),
        v4([10, 0, 0, 3], 1, 0, &data(100)),
        v6(0, 0, &data(100)),
    ];
    let mut reassembler = Reassembler::new();
    let firsts: Vec<_> = packets.iter().map(|p| p.fragment(0, 48, true)).collect();
    let mut of_tcp = packets[0].fragment(48, 100, false);
    of_tcp[9] = 6;
    assert_eq!(progress(&mut reassembler, firsts.iter().chain([&of_tcp])), [Kept; 5]);
    let lasts: Vec<_> = packets.iter().map(|p| p.fragment(48, 100, false)).collect();
    let whole = push_all(&mut reassembler, &lasts);
    assert_eq!(whole, packets.map(|p| p.octets));
}

#[test]
fn time_runs_out() {
    let packet = v4([10, 0, 0, 1], 1, 0, &data(100));
    let (first, last) = (packet.fragment(0, 48, true), packet.fragment(48, 100, false));
    let (start, mut whole) = (Instant::now(), Vec::new());
    let mut reassembler = Reassembler::new();
    assert_eq!(reassembler.push(&first, start, &mut whole), Kept);
    assert_eq!(reassembler.push(&first, start + TIME_OUT / 2, &mut whole), Kept, "the first one counts");
    assert_eq!(reassembler.push(&last, start + TIME_OUT, &mut whole), Kept);
    reassembler.expire(start + TIME_OUT * 2);
    assert_eq!(reassembler.counters(), Counters { timed_out: 2, ..Counters::default() });
    assert_eq!(reassembler.push(&first, start + TIME_OUT * 2, &mut whole), Kept);
    assert_eq!(reassembler.push(&last, start + TIME_OUT * 3 - Duration::from_nanos(1), &mut whole), Whole);
    assert_eq!(whole, packet.octets);
}

#[test]
fn one_source_pushes_out_its_own() {
    let other = v4([10, 0, 0, 9], 1, 0, &data(100));
    let from = |n: usize| v4([10, 0, 0, 1], n as u16, 0, &data(100));
    let mut reassembler = Reassembler::new();
    let now = Instant::now();
    let mut push = |octets: &[u8], n: u64| reassembler.push(octets, now + Duration::from_millis(n), &mut Vec::new());
    assert_eq!(push(&other.fragment(0, 48, true), 0), Kept);
    for n in 0..10 * PACKETS {
        assert_eq!(push(&from(n).fragment(0, 48, true), n as u64), Kept);
    }
    assert_eq!(push(&other.fragment(48, 100, false), 1000), Whole);
    let newest = 10 * PACKETS - PACKETS_PER_SOURCE;
    assert_eq!(push(&from(newest).fragment(48, 100, false), 1000), Whole, "its newest are there");
    assert_eq!(push(&from(newest - 1).fragment(48, 100, false), 1000), Kept, "this one is gone");
    assert_eq!(reassembler.counters().no_room, newest as u64);
}

#[test]
fn many_sources_push_out_the_oldest() {
    let from = |n: usize| v4(Ipv4Addr::from_bits(n as u32).octets(), 1, 0, &data(100));
    let mut reassembler = Reassembler::new();
    let now = Instant::now();
    let mut push =
        |octets: &[u8], n: usize| reassembler.push(octets, now + Duration::from_millis(n as u64), &mut Vec::new());
    for n in 0..=PACKETS {
        assert_eq!(push(&from(n).fragment(0, 48, true), n), Kept);
    }
    assert!((1..=PACKETS).all(|n| push(&from(n).fragment(48, 100, false), 1000) == Whole));
    assert_eq!(push(&from(0).fragment(48, 100, false), 1000), Kept);
    assert_eq!(reassembler.counters(), Counters { completed: PACKETS as u64, no_room: 1, ..Counters::default() });
}

#[test]
fn no_packet_exceeds_its_length_field() {
    let packet = v4([10, 0, 0, 1], 1, 10, &data(1000));
    for (start, len, expected) in
        [(65_464, 11, Kept), (65_464, 12, Dropped(TooLarge)), (65_528, 800, Dropped(TooLarge))]
    {
        let far = packet.fragment_with(start, &data(len), false);
        assert_eq!(progress(&mut Reassembler::new(), [&far]), [expected], "{start} {len}");
    }
    // The first fragment's header may be longer than that of the others.
    let plain = v4([10, 0, 0, 1], 1, 0, &data(8));
    let mut reassembler = Reassembler::new();
    let mut all: Vec<Vec<u8>> = (0..63).map(|n| plain.fragment_with(8 + n * 1024, &data(1024), true)).collect();
    all.push(plain.fragment_with(8 + 63 * 1024, &data(65_515 - 8 - 63 * 1024), false));
    assert!(progress(&mut reassembler, &all).iter().all(|p| *p == Kept));
    assert_eq!(progress(&mut reassembler, [&packet.fragment(0, 8, true)]), [Dropped(TooLarge)]);
    assert_eq!(progress(&mut reassembler, [&all[0]]), [Dropped(TooLarge)], "for good");
    let mut reassembler = Reassembler::new();
    progress(&mut reassembler, &all);
    let whole = push_all(&mut reassembler, [&plain.fragment(0, 8, true)]);
    assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), [65_535]);

    // One extension header of 480 octets instead of sixty of eight.
    let mut long = v6(60, 0, &data(100));
    long.octets[40..42].copy_from_slice(&[17, 59]);
    long.next_at = 40;
    assert!(long.head > HEAD);
    assert_eq!(progress(&mut Reassembler::new(), [&long.fragment(48, 100, false)]), [Dropped(TooLarge)]);
}

#[test]
fn a_packet_in_too_many_pieces_is_too_large() {
    let packet = v4([10, 0, 0, 1], 1, 0, &data(FRAGMENTS * 8 + 8));
    let pieces = (0..=FRAGMENTS).map(|n| packet.fragment(n * 8, n * 8 + 8, n < FRAGMENTS));
    let mut reassembler = Reassembler::new();
    let progress = progress(&mut reassembler, &pieces.collect::<Vec<_>>());
    assert!(progress[..FRAGMENTS].iter().all(|p| *p == Kept));
    assert_eq!(progress[FRAGMENTS], Dropped(TooLarge));
    assert_eq!(reassembler.counters().too_large, 1);
}

#[test]
fn what_cannot_be_a_fragment_is_dropped_alone() {
    let (four, six) = (v4([10, 0, 0, 1], 1, 0, &data(100)), v6(0, 2, &data(100)));
    let mut nested = v6(0, 0, &data(100)).fragment(0, 48, true);
    nested[40] = 44;
    let wrong = [
        four.octets.clone(),
        six.octets.clone(),
        Vec::new(),
        four.fragment(8, 15, true),
        four.fragment(8, 8, true),
        six.fragment(8, 8, false),
        six.fragment(0, 16, true),
        nested,
        four.fragment(8, 16, true)[..27].to_vec(),
        six.fragment(8, 16, true)[..50].to_vec(),
    ];
    let mut reassembler = Reassembler::new();
    assert!(progress(&mut reassembler, &wrong).iter().all(|p| *p == Dropped(Malformed)));
    assert_eq!(reassembler.counters(), Counters { malformed: wrong.len() as u64, ..Counters::default() });
    assert_eq!(push_all(&mut reassembler, &four.cut(&[3, 9])), [four.octets]);
}

#[test]
fn an_atomic_fragment_is_whole_by_itself() {
    let packet = v6(1, 1, &data(100));
    let mut reassembler = Reassembler::new();
    let (first, last) = (packet.fragment(0, 48, true), packet.fragment(48, 108, false));
    let atomic = packet.fragment(0, 108, false);
    // RFC 6946 §4: it has nothing to do with fragments that have its identification.
    let whole = push_all(&mut reassembler, [&first, &atomic, &last]);
    assert_eq!(whole, [packet.octets.clone(), packet.octets]);
    assert_eq!(reassembler.counters(), Counters { completed: 2, ..Counters::default() });
}

#[test]
fn congestion_of_one_is_congestion_of_all() {
    // RFC 3168 §5.3, by what the two fragments carry; none is a packet dropped.
    let table = [
        (0b00, 0b00, Some(0b00)),
        (0b01, 0b01, Some(0b01)),
        (0b10, 0b10, Some(0b10)),
        (0b10, 0b11, Some(0b11)),
        (0b11, 0b01, Some(0b11)),
        (0b11, 0b11, Some(0b11)),
        (0b00, 0b11, None),
        (0b11, 0b00, None),
        (0b10, 0b01, Some(0b10)),
    ];
    for (packet, octet, shift) in [(v4([10, 0, 0, 1], 1, 0, &data(100)), 1, 0), (v6(0, 0, &data(100)), 1, 4)] {
        for (first, second, expected) in table {
            let (mut a, mut b) = (packet.fragment(0, 48, true), packet.fragment(48, 100, false));
            a[octet] |= first << shift;
            b[octet] |= second << shift;
            let whole = push_all(&mut Reassembler::new(), [&a, &b]);
            assert_eq!(whole.first().map(|w| w[octet] >> shift & 3), expected, "{first:02b} {second:02b}");
            if let Some(whole) = whole.first().filter(|w| w[0] >> 4 == 4) {
                assert_eq!(sum(&whole[..20]), 0, "the checksum covers it");
            }
        }
    }
}

#[test]
fn every_fragment_of_a_packet_shows_the_same_flow() {
    for packet in [v4([10, 0, 0, 1], 1, 2, &data(100)), v6(1, 0, &data(100)), v6(0, 2, &data(100))] {
        let flows: Vec<_> =
            packet.cut(&[3, 9]).iter().map(|f| Flow::of_fragment(f, Direction::Inbound).unwrap()).collect();
        assert_eq!(flows.len(), 3);
        assert!(flows.iter().all(|flow| *flow == flows[0] && flow.ports == Ports::Opaque));
        let whole = Flow::parse(&packet.octets, Direction::Inbound).unwrap();
        assert_eq!((whole.local, whole.remote), (flows[0].local, flows[0].remote));
        assert_eq!(Flow::of_fragment(&packet.octets, Direction::Inbound), None);
    }
}
