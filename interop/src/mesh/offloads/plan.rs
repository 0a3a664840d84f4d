//! What is sent: TCP segments and UDP datagrams of every size, each also cut from frames of several, and odd packets.

use std::collections::BTreeMap;

use super::link::{Kind, Task};
use super::odd::{changes, extra, odd_datagrams, spoiled};
use super::packet::{self, Ip, Tcp, flag};

/// The longest segment and datagram, octets of payload.
pub(super) const LONGEST: usize = 9000;
/// Up to this size a frame is cut into several whole segments, beyond into one, and a rest.
const SMALL: usize = 1460;
/// Flows of a kind, each with a source address of its own: TCP, UDP, UDP in fragments; odd packets.
const FLOWS: usize = 4;
const FIRST: [u8; 3] = [1, 11, 21];
pub(super) const ODD: u8 = 31;

/// A packet that must arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) octets: Vec<u8>,
    pub(super) checksum: Checksum,
}

/// The checksum of TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    Good,
    /// Wrong, and must stay so.
    Bad,
    /// There is none (RFC 768), and must be none.
    None,
}

/// What is given to the kernel at once, and what must come of it.
#[derive(Debug, Clone)]
pub(super) struct Shipment {
    pub(super) task: Task,
    pub(super) octets: Vec<u8>,
    pub(super) packets: Vec<Expected>,
}

impl Shipment {
    /// A packet with which nothing is left to do.
    pub(super) fn plain(octets: Vec<u8>) -> Self {
        Self::with(octets, Checksum::Good)
    }

    pub(super) fn with(octets: Vec<u8>, checksum: Checksum) -> Self {
        Self { task: Task::Nothing, packets: vec![Expected { octets: octets.clone(), checksum }], octets }
    }

    /// A TCP frame to be cut into segments of `size` octets; one segment's worth is no frame for the kernel.
    fn tcp(ip: &Ip, tcp: &Tcp, size: usize) -> Self {
        let (start, place) = (ip.len(), 16);
        let task = match tcp.payload.len() > size {
            true => {
                let kind = if ip.v6 { Kind::Tcp6 } else { Kind::Tcp4 };
                Task::Segments { kind, headers: start + tcp.header_len(), size, start, place }
            }
            false => Task::Checksum { start, place },
        };
        Self { task, octets: tcp.frame(ip), packets: good(tcp.segments(ip, size)) }
    }

    /// As [`Self::tcp`], of datagrams.
    pub(super) fn udp(ip: &Ip, payload: &[u8], size: usize) -> Self {
        let (start, place) = (ip.len(), 6);
        let task = match payload.len() > size {
            true => Task::Segments { kind: Kind::Udp, headers: start + 8, size, start, place },
            false => Task::Checksum { start, place },
        };
        Self { task, octets: packet::datagram_frame(ip, payload), packets: good(packet::datagrams(ip, payload, size)) }
    }
}

fn good(packets: Vec<Vec<u8>>) -> Vec<Expected> {
    packets.into_iter().map(|octets| Expected { octets, checksum: Checksum::Good }).collect()
}

/// `len` octets of a flow from its octet number `from` on: a piece in a wrong place differs.
pub(super) fn payload(flow: u8, from: u32, len: usize) -> Vec<u8> {
    let octet = |at: u32| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8 ^ flow;
    (0..len as u32).map(|n| octet(from.wrapping_add(n))).collect()
}

/// The plan of a round. From one round to the next, sizes change their address family and their way.
#[derive(Debug)]
pub(super) struct Plan {
    round: usize,
    /// Octets and packets so far, by family and flow.
    sent: BTreeMap<(bool, u8), (u32, u16)>,
}

impl Plan {
    pub(super) fn new(round: usize) -> Self {
        Self { round, sent: BTreeMap::new() }
    }

    /// All of it, in order. Every size from one octet to [`LONGEST`] is that of a TCP segment and of a datagram.
    pub(super) fn shipments(mut self) -> impl Iterator<Item = Shipment> {
        let odd = [false, true].map(|v6| self.odd(v6)).concat();
        let sizes = (1..=LONGEST).flat_map(move |size| {
            let mut all = vec![self.segments(size)];
            all.extend(self.datagrams(size));
            all
        });
        odd.into_iter().chain(sizes)
    }

    /// The flow's next octets and packets: where they begin.
    fn advance(&mut self, v6: bool, flow: u8, octets: usize, packets: usize) -> (u32, u16) {
        // Near the end of the sequence numbers.
        let sent = self.sent.entry((v6, flow)).or_insert((u32::MAX - 50_000, u16::MAX - 50));
        let before = *sent;
        *sent = (sent.0.wrapping_add(octets as u32), sent.1.wrapping_add(packets as u16));
        before
    }

    fn is_v6(&self, size: usize) -> bool {
        (size + self.round) % 2 == 1
    }

    /// Octets in a frame of segments of `size` octets: whole ones, and a last one of any length.
    fn frame_len(size: usize) -> usize {
        let whole = if size <= SMALL { 3 } else { 1 };
        whole * size + 1 + size.wrapping_mul(7919) % size.max(2)
    }

