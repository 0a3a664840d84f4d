//! What of a packet a policy looks at (RFC 4301 §4.4.1.1), read once from its IP header.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ports::PortRange;
use crate::protocol;
use crate::range::AddrRange;
use crate::traffic_selector::TrafficSelector;

/// IPv6 extension headers that are skipped before a packet is refused: legitimate packets carry at most a few, and
/// without a bound a peer could make us walk a whole packet in eight-octet steps.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// Which way a packet travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From our side to the peer's: its source is local.
    Outbound,
    /// From the peer's side to ours: its destination is local.
    Inbound,
}

/// A packet as policies see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Which way it travels. ICMP has one type for both sides: it belongs to the sender's (RFC 4301 §4.4.1.3).
    pub direction: Direction,
    /// Address on our side.
    pub local: IpAddr,
    /// Address on the peer's side.
    pub remote: IpAddr,
    /// Next layer protocol, behind IPv6 extension headers.
    pub protocol: u8,
    /// Ports, or what stands in for them in this protocol.
    pub ports: Ports,
}

/// Ports of a flow, or what stands in for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ports {
    /// TCP, UDP, UDP-Lite, SCTP, DCCP.
    Pair {
        /// Port on our side.
        local: u16,
        /// Port on the peer's side.
        remote: u16,
    },
    /// ICMP and ICMPv6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// IPv6 Mobility Header (RFC 6275 §6.1.1).
    Mobility {
        /// MH type.
        kind: u8,
    },
    /// Any fragment but the first: the header that would tell is in another packet.
    Opaque,
    /// The protocol has none.
    None,
}

/// Why a packet has no flow. Such a packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowError {
    /// No octets at all.
    Empty,
    /// Neither IPv4 nor IPv6.
    Version,
    /// Headers, or the length they announce, exceed the packet.
    Truncated,
    /// An IPv4 header length below 20 octets or beyond the total length.
    HeaderLength,
    /// More than [`MAX_EXTENSION_HEADERS`].
    ExtensionHeaders,
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty packet",
            Self::Version => "neither IPv4 nor IPv6",
            Self::Truncated => "packet ends before its headers do",
            Self::HeaderLength => "impossible IPv4 header length",
            Self::ExtensionHeaders => "too many IPv6 extension headers",
        })
    }
}

impl std::error::Error for FlowError {}

impl Flow {
    /// Reads the flow of an IP packet. `packet` starts at its IP header and may be followed by padding, such as that
    /// of RFC 4303 §2.7: nothing beyond the packet's own length is looked at.
    ///
    /// # Errors
    /// See [`FlowError`]. Never panics, whatever the octets.
    #[inline]
    pub fn parse(packet: &[u8], direction: Direction) -> Result<Self, FlowError> {
        let headers = Headers::parse::<false>(packet)?;
        let ports = match headers.upper {
            Some(upper) => ports(headers.protocol, upper, direction)?,
            None => Ports::Opaque,
        };
        Ok(headers.flow(direction, ports))
    }

    /// Whether `ports` are of a kind that `protocol` can have, as in every flow read from a packet.
    #[inline]
    pub(crate) fn is_consistent(&self) -> bool {
        !(protocol::has_ports(self.protocol) && matches!(self.ports, Ports::Icmp { .. } | Ports::Mobility { .. }))
    }

    /// The flow's own selectors, ours and the peer's: what an initiator puts first into TSi and TSr, so that the
    /// responder can narrow to a set that includes the packet (RFC 7296 §2.9).
    pub fn selectors(&self) -> (TrafficSelector, TrafficSelector) {
        let (local, remote) = match self.ports {
            Ports::Pair { local, remote } => (PortRange::single(local), PortRange::single(remote)),
            Ports::Icmp { kind, code } => {
                let both = PortRange::single(u16::from_be_bytes([kind, code]));
                (both, both)
            }
            Ports::Mobility { kind } => {
                let both = PortRange::single(u16::from_be_bytes([kind, 0]));
                (both, both)
            }
            Ports::Opaque => (PortRange::OPAQUE, PortRange::OPAQUE),
            Ports::None => (PortRange::ANY, PortRange::ANY),
        };
        let side =
            |address, ports| TrafficSelector { addresses: AddrRange::host(address), protocol: self.protocol, ports };
        (side(self.local, local), side(self.remote, remote))
    }
}

