//! ICMP errors that tell a sender on our side what became of its packet: it does not fit the SA's path
//! (RFC 4301 §8.2.1), or policy forbids it (RFC 4301 §5.1.1).
//!
//! ```text
//!  IPv4   | IP header | 3,  4, checksum | 0, MTU | the packet that is too big    |    at most 576 octets
//!                     | 3, 13, checksum |   0    | the packet that was discarded |
//!  IPv6   | IP header | 2,  0, checksum |  MTU   | the packet that is too big    |    at most 1280 octets
//!                     | 1,  1, checksum |   0    | the packet that was discarded |
//! ```
//! How many of them a sender gets is the caller's to limit (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::checksum::Sum;
use crate::ip::{self, Fragment, Headers, protocol};

/// Room for any message that is written here, in octets.
pub const MAX_LEN: usize = MAX_LEN_V6;

/// Longest message (RFC 1812 §4.3.2.3).
const MAX_LEN_V4: usize = 576;
/// Longest message: the least MTU of IPv6 (RFC 4443 §3.2).
const MAX_LEN_V6: usize = 1280;
/// The least MTU that a sender heeds (RFC 1191 §3, RFC 8201 §4), octets.
const MIN_MTU: (usize, usize) = (68, 1280);
/// Octets before the packet that is too big.
const HEADER_LEN: usize = 8;
/// What network control is sent with (RFC 1812 §4.3.2.5): class selector 6.
const TRAFFIC_CLASS: u8 = 0xc0;
const TTL: u8 = 64;

/// Why a packet gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unanswerable {
    /// No IP packet, or shorter than its own headers say.
    Malformed,
    /// It is not longer than the MTU, or than the least one that IPv6 demands: send it, and fragment the outer packet.
    Fits,
    /// IPv4 without DF: fragment it (RFC 1191 §4).
    Fragmentable,
    /// Any fragment but the first (RFC 1122 §3.2.2).
    Fragment,
    /// An ICMP error message, or one that can't be told from one (RFC 1122 §3.2.2, RFC 4443 §2.4 e).
    IcmpError,
    /// Its source is no single host (RFC 1122 §3.2.2, RFC 4443 §2.4 e).
    Source,
    /// Its destination is no single host, so that no answer can come from there.
    Destination,
    /// The buffer is shorter than the answer; [`MAX_LEN`] suffices.
    NoRoom,
}

/// What the sender is told.
#[derive(Debug, Clone, Copy)]
enum Message {
    /// Octets that fit.
    TooBig(usize),
    Prohibited,
}

impl Message {
    /// Type, code, room for the checksum, and what follows it.
    fn head(self, v6: bool) -> [u8; HEADER_LEN] {
        let (kind, code, rest) = match (self, v6) {
            (Self::TooBig(mtu), true) => (2, 0, u32::try_from(mtu).unwrap_or(u32::MAX)),
            (Self::TooBig(mtu), false) => (3, 4, u16::try_from(mtu).unwrap_or(u16::MAX).into()),
            // "Communication with destination administratively prohibited": RFC 4443 §3.1, RFC 1812 §5.2.7.1.
            (Self::Prohibited, true) => (1, 1, 0),
            (Self::Prohibited, false) => (3, 13, 0),
        };
        let [a, b, c, d] = rest.to_be_bytes();
        [kind, code, 0, 0, a, b, c, d]
    }
}

/// Writes the answer to `packet`, which does not fit `mtu` octets, into `buffer`: a whole IP packet to the sender.
///
/// Its source is the destination of `packet`. A gateway need not have an address on the inner network, and one of the
/// outer network would reveal itself and might be filtered; the destination's is routed the right way and passes
/// selectors and reverse path filters as the flow's own packets do. The MTU announced is at least the least one that
/// senders heed: 68 octets for IPv4, 1280 for IPv6.
///
/// # Errors
/// See [`Unanswerable`].
pub fn packet_too_big<'b>(packet: &[u8], mtu: usize, buffer: &'b mut [u8]) -> Result<&'b [u8], Unanswerable> {
    let headers = Headers::parse(packet).ok_or(Unanswerable::Malformed)?;
    let packet = packet.get(..headers.len).ok_or(Unanswerable::Malformed)?;
    let mtu = mtu.max(if headers.source.is_ipv6() { MIN_MTU.1 } else { MIN_MTU.0 });
    if packet.len() <= mtu {
        return Err(Unanswerable::Fits);
    }
    if !headers.df {
        return Err(Unanswerable::Fragmentable);
    }
    write(&headers, packet, Message::TooBig(mtu), buffer)
}

