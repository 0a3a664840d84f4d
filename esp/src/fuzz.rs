//! The body of the fuzz target for opening: laws that hold for any octets. `cargo test` replays the corpus.

use crate::tunnel::{self, Ecn, Outer};
use crate::{ENCR, Inbound, NextHeader, Outbound, PacketBuf, Spi, udp};

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn the_corpus_holds() {
        let corpus = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/esp_open")).unwrap();
        let replayed = corpus.map(|entry| super::open(&std::fs::read(entry.unwrap().path()).unwrap())).count();
        assert!(replayed > 0, "the corpus is empty");
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
        }
    }
}
