use super::*;
use crate::cipher::ENCR;
use crate::outbound::Outbound;

const SPI: Spi = Spi(0x1234_5678);

fn pair(encr: &'static Encr, esn: bool) -> (Outbound, Inbound) {
    let encryption = Vec::from_iter((0..encr.encryption_len()).map(|i| i as u8));
    let integrity = Vec::from_iter((0..encr.integ_key_len).map(|i| !i as u8));
    (
        Outbound::new(SPI, encr, &encryption, &integrity, esn).unwrap(),
        Inbound::new(SPI, encr, &encryption, &integrity, esn, 64).unwrap(),
    )
}

fn sealed(sa: &Outbound, payload: &[u8]) -> PacketBuf {
    let mut packet = PacketBuf::for_mtu(payload.len());
    packet.extend(payload).unwrap();
    sa.reserve(1).unwrap().seal(NextHeader::IPV4, &mut packet).unwrap();
    packet
}

fn copy(packet: &PacketBuf) -> PacketBuf {
    let mut copy = PacketBuf::new(packet.capacity(), packet.headroom());
    copy.extend(packet.data()).unwrap();
    copy
}

#[test]
fn opens_what_was_sealed() {
    for encr in ENCR {
        for esn in [false, true] {
            let (out, inbound) = pair(encr, esn);
            for len in 0..70 {
                let payload = vec![len as u8; len];
                let mut packet = sealed(&out, &payload);
                assert!(len < 8 || !packet.data().windows(len).any(|w| w == payload), "{encr}: plaintext shows");
                assert_eq!(inbound.open(&mut packet), Ok(NextHeader::IPV4), "{encr} {len}");
                assert_eq!(packet.data(), payload);
            }
        }
    }
}

#[test]
fn every_flipped_bit_and_truncation_is_refused_and_leaves_no_mark() {
    for encr in ENCR {
        for esn in [false, true] {
            let (out, inbound) = pair(encr, esn);
            let packet = sealed(&out, b"some payload");
            for bit in 0..packet.len() * 8 {
                let mut bad = copy(&packet);
                bad.data_mut()[bit / 8] ^= 1 << (bit % 8);
                let error = inbound.open(&mut bad).unwrap_err();
                match bit / 8 {
                    0..4 => assert_eq!(error, OpenError::WrongSpi),
                    4..8 => assert!(matches!(error, OpenError::Forged | OpenError::Old), "{encr}: {error:?}"),
                    _ => assert_eq!(error, OpenError::Forged),
                }
            }
            for len in 0..packet.len() {
                let mut bad = copy(&packet);
                bad.truncate(len);
                assert!(matches!(inbound.open(&mut bad), Err(OpenError::Forged | OpenError::Malformed)));
            }
            assert_eq!(inbound.sequence(), 0);
            assert!(inbound.open(&mut copy(&packet)).is_ok());
            assert_eq!(inbound.open(&mut copy(&packet)), Err(OpenError::Replayed));
        }
    }
}

#[test]
fn the_unsent_half_of_the_number_is_authenticated() {
    for encr in ENCR {
        let (out, _) = pair(encr, true);
        let (_, without) = pair(encr, false);
        assert_eq!(without.open(&mut sealed(&out, b"payload")), Err(OpenError::Forged), "{encr}");
    }
}

#[test]
fn numbers_cross_the_32_bit_boundary() {
    for encr in ENCR {
        let (out, inbound) = pair(encr, true);
        let start = u64::from(u32::MAX) - 10;
        inbound.lock().mark(start).unwrap();
        let mut skipped = out.reserve(u32::MAX - 10).unwrap();
        assert_eq!(skipped.left(), u32::MAX - 10);
        let mut packets = Vec::from_iter((0..20).map(|i| sealed(&out, &[i; 9])));
        // Late and early ones around the boundary, each accepted once.
        packets.reverse();
        for (i, packet) in packets.iter().enumerate() {
            let mut packet = copy(packet);
            assert_eq!(inbound.open(&mut packet), Ok(NextHeader::IPV4), "{encr} {i}");
            assert_eq!(packet.data(), [19 - i as u8; 9]);
        }
        assert_eq!(inbound.sequence(), start + 20);
        for packet in &packets {
            assert_eq!(inbound.open(&mut copy(packet)), Err(OpenError::Replayed));
        }
        // Numbers long gone: read as a lap later, they were received before or do not verify.
        let mut old = PacketBuf::for_mtu(9);
        for (seq, expected) in (1..=100).zip([OpenError::Replayed; 9].into_iter().chain([OpenError::Forged; 91])) {
            old.clear();
            skipped.seal(NextHeader::IPV4, &mut old).unwrap();
            assert_eq!(inbound.open(&mut old), Err(expected), "{encr} {seq}");
        }
    }
}

