//! A frame cut into packets, as a network card would (TSO, USO).

use cygnet_esp::checksum::Sum;

use super::head::{Head, Kind, Partial};
use super::segment_header::{TCP, TCP_HEADER, UDP, UDP_HEADER, V6_HEADER, field, flag, put, set_length, tcp, udp};

/// A frame whose [`Head`] does not fit it: what no kernel sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Packets in a frame: no TCP segment is shorter than it takes to stay below this (RFC 9293 §3.7.1 with the least MTU).
const MAX_COUNT: usize = 4096;

/// How a frame is cut: everything but its octets, so that the rest of it can be cut later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    kind: Kind,
    /// Octets of payload in each packet but the last.
    size: usize,
    /// Octets of all headers, repeated in each packet.
    headers: usize,
    /// Where the TCP or UDP header begins.
    transport: usize,
    /// Octets of the frame.
    len: usize,
    count: usize,
}

impl Segments {
    /// How to cut `frame`. `None` if it is one packet as it is.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn of(frame: &[u8], head: &Head) -> Result<Option<Self>, Malformed> {
        let Some((kind, size)) = head.segments else { return Ok(None) };
        let transport = usize::from(head.checksum.ok_or(Malformed)?.start);
        let header = frame.get(transport..).ok_or(Malformed)?;
        let transport_len = match kind {
            Kind::Udp => UDP_HEADER,
            Kind::Tcp4 | Kind::Tcp6 => usize::from(header.get(12).ok_or(Malformed)? >> 4) * 4,
        };
        let least = if kind.is_tcp() { TCP_HEADER } else { UDP_HEADER };
        let headers = transport + transport_len;
        let payload = frame.len().checked_sub(headers).ok_or(Malformed)?;
        if transport_len < least
            || size == 0
            || payload == 0
            || frame.len() > 0xffff
            || !leads_to(frame, kind, transport)
        {
            return Err(Malformed);
        }
        let size = usize::from(size);
        let count = payload.div_ceil(size);
        if count > MAX_COUNT {
            return Err(Malformed);
        }
        Ok(Some(Self { kind, size, headers, transport, len: frame.len(), count }))
    }

    /// How many packets it makes: at least one.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Octets of packet `n`.
    #[inline]
    pub fn len(&self, n: usize) -> usize {
        let begin = self.headers + n * self.size;
        self.headers + self.size.min(self.len.saturating_sub(begin))
    }

    /// Writes packet `n` of `frame`, which is the one that this was made of, to `out`, which has its
    /// [`len`](Self::len).
    #[inline]
    pub fn write(&self, frame: &[u8], n: usize, out: &mut [u8]) {
        let begin = self.headers + n * self.size;
        let end = (begin + self.size).min(self.len);
        let Some((header, payload)) = out.split_at_mut_checked(self.headers) else { return };
        if let (Some(from), Some(body)) = (frame.get(..self.headers), frame.get(begin..end))
            && body.len() == payload.len()
        {
            header.copy_from_slice(from);
            payload.copy_from_slice(body);
        }
        let identification = field(header, 4).map(|id| u16::from_be_bytes(id).wrapping_add(n as u16));
        set_length(header, self.headers + payload.len(), identification);
        let (_, transport) = header.split_at_mut(self.transport);
        let len = transport.len() + payload.len();
        let place = match self.kind {
            Kind::Udp => {
                put(transport, udp::LENGTH, (len as u16).to_be_bytes());
                udp::CHECKSUM
            }
            Kind::Tcp4 | Kind::Tcp6 => {
                let sequence = field(transport, tcp::SEQUENCE).map_or(0, u32::from_be_bytes);
                put(transport, tcp::SEQUENCE, sequence.wrapping_add((n * self.size) as u32).to_be_bytes());
                if let Some(flags) = transport.get_mut(tcp::FLAGS) {
                    // FIN and PSH belong to the last octet (RFC 9293 §3.1), CWR to the first segment (RFC 3168 §6.1.2).
                    *flags &= if n + 1 < self.count { !(flag::FIN | flag::PSH) } else { !0 };
                    *flags &= if n > 0 { !flag::CWR } else { !0 };
                }
                tcp::CHECKSUM
            }
        };
        // The field holds the sum over the pseudo header, with the length of all segments together in it.
        let partial = field(transport, place).map_or(0, u16::from_be_bytes);
        put(transport, place, [0, 0]);
        let all = Sum::word(partial) + Sum::word(!((self.len - self.transport) as u16)) + Sum::word(len as u16);
        let checksum = (all + Sum::of(transport) + Sum::of(payload)).checksum();
        put(transport, place, nonzero(self.kind, checksum).to_be_bytes());
    }
}

/// Whether the IP headers of `frame` end where `kind`'s header begins: policies looked at that one (RFC 8200 §4).
fn leads_to(frame: &[u8], kind: Kind, transport: usize) -> bool {
    let protocol = if kind.is_tcp() { TCP } else { UDP };
    let octet = |at: usize| frame.get(at).copied();
    match octet(0).map(|first| (first >> 4, first & 0xf)) {
        Some((4, ihl)) if kind != Kind::Tcp6 => {
            ihl >= 5 && usize::from(ihl) * 4 == transport && octet(9) == Some(protocol)
        }
        Some((6, _)) if kind != Kind::Tcp4 => {
            let (mut next, mut at) = (octet(6), V6_HEADER);
            while at < transport {
                // Hop-by-hop options, routing, destination options: what a whole packet can have there.
                let (Some(0 | 43 | 60), Some(len)) = (next, octet(at + 1)) else { return false };
                next = octet(at);
                at += 8 + usize::from(len) * 8;
            }
            at == transport && next == Some(protocol)
        }
        _ => false,
    }
}

/// A UDP checksum of zero says that there is none (RFC 768).
#[inline]
fn nonzero(kind: Kind, checksum: u16) -> u16 {
    if checksum == 0 && kind == Kind::Udp { 0xffff } else { checksum }
}

/// Completes the checksum of a packet that is not to be cut.
///
/// # Errors
/// [`Malformed`]
#[inline]
pub fn complete(packet: &mut [u8], partial: Partial) -> Result<(), Malformed> {
    let (start, offset) = (usize::from(partial.start), usize::from(partial.offset));
    let covered = packet.get_mut(start..).ok_or(Malformed)?;
    let sum = Sum::of(covered);
    let field = covered.get_mut(offset..offset + 2).ok_or(Malformed)?;
    let checksum = sum.checksum();
    // Of the two forms of zero, the one that every protocol takes.
    let checksum = if checksum == 0 { 0xffff } else { checksum };
    field.copy_from_slice(&checksum.to_be_bytes());
    Ok(())
}
