//! Packets that are longer than the path takes: told to their senders, or fragmented outside.

use cygnet::workers::Outbound;
use cygnet_esp::ENCR;
use cygnet_esp::tunnel::{DfRule, MssRule, Rules};
use cygnet_sad::NewPair;

use crate::support::{A, B, Recorded, new_pair, packet, pair, v6_packet};

fn df(len: u16) -> Vec<u8> {
    let mut packet = packet(A, B, len, 1);
    packet[6] = 0x40;
    packet
}

#[test]
fn senders_learn_how_long_their_packets_may_be() {
    let mut a = Recorded::new(Rules::default());
    a.pair.set_inner_mtu(Some(1300));
    let too_big = |host: &Recorded| host.path.counters.outbound_total(Outbound::TooBig);
    assert_eq!(a.sends(&[df(1300), df(1301), v6_packet(1300, 0), v6_packet(1301, 0)]), [(0, true, 2)]);
    assert_eq!(too_big(&a), 2);
    let v4 = a.received().expect("an answer");
    // Destination unreachable, fragmentation needed; from where the packet went, with its first octets.
    assert_eq!((v4[9], &v4[12..16], &v4[16..20], &v4[20..22]), (1, &B[..], &A[..], &[3, 4][..]));
    assert_eq!(v4[26..28], 1300u16.to_be_bytes());
    assert_eq!(v4[28..], df(1301)[..v4.len() - 28]);
    let v6 = a.received().expect("an answer");
    assert_eq!((v6[6], &v6[40..42], &v6[44..48]), (58, &[2, 0][..], &1300u32.to_be_bytes()[..]));
    assert_eq!(a.received(), None);
}

#[test]
fn what_may_be_fragmented_is_sent_to_be_fragmented() {
    let mut a = Recorded::new(Rules::default());
    a.pair.set_inner_mtu(Some(1000));
    // A sender of IPv6 does not go below 1280.
    assert_eq!(a.sends(&[packet(A, B, 1400, 0), v6_packet(1280, 0)]), [(0, false, 2)]);
    // What fits keeps the protection of its DF.
    assert_eq!(a.sends(&[df(1000), v6_packet(1000, 0)]), [(0, true, 2)]);

    for (rule, sent) in [(DfRule::Clear, vec![(0, false, 2)]), (DfRule::Set, vec![(0, false, 1)])] {
        let mut a = Recorded::new(Rules { df: rule, ..Rules::default() });
        a.pair.set_inner_mtu(Some(1000));
        assert_eq!(a.sends(&[df(1100), packet(A, B, 1100, 0)]), sent, "{rule:?}");
        assert_eq!(a.received().is_some(), rule == DfRule::Set, "{rule:?}: only who must know is told");
    }
}

#[test]
fn a_sender_that_does_not_listen_is_not_answered_for_ever() {
    let mut a = Recorded::new(Rules::default());
    a.pair.set_inner_mtu(Some(1000));
    for _ in 0..50 {
        assert!(a.sends(&vec![df(1100); 20]).is_empty());
    }
    assert_eq!(a.path.counters.outbound_total(Outbound::TooBig), 1000);
    let answers = std::iter::from_fn(|| a.received()).count();
    // A hundred at once and per second; this takes less than four.
    assert!((100..500).contains(&answers), "{answers}");
}

/// A SYN that announces segments of 1460 octets, with a checksum of 0xffff that only stands for its changes.
fn syn(from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let mut packet = packet(from, to, 44, 0);
    packet[9] = 6;
    packet[20..].fill(0);
    packet[32] = 0x60;
    packet[33] = 2;
    packet[36..38].copy_from_slice(&[0xff, 0xfe]);
    packet[40..].copy_from_slice(&[2, 4, 0x05, 0xb4]);
    packet
}

#[test]
fn segments_are_clamped_both_ways() {
    for (mss, expected) in [(MssRule::Path, 960u16), (MssRule::AtMost(700), 700), (MssRule::Keep, 1460)] {
        let (mut a, mut b) = pair(&ENCR[0]);
        a.path.sad.remove(cygnet_sad::PairId(1));
        let headers = Rules { mss, ..Rules::default() };
        let new = NewPair { headers, ..new_pair(&ENCR[0], 1, 2) };
        a.path.sad.install(std::time::Instant::now(), new).expect("the old one is gone").set_inner_mtu(Some(1000));
        // `b` changes nothing: what is seen is the work of `a`, going out and coming in.
        a.sends(&[syn(A, B)]);
        b.sends(&[syn(B, A)]);
        for packet in [b.receives(), a.receives()].concat() {
            assert_eq!(packet[42..44], expected.to_be_bytes(), "{mss:?}");
            assert_eq!(packet[36..38] == [0xff, 0xfe], mss == MssRule::Keep, "{mss:?}: the checksum follows");
        }
    }
}