#[test]
fn old_packets_and_number_zero_are_refused() {
    let (out, inbound) = pair(&ENCR[0], false);
    let first = sealed(&out, b"first");
    let mut zero = copy(&first);
    zero.data_mut()[4..8].fill(0);
    assert_eq!(inbound.open(&mut zero), Err(OpenError::Old));
    let mut packets = Vec::from_iter((0..64).map(|_| sealed(&out, b"later")));
    assert!(inbound.open(&mut packets[63]).is_ok());
    assert_eq!(inbound.open(&mut copy(&first)), Err(OpenError::Old));
    assert!(inbound.open(&mut packets[0]).is_ok());
}

#[test]
fn a_batch_is_opened_as_its_packets_would_be_one_by_one() {
    let (out, inbound) = pair(&ENCR[0], true);
    let mut packets = Vec::from_iter((0..150u8).map(|i| sealed(&out, &[i; 20])));
    packets[3].data_mut()[20] ^= 1;
    packets[4].truncate(11);
    packets[5].data_mut()[0] ^= 1;
    // A duplicate in the same chunk: only marking can see it.
    packets[7] = copy(&packets[6]);
    // One that is left of the window by its turn, hence taken for one of the next lap (appendix A2.2).
    packets[149] = copy(&packets[8]);
    let mut seen = Vec::new();
    inbound.open_batch(&mut packets, |i, packet, outcome| {
        assert_eq!(i, seen.len());
        if outcome.is_ok() {
            assert_eq!(packet.data(), [i as u8; 20]);
        }
        seen.push(outcome);
    });
    assert_eq!(seen.len(), 150);
    for (i, outcome) in seen.into_iter().enumerate() {
        let expected = match i {
            3 => Err(OpenError::Forged),
            4 => Err(OpenError::Malformed),
            5 => Err(OpenError::WrongSpi),
            7 => Err(OpenError::Replayed),
            149 => Err(OpenError::Forged),
            _ => Ok(NextHeader::IPV4),
        };
        assert_eq!(outcome, expected, "packet {i}");
    }
    inbound.open_batch(&mut [] as &mut [&mut PacketBuf], |_, _, _| unreachable!());
}

#[test]
fn an_authentic_packet_with_wrong_padding_is_dropped_but_marked() {
    let encr = &ENCR[0];
    let (_, inbound) = pair(encr, false);
    let cipher = encr.key(&Vec::from_iter(0..encr.encryption_len() as u8), &[]).unwrap();
    let mut packet = PacketBuf::new(64, 0);
    packet.extend(&[0x12, 0x34, 0x56, 0x78, 0, 0, 0, 1]).unwrap();
    packet.extend(&[0; 8]).unwrap();
    packet.extend(&[0xaa, 7, 1, 4]).unwrap();
    packet.append(16).unwrap();
    let (header, rest) = packet.data_mut().split_first_chunk_mut().unwrap();
    let (iv, rest) = rest.split_at_mut(8);
    let (body, icv) = rest.split_at_mut(4);
    cipher.seal(Aad::esp(header, None), iv, body, icv).unwrap();
    assert_eq!(inbound.open(&mut copy(&packet)), Err(OpenError::Padding));
    assert_eq!(inbound.open(&mut copy(&packet)), Err(OpenError::Replayed));
}

#[test]
fn dummies_say_so() {
    let (out, inbound) = pair(&ENCR[0], false);
    let mut packet = PacketBuf::for_mtu(100);
    packet.append(77).unwrap();
    out.reserve(1).unwrap().seal(NextHeader::NONE, &mut packet).unwrap();
    assert_eq!(inbound.open(&mut packet), Ok(NextHeader::NONE));
}