    fn ip(&self, v6: bool, flow: u8, size: usize) -> Ip {
        let mut ip = Ip::new(v6, flow);
        if size.is_multiple_of(7) && size < 8900 {
            ip.extra = extra(v6, 1 + size / 7 % 10);
        }
        ip.df = !size.is_multiple_of(13);
        ip
    }

    fn segments(&mut self, size: usize) -> Shipment {
        let (v6, flow) = (self.is_v6(size), FIRST[0] + (size / 2 % FLOWS) as u8);
        let len = Self::frame_len(size);
        let (sequence, identification) = self.advance(v6, flow, len, len.div_ceil(size));
        let push = if size.is_multiple_of(3) { flag::PSH } else { 0 };
        let mut tcp = Tcp::new(flag::ACK | push, sequence, payload(flow, sequence, len));
        if size.is_multiple_of(4) {
            // Time stamps that change now and then (RFC 7323 §3.2).
            let time = (size / 100) as u8;
            tcp.options = vec![1, 1, 8, 10, 0, 0, 0, time, 0, 0, 0, 5];
        }
        Shipment::tcp(&Ip { identification, ..self.ip(v6, flow, size) }, &tcp, size)
    }

    fn datagrams(&mut self, size: usize) -> Vec<Shipment> {
        let v6 = self.is_v6(size);
        let way = (size / 2 + self.round / 2) % 3;
        let flow = if way == 2 { FIRST[2] } else { FIRST[1] } + (size / 2 % FLOWS) as u8;
        let len = if way == 0 { Self::frame_len(size) } else { size };
        let (from, identification) = self.advance(v6, flow, len, len.div_ceil(size));
        let (ip, payload) = (Ip { identification, ..self.ip(v6, flow, size) }, payload(flow, from, len));
        match way {
            2 => {
                let ip = Ip { extra: Vec::new(), df: false, ..ip };
                let pieces = ip.fragments(&packet::datagram(&ip, &payload), 552 + size % 800);
                pieces.into_iter().map(Shipment::plain).collect()
            }
            _ => vec![Shipment::udp(&ip, &payload, size)],
        }
    }

    /// Packets in which something is unusual, each between usual ones of its flow.
    fn odd(&mut self, v6: bool) -> Vec<Shipment> {
        let mut all = Vec::new();
        for (n, change) in changes(v6).into_iter().enumerate() {
            // One segment; a frame of three; three in a row that are odd in the same way.
            for (run, len) in [(1, 1000), (1, 2500), (3, 1000)] {
                let (sequence, id) = self.advance(v6, ODD, 4000 + run * len, 4 + run * len.div_ceil(1000));
                let at = |octets: usize| sequence.wrapping_add(octets as u32);
                let ip = |packets: usize| Ip { identification: id.wrapping_add(packets as u16), ..Ip::new(v6, ODD) };
                let tcp = |octets, len| Tcp::new(flag::ACK, at(octets), payload(ODD, at(octets), len));
                let usual = |n: usize| Shipment::tcp(&ip(n), &tcp(n * 1000, 1000), 1000);
                all.extend([usual(0), usual(1)]);
                for k in 0..run {
                    let (mut ip, mut tcp) = (ip(2 + k), tcp(2000 + k * len, len));
                    change(&mut ip, &mut tcp);
                    all.push(Shipment::tcp(&ip, &tcp, 1000));
                }
                all.extend([usual(2), usual(3)]);
                if n == 0 {
                    all.push(spoiled(usual(2).packets.remove(0).octets, ip(0).len() + 16));
                    all.push(usual(3));
                }
            }
        }
        all.extend(odd_datagrams(v6));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::packet::{TCP, UDP};
    use super::*;

    /// Of both protocols, as they arrive.
    #[test]
    fn every_size_is_there_in_every_round() {
        for round in 0..2 {
            let mut sizes: BTreeMap<u8, BTreeSet<usize>> = BTreeMap::new();
            for shipment in Plan::new(round).shipments() {
                for Expected { octets, .. } in &shipment.packets {
                    let v6 = octets[0] >> 4 == 6;
                    let (mut next, mut at) =
                        if v6 { (octets[6], 40) } else { (octets[9], usize::from(octets[0] & 15) * 4) };
                    while v6 && matches!(next, 0 | 60) {
                        (next, at) = (octets[at], at + 8 + usize::from(octets[at + 1]) * 8);
                    }
                    match next {
                        TCP => drop(
                            sizes
                                .entry(TCP)
                                .or_default()
                                .insert(octets.len() - at - usize::from(octets[at + 12] >> 4) * 4),
                        ),
                        // Fragments say it in the first one.
                        UDP if octets[6] & 0x1f == 0 && octets[7] == 0 || v6 && next == UDP => {
                            let len = u16::from_be_bytes([octets[at + 4], octets[at + 5]]);
                            sizes.entry(UDP).or_default().insert(usize::from(len) - 8);
                        }
                        44 if octets[at..at + 3] == [UDP, 0, 0] => {
                            let len = u16::from_be_bytes([octets[at + 12], octets[at + 13]]);
                            sizes.entry(UDP).or_default().insert(usize::from(len) - 8);
                        }
                        _ => {}
                    }
                }
            }
            for protocol in [TCP, UDP] {
                assert!((1..=LONGEST).all(|size| sizes[&protocol].contains(&size)), "round {round}, {protocol}");
            }
        }
    }
}
