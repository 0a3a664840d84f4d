//! The outer IP header, where we write or read it ourselves: raw sockets, captures, tests.

use std::fmt;
use std::net::IpAddr;

use super::{Ecn, OuterFields};
use crate::checksum::Sum;
use crate::packet::{NoRoom, PacketBuf};

/// An outer header without options, carrying `protocol` (50 for ESP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outer {
    /// This end of the tunnel.
    pub source: IpAddr,
    /// The other end, of the same family.
    pub destination: IpAddr,
    /// What depends on the inner header.
    pub fields: OuterFields,
    /// IPv4 identification; must differ between packets that may be fragmented (RFC 6864 §4). IPv6 has none.
    pub identification: u16,
    /// The protocol after this header.
    pub protocol: u8,
}

/// Source and destination are of different families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnlikeAddresses;

/// IP protocol number of ESP.
pub(crate) const PROTOCOL_ESP: u8 = 50;

impl Outer {
    /// A header for ESP between `source` and `destination`, with identification 0.
    ///
    /// # Errors
    /// [`UnlikeAddresses`] unless both are IPv4 or both IPv6.
    pub fn esp(source: IpAddr, destination: IpAddr, fields: OuterFields) -> Result<Self, UnlikeAddresses> {
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(UnlikeAddresses);
        }
        Ok(Self { source, destination, fields, identification: 0, protocol: PROTOCOL_ESP })
    }

    /// Puts the header before the packet.
    ///
    /// # Errors
    /// [`NoRoom`] if the headroom is shorter than the header (20 or 40 octets), the packet is too long for it, or the
    /// addresses are of different families; the packet is unchanged then.
    pub fn prepend(&self, packet: &mut PacketBuf) -> Result<(), NoRoom> {
        let payload_len = packet.len();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let len = u16::try_from(payload_len + 20).map_err(|_| NoRoom)?;
                let header = packet.prepend(20)?;
                header[..2].copy_from_slice(&[0x45, self.fields.traffic_class()]);
                header[2..4].copy_from_slice(&len.to_be_bytes());
                header[4..6].copy_from_slice(&self.identification.to_be_bytes());
                header[6..12].copy_from_slice(&[
                    u8::from(self.fields.df) << 6,
                    0,
                    self.fields.ttl,
                    self.protocol,
                    0,
                    0,
                ]);
                header[12..16].copy_from_slice(&source.octets());
                header[16..].copy_from_slice(&destination.octets());
                let checksum = Sum::of(header).checksum();
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let len = u16::try_from(payload_len).map_err(|_| NoRoom)?;
                let header = packet.prepend(40)?;
                let first = 6 << 28 | u32::from(self.fields.traffic_class()) << 20;
                header[..4].copy_from_slice(&first.to_be_bytes());
                header[4..6].copy_from_slice(&len.to_be_bytes());
                header[6..8].copy_from_slice(&[self.protocol, self.fields.ttl]);
                header[8..24].copy_from_slice(&source.octets());
                header[24..].copy_from_slice(&destination.octets());
            }
            _ => return Err(NoRoom),
        }
        Ok(())
    }

    /// Takes the header off a packet, with what link layers pad short packets with. `None`, and an unchanged packet,
    /// if there is no intact header, or if it is followed by fragments or IPv6 extension headers.
    pub fn strip(packet: &mut PacketBuf) -> Option<Self> {
        let data = packet.data();
        let (outer, header_len, len) = match *data.first()? >> 4 {
            4 => {
                let header_len = usize::from(data[0] & 0xf) * 4;
                let header = data.get(..header_len.max(20))?;
                let len = usize::from(word(header, 2));
                let fragmented = word(header, 6) & 0x3fff != 0;
                if header_len < 20 || len < header_len || fragmented || Sum::of(header).fold() != 0xffff {
                    return None;
                }
                let address = |at: usize| header[at..at + 4].first_chunk::<4>().map(|octets| IpAddr::from(*octets));
                let outer = Self {
                    source: address(12)?,
                    destination: address(16)?,
                    fields: fields(header[1], header[6] & 0x40 != 0, header[8]),
                    identification: word(header, 4),
                    protocol: header[9],
                };
                (outer, header_len, len)
            }
            6 => {
                let header = data.first_chunk::<40>()?;
                let address = |at: usize| header[at..at + 16].first_chunk::<16>().map(|octets| IpAddr::from(*octets));
                let outer = Self {
                    source: address(8)?,
                    destination: address(24)?,
                    fields: fields(header[0] << 4 | header[1] >> 4, true, header[7]),
                    identification: 0,
                    protocol: header[6],
                };
                (outer, 40, 40 + usize::from(word(header, 4)))
            }
            _ => return None,
        };
        if len > packet.len() {
            return None;
        }
        packet.truncate(len);
        packet.trim_front(header_len);
        Some(outer)
    }
}

fn fields(traffic_class: u8, df: bool, ttl: u8) -> OuterFields {
    OuterFields { dscp: traffic_class >> 2, ecn: Ecn::from_traffic_class(traffic_class), df, ttl }
}

fn word(header: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([header[at], header[at + 1]])
}

impl fmt::Display for UnlikeAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("addresses of different families")
    }
}

impl std::error::Error for UnlikeAddresses {}
