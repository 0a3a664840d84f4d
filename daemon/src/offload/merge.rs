//! Packets of one flow put together, as a network card would (LRO), so strictly that cutting them again gives the same
//! packets: what cannot be put back exactly stays alone.

use std::io::IoSlice;

use cygnet_esp::checksum::Sum;

use super::Offloads;
use super::head::{Head, Kind, Partial};
use super::segment_header::{
    TCP, TCP_HEADER, UDP, UDP_HEADER, V4_HEADER, V6_HEADER, field, flag, pseudo_header, put, set_length, tcp, udp,
};

/// Packets in one group: what every kernel takes for UDP, and enough for 64 KiB of TCP.
pub const MAX_GROUP: usize = 64;
/// Octets of all headers of a packet that can be in a group.
const MAX_HEADERS: usize = V6_HEADER + 60;
/// Groups back to which a packet's flow is looked for: more flows than that at once gain little.
const REACH: usize = 16;
/// Octets of a group as one packet.
const MAX_LEN: usize = 0xffff;

/// Sorts the packets of a batch into groups, by their position in it. The order within each flow stays.
#[derive(Debug)]
pub struct Merger {
    offloads: Offloads,
    groups: Vec<Group>,
    /// For each position, the one after it in its group.
    links: Vec<u16>,
}

/// Packets that go to the kernel as one.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    first: u16,
    last: u16,
    count: u16,
    /// Of all headers and payloads together.
    len: usize,
    /// `None` if it can have no second member.
    form: Option<Form>,
    /// Whether the next packet of the flow may join.
    open: bool,
}

/// What the packets of a group have in common.
#[derive(Debug, Clone, Copy)]
struct Form {
    flow: Flow,
    kind: Kind,
    /// Where the TCP or UDP header begins.
    transport: usize,
    /// Octets of all headers.
    headers: usize,
    /// Payload of each packet but the last.
    size: usize,
    /// Of the next one to join: TCP only.
    sequence: u32,
    /// Whether the last one has PSH.
    push: bool,
    /// Whether the checksum of the first is known to be right.
    verified: bool,
}

/// Addresses, then ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flow {
    addresses: [u8; 32],
    ports: [u8; 4],
}

impl Merger {
    /// For batches of up to `packets`, and a device that takes `offloads`.
    pub fn new(packets: usize, offloads: Offloads) -> Self {
        Self { offloads, groups: Vec::with_capacity(packets), links: vec![0; packets] }
    }

    /// Forgets the last batch.
    #[inline]
    pub fn clear(&mut self) {
        self.groups.clear();
    }

    /// Adds the packet at `position`; `packets` gives those before it.
    #[inline]
    pub fn add<'p>(&mut self, position: usize, packet: &[u8], packets: impl Fn(usize) -> &'p [u8]) {
        let form = Form::of(packet, self.offloads);
        if let Some(form) = &form {
            let recent = self.groups.iter_mut().rev().take(REACH);
            let mut same = recent.filter(|group| group.form.is_some_and(|known| known.is_same_flow(form)));
            if let Some(group) = same.next() {
                if group.takes(form, packet, &packets) {
                    if let Some(link) = self.links.get_mut(usize::from(group.last)) {
                        *link = position as u16;
                    }
                    return group.join(position as u16, form);
                }
                group.open = false;
            }
        } else {
            self.close(packet);
        }
        let open = form.as_ref().is_some_and(|form| !form.push);
        let at = position as u16;
        self.groups.push(Group { first: at, last: at, count: 1, len: packet.len(), form, open });
    }

    /// Lets nothing more join the groups between the addresses of `packet`, which is none that can join: it may belong to
    /// any of their flows, and what comes after it must not overtake it.
    #[cold]
    fn close(&mut self, packet: &[u8]) {
        let between = addresses(packet);
        let same = |group: &&mut Group| group.form.is_some_and(|form| Some(form.flow.addresses) == between);
        self.groups.iter_mut().filter(same).for_each(|group| group.open = false);
    }

    /// From now on packets of this kind stay alone: the device refused a group of them.
    pub fn refuse(&mut self, kind: Kind) {
        match kind {
            Kind::Tcp4 | Kind::Tcp6 => self.offloads.tcp = false,
            Kind::Udp => self.offloads.udp = false,
        }
    }

    /// The groups, in the order in which they are to be delivered.
    #[inline]
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    /// Positions of the packets of a group, in order.
    #[inline]
    pub fn members<'m>(&'m self, group: &'m Group) -> impl Iterator<Item = usize> + 'm {
        let next = |&at: &usize| self.links.get(at).map(|&next| usize::from(next));
        std::iter::successors(Some(usize::from(group.first)), next).take(group.count.into())
    }
}

