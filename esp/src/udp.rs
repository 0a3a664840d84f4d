//! ESP in UDP (RFC 3948): IKE, ESP and keepalives share port 4500.
//!
//! UDP's own header is the socket's business. Its checksum should be zero for ESP over IPv4 (RFC 3948 §2.1); one
//! that a kernel computed does no harm.

/// Octets of the UDP header around an ESP packet.
pub const HEADER_LEN: usize = 8;

/// What precedes an IKE message on port 4500: an SPI that no ESP packet has (RFC 3948 §2.2).
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// The payload that keeps a NAT mapping alive (RFC 3948 §2.3).
pub const KEEPALIVE: [u8; 1] = [0xff];

/// What a datagram on port 4500 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// An IKE message, after [`NON_ESP_MARKER`].
    Ike,
    /// An ESP packet, from the SPI on.
    Esp,
    /// A keepalive: ignore it (RFC 3948 §4).
    Keepalive,
    /// None of them.
    Malformed,
}

/// Tells the payload of a datagram on port 4500 by its first octets.
#[inline]
pub fn classify(payload: &[u8]) -> Class {
    match payload {
        [0, 0, 0, 0, _, ..] => Class::Ike,
        [_, _, _, _, _, _, _, _, ..] => Class::Esp,
        [0xff] => Class::Keepalive,
        _ => Class::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_shares_the_port() {
        for (payload, class) in [
            (&[][..], Class::Malformed),
            (&KEEPALIVE, Class::Keepalive),
            (&[0xfe], Class::Malformed),
            (&[0xff, 0xff], Class::Malformed),
            (&NON_ESP_MARKER, Class::Malformed),
            (&[0, 0, 0, 0, 1], Class::Ike),
            (&[0; 32], Class::Ike),
            (&[0, 0, 1, 0, 0, 0, 0], Class::Malformed),
            (&[0, 0, 1, 0, 0, 0, 0, 1], Class::Esp),
            (&[0xff; 64], Class::Esp),
        ] {
            assert_eq!(classify(payload), class, "{payload:?}");
        }
    }
}
