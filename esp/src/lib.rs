//! ESP (RFC 4303): *how* a packet is protected.
//!
//! | file | answers | section |
//! |---|---|---|
//! | `cipher/` | which algorithms, keyed how; shared with the SK payload of IKE | RFC 4106, 7634, 3602, 4868 |
//! | `packet.rs` | the buffer a packet lives in from one socket to the other | |
//! | `trailer.rs` | padding, pad length, next header | RFC 4303 §2.4–2.6 |
//! | `replay.rs` | the anti-replay window, and the 64-bit number behind a 32-bit field | RFC 4303 §3.4.3, appendix A |
//! | `outbound.rs` | one sending SA: reserve numbers, seal in place | RFC 4303 §3.3 |
//! | `inbound.rs` | one receiving SA: check, verify, mark | RFC 4303 §3.4 |
//! | `transport/` | transport mode: IP headers off and on, checksums through NAT | RFC 4303 §3.1.1, RFC 3948 §3.1.2 |
//! | `ip.rs`, `checksum.rs` | headers and checksums of IP packets, as far as the others need | RFC 8200, RFC 1624 |
//! | `overhead.rs` | how packets grow, and what one may measure | RFC 4301 §8.2 |
//! | `icmp.rs` | what tells a sender that its packet is too big | RFC 4301 §8.2.1 |
//! | `mss.rs` | lowers the segment size that TCP announces | RFC 9293 §3.7.1 |
//! | `tunnel/` | outer and inner IP headers: DSCP, ECN, DF, TTL | RFC 4301 §5.1.2, RFC 6040 |
//! | `udp.rs` | what arrived on port 4500 | RFC 3948 |
//! | `fuzz.rs` | laws of opening that hold for any octets | |
//!
//! Nothing here looks up a policy or an SA, and nothing does IO. After an SA and its buffers exist, sealing and
//! opening allocate nothing.
#![forbid(unsafe_code)]

pub mod checksum;
pub mod cipher;
pub mod fuzz;
pub mod icmp;
mod inbound;
mod ip;
pub mod mss;
mod outbound;
mod overhead;
mod packet;
pub mod replay;
mod trailer;
pub mod transport;
pub mod tunnel;
pub mod udp;

use std::fmt;

pub use cipher::{Aad, Cipher, CipherError, ENCR, Encr, KeyLength};
pub use inbound::{Inbound, OpenError};
pub use outbound::{Outbound, Reservation, SealError, SequenceExhausted};
pub use overhead::Overhead;
pub use packet::{NoRoom, PacketBuf};
pub use replay::Replay;

/// SPI and sequence number (RFC 4303 §2).
const HEADER_LEN: usize = 8;

/// Security Parameters Index of an ESP SA (RFC 4303 §2.1). Values 1 to 255 are reserved, 0 never appears on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spi(pub u32);

impl Spi {
    /// The smallest SPI that an SA may have: RFC 4303 §2.1 reserves those below.
    pub const MIN: Self = Self(256);

    /// The SPI at the start of an ESP packet, if there is one.
    pub fn of_packet(esp: &[u8]) -> Option<Self> {
        esp.first_chunk().map(|octets| Self(u32::from_be_bytes(*octets)))
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spi({self})")
    }
}

/// What an ESP payload is: an IP protocol number (RFC 4303 §2.6). In transport mode, any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NextHeader(pub u8);

impl NextHeader {
    /// An IPv4 packet (tunnel mode).
    pub const IPV4: Self = Self(4);
    /// An IPv6 packet (tunnel mode).
    pub const IPV6: Self = Self(41);
    /// Nothing: a dummy packet, to be dropped without complaint (RFC 4303 §2.6).
    pub const NONE: Self = Self(59);

    /// The value for a tunnelled IP packet, from its version field.
    pub fn of_ip_packet(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Some(Self::IPV4),
            6 => Some(Self::IPV6),
            _ => None,
        }
    }
}