impl Group {
    /// How many packets.
    #[inline]
    pub fn count(&self) -> usize {
        self.count.into()
    }

    /// Whether `packet` may follow what is here.
    #[inline]
    fn takes<'p>(&mut self, form: &Form, packet: &[u8], packets: impl Fn(usize) -> &'p [u8]) -> bool {
        let Some(known) = &mut self.form else { return false };
        let first = packets(self.first.into());
        let fits = self.open
            && usize::from(self.count) < MAX_GROUP
            && self.len + form.size <= MAX_LEN
            && form.size <= known.size
            && known.has_same_headers(first, packet, self.count, form);
        if !fits {
            return false;
        }
        // The kernel computes the checksum of what is cut from the group anew, and must not make a wrong one right.
        known.verified = known.verified || known.is_intact(first);
        known.verified && form.is_intact(packet)
    }

    #[inline]
    fn join(&mut self, position: u16, packet: &Form) {
        self.last = position;
        self.count += 1;
        self.len += packet.size;
        if let Some(form) = &mut self.form {
            self.open = packet.size == form.size && !packet.push;
            form.sequence = packet.sequence;
            form.push |= packet.push;
        }
    }

    /// The headers of the group as one packet, made from those of its `first` one, and what the kernel must know to cut
    /// it again; `None` if it is a packet that goes as it is.
    #[inline]
    pub fn headers(&self, first: &[u8]) -> Option<Headers> {
        let form = self.form.as_ref().filter(|_| self.count > 1)?;
        let mut octets = [0; MAX_HEADERS];
        let headers = octets.get_mut(..form.headers)?;
        headers.copy_from_slice(first.get(..form.headers)?);
        set_length(headers, self.len, field(headers, 4).map(u16::from_be_bytes));
        let behind = self.len - form.transport;
        let (protocol, place) = match form.kind {
            Kind::Udp => (UDP, udp::CHECKSUM),
            Kind::Tcp4 | Kind::Tcp6 => (TCP, tcp::CHECKSUM),
        };
        let partial = pseudo_header(headers, protocol, behind).fold();
        let transport = headers.get_mut(form.transport..)?;
        put(transport, place, partial.to_be_bytes());
        match form.kind {
            Kind::Udp => put(transport, udp::LENGTH, (behind as u16).to_be_bytes()),
            Kind::Tcp4 | Kind::Tcp6 => {
                if let Some(flags) = transport.get_mut(tcp::FLAGS).filter(|_| form.push) {
                    *flags |= flag::PSH;
                }
            }
        }
        let head = Head {
            checksum: Some(Partial { start: form.transport as u16, offset: place as u16 }),
            segments: Some((form.kind, form.size as u16)),
            headers: form.headers as u16,
        };
        Some(Headers { head, octets, len: form.headers })
    }
}

/// The headers of a group as one packet.
#[derive(Debug, Clone, Copy)]
pub struct Headers {
    /// What is to be done with it.
    pub head: Head,
    octets: [u8; MAX_HEADERS],
    len: usize,
}

impl Headers {
    /// The headers. The payload of each packet of the group begins after as many octets.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// The group as one packet, in pieces: these headers, then the payload of each of its `members`. Returns the pieces
    /// and how many there are.
    #[inline]
    pub fn pieces<'p, 'm: 'p>(
        &'p self,
        members: impl Iterator<Item = &'m [u8]>,
    ) -> ([IoSlice<'p>; MAX_GROUP + 1], usize) {
        let (mut pieces, mut used) = ([IoSlice::new(self.octets()); MAX_GROUP + 1], 1);
        for (piece, packet) in pieces.iter_mut().skip(1).zip(members) {
            *piece = IoSlice::new(packet.get(self.len..).unwrap_or_default());
            used += 1;
        }
        (pieces, used)
    }
}

/// Source and destination of an IP packet, those of IPv4 with zeros behind them.
#[inline]
fn addresses(packet: &[u8]) -> Option<[u8; 32]> {
    let mut addresses = [0; 32];
    match packet.first()? >> 4 {
        4 => addresses[..8].copy_from_slice(packet.get(12..V4_HEADER)?),
        6 => addresses.copy_from_slice(packet.get(8..V6_HEADER)?),
        _ => return None,
    }
    Some(addresses)
}

