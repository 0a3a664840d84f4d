//! Bodies of fuzz targets: laws that hold for any octets. `cargo test` replays the corpora.

use std::net::IpAddr;

use crate::checksum::Sum;
use crate::icmp::{self, Unanswerable, packet_too_big};
use crate::transport::{self, DecapsulateError, Rebuilt};
use crate::tunnel::{self, Ecn, Inner, Outer};
use crate::{ENCR, Inbound, NextHeader, Outbound, PacketBuf, Spi, mss, udp};

const SPI: Spi = Spi(0x1000);

/// Two ways through the receiving side. The octets as a datagram: never a panic, and nothing but what this SA sealed
/// is opened. The octets as the payload of a packet of this SA, which is what a misbehaving but authenticated peer
/// controls: opened to the same octets and decapsulated to no more than them.
///
/// # Panics
/// If a law is broken.
pub fn open(data: &[u8]) {
    let [row, flags, octets @ ..] = data else { return };
    let encr = &ENCR[usize::from(*row) % ENCR.len()];
    let (encryption, integrity) = (vec![1; encr.encryption_len()], vec![2; encr.integ_key_len]);
    let esn = flags & 1 != 0;
    let sending = Outbound::new(SPI, encr, &encryption, &integrity, esn).expect("keys as long as the row says");
    let receiving = Inbound::new(SPI, encr, &encryption, &integrity, esn, 64).expect("as above");

    let mut packet = PacketBuf::for_mtu(octets.len());
    packet.extend(octets).expect("a buffer for these octets");
    udp::classify(packet.data());
    Outer::strip(&mut packet);
    assert!(receiving.open(&mut packet).is_err(), "forged");

    packet.clear();
    packet.extend(octets).expect("as above");
    // The first octet of the payload, as a next header that may fit it.
    let next = NextHeader::of_ip_packet(octets).unwrap_or(NextHeader(*flags));
    sending.reserve(1).expect("the first number").seal(next, &mut packet).expect("room");
    let sealed = packet.data().to_vec();
    assert_eq!(sealed.len(), encr.sealed_len(octets.len()));
    assert_eq!(receiving.open(&mut packet), Ok(next));
    assert_eq!(packet.data(), octets);
    if tunnel::decapsulate(&mut packet, next, Ecn::from_traffic_class(flags >> 1)).is_ok() {
        assert!(packet.len() <= octets.len());
        assert_eq!(NextHeader::of_ip_packet(packet.data()), Some(next));
    }

    packet.reset(0);
    packet.extend(&sealed).expect("as sealed");
    assert!(receiving.open(&mut packet).is_err(), "replayed");
}

/// The octets as what a peer put into a packet of a transport mode SA: what is rebuilt from them is a packet between the
/// SA's addresses with that payload in it, and a checksum that is as right or wrong as it was.
///
/// # Panics
/// If a law is broken.
pub fn transport(data: &[u8]) {
    let [next, flags, octets @ ..] = data else { return };
    let (next, v6, nat) = (NextHeader(*next), flags & 1 != 0, flags & 2 != 0);
    let address = |last| -> IpAddr { if v6 { [last; 16].into() } else { [10, 0, 0, last].into() } };
    let (actual, original) = ((address(1), address(2)), (address(1), address(9)));
    let header = Rebuilt {
        source: actual.0,
        destination: actual.1,
        traffic_class: flags & 0xfc,
        hop_limit: 64,
        original: nat.then_some(original),
    };
    let mut packet = PacketBuf::new(40 + octets.len(), 40);
    packet.extend(octets).expect("a buffer for these octets");
    match transport::decapsulate(&mut packet, next, &header) {
        Err(error) => return assert_eq!(error == DecapsulateError::Dummy, next == NextHeader::NONE),
        Ok(()) => assert!(Outer::strip(&mut copy(packet.data())).is_some(), "no intact IP header"),
    }
    let stripped = transport::encapsulate(&mut packet).expect("what can be rebuilt can be sent");
    assert_eq!((stripped.next, stripped.source, stripped.destination), (next, actual.0, actual.1));
    assert_eq!(stripped.fields.traffic_class(), header.traffic_class);
    if packet.data() != octets {
        let sum = |(a, b), payload| (Sum::addresses(a, b) + Sum::of(payload)).fold() % 0xffff;
        assert!(nat, "changed for no reason");
        assert_eq!(sum(actual, packet.data()), sum(original, octets));
        assert!(packet.data().iter().zip(octets).filter(|(a, b)| a != b).count() <= 2, "more than a checksum");
    }
}

