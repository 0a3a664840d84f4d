use proptest::prelude::*;

use super::*;

const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

/// A TCP segment with these flags and options (a multiple of four octets) in an IP packet, checksums right.
fn segment(v6: bool, flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
    let mut tcp = vec![0x12, 0x34, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, 0, flags, 0xff, 0xff, 0, 0, 0, 0];
    tcp[12] = ((20 + options.len()) / 4) as u8 * 16;
    tcp.extend(options);
    tcp.extend(data);
    let len = tcp.len() as u16;
    let mut packet = if v6 {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, 6, 64];
        header[4..6].copy_from_slice(&len.to_be_bytes());
        header.extend([0x20; 16]);
        header.extend([0x30; 16]);
        header
    } else {
        let mut header = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        header[2..4].copy_from_slice(&(20 + len).to_be_bytes());
        header
    };
    let at = packet.len();
    packet.extend(tcp);
    let checksum = !sum(&packet, at);
    packet[at + 16..at + 18].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// The sum over pseudo-header and segment, which begins at `at`.
fn sum(packet: &[u8], at: usize) -> u16 {
    let addresses = if packet[0] >> 4 == 6 { &packet[8..40] } else { &packet[12..20] };
    let tcp = &packet[at..];
    (Sum::of(addresses) + Sum::word(6) + Sum::word(tcp.len() as u16) + Sum::of(tcp)).fold()
}

const MSS_1460: [u8; 4] = [2, 4, 0x05, 0xb4];

#[test]
fn syn_and_syn_ack_are_lowered() {
    for v6 in [false, true] {
        for flags in [SYN, SYN_ACK] {
            let mut packet = segment(v6, flags, &MSS_1460, &[]);
            assert!(clamp(&mut packet, 1360));
            assert_eq!(packet, segment(v6, flags, &[2, 4, 0x05, 0x50], &[]));
            for more in [1360, 1361, 1460, 65535] {
                assert!(!clamp(&mut packet, more), "never raised");
            }
            assert_eq!(packet, segment(v6, flags, &[2, 4, 0x05, 0x50], &[]));
        }
    }
}

#[test]
fn an_mtu_leaves_room_for_headers() {
    for (v6, mss) in [(false, 1360u16), (true, 1340)] {
        let mut packet = segment(v6, SYN, &MSS_1460, &[]);
        assert!(clamp_to_mtu(&mut packet, 1400));
        let [high, low] = mss.to_be_bytes();
        assert_eq!(packet, segment(v6, SYN, &[2, 4, high, low], &[]));
        let mut packet = segment(v6, SYN, &MSS_1460, &[]);
        for mtu in [0, 40, 1520, 70_000] {
            assert!(!clamp_to_mtu(&mut packet, mtu), "{mtu}");
        }
    }
    assert!(!clamp_to_mtu(&mut [], 1400));
    assert!(!clamp_to_mtu(&mut [0x50; 60], 1400));
}

#[test]
fn rules() {
    for (rule, mtu, mss) in [
        (MssRule::Keep, Some(1400), 1460),
        (MssRule::Path, Some(1400), 1360),
        (MssRule::Path, None, 1460),
        (MssRule::AtMost(1300), Some(1400), 1300),
        (MssRule::AtMost(1300), None, 1300),
        (MssRule::AtMost(1500), None, 1460),
    ] {
        let mut packet = segment(false, SYN, &MSS_1460, &[]);
        assert_eq!(rule.apply(&mut packet, mtu), mss != 1460, "{rule:?}");
        let [high, low] = u16::to_be_bytes(mss);
        assert_eq!(packet, segment(false, SYN, &[2, 4, high, low], &[]));
    }
}

#[test]
fn the_option_may_be_anywhere() {
    for options in [
        &[1, 1, 1, 1, 2, 4, 0x05, 0xb4][..],
        // At an odd place.
        &[1, 2, 4, 0x05, 0xb4, 1, 1, 0],
        &[8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 2, 4, 0x05, 0xb4, 3, 3, 7, 0, 0, 0],
        &[3, 3, 7, 2, 4, 0x05, 0xb4, 0],
    ] {
        let mut packet = segment(false, SYN, options, b"data");
        assert!(clamp(&mut packet, 1000), "{options:?}");
        let at = options.windows(2).position(|pair| pair == [2, 4]).unwrap();
        let mut expected = options.to_vec();
        expected[at + 2..at + 4].copy_from_slice(&1000u16.to_be_bytes());
        assert_eq!(packet, segment(false, SYN, &expected, b"data"));
    }
}