/// Writes the answer to `packet`, which policy lets go nowhere, into `buffer`: a whole IP packet to the sender, from
/// the destination of `packet` as with [`packet_too_big`]. Whether the sender is to know is the administrator's choice
/// (RFC 4301 §5.1.1).
///
/// # Errors
/// See [`Unanswerable`].
pub fn prohibited<'b>(packet: &[u8], buffer: &'b mut [u8]) -> Result<&'b [u8], Unanswerable> {
    let headers = Headers::parse(packet).ok_or(Unanswerable::Malformed)?;
    let packet = packet.get(..headers.len).ok_or(Unanswerable::Malformed)?;
    write(&headers, packet, Message::Prohibited, buffer)
}

fn write<'b>(
    headers: &Headers,
    packet: &[u8],
    message: Message,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Unanswerable> {
    may_answer(headers, packet)?;
    let v6 = headers.source.is_ipv6();
    let head = message.head(v6);
    let (header_len, max_len) = if v6 { (ip::V6_LEN, MAX_LEN_V6) } else { (ip::V4_LEN, MAX_LEN_V4) };
    let quoted = packet.len().min(max_len - header_len - HEADER_LEN);
    let quoted = packet.get(..quoted).ok_or(Unanswerable::Malformed)?;
    let reply = buffer.get_mut(..header_len + HEADER_LEN + quoted.len()).ok_or(Unanswerable::NoRoom)?;
    let (header, message) = reply.split_at_mut(header_len);
    message[..HEADER_LEN].copy_from_slice(&head);
    message[HEADER_LEN..].copy_from_slice(quoted);
    match (headers.destination, headers.source) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let checksum = Sum::of(message).checksum();
            message[2..4].copy_from_slice(&checksum.to_be_bytes());

            let len = ((header_len + message.len()) as u16).to_be_bytes();
            header.copy_from_slice(&[0; ip::V4_LEN]);
            header[..4].copy_from_slice(&[0x45, TRAFFIC_CLASS, len[0], len[1]]);
            // Never fragmented, so that the identification may be 0 (RFC 6864 §4.1).
            header[6] = 0x40;
            header[8..10].copy_from_slice(&[TTL, protocol::ICMP]);
            header[12..16].copy_from_slice(&source.octets());
            header[16..].copy_from_slice(&destination.octets());
            let checksum = Sum::of(header).checksum();
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let len = message.len() as u16;
            let pseudo =
                Sum::addresses(source.into(), destination.into()) + Sum::word(len) + Sum::word(protocol::ICMPV6.into());
            let checksum = (pseudo + Sum::of(message)).checksum();
            message[2..4].copy_from_slice(&checksum.to_be_bytes());

            header[..4].copy_from_slice(&(6 << 28 | u32::from(TRAFFIC_CLASS) << 20).to_be_bytes());
            header[4..6].copy_from_slice(&len.to_be_bytes());
            header[6..8].copy_from_slice(&[protocol::ICMPV6, TTL]);
            header[8..24].copy_from_slice(&source.octets());
            header[24..].copy_from_slice(&destination.octets());
        }
        _ => return Err(Unanswerable::Malformed),
    }
    Ok(reply)
}

fn may_answer(headers: &Headers, packet: &[u8]) -> Result<(), Unanswerable> {
    if headers.chain.fragment == Fragment::Later {
        return Err(Unanswerable::Fragment);
    }
    if !is_host(headers.source) || headers.source.is_loopback() {
        return Err(Unanswerable::Source);
    }
    if !is_host(headers.destination) {
        return Err(Unanswerable::Destination);
    }
    let kind = packet.get(headers.chain.at);
    let error = match headers.chain.protocol {
        // Unreachable, source quench, redirect, time exceeded, parameter problem.
        protocol::ICMP if !headers.source.is_ipv6() => kind.is_none_or(|kind| matches!(kind, 3 | 4 | 5 | 11 | 12)),
        // All below 128, and redirects.
        protocol::ICMPV6 if headers.source.is_ipv6() => kind.is_none_or(|kind| matches!(kind, 0..128 | 137)),
        _ => false,
    };
    if error { Err(Unanswerable::IcmpError) } else { Ok(()) }
}

/// Whether it may be the address of one host: broadcasts to a network can't be told.
fn is_host(address: IpAddr) -> bool {
    match address {
        // Network 0, multicast, class E with the limited broadcast.
        IpAddr::V4(v4) => v4.octets()[0] != 0 && v4 < Ipv4Addr::new(224, 0, 0, 0),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
    }
}

impl fmt::Display for Unanswerable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed IP packet",
            Self::Fits => "the packet fits",
            Self::Fragmentable => "the packet may be fragmented",
            Self::Fragment => "not the first fragment",
            Self::IcmpError => "an ICMP error",
            Self::Source => "source is no single host",
            Self::Destination => "destination is no single host",
            Self::NoRoom => "buffer too small",
        })
    }
}

impl std::error::Error for Unanswerable {}

#[cfg(test)]
mod tests;
