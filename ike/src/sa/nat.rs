//! NAT detection and the float to port 4500 (RFC 7296 §2.23).

use std::net::{IpAddr, SocketAddr};

use ring::digest;

use crate::status::NatStatus;

/// Octets of a NAT_DETECTION_*_IP notification.
pub(crate) const HASH_LEN: usize = 20;

/// SHA-1 over SPIs, address and port, as NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP carry it.
pub(crate) fn hash(spi_i: u64, spi_r: u64, at: SocketAddr) -> [u8; HASH_LEN] {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&spi_i.to_be_bytes());
    context.update(&spi_r.to_be_bytes());
    match at.ip() {
        IpAddr::V4(ip) => context.update(&ip.octets()),
        IpAddr::V6(ip) => context.update(&ip.octets()),
    }
    context.update(&at.port().to_be_bytes());
    let mut hash = [0; HASH_LEN];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Compares what the peer says about addresses with what we see. `sources` and `destination` are the contents of its
/// notifications; a peer that sent none does no NAT traversal, and `None` is the answer.
pub(crate) fn detect(
    spis: (u64, u64),
    local: SocketAddr,
    remote: SocketAddr,
    sources: &[&[u8]],
    destination: Option<&[u8]>,
) -> Option<NatStatus> {
    let destination = destination?;
    if sources.is_empty() {
        return None;
    }
    // Several sources are legal: a sender that does not know which address it will use lists them all.
    let seen = hash(spis.0, spis.1, remote);
    Some(NatStatus {
        local: destination != hash(spis.0, spis.1, local),
        remote: !sources.iter().any(|source| *source == seen),
        faked: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_side_is_told_apart() {
        let (a, b, nat) = (at("10.0.0.1:500"), at("192.0.2.2:500"), at("192.0.2.9:61000"));
        // As the host behind the NAT says it, as the other one sees it.
        let (source, destination) = (hash(1, 0, a), hash(1, 0, b));
        let found = detect((1, 0), b, nat, &[&source], Some(&destination)).unwrap();
        assert!(found.remote && !found.local);
        let clear = detect((1, 0), b, a, &[&[0; 20], &source], Some(&destination)).unwrap();
        assert!(!clear.remote && !clear.local);
        let us = detect((1, 0), at("192.0.2.3:500"), a, &[&source], Some(&destination)).unwrap();
        assert!(!us.remote && us.local);
        assert_eq!(detect((1, 0), b, a, &[], Some(&destination)), None);
        assert_eq!(detect((1, 0), b, a, &[&source], None), None);
    }

    #[test]
    fn ipv6_addresses_count_in_full() {
        assert_ne!(hash(1, 2, at("[2001:db8::1]:500")), hash(1, 2, at("[2001:db8::2]:500")));
    }
}