/// What the IP header says.
struct Headers<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    /// The next layer header on; `None` if it is in another fragment.
    upper: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// `CUT` is whether the packet may end before its length says, as one within an ICMP error does.
    #[inline]
    fn parse<const CUT: bool>(packet: &'a [u8]) -> Result<Self, FlowError> {
        match packet.first().ok_or(FlowError::Empty)? >> 4 {
            4 => ipv4::<CUT>(packet),
            6 => ipv6::<CUT>(packet),
            _ => Err(FlowError::Version),
        }
    }

    #[inline]
    fn flow(&self, direction: Direction, ports: Ports) -> Flow {
        let (local, remote) = match direction {
            Direction::Outbound => (self.source, self.destination),
            Direction::Inbound => (self.destination, self.source),
        };
        Flow { direction, local, remote, protocol: self.protocol, ports }
    }
}

/// The first `len` octets, or if it may be `CUT`, those that are there.
#[inline]
fn start<const CUT: bool>(packet: &[u8], len: usize) -> Result<&[u8], FlowError> {
    packet.get(..if CUT { len.min(packet.len()) } else { len }).ok_or(FlowError::Truncated)
}

/// `N` octets at `at`.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], FlowError> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(FlowError::Truncated)
}

fn byte(bytes: &[u8], at: usize) -> Result<u8, FlowError> {
    bytes.get(at).copied().ok_or(FlowError::Truncated)
}

fn word(bytes: &[u8], at: usize) -> Result<u16, FlowError> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// RFC 791 §3.1.
fn ipv4<const CUT: bool>(packet: &[u8]) -> Result<Headers<'_>, FlowError> {
    let header: &[u8; 20] = packet.first_chunk().ok_or(FlowError::Truncated)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_len < header.len() || total_len < header_len {
        return Err(FlowError::HeaderLength);
    }
    let upper = start::<CUT>(packet, total_len)?.get(header_len..).ok_or(FlowError::Truncated)?;
    let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    Ok(Headers {
        source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
        destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
        protocol: header[9],
        upper: (fragment_offset == 0).then_some(upper),
    })
}

/// RFC 8200 §3, §4.
fn ipv6<const CUT: bool>(packet: &[u8]) -> Result<Headers<'_>, FlowError> {
    const FIXED: usize = 40;
    let payload_len = usize::from(word(packet, 4)?);
    let mut protocol = byte(packet, 6)?;
    let source = Ipv6Addr::from(array::<16>(packet, 8)?).into();
    let destination = Ipv6Addr::from(array::<16>(packet, 24)?).into();
    let mut upper = start::<CUT>(packet, FIXED + payload_len)?.get(FIXED..).ok_or(FlowError::Truncated)?;

    // The headers to skip are those of RFC 4301 §4.4.1.1. ESP and AH are next layer protocols here.
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let len = match protocol {
            // Hop-by-hop options, routing, destination options: in units of 8 octets, the first not counted.
            0 | 43 | 60 => 8 + usize::from(byte(upper, 1)?) * 8,
            44 => {
                let next = byte(upper, 0)?;
                if word(upper, 2)? & 0xfff8 != 0 {
                    // What follows is the middle of something; its name is all there is to know.
                    return Ok(Headers { source, destination, protocol: next, upper: None });
                }
                8
            }
            _ => return Ok(Headers { source, destination, protocol, upper: Some(upper) }),
        };
        // A first fragment must hold the whole chain (RFC 7112 §5): one that does not ends up here as truncated.
        protocol = byte(upper, 0)?;
        upper = upper.get(len..).ok_or(FlowError::Truncated)?;
    }
    Err(FlowError::ExtensionHeaders)
}

fn ports(protocol: u8, upper: &[u8], direction: Direction) -> Result<Ports, FlowError> {
    use protocol::{ICMP, ICMPV6, MOBILITY};
    Ok(match protocol {
        _ if protocol::has_ports(protocol) => {
            let (source, destination) = (word(upper, 0)?, word(upper, 2)?);
            match direction {
                Direction::Outbound => Ports::Pair { local: source, remote: destination },
                Direction::Inbound => Ports::Pair { local: destination, remote: source },
            }
        }
        ICMP | ICMPV6 => {
            let [kind, code] = array(upper, 0)?;
            Ports::Icmp { kind, code }
        }
        MOBILITY => Ports::Mobility { kind: byte(upper, 2)? },
        _ => Ports::None,
    })
}

mod icmp_error;
#[cfg(test)]
pub(crate) mod tests;
