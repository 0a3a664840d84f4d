//! What several files here must know of an IP packet: how long it is, and where the next layer begins.

use std::net::IpAddr;

/// Octets of an IPv4 header without options.
pub(crate) const V4_LEN: usize = 20;
/// Octets of an IPv6 header without extension headers.
pub(crate) const V6_LEN: usize = 40;

/// IPv6 extension headers that are skipped before a packet is refused: as many as policies look behind.
const MAX_EXTENSION_HEADERS: usize = 8;

/// Protocol numbers.
pub(crate) mod protocol {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const DCCP: u8 = 33;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const DESTINATION_OPTIONS: u8 = 60;
    pub(crate) const MOBILITY: u8 = 135;
    pub(crate) const UDP_LITE: u8 = 136;
}

/// Which part of a packet it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fragment {
    /// All of it.
    Whole,
    /// The beginning; or all of it behind an IPv6 fragment header nevertheless (RFC 6946).
    First,
    /// The next layer header is in another packet.
    Later,
}

/// The headers of an IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Headers {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// TOS or traffic class.
    pub(crate) traffic_class: u8,
    /// Don't fragment; always, for IPv6.
    pub(crate) df: bool,
    /// TTL or hop limit.
    pub(crate) ttl: u8,
    /// Octets of the packet by its own header: no more than there are.
    pub(crate) len: usize,
    /// Octets of the IP header, IPv4 options included, IPv6 extension headers not.
    pub(crate) header_len: usize,
    /// The protocol after `header_len`.
    pub(crate) next: u8,
    /// Whether there are IPv4 options.
    pub(crate) options: bool,
    /// Behind IPv6 extension headers.
    pub(crate) chain: Chain,
}

/// What is behind IPv6 extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The next layer protocol.
    pub(crate) protocol: u8,
    /// Where its header begins.
    pub(crate) at: usize,
    /// Whether a header for routers or for the way was passed: hop-by-hop options, routing.
    pub(crate) on_path: bool,
    pub(crate) fragment: Fragment,
}

impl Headers {
    /// Reads them; `None` if `packet` is no IP packet, shorter than its headers say, or not to be understood.
    #[inline]
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::v4(packet),
            6 => Self::v6(packet),
            _ => None,
        }
    }

    /// RFC 791 §3.1.
    #[inline]
    fn v4(packet: &[u8]) -> Option<Self> {
        let &[ihl, tos, l0, l1, _, _, f0, f1, ttl, next, _, _, ref addresses @ ..] = packet.first_chunk::<V4_LEN>()?;
        let (source, destination) = addresses.split_first_chunk::<4>()?;
        let header_len = usize::from(ihl & 0xf) * 4;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if header_len < V4_LEN || len < header_len || len > packet.len() {
            return None;
        }
        let fragment = match u16::from_be_bytes([f0, f1]) {
            field if field & 0x1fff != 0 => Fragment::Later,
            field if field & 0x2000 != 0 => Fragment::First,
            _ => Fragment::Whole,
        };
        Some(Self {
            source: IpAddr::from(*source),
            destination: IpAddr::from(*destination.first_chunk::<4>()?),
            traffic_class: tos,
            df: f0 & 0x40 != 0,
            ttl,
            len,
            header_len,
            next,
            options: header_len > V4_LEN,
            chain: Chain { protocol: next, at: header_len, on_path: false, fragment },
        })
    }

    /// RFC 8200 §3.
    #[inline]
    fn v6(packet: &[u8]) -> Option<Self> {
        let &[c0, c1, _, _, l0, l1, next, ttl, ref addresses @ ..] = packet.first_chunk::<V6_LEN>()?;
        let (source, destination) = addresses.split_first_chunk::<16>()?;
        let len = V6_LEN + usize::from(u16::from_be_bytes([l0, l1]));
        let chain = chain(packet.get(..len)?, next, V6_LEN)?;
        Some(Self {
            source: IpAddr::from(*source),
            destination: IpAddr::from(*destination.first_chunk::<16>()?),
            traffic_class: c0 << 4 | c1 >> 4,
            df: true,
            ttl,
            len,
            header_len: V6_LEN,
            next,
            options: false,
            chain,
        })
    }
}

/// Walks IPv6 extension headers (RFC 8200 §4), the first of them `protocol`, at `at`. `None` if they do not end in
/// time. ESP and AH are next layer protocols here.
#[inline]
pub(crate) fn chain(packet: &[u8], mut protocol: u8, mut at: usize) -> Option<Chain> {
    use self::protocol::{DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING};
    let (mut on_path, mut fragment) = (false, Fragment::Whole);
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let len = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                on_path |= protocol != DESTINATION_OPTIONS;
                8 + usize::from(*packet.get(at + 1)?) * 8
            }
            FRAGMENT => {
                fragment = Fragment::First;
                if u16::from_be_bytes([*packet.get(at + 2)?, *packet.get(at + 3)?]) & 0xfff8 != 0 {
                    let protocol = packet[at];
                    return Some(Chain { protocol, at: at + 8, on_path, fragment: Fragment::Later });
                }
                8
            }
            _ => return Some(Chain { protocol, at, on_path, fragment }),
        };
        protocol = packet[at];
        at += len;
        if at > packet.len() {
            return None;
        }
    }
    None
}