impl Form {
    /// Of a packet that can be in a group.
    #[inline]
    fn of(packet: &[u8], offloads: Offloads) -> Option<Self> {
        let (transport, protocol, v6) = match *packet {
            // No options, no fragment.
            [0x45, _, l0, l1, _, _, flags, 0, _, protocol, ..] if flags & 0x3f == 0 => {
                let len = usize::from(u16::from_be_bytes([l0, l1]));
                let intact = Sum::of(packet.get(..V4_HEADER)?).fold() == 0xffff;
                (len == packet.len() && intact).then_some((V4_HEADER, protocol, false))?
            }
            // No extension headers.
            [0x60..=0x6f, _, _, _, l0, l1, protocol, ..] => {
                let len = V6_HEADER + usize::from(u16::from_be_bytes([l0, l1]));
                (len == packet.len()).then_some((V6_HEADER, protocol, true))?
            }
            _ => return None,
        };
        let header = packet.get(transport..)?;
        let flow = Flow { addresses: addresses(packet)?, ports: field(header, 0)? };
        let (kind, header_len, sequence, push) = match protocol {
            TCP if offloads.tcp => {
                let &[s0, s1, s2, s3, _, _, _, _, offset, flags, ..] = header.get(tcp::SEQUENCE..)? else {
                    return None;
                };
                let header_len = usize::from(offset >> 4) * 4;
                if header_len < TCP_HEADER || flags & !flag::PSH != flag::ACK {
                    return None;
                }
                let kind = if v6 { Kind::Tcp6 } else { Kind::Tcp4 };
                (kind, header_len, u32::from_be_bytes([s0, s1, s2, s3]), flags & flag::PSH != 0)
            }
            UDP if offloads.udp => {
                let len = usize::from(u16::from_be_bytes(field(header, udp::LENGTH)?));
                let has_checksum = field(header, udp::CHECKSUM)? != [0, 0];
                (len == header.len() && has_checksum).then_some((Kind::Udp, UDP_HEADER, 0, false))?
            }
            _ => return None,
        };
        let size = header.len().checked_sub(header_len).filter(|&size| size > 0)?;
        let (headers, sequence) = (transport + header_len, sequence.wrapping_add(size as u32));
        Some(Self { flow, kind, transport, headers, size, sequence, push, verified: false })
    }

    #[inline]
    fn is_same_flow(&self, other: &Self) -> bool {
        self.flow == other.flow && self.kind == other.kind
    }

    /// Whether `packet` differs from the `first` one only as the next one does that a card cuts off, `count` behind it.
    #[inline]
    fn has_same_headers(&self, first: &[u8], packet: &[u8], count: u16, form: &Self) -> bool {
        if self.headers != form.headers {
            return false;
        }
        let (Some(first), Some(packet)) = (first.get(..self.headers), packet.get(..self.headers)) else { return false };
        let same = |from: usize, to: usize| first.get(from..to) == packet.get(from..to);
        let ip = match self.transport {
            // Traffic class and flow label; hop limit.
            V6_HEADER => same(0, 4) && same(7, 8),
            // TOS; flags, TTL; and the identification, which has a meaning only without DF (RFC 6864 §4.1).
            _ => {
                let id = |packet| field(packet, 4).map_or(0, u16::from_be_bytes);
                let df = first.get(6).is_some_and(|flags| flags & 0x40 != 0);
                same(0, 2) && same(6, 9) && (df || id(packet) == id(first).wrapping_add(count))
            }
        };
        let at = self.transport;
        ip && match self.kind {
            Kind::Udp => true,
            // In order; acknowledgement and data offset; window; urgent pointer and options.
            Kind::Tcp4 | Kind::Tcp6 => {
                form.sequence.wrapping_sub(form.size as u32) == self.sequence
                    && same(at + 8, at + 13)
                    && same(at + 14, at + 16)
                    && same(at + 18, self.headers)
            }
        }
    }

    /// Whether the checksum is right.
    #[inline]
    fn is_intact(&self, packet: &[u8]) -> bool {
        let Some(covered) = packet.get(self.transport..) else { return false };
        let protocol = if self.kind.is_tcp() { TCP } else { UDP };
        (pseudo_header(packet, protocol, covered.len()) + Sum::of(covered)).fold() == 0xffff
    }
}
