use super::*;
use crate::cipher::ENCR;

fn sa(encr: &'static Encr, esn: bool) -> Outbound {
    let (encryption, integrity) = (vec![7; encr.encryption_len()], vec![8; encr.integ_key_len]);
    Outbound::new(Spi(0x1234_5678), encr, &encryption, &integrity, esn).unwrap()
}

#[test]
fn numbers_start_at_one_and_never_repeat() {
    let sa = sa(&ENCR[0], false);
    let mut first = sa.reserve(2).unwrap();
    let mut second = sa.reserve(1).unwrap();
    let mut seen = Vec::new();
    for reservation in [&mut second, &mut first] {
        let mut packet = PacketBuf::for_mtu(64);
        while reservation.seal(NextHeader::IPV4, &mut packet).is_ok() {
            seen.push(packet.data()[4..8].to_vec());
            packet.clear();
        }
        assert_eq!(reservation.seal(NextHeader::IPV4, &mut packet), Err(SealError::Exhausted));
    }
    assert_eq!(seen, [[0, 0, 0, 3], [0, 0, 0, 1], [0, 0, 0, 2]]);
}

#[test]
fn refuses_to_wrap_at_32_bits_without_esn() {
    let sa = sa(&ENCR[0], false);
    sa.last.store(u64::from(u32::MAX) - 2, Ordering::Relaxed);
    assert!(sa.reserve(3).is_err());
    let mut last = sa.reserve(2).unwrap();
    let mut packet = PacketBuf::for_mtu(64);
    last.seal(NextHeader::IPV4, &mut packet).unwrap();
    packet.clear();
    last.seal(NextHeader::IPV4, &mut packet).unwrap();
    assert_eq!(packet.data()[4..8], [0xff; 4]);
    for _ in 0..3 {
        assert!(sa.reserve(1).is_err());
    }
    assert_eq!(sa.sequence(), u64::from(u32::MAX));
}

#[test]
fn refuses_to_wrap_at_64_bits_with_esn() {
    let sa = sa(&ENCR[0], true);
    sa.last.store(u64::from(u32::MAX), Ordering::Relaxed);
    let mut packet = PacketBuf::for_mtu(64);
    sa.reserve(1).unwrap().seal(NextHeader::IPV4, &mut packet).unwrap();
    // Low half on the wire, all of it in the IV.
    assert_eq!(packet.data()[4..16], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);

    sa.last.store(u64::MAX - 1, Ordering::Relaxed);
    assert!(sa.reserve(2).is_err());
    packet.clear();
    let mut last = sa.reserve(1).unwrap();
    last.seal(NextHeader::IPV4, &mut packet).unwrap();
    assert_eq!(last.seal(NextHeader::IPV4, &mut packet), Err(SealError::Exhausted));
    assert!(sa.reserve(1).is_err());
    assert_eq!(sa.sequence(), u64::MAX);
}

#[test]
fn no_room_costs_no_number_and_leaves_the_packet() {
    let sa = sa(&ENCR[0], false);
    let mut reservation = sa.reserve(1).unwrap();
    for (capacity, headroom) in [(64, 15), (16 + 4 + 19, 16)] {
        let mut packet = PacketBuf::new(capacity, headroom);
        packet.extend(b"body").unwrap();
        assert_eq!(reservation.seal(NextHeader::IPV4, &mut packet), Err(SealError::NoRoom));
        assert_eq!(packet.data(), b"body");
    }
    assert_eq!(reservation.left(), 1);
}

#[test]
fn lengths_are_predicted() {
    for encr in ENCR {
        let sa = sa(encr, false);
        for len in 0..100 {
            let mut packet = PacketBuf::for_mtu(100);
            packet.append(len).unwrap();
            sa.reserve(1).unwrap().seal(NextHeader::IPV4, &mut packet).unwrap();
            assert_eq!(packet.len(), encr.sealed_len(len), "{encr} {len}");
            assert!(encr.max_payload(packet.len()) >= len);
        }
        for len in encr.sealed_len(0)..200 {
            let payload = encr.max_payload(len);
            assert!(encr.sealed_len(payload) <= len && encr.sealed_len(payload + 1) > len, "{encr} {len}");
        }
        assert_eq!(encr.max_payload(0), 0);
    }
}

#[test]
fn workers_in_parallel_never_share_a_number() {
    let sa = sa(&ENCR[0], false);
    let mut seen = std::thread::scope(|scope| {
        let workers = Vec::from_iter((0..4).map(|_| {
            scope.spawn(|| {
                let (mut seen, mut packet) = (Vec::new(), PacketBuf::for_mtu(0));
                for _ in 0..50 {
                    let mut batch = sa.reserve(5).unwrap();
                    // The fifth is never used: a gap, not a repetition.
                    for _ in 0..4 {
                        packet.clear();
                        batch.seal(NextHeader::NONE, &mut packet).unwrap();
                        seen.push(packet.data()[4..16].to_vec());
                    }
                }
                seen
            })
        }));
        Vec::from_iter(workers.into_iter().flat_map(|worker| worker.join().unwrap()))
    });
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), sa.sequence()), (800, 1000));
}
