//! Fragments of IP packets (RFC 791 §3.2, RFC 8200 §4.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::flow::{Direction, Flow, MAX_EXTENSION_HEADERS, Ports};
use crate::protocol::{FRAGMENT, is_extension_header};

/// A fragment, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// What the fragments of one packet share; IPv4 has 16 bits of it.
    pub(crate) id: u32,
    /// The protocol, or what the Fragment header names: the same in all fragments of an IPv4 packet, and in those of
    /// an IPv6 packet that means no harm.
    pub(crate) next: u8,
    /// Where `data` belongs in the packet behind `head`, in octets; a multiple of 8.
    pub(crate) offset: usize,
    /// Whether other fragments follow this one.
    pub(crate) more: bool,
    /// The headers that every fragment repeats: IPv4's with its options, or IPv6's up to the Fragment header.
    pub(crate) head: &'a [u8],
    /// Which octet of `head` names the next header.
    pub(crate) next_at: usize,
    pub(crate) data: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// `None` if `packet` is not a fragment, or is not readable as one. An IPv6 packet with a Fragment header counts
    /// even if it is whole (RFC 6946).
    #[inline]
    pub(crate) fn parse(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::ipv4(packet),
            6 if is_extension_header(*packet.get(6)?) => Self::ipv6(packet),
            _ => None,
        }
    }

    #[inline]
    fn ipv4(packet: &'a [u8]) -> Option<Self> {
        let header: &[u8; 20] = packet.first_chunk()?;
        let fragment = u16::from_be_bytes([header[6], header[7]]);
        if fragment & 0x3fff == 0 {
            return None;
        }
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let head_len = usize::from(header[0] & 0x0f) * 4;
        let (head, data) = packet.get(..total_len)?.split_at_checked(head_len)?;
        (head_len >= header.len()).then_some(Self {
            source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
            destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
            id: u16::from_be_bytes([header[4], header[5]]).into(),
            next: header[9],
            offset: usize::from(fragment & 0x1fff) * 8,
            more: fragment & 0x2000 != 0,
            head,
            next_at: 9,
            data,
        })
    }

    fn ipv6(packet: &'a [u8]) -> Option<Self> {
        let header: &[u8; 40] = packet.first_chunk()?;
        let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let packet = packet.get(..header.len() + payload_len)?;
        let (mut next_at, mut at) = (6, header.len());
        for _ in 0..=MAX_EXTENSION_HEADERS {
            let next = *packet.get(next_at)?;
            let this = packet.get(at..)?;
            if next == FRAGMENT {
                let (fragment, data) = this.split_first_chunk::<8>()?;
                let offset = u16::from_be_bytes([fragment[2], fragment[3]]);
                return Some(Self {
                    source: Ipv6Addr::from(*header[8..].first_chunk::<16>()?).into(),
                    destination: Ipv6Addr::from(*header[24..].first_chunk::<16>()?).into(),
                    id: u32::from_be_bytes([fragment[4], fragment[5], fragment[6], fragment[7]]),
                    next: fragment[0],
                    offset: usize::from(offset & 0xfff8),
                    more: offset & 1 != 0,
                    head: &packet[..at],
                    next_at,
                    data,
                });
            }
            if !is_extension_header(next) {
                return None;
            }
            next_at = at;
            at += 8 + usize::from(*this.get(1)?) * 8;
        }
        None
    }

    /// Whether it is the whole packet (RFC 6946).
    pub(crate) fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

impl Flow {
    /// If `packet` is a fragment, its flow as any fragment of the same packet shows it, the first included: addresses,
    /// protocol, and [`Ports::Opaque`]. `None` for whole packets, at the cost of a glance, and for unreadable ones.
    /// This is what [`Policies::needs_whole`](crate::Policies::needs_whole) is asked about.
    ///
    /// If the next layer header of an IPv6 packet is behind others, the protocol is the number of the next of these.
    #[inline]
    pub fn of_fragment(packet: &[u8], direction: Direction) -> Option<Self> {
        let Fragment { source, destination, next, .. } = Fragment::parse(packet)?;
        let (local, remote) = match direction {
            Direction::Outbound => (source, destination),
            Direction::Inbound => (destination, source),
        };
        Some(Self { direction, local, remote, protocol: next, ports: Ports::Opaque })
    }
}