/// The octets as a packet from our side, after a word that serves as MSS and MTU: what transport mode takes off comes
/// back, clamping leaves the checksums right, and no answer to a packet that is too big gets an answer.
///
/// # Panics
/// If a law is broken.
pub fn inner(data: &[u8]) {
    let [w0, w1, octets @ ..] = data else { return };
    let word = u16::from_be_bytes([*w0, *w1]);

    let mut clamped = octets.to_vec();
    if mss::clamp(&mut clamped, word) {
        assert_eq!(Sum::of(&clamped).fold(), Sum::of(octets).fold());
        assert!(!mss::clamp(&mut clamped, word), "lowered twice");
    } else {
        assert_eq!(clamped, octets);
    }

    let mut buffer = [0; icmp::MAX_LEN];
    if let Ok(reply) = packet_too_big(octets, word.into(), &mut buffer) {
        let header = Outer::strip(&mut copy(reply)).expect("an intact packet");
        let again = packet_too_big(reply, 0, &mut [0; icmp::MAX_LEN]).map(<[u8]>::len);
        assert!(matches!(again, Err(Unanswerable::IcmpError | Unanswerable::Fits)));
        let stripped = transport::encapsulate(&mut copy(octets));
        assert!(
            stripped.is_err()
                || stripped.is_ok_and(|s| (s.source, s.destination) == (header.destination, header.source))
        );
    }

    let mut packet = copy(octets);
    let Ok(stripped) = transport::encapsulate(&mut packet) else { return assert_eq!(packet.data(), octets) };
    let payload = packet.data().to_vec();
    let header = Rebuilt {
        source: stripped.source,
        destination: stripped.destination,
        traffic_class: stripped.fields.traffic_class(),
        hop_limit: stripped.fields.ttl,
        original: None,
    };
    let rebuilt = transport::decapsulate(&mut packet, stripped.next, &header);
    if stripped.next == NextHeader::NONE {
        return assert_eq!(rebuilt, Err(DecapsulateError::Dummy));
    }
    assert_eq!(rebuilt, Ok(()));
    let len = Inner::parse(octets).expect("it has a header").len;
    assert!(packet.len() == len && packet.data().ends_with(&payload));
}

/// A packet with room around it.
fn copy(octets: &[u8]) -> PacketBuf {
    let mut packet = PacketBuf::for_mtu(octets.len());
    packet.extend(octets).expect("a buffer for these octets");
    packet
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn the_corpora_hold() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");
        for (name, body) in
            [("esp_open", super::open as fn(&[u8])), ("esp_transport", super::transport), ("esp_inner", super::inner)]
        {
            let corpus = std::fs::read_dir(format!("{folder}/{name}")).unwrap();
            let replayed = corpus.map(|entry| body(&std::fs::read(entry.unwrap().path()).unwrap())).count();
            assert!(replayed > 0, "the corpus of {name} is empty");
        }
    }

    proptest! {
        #[test]
        fn any_octets_hold(
            mut data in prop::collection::vec(any::<u8>(), 0..200),
            first in prop::sample::select(vec![0x00, 0x45, 0x46, 0x60]),
            len in 0..200u8,
        ) {
            // Often something like an IP header.
            if let [_, _, version, _, l0, l1, ..] = &mut data[..] {
                (*version, *l0, *l1) = (first, 0, len);
            }
            super::open(&data);
            super::inner(&data);
        }

        #[test]
        fn any_payload_holds(
            mut data in prop::collection::vec(any::<u8>(), 0..200),
            next in prop::sample::select(vec![0, 1, 4, 6, 17, 33, 41, 43, 44, 58, 59, 60, 132, 135, 136]),
            inside in prop::sample::select(vec![6, 17, 43, 44, 58, 60]),
        ) {
            // Often a destination options header of eight octets.
            if let [first, _, second, len, ..] = &mut data[..] {
                (*first, *second, *len) = (next, inside, *len % 3);
            }
            super::transport(&data);
        }
    }
}