#[test]
fn opens_the_packet_of_rfc_7634_appendix_a() {
    let key = Vec::from_iter(0x80..0xa4);
    let encr = Encr::find(28, None, None).unwrap();
    let inbound = Inbound::new(Spi(0x0102_0304), encr, &key, &[], false, 64).unwrap();
    let mut packet = PacketBuf::new(128, 0);
    packet.extend(&[1, 2, 3, 4, 0, 0, 0, 5, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17]).unwrap();
    for word in [
        0x24039428b97f417e_u64,
        0x3c13753a4f05087b,
        0x67c352e6a7fab1b9,
        0x82d466ef407ae5c6,
        0x14ee8099d52844eb,
        0x61aa95dfab4c02f7,
        0x2aa71e7c4c4f64c9,
        0xbefe2facc638e8f3,
        0xcbec163fac469b50,
        0x2773f6fb94e664da,
        0x9165b82829f641e0,
        0x76aaa8266b7fb0f7,
        0xb11b369907e1ad43,
    ] {
        packet.extend(&word.to_be_bytes()).unwrap();
    }
    let again = copy(&packet);
    assert_eq!(inbound.open(&mut packet), Ok(NextHeader::IPV4));
    assert_eq!(packet.data()[..12], [0x45, 0, 0, 0x54, 0xa6, 0xf2, 0, 0, 0x40, 1, 0xe7, 0x78]);
    assert_eq!(packet.data()[12..20], [198, 51, 100, 5, 192, 0, 2, 5]);
    assert_eq!(
        packet.data()[28..],
        Vec::from_iter([0x55, 0x3b, 0xec, 0x10, 0, 7, 0x36, 0x27].into_iter().chain(8..=0x37))
    );
    assert_eq!(inbound.open(&mut copy(&again)), Err(OpenError::Replayed));
}

#[test]
fn workers_in_parallel_let_each_number_through_once() {
    let (out, inbound) = pair(&ENCR[0], true);
    let packets = Vec::from_iter((0..60).map(|_| sealed(&out, b"payload")));
    let accepted = std::thread::scope(|scope| {
        let workers = Vec::from_iter((0..4).map(|_| {
            scope.spawn(|| {
                let mut mine = Vec::from_iter(packets.iter().map(copy));
                let mut accepted = 0;
                for batch in mine.chunks_mut(7) {
                    inbound.open_batch(batch, |_, _, outcome| accepted += usize::from(outcome.is_ok()));
                }
                accepted
            })
        }));
        workers.into_iter().map(|worker| worker.join().unwrap()).sum::<usize>()
    });
    assert_eq!(accepted, packets.len());
}

#[test]
fn without_anti_replay_a_packet_is_opened_as_often_as_it_comes() {
    for encr in ENCR {
        let encryption = Vec::from_iter((0..encr.encryption_len()).map(|i| i as u8));
        let integrity = Vec::from_iter((0..encr.integ_key_len).map(|i| !i as u8));
        let inbound = Inbound::without_anti_replay(SPI, encr, &encryption, &integrity).unwrap();
        assert_eq!((inbound.window(), inbound.esn()), (0, false));
        let restarted = || sealed(&pair(encr, false).0, b"payload");
        for _ in 0..3 {
            let mut packet = restarted();
            assert_eq!(inbound.open(&mut packet), Ok(NextHeader::IPV4), "{encr}");
            assert_eq!(packet.data(), b"payload");
        }
        let mut batch = Vec::from_iter((0..70).map(|_| restarted()));
        inbound.open_batch(&mut batch, |_, _, outcome| assert_eq!(outcome, Ok(NextHeader::IPV4)));
        let mut forged = restarted();
        forged.data_mut()[20] ^= 1;
        assert_eq!(inbound.open(&mut forged), Err(OpenError::Forged));
        let mut with_esn = sealed(&pair(encr, true).0, b"payload");
        assert_eq!(inbound.open(&mut with_esn), Err(OpenError::Forged));
        assert!(Inbound::without_anti_replay(SPI, encr, &encryption[1..], &integrity).is_err());
    }
}
