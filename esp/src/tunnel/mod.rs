//! Tunnel mode's two IP headers: what the outer one takes from the inner, and what comes back
//! (RFC 4301 §5.1.2, RFC 6040).
//!
//! | field | outer, when encapsulating | inner, when decapsulating |
//! |---|---|---|
//! | DSCP | copied or set ([`DscpRule`]) | unchanged |
//! | ECN | copied, or Not-ECT ([`EcnMode`]) | combined ([`Ecn::decapsulate`]) |
//! | DF | copied, set or cleared ([`DfRule`]) | unchanged |
//! | TTL, hop limit | configured | decremented by whoever forwards ([`decrement_ttl`]) |
//! | flow label | 0 | unchanged |
//! | length, identification, checksum, addresses | constructed ([`Outer`]) | |
//!
//! Where the kernel writes the outer header, as it does for ESP in UDP, [`Rules::outer`] gives what to ask it for.

mod ecn;
mod inner;
mod outer;

use crate::NextHeader;
use crate::packet::PacketBuf;

pub use ecn::{Ecn, EcnConflict, EcnMode};
pub use inner::{Inner, TtlExpired, decrement_ttl, set_ecn};
pub use outer::{Outer, UnlikeAddresses};

/// The outer DSCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DscpRule {
    /// That of the inner header (RFC 2983 §3's uniform model; RFC 4301's default).
    #[default]
    Copy,
    /// Always this, so that the outside cannot tell classes apart.
    Set(u8),
}

/// The outer DF bit, where the outer header is IPv4 (RFC 4301 §8.1). An inner IPv6 packet counts as one with DF set:
/// its sender learns of the path's MTU and fragments it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DfRule {
    /// That of the inner header.
    #[default]
    Copy,
    /// Never fragment the outer packet.
    Set,
    /// Routers may fragment the outer packet.
    Clear,
}

/// The largest segment that TCP connections through an SA announce (RFC 9293 §3.7.1): what does not depend on ICMP
/// errors reaching the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MssRule {
    /// As announced.
    #[default]
    Keep,
    /// At most what fits into the SA's inner MTU.
    Path,
    /// At most this, octets.
    AtMost(u16),
}

/// How an SA treats headers: the outer ones, and the announced size of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Outer DSCP.
    pub dscp: DscpRule,
    /// Outer ECN.
    pub ecn: EcnMode,
    /// Outer DF.
    pub df: DfRule,
    /// Outer TTL or hop limit: independent of the inner one, so that the tunnel is one hop.
    pub ttl: u8,
    /// TCP's maximum segment size, both directions.
    pub mss: MssRule,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            dscp: DscpRule::default(),
            ecn: EcnMode::default(),
            df: DfRule::default(),
            ttl: 64,
            mss: MssRule::default(),
        }
    }
}

/// The fields of an outer header that depend on the inner one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OuterFields {
    /// Differentiated services code point, 6 bits.
    pub dscp: u8,
    /// Explicit congestion notification.
    pub ecn: Ecn,
    /// Don't fragment.
    pub df: bool,
    /// TTL or hop limit.
    pub ttl: u8,
}

impl OuterFields {
    /// DSCP and ECN as one octet: IPv4's TOS, IPv6's traffic class.
    pub fn traffic_class(&self) -> u8 {
        self.dscp << 2 | self.ecn as u8
    }
}

impl Rules {
    /// The outer fields for a packet with these inner ones.
    #[inline]
    pub fn outer(&self, inner: Inner) -> OuterFields {
        OuterFields {
            dscp: match self.dscp {
                DscpRule::Copy => inner.dscp,
                DscpRule::Set(dscp) => dscp & 0x3f,
            },
            ecn: inner.ecn.encapsulate(self.ecn),
            df: match self.df {
                DfRule::Copy => inner.df,
                DfRule::Set => true,
                DfRule::Clear => false,
            },
            ttl: self.ttl,
        }
    }
}

/// Why what came out of the tunnel is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DecapsulateError {
    /// The next header is neither IPv4 nor IPv6.
    NotIp,
    /// The packet is not of the announced version, or shorter than its own header says.
    Malformed,
    /// Congestion was experienced by a packet whose transport would not notice (RFC 6040 §4.2).
    Ecn,
}

/// Makes an opened packet ready to forward: its version is that of the next header, traffic-flow confidentiality
/// padding after its own length is removed (RFC 4303 §2.7), and congestion marked on the `outer` header is carried
/// over (RFC 6040 §4.2). Selectors and TTL are the caller's to check.
///
/// # Errors
/// See [`DecapsulateError`]. Drop the packet then.
#[inline]
pub fn decapsulate(packet: &mut PacketBuf, next: NextHeader, outer: Ecn) -> Result<(), DecapsulateError> {
    if !matches!(next, NextHeader::IPV4 | NextHeader::IPV6) {
        return Err(DecapsulateError::NotIp);
    }
    if NextHeader::of_ip_packet(packet.data()) != Some(next) {
        return Err(DecapsulateError::Malformed);
    }
    let inner = Inner::parse(packet.data()).ok_or(DecapsulateError::Malformed)?;
    packet.truncate(inner.len);
    let ecn = inner.ecn.decapsulate(outer).map_err(|EcnConflict| DecapsulateError::Ecn)?;
    if ecn != inner.ecn {
        set_ecn(packet.data_mut(), ecn);
    }
    Ok(())
}

impl std::fmt::Display for DecapsulateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotIp => "payload is no IP packet",
            Self::Malformed => "malformed inner IP packet",
            Self::Ecn => "congestion marked on a packet without ECN",
        })
    }
}

impl std::error::Error for DecapsulateError {}

#[cfg(test)]
mod tests;
