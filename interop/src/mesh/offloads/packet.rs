//! Packets made by hand, and how a network card cuts them: our own account of it, which shares nothing with the
//! daemon's.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// TCP flags (RFC 9293 §3.1, RFC 3168 §6.1).
pub(super) mod flag {
    pub(in super::super) const FIN: u8 = 0x01;
    pub(in super::super) const SYN: u8 = 0x02;
    pub(in super::super) const RST: u8 = 0x04;
    pub(in super::super) const PSH: u8 = 0x08;
    pub(in super::super) const ACK: u8 = 0x10;
    pub(in super::super) const URG: u8 = 0x20;
    pub(in super::super) const ECE: u8 = 0x40;
    pub(in super::super) const CWR: u8 = 0x80;
}

/// What stands in an IP header.
#[derive(Debug, Clone)]
pub(super) struct Ip {
    pub(super) v6: bool,
    /// The last octet of the source address: a flow has one of its own.
    pub(super) flow: u8,
    pub(super) traffic_class: u8,
    pub(super) hop_limit: u8,
    /// IPv4.
    pub(super) identification: u16,
    /// IPv4.
    pub(super) df: bool,
    /// IPv4 options, or IPv6 extension headers with their types.
    pub(super) extra: Vec<(u8, Vec<u8>)>,
}

impl Ip {
    pub(super) fn new(v6: bool, flow: u8) -> Self {
        Self { v6, flow, traffic_class: 0, hop_limit: 64, identification: 0, df: true, extra: Vec::new() }
    }

    /// Octets of source and destination.
    fn addresses(&self) -> Vec<u8> {
        match self.v6 {
            false => {
                [Ipv4Addr::new(10, 1, 0, self.flow).octets(), Ipv4Addr::new(10, 2, 0, self.flow).octets()].concat()
            }
            true => {
                [1, 2].map(|site| Ipv6Addr::new(0x2001, 0xdb8, site, 0, 0, 0, 0, self.flow.into()).octets()).concat()
            }
        }
    }

    /// Octets of all IP headers.
    pub(super) fn len(&self) -> usize {
        let extra: usize = self.extra.iter().map(|(_, octets)| octets.len()).sum();
        if self.v6 { 40 + extra } else { 20 + extra }
    }

