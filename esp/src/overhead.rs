//! What ESP adds to a packet, and so what a packet may measure (RFC 4301 §8.2.1, RFC 4303 §2).

use crate::cipher::Encr;
use crate::{ip, udp};

/// How the packets of an SA grow.
///
/// ```text
///  tunnel     | outer IP | UDP? | SPI, sequence | IV | inner packet           | padding, 2 | ICV |
///  transport  |    IP    | UDP? | SPI, sequence | IV | inner packet, no header| padding, 2 | ICV |
///             |<-------------------------- outer length, at most the path's MTU ------------------>|
/// ```
/// Padding makes growth depend on the length, so that there is no one number: [`outer_len`](Self::outer_len) never
/// falls as the inner length grows, and [`inner_mtu`](Self::inner_mtu) is its inverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overhead {
    encr: &'static Encr,
    /// Octets in front of the ESP header: outer IP header, UDP header.
    front: usize,
    /// Octets of the inner packet that are not in the ESP payload.
    stripped: usize,
}

impl Overhead {
    /// Tunnel mode. `ipv6` is the outer family, `udp` whether ESP is in UDP (RFC 3948).
    pub fn tunnel(encr: &'static Encr, ipv6: bool, udp: bool) -> Self {
        let front = ip_header(ipv6) + if udp { udp::HEADER_LEN } else { 0 };
        Self { encr, front, stripped: 0 }
    }

    /// Transport mode: the packet's family is the outer one, and it has neither options nor headers that transport mode
    /// can't carry.
    pub fn transport(encr: &'static Encr, ipv6: bool, udp: bool) -> Self {
        Self { stripped: ip_header(ipv6), ..Self::tunnel(encr, ipv6, udp) }
    }

    /// Octets of the outer packet around an inner packet of `inner` octets, both counted from their IP headers on.
    pub fn outer_len(&self, inner: usize) -> usize {
        self.front + self.encr.sealed_len(inner.saturating_sub(self.stripped))
    }

    /// The longest inner packet whose outer packet is at most `outer` octets; 0 if none is.
    ///
    /// It may be less than IPv6 demands of every link (1280 octets, RFC 8200 §5): such packets up to that length are
    /// sent all the same, and the outer packet is fragmented.
    pub fn inner_mtu(&self, outer: usize) -> usize {
        let len = outer.saturating_sub(self.front);
        if len < self.encr.sealed_len(0) { 0 } else { self.stripped + self.encr.max_payload(len) }
    }
}

fn ip_header(ipv6: bool) -> usize {
    if ipv6 { ip::V6_LEN } else { ip::V4_LEN }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tunnel::{Inner, Outer, Rules};
    use crate::{ENCR, NextHeader, Outbound, PacketBuf, Spi, transport};

    fn overhead(encr: &'static Encr, transport: bool, ipv6: bool, udp: bool) -> Overhead {
        if transport { Overhead::transport(encr, ipv6, udp) } else { Overhead::tunnel(encr, ipv6, udp) }
    }

    #[test]
    fn known_values() {
        let gcm = Encr::find(20, Some(256), None).unwrap();
        let cbc = Encr::find(12, Some(256), Some(12)).unwrap();
        for (encr, transport, ipv6, udp, outer, inner) in [
            // 1500 − 20 − 8 (ESP) − 8 (IV) − 16 (ICV) = 1448, less pad length and next header.
            (gcm, false, false, false, 1500, 1446),
            (gcm, false, false, true, 1500, 1438),
            (gcm, false, true, true, 1500, 1418),
            (gcm, true, false, false, 1500, 1466),
            (gcm, true, true, false, 1500, 1466),
            // 1500 − 20 − 8 − 16 − 16 = 1440 = 90 blocks.
            (cbc, false, false, false, 1500, 1438),
            (cbc, false, false, false, 1499, 1422),
            (cbc, true, true, true, 1280, 1222),
            (gcm, false, true, true, 1280, 1198),
        ] {
            let overhead = overhead(encr, transport, ipv6, udp);
            assert_eq!(overhead.inner_mtu(outer), inner, "{encr} {transport} {ipv6} {udp} {outer}");
            assert!(overhead.outer_len(inner) <= outer);
        }
    }

    #[test]
    fn the_inverse_is_exact() {
        for encr in ENCR {
            for case in 0..8 {
                let overhead = overhead(encr, case & 1 != 0, case & 2 != 0, case & 4 != 0);
                for outer in 0..300 {
                    let inner = overhead.inner_mtu(outer);
                    assert!(inner == 0 || overhead.outer_len(inner) <= outer, "{overhead:?} {outer}");
                    assert!(overhead.outer_len(inner + 1) > outer, "{overhead:?} {outer}");
                }
            }
        }
    }

    proptest! {
        /// What is predicted is what sealing makes.
        #[test]
        fn agrees_with_sealing(
            row in 0..ENCR.len(), transport: bool, ipv6: bool, udp: bool, inner_v6: bool, payload in 0..1500usize,
        ) {
            let encr = &ENCR[row];
            let (encryption, integrity) = (vec![1; encr.encryption_len()], vec![2; encr.integ_key_len]);
            let sa = Outbound::new(Spi(256), encr, &encryption, &integrity, true).unwrap();
            let fields = Rules::default().outer(Inner::parse(&[0x45, 0, 0, 20, 0, 0, 0, 0, 64].repeat(3)).unwrap());
            let header = |ipv6, protocol| {
                let address: std::net::IpAddr = if ipv6 { [1; 16].into() } else { [1; 4].into() };
                Outer { protocol, ..Outer::esp(address, address, fields).unwrap() }
            };
            let mut packet = PacketBuf::new(payload + 300, 200);
            packet.append(payload).unwrap();
            header(if transport { ipv6 } else { inner_v6 }, 17).prepend(&mut packet).unwrap();
            let inner = packet.len();

            let next = if transport {
                transport::encapsulate(&mut packet).unwrap().next
            } else {
                NextHeader::of_ip_packet(packet.data()).unwrap()
            };
            sa.reserve(1).unwrap().seal(next, &mut packet).unwrap();
            if udp {
                packet.prepend(udp::HEADER_LEN).unwrap();
            }
            header(ipv6, 50).prepend(&mut packet).unwrap();

            let overhead = overhead(encr, transport, ipv6, udp);
            prop_assert_eq!(packet.len(), overhead.outer_len(inner));
            prop_assert!(overhead.inner_mtu(packet.len()) >= inner);
            prop_assert!(overhead.inner_mtu(packet.len() - 1) < inner);
        }
    }
}