#[test]
fn behind_ipv6_extension_headers() {
    let plain = segment(true, SYN, &MSS_1460, &[]);
    let mut packet = [&plain[..40], &[6, 0, 0, 0, 0, 0, 0, 0], &plain[40..]].concat();
    packet[5] += 8;
    packet[6] = 60;
    assert!(clamp(&mut packet, 1000));
    assert_eq!(packet[48..], segment(true, SYN, &[2, 4, 0x03, 0xe8], &[])[40..]);
}

#[test]
fn everything_else_is_left_alone() {
    let unchanged = |mut packet: Vec<u8>| {
        let before = packet.clone();
        !clamp(&mut packet, 500) && packet == before
    };
    assert!(unchanged(segment(false, ACK, &MSS_1460, &[])), "no SYN");
    assert!(unchanged(segment(false, SYN, &[], &[])), "no option");
    assert!(unchanged(segment(false, SYN, &[1, 1, 1, 0], &MSS_1460)), "data");
    assert!(unchanged(segment(false, SYN, &[0, 0, 0, 0, 2, 4, 0x05, 0xb4], &[])), "after the end of the list");
    assert!(unchanged(segment(false, SYN, &[2, 3, 0x05, 0xb4], &[])), "wrong length");
    assert!(unchanged(segment(false, SYN, &[9, 0, 2, 4, 0x05, 0xb4, 0, 0], &[])), "an option without length");
    assert!(unchanged(segment(false, SYN, &[9, 1, 2, 4, 0x05, 0xb4, 0, 0], &[])), "shorter than itself");
    assert!(unchanged(segment(false, SYN, &[9, 40, 0, 0], &MSS_1460)), "longer than the header");
    assert!(unchanged(segment(false, SYN, &[1, 1, 2, 4], &[0x05, 0xb4])), "cut off");
    let mut udp = segment(false, SYN, &MSS_1460, &[]);
    udp[9] = 17;
    assert!(unchanged(udp));
    let mut fragment = segment(false, SYN, &MSS_1460, &[]);
    fragment[7] = 9;
    assert!(unchanged(fragment));
    for offset in [0x00, 0x40, 0xf0] {
        let mut wrong = segment(false, SYN, &MSS_1460, &[]);
        wrong[32] = offset;
        assert!(unchanged(wrong), "{offset:x}");
    }
    let whole = segment(false, SYN, &MSS_1460, &[]);
    for len in 0..whole.len() {
        assert!(unchanged(whole[..len].to_vec()), "{len}");
    }
}

proptest! {
    /// Any octets as options: what was intact stays so, nothing grows, and a second time changes nothing.
    #[test]
    fn the_checksum_stays_right(
        v6: bool,
        options in prop::collection::vec(
            prop_oneof![
                Just(vec![1]),
                any::<u16>().prop_map(|mss| [vec![2, 4], mss.to_be_bytes().to_vec()].concat()),
                any::<(u8, u8)>().prop_map(|(a, b)| vec![a, b]),
            ],
            0..10,
        ),
        data in prop::collection::vec(any::<u8>(), 0..10),
        mss in 1..2000u16,
    ) {
        let mut options = options.concat();
        options.resize(options.len().next_multiple_of(4).min(40), 0);
        let before = segment(v6, SYN, &options, &data);
        let mut packet = before.clone();
        let changed = clamp(&mut packet, mss);
        prop_assert_eq!(changed, packet != before);
        prop_assert_eq!(sum(&packet, if v6 { 40 } else { 20 }), 0xffff);
        prop_assert!(!clamp(&mut packet, mss));
    }

    #[test]
    fn any_octets_are_survived(
        octets in prop::collection::vec(any::<u8>(), 0..120),
        first in prop::sample::select(vec![0x45, 0x46, 0x60]),
        mss: u16,
    ) {
        let mut octets = octets;
        if let [version, _, l0, l1, l2, l3, next, _, _, protocol, ..] = &mut octets[..] {
            (*version, *l0, *l2, *next, *protocol) = (first, 0, 0, 6, 6);
            (*l1, *l3) = (*l1 % 120, *l3 % 80);
        }
        let len = octets.len();
        clamp(&mut octets, mss);
        prop_assert_eq!(octets.len(), len);
    }
}