    /// All IP headers of a packet that carries `length` octets of `protocol`.
    fn header(&self, protocol: u8, length: usize) -> Vec<u8> {
        let extra = self.extra.iter().flat_map(|(_, octets)| octets.clone());
        if self.v6 {
            // A flow's label is its own, too.
            let mut header = vec![0x60 | self.traffic_class >> 4, self.traffic_class << 4, 0, self.flow, 0, 0];
            header.extend([protocol, self.hop_limit]);
            header.extend(self.addresses());
            header.extend(extra);
            let behind = (header.len() - 40 + length) as u16;
            header[4..6].copy_from_slice(&behind.to_be_bytes());
            // Each header names the one behind it.
            let mut at = 6;
            let mut place = 40;
            for (kind, octets) in &self.extra {
                header[at] = *kind;
                (at, place) = (place, place + octets.len());
                header[at] = protocol;
            }
            return header;
        }
        let (len, id) = (self.len(), self.identification.to_be_bytes());
        let total = ((len + length) as u16).to_be_bytes();
        let mut header = vec![0x40 | (len / 4) as u8, self.traffic_class, total[0], total[1], id[0], id[1]];
        header.extend([if self.df { 0x40 } else { 0 }, 0, self.hop_limit, protocol, 0, 0]);
        header.extend(self.addresses());
        header.extend(extra);
        let checksum = !sum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn pseudo_header(&self, protocol: u8, length: usize) -> Vec<u8> {
        [&self.addresses()[..], &(length as u32).to_be_bytes(), &[0, protocol]].concat()
    }

    /// A whole packet with `upper` behind the IP headers.
    pub(super) fn packet(&self, protocol: u8, upper: &[u8]) -> Vec<u8> {
        [&self.header(protocol, upper.len())[..], upper].concat()
    }

    /// A whole packet with the checksum of `upper` at `place` done, or only its pseudo header's part of it.
    fn with_checksum(&self, protocol: u8, mut upper: Vec<u8>, place: usize, whole: bool) -> Vec<u8> {
        let pseudo = self.pseudo_header(protocol, upper.len());
        let checksum = match whole {
            false => sum(&pseudo),
            // RFC 768: zero would say that there is none.
            true => match !sum(&[&pseudo[..], &upper].concat()) {
                0 if protocol == UDP => 0xffff,
                checksum => checksum,
            },
        };
        upper[place..place + 2].copy_from_slice(&checksum.to_be_bytes());
        self.packet(protocol, &upper)
    }

    /// The packet in fragments with at most `size` octets of it each (RFC 791 §3.2, RFC 8200 §4.5). No extra headers.
    pub(super) fn fragments(&self, packet: &[u8], size: usize) -> Vec<Vec<u8>> {
        let (header, upper) = packet.split_at(self.len());
        let size = size & !7;
        let count = upper.len().div_ceil(size);
        let piece = |(n, piece): (usize, &[u8])| {
            let offset = (n * size) as u16;
            let more = u16::from(n + 1 < count);
            if self.v6 {
                let id = u32::from(self.identification).to_be_bytes();
                let fragment = [&[header[6], 0][..], &(offset | more).to_be_bytes(), &id, piece].concat();
                return self.packet(44, &fragment);
            }
            let mut packet = Self { df: false, ..self.clone() }.packet(header[9], piece);
            packet[6..8].copy_from_slice(&((offset / 8) | (more << 13)).to_be_bytes());
            packet[10..12].copy_from_slice(&[0, 0]);
            let checksum = !sum(&packet[..20]);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
            packet
        };
        upper.chunks(size).enumerate().map(piece).collect()
    }
}

/// Whether it comes from one of the flows' source addresses.
pub(super) fn is_from_left(packet: &[u8]) -> bool {
    match packet.first().map(|first| first >> 4) {
        Some(4) => packet.get(12..15) == Some(&[10, 1, 0]),
        Some(6) => packet.get(8..14) == Some(&[0x20, 0x01, 0x0d, 0xb8, 0, 1]),
        _ => false,
    }
}

/// The one's complement sum of RFC 1071.
pub(super) fn sum(octets: &[u8]) -> u16 {
    let word = |word: &[u8]| u64::from(word[0]) << 8 | word.get(1).map_or(0, |&low| u64::from(low));
    let mut all: u64 = octets.chunks(2).map(word).sum();
    while all > 0xffff {
        all = (all & 0xffff) + (all >> 16);
    }
    all as u16
}

/// A TCP segment, or several in one frame.
#[derive(Debug, Clone)]
pub(super) struct Tcp {
    pub(super) flags: u8,
    pub(super) sequence: u32,
    pub(super) window: u16,
    pub(super) urgent: u16,
    /// A multiple of four octets.
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Tcp {
    pub(super) fn new(flags: u8, sequence: u32, payload: Vec<u8>) -> Self {
        Self { flags, sequence, window: 1024, urgent: 0, options: Vec::new(), payload }
    }

    pub(super) fn header_len(&self) -> usize {
        20 + self.options.len()
    }

    fn octets(&self) -> Vec<u8> {
        let mut octets = [&[0x30, 0x39, 0xd4, 0x31][..], &self.sequence.to_be_bytes(), &[1, 2, 3, 4]].concat();
        octets.extend([(self.header_len() * 4) as u8, self.flags]);
        octets.extend([self.window.to_be_bytes(), [0, 0], self.urgent.to_be_bytes()].concat());
        octets.extend(&self.options);
        octets.extend(&self.payload);
        octets
    }

    /// As one packet.
    pub(super) fn packet(&self, ip: &Ip) -> Vec<u8> {
        ip.with_checksum(TCP, self.octets(), 16, true)
    }

    /// As a frame whose checksum is still to be done.
    pub(super) fn frame(&self, ip: &Ip) -> Vec<u8> {
        ip.with_checksum(TCP, self.octets(), 16, false)
    }

    /// The segments that are to be cut from the frame: FIN and PSH belong to the last, CWR to the first.
    pub(super) fn segments(&self, ip: &Ip, size: usize) -> Vec<Vec<u8>> {
        if self.payload.is_empty() {
            return vec![self.packet(ip)];
        }
        let count = self.payload.chunks(size).len();
        let cut = |(n, payload): (usize, &[u8])| {
            let mut flags = self.flags;
            if n > 0 {
                flags &= !flag::CWR;
            }
            if n + 1 < count {
                flags &= !(flag::FIN | flag::PSH);
            }
            let sequence = self.sequence.wrapping_add((n * size) as u32);
            let segment = Self { flags, sequence, payload: payload.to_vec(), ..self.clone() };
            segment.packet(&Ip { identification: ip.identification.wrapping_add(n as u16), ..ip.clone() })
        };
        self.payload.chunks(size).enumerate().map(cut).collect()
    }
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    [&[0x30, 0x39, 0xd4, 0x31][..], &length.to_be_bytes(), &[0, 0], payload].concat()
}

/// A datagram as one packet.
pub(super) fn datagram(ip: &Ip, payload: &[u8]) -> Vec<u8> {
    ip.with_checksum(UDP, udp(payload), 6, true)
}

/// A datagram without checksum (RFC 768).
pub(super) fn bare_datagram(ip: &Ip, payload: &[u8]) -> Vec<u8> {
    ip.packet(UDP, &udp(payload))
}

/// One datagram, or several, as a frame whose checksum is still to be done.
pub(super) fn datagram_frame(ip: &Ip, payload: &[u8]) -> Vec<u8> {
    ip.with_checksum(UDP, udp(payload), 6, false)
}

/// The datagrams that are to be cut from the frame.
pub(super) fn datagrams(ip: &Ip, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let cut = |(n, payload): (usize, &[u8])| {
        datagram(&Ip { identification: ip.identification.wrapping_add(n as u16), ..ip.clone() }, payload)
    };
    payload.chunks(size).enumerate().map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071 §3.
    #[test]
    fn sums_as_in_the_rfc() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn headers_name_what_follows() {
        let extra = vec![(0, vec![0, 0, 1, 4, 0, 0, 0, 0]), (60, vec![0, 0, 1, 4, 0, 0, 0, 0])];
        let ip = Ip { extra, ..Ip::new(true, 7) };
        let packet = Tcp::new(flag::ACK, 9, vec![1, 2, 3]).packet(&ip);
        assert_eq!((packet[6], packet[40], packet[48]), (0, 60, TCP));
        assert_eq!(packet.len(), 40 + 16 + 20 + 3);
        assert_eq!(packet[4..6], [0, 16 + 20 + 3]);
    }

    #[test]
    fn fragments_make_the_packet() {
        for v6 in [false, true] {
            let ip = Ip::new(v6, 1);
            let packet = datagram(&ip, &[5; 3000]);
            let fragments = ip.fragments(&packet, 1231);
            assert_eq!(fragments.len(), 3);
            let skip = if v6 { 48 } else { 20 };
            let upper: Vec<u8> = fragments.iter().flat_map(|fragment| fragment[skip..].to_vec()).collect();
            assert_eq!(upper, packet[ip.len()..]);
        }
    }
}
