//! Transport mode: ESP between the IP header of a packet and its payload (RFC 4303 §3.1.1, RFC 4301 §5).
//!
//! ```text
//!  outbound   | IP header |      payload     |          the header is taken off; the socket writes another one,
//!                         ├─── seal ────┤               with the fields in [`Stripped`]
//!  on the way | IP header | ESP |   payload  | trailer, ICV |
//!                               ├── open ──┤
//!  inbound    | IP header |      payload     |          rebuilt from [`Rebuilt`], checksums corrected
//! ```
//!
//! | what | becomes |
//! |---|---|
//! | addresses | the outer ones; inbound, those of the SA's path |
//! | DSCP and ECN, TTL or hop limit | carried by the outer header; inbound, what the caller says |
//! | IPv4 identification, DF | 0 and set: the packet is delivered here, not fragmented (RFC 6864 §4.1) |
//! | IPv6 flow label | 0 |
//! | IPv6 destination options | travel inside ESP |
//! | IPv4 options; IPv6 hop-by-hop options, routing header | can't be carried: an error |
//! | fragments | an error, both ways: ESP protects whole packets, reassemble first (RFC 4303 §3.1.1) |
//! | padding after the packet's own length | cut |
//!
//! Traffic-flow confidentiality padding (RFC 4303 §2.7) of a payload that states its own length becomes part of the
//! rebuilt packet; UDP and IP ignore it there.

mod nat;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use crate::NextHeader;
use crate::ip::{self, Fragment, Headers};
use crate::packet::{NoRoom, PacketBuf};
use crate::tunnel::{Ecn, Outer, OuterFields};

/// What was taken off a packet: the outer packet must carry it instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stripped {
    /// What the payload is. [`NextHeader::NONE`] is an IPv6 packet without any: to the receiver it is a dummy.
    pub next: NextHeader,
    /// Source.
    pub source: IpAddr,
    /// Destination: the peer itself.
    pub destination: IpAddr,
    /// DSCP, ECN, DF, TTL. DF is always set for IPv6; a packet that was reassembled from fragments is one whose
    /// sender allows them, and the outer packet of it must be fragmented in turn.
    pub fields: OuterFields,
}

/// Why a packet can't be sent in transport mode. It is unchanged then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncapsulateError {
    /// No IP packet, or shorter than its own headers say.
    Malformed,
    /// A fragment, or a whole packet with a fragment header (RFC 6946).
    Fragment,
    /// It has IPv4 options, IPv6 hop-by-hop options or a routing header, which belong before the ESP header.
    Options,
}

/// What the IP header of an opened packet is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// The peer's address.
    pub source: IpAddr,
    /// Ours, of the same family.
    pub destination: IpAddr,
    /// TOS or traffic class of the outer packet.
    pub traffic_class: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Source and destination as the peer put them into its checksums, if a NAT changed either (RFC 3948 §3.1.2).
    pub original: Option<(IpAddr, IpAddr)>,
}

/// Why an opened packet can't be delivered. Its content is unspecified then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DecapsulateError {
    /// A dummy packet (RFC 4303 §2.6): not an error.
    Dummy,
    /// An IPv6 extension header that belongs before the ESP header, or a fragment: accepting it would let the peer's
    /// payload write our IP header.
    ExtensionHeader,
    /// The IPv6 extension headers do not end, or the next layer header is too short to have the checksum that is to
    /// be corrected.
    Malformed,
    /// Source and destination are of different families.
    UnlikeAddresses,
    /// The buffer has less than [`PacketBuf::INBOUND_HEADROOM`], or an IP packet can't be that long.
    NoRoom,
}

/// Takes the IP header off a whole packet, in place, and what follows after its end. What remains is to be sealed with
/// [`Stripped::next`].
///
/// # Errors
/// See [`EncapsulateError`].
#[inline]
pub fn encapsulate(packet: &mut PacketBuf) -> Result<Stripped, EncapsulateError> {
    let headers = Headers::parse(packet.data()).ok_or(EncapsulateError::Malformed)?;
    if headers.chain.fragment != Fragment::Whole {
        return Err(EncapsulateError::Fragment);
    }
    if headers.options || headers.chain.on_path {
        return Err(EncapsulateError::Options);
    }
    packet.truncate(headers.len);
    packet.trim_front(headers.header_len);
    let Headers { source, destination, traffic_class, df, ttl, next, .. } = headers;
    Ok(Stripped { next: NextHeader(next), source, destination, fields: fields(traffic_class, df, ttl) })
}

/// Puts an IP header before an opened payload, and corrects the checksum in it for addresses that a NAT changed. Any
/// protocol is legal, IP in IP too. The caller checks the packet against the SA's selectors after that.
///
/// # Errors
/// See [`DecapsulateError`].
#[inline]
pub fn decapsulate(packet: &mut PacketBuf, next: NextHeader, header: &Rebuilt) -> Result<(), DecapsulateError> {
    if next == NextHeader::NONE {
        return Err(DecapsulateError::Dummy);
    }
    let v6 = match (header.source, header.destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) => false,
        (IpAddr::V6(_), IpAddr::V6(_)) => true,
        _ => return Err(DecapsulateError::UnlikeAddresses),
    };
    let (protocol, at) = if v6 {
        let chain = ip::chain(packet.data(), next.0, 0).ok_or(DecapsulateError::Malformed)?;
        if chain.on_path || chain.fragment != Fragment::Whole {
            return Err(DecapsulateError::ExtensionHeader);
        }
        (chain.protocol, chain.at)
    } else {
        (next.0, 0)
    };
    if let Some(original) = header.original {
        let upper = packet.data_mut().get_mut(at..).ok_or(DecapsulateError::Malformed)?;
        nat::correct(protocol, v6, upper, original, (header.source, header.destination))
            .map_err(|nat::TooShort| DecapsulateError::Malformed)?;
    }
    let outer = Outer {
        source: header.source,
        destination: header.destination,
        fields: fields(header.traffic_class, true, header.hop_limit),
        identification: 0,
        protocol: next.0,
    };
    outer.prepend(packet).map_err(|NoRoom| DecapsulateError::NoRoom)
}

fn fields(traffic_class: u8, df: bool, ttl: u8) -> OuterFields {
    OuterFields { dscp: traffic_class >> 2, ecn: Ecn::from_traffic_class(traffic_class), df, ttl }
}

impl fmt::Display for EncapsulateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed IP packet",
            Self::Fragment => "a fragment can't be sent in transport mode",
            Self::Options => "IP options can't be sent in transport mode",
        })
    }
}

impl std::error::Error for EncapsulateError {}

impl fmt::Display for DecapsulateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dummy => "dummy packet",
            Self::ExtensionHeader => "extension header that belongs before the ESP header",
            Self::Malformed => "malformed payload",
            Self::UnlikeAddresses => "addresses of different families",
            Self::NoRoom => "no room for an IP header",
        })
    }
}

impl std::error::Error for DecapsulateError {}
