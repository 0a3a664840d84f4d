//! Cutting and putting together, against packets that are built here, one by one and by another way.

use proptest::prelude::*;

use super::*;

/// A connection, and how its packets look.
#[derive(Debug, Clone)]
struct Shape {
    v6: bool,
    tcp: bool,
    /// TCP options, multiples of four octets.
    options: Vec<u8>,
    /// IPv6 destination options or IPv4 options before the transport header: frames only.
    extension: bool,
    sequence: u32,
    identification: u16,
    flags: u8,
}

/// RFC 1071 §4.1, word by word: another reader of checksums than the one under test.
fn checksum(chunks: &[&[u8]]) -> u16 {
    let octets = chunks.concat();
    let mut sum = 0_u32;
    for word in octets.chunks(2) {
        sum += u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| u32::from(low));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

impl Shape {
    fn protocol(&self) -> u8 {
        if self.tcp { 6 } else { 17 }
    }

    fn ip_len(&self) -> usize {
        if self.v6 { 40 } else { 20 }
    }

    fn transport_at(&self) -> usize {
        self.ip_len() + if self.extension { 8 } else { 0 }
    }

    fn headers(&self) -> usize {
        self.transport_at() + if self.tcp { 20 + self.options.len() } else { 8 }
    }

    fn pseudo(&self, len: usize) -> Vec<u8> {
        let mut pseudo = self.addresses();
        pseudo.extend([0, self.protocol()]);
        pseudo.extend((len as u16).to_be_bytes());
        pseudo
    }

    fn addresses(&self) -> Vec<u8> {
        if self.v6 {
            (0..32).map(|n| if n < 16 { 0x20 + n } else { 0x40 + n }).collect()
        } else {
            vec![10, 1, 0, 1, 10, 2, 0, 1]
        }
    }

    /// The packet with `payload`, `offset` octets into the stream, `n`th of its frame; its checksum right.
    fn packet(&self, payload: &[u8], offset: usize, n: usize, flags: u8) -> Vec<u8> {
        let mut packet = self.unfinished(payload, offset, n, flags);
        let at = self.transport_at();
        let place = at + if self.tcp { 16 } else { 6 };
        packet[place..place + 2].fill(0);
        let sum = match checksum(&[&self.pseudo(packet.len() - at), &packet[at..]]) {
            0 if !self.tcp => 0xffff,
            sum => sum,
        };
        packet[place..place + 2].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// As the kernel hands it over: the checksum field covers the pseudo header.
    fn unfinished(&self, payload: &[u8], offset: usize, n: usize, flags: u8) -> Vec<u8> {
        let mut transport = vec![0x30, 0x39, 0x01, 0xbb];
        if self.tcp {
            transport.extend(self.sequence.wrapping_add(offset as u32).to_be_bytes());
            transport.extend([1, 2, 3, 4, ((20 + self.options.len()) as u8 / 4) << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
            transport.extend(&self.options);
        } else {
            transport.extend(((8 + payload.len()) as u16).to_be_bytes());
            transport.extend([0, 0]);
        }
        let len = transport.len() + payload.len();
        let partial = !checksum(&[&self.pseudo(len)]);
        let place = if self.tcp { 16 } else { 6 };
        transport[place..place + 2].copy_from_slice(&partial.to_be_bytes());
        let extension = if self.extension { 8 } else { 0 };
        let mut packet = if self.v6 {
            let next = if self.extension { 60 } else { self.protocol() };
            let mut ip = vec![0x60, 0x12, 0x34, 0x56];
            ip.extend(((len + extension) as u16).to_be_bytes());
            ip.extend([next, 63]);
            ip.extend(self.addresses());
            if self.extension {
                ip.extend([self.protocol(), 0, 1, 4, 0, 0, 0, 0]);
            }
            ip
        } else {
            let mut ip = vec![0x45 + (extension / 4) as u8, 0x02];
            ip.extend(((20 + extension + len) as u16).to_be_bytes());
            ip.extend(self.identification.wrapping_add(n as u16).to_be_bytes());
            ip.extend([0, 0, 63, self.protocol(), 0, 0]);
            ip.extend(self.addresses());
            // No operation, eight times.
            ip.extend(vec![1; extension]);
            let sum = checksum(&[&ip]);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            ip
        };
        packet.extend(transport);
        packet.extend(payload);
        packet
    }

    fn kind(&self) -> Kind {
        match (self.tcp, self.v6) {
            (true, false) => Kind::Tcp4,
            (true, true) => Kind::Tcp6,
            (false, _) => Kind::Udp,
        }
    }

    fn head(&self, size: u16) -> Head {
        let checksum = Some(Partial { start: self.transport_at() as u16, offset: if self.tcp { 16 } else { 6 } });
        Head { checksum, segments: Some((self.kind(), size)), headers: self.headers() as u16 }
    }

    /// The packets of a stream, `size` octets each.
    fn packets(&self, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
        let count = payload.len().div_ceil(size);
        let piece = |(n, piece): (usize, &[u8])| {
            let first = if n > 0 { !0x80 } else { !0 };
            let last = if n + 1 < count { !0x09 } else { !0 };
            self.packet(piece, n * size, n, self.flags & first & last)
        };
        payload.chunks(size).enumerate().map(piece).collect()
    }
}

fn cut(frame: &[u8], head: &Head) -> Vec<Vec<u8>> {
    let segments = Segments::of(frame, head).expect("a frame").expect("several packets");
    let write = |n| {
        let mut out = vec![0xee; segments.len(n)];
        segments.write(frame, n, &mut out);
        out
    };
    (0..segments.count()).map(write).collect()
}

/// Frames that a merger makes of packets: each head with its octets, or a packet alone.
fn merged(packets: &[Vec<u8>], offloads: Offloads) -> Vec<(Head, Vec<u8>)> {
    let mut merger = Merger::new(packets.len(), offloads);
    for (at, packet) in packets.iter().enumerate() {
        merger.add(at, packet, |at| packets[at].as_slice());
    }
    let frame = |group: &Group| {
        let members: Vec<_> = merger.members(group).map(|at| packets[at].as_slice()).collect();
        assert_eq!(members.len(), group.count());
        match group.headers(members[0]) {
            None => (Head::default(), members[0].to_vec()),
            Some(headers) => {
                let payloads = members.iter().flat_map(|packet| &packet[headers.octets().len()..]);
                (headers.head, headers.octets().iter().chain(payloads).copied().collect())
            }
        }
    };
    merger.groups().map(frame).collect()
}

const ALL: Offloads = Offloads { tcp: true, udp: true };

fn tcp(v6: bool) -> Shape {
    let options = vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    Shape { v6, tcp: true, options, extension: false, sequence: 0xffff_f000, identification: 0xfff0, flags: 0x18 }
}

fn udp(v6: bool) -> Shape {
    Shape { tcp: false, options: Vec::new(), flags: 0, ..tcp(v6) }
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 256) as u8).collect()
}

#[test]
fn heads_are_read_as_they_are_written() {
    for kind in [Kind::Tcp4, Kind::Tcp6, Kind::Udp] {
        let checksum = Some(Partial { start: 40, offset: 16 });
        let head = Head { checksum, segments: Some((kind, 1386)), headers: 72 };
        assert_eq!(Head::decode(&head.encode()), Some(head));
    }
    assert_eq!(Head::decode(&[0; 10]), Some(Head::default()));
    // What was never asked for: UDP fragmentation.
    assert_eq!(Head::decode(&[1, 3, 0, 0, 0, 0, 0, 0, 0, 0]), None);
}

/// Every segment size from 1 to 9,000 octets.
#[test]
fn every_segment_size_is_cut_exactly() {
    for size in 1..=9000 {
        let shape = Shape { extension: size % 3 == 0, flags: 0x99, ..tcp(size % 2 == 0) };
        let shape = if size % 5 == 0 { udp(size % 2 == 0) } else { shape };
        let payload = payload(2 * size + size / 2 + 1);
        let frame = shape.unfinished(&payload, 0, 0, shape.flags);
        assert_eq!(cut(&frame, &shape.head(size as u16)), shape.packets(&payload, size), "{size} octets");
    }
}

/// What is cut by one side is put together by the other, and is the same frame again.
#[test]
fn what_was_cut_is_put_together_again() {
    for shape in [tcp(false), tcp(true), udp(false), udp(true)] {
        for (len, size) in [(40_000, 1386), (2, 1), (64, 1), (1386 * 3, 1386), (9001, 9000), (1000, 999)] {
            let frame = shape.unfinished(&payload(len), 0, 0, shape.flags);
            let head = shape.head(size);
            assert_eq!(merged(&cut(&frame, &head), ALL), [(head, frame)], "{shape:?}: {len} in {size}");
        }
    }
}

#[test]
fn flows_mix_and_keep_their_order() {
    let (a, b) = (tcp(false), udp(true));
    let (one, two) = (a.packets(&payload(5000), 1000), b.packets(&payload(500), 100));
    let mixed: Vec<_> = one.iter().zip(&two).flat_map(|(one, two)| [one.clone(), two.clone()]).collect();
    let frames = merged(&mixed, ALL);
    assert_eq!(
        frames,
        [
            (a.head(1000), a.unfinished(&payload(5000), 0, 0, a.flags)),
            (b.head(100), b.unfinished(&payload(500), 0, 0, b.flags)),
        ]
    );
    // A device that takes neither gets every packet as it came.
    let alone: Vec<_> = mixed.iter().map(|packet| (Head::default(), packet.clone())).collect();
    assert_eq!(merged(&mixed, Offloads::default()), alone);
}

/// Anything that cutting could not restore, or that was wrong before, keeps a packet alone, in its place.
#[test]
fn what_differs_stays_alone() {
    for v6 in [false, true] {
        let shape = tcp(v6);
        let at = shape.ip_len();
        let three = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut packets = shape.packets(&payload(3000), 1000);
            change(&mut packets[1]);
            merged(&packets, ALL).len()
        };
        assert_eq!(three(&|_| ()), 1);
        // Octets of the second packet that must be as in the first; each makes its checksum wrong besides, which alone
        // is enough: so it is put right again.
        let right = |change: &dyn Fn(&mut Vec<u8>)| {
            three(&|packet| {
                change(packet);
                packet[at + 16..at + 18].fill(0);
                let sum = checksum(&[&shape.pseudo(packet.len() - at), &packet[at..]]);
                packet[at + 16..at + 18].copy_from_slice(&sum.to_be_bytes());
            })
        };
        assert_eq!(right(&|_| ()), 1);
        for place in [
            at + 4,
            at + 7,
            at + 8,
            at + 12 + 1,
            at + 14,
            at + 19,
            at + 20 + 4,
            if v6 { 2 } else { 1 },
            if v6 { 7 } else { 8 },
        ] {
            assert!(right(&|packet| packet[place] ^= 0x40) > 1, "octet {place}, IPv6: {v6}");
        }
        assert_eq!(three(&|packet| packet[at + 40] ^= 1), 3, "a wrong checksum is not made right");
        assert_eq!(right(&|packet| packet[at + 13] |= 0x08), 2, "PSH ends a group");
        for flag in [0x01, 0x02, 0x04, 0x20, 0x40, 0x80] {
            assert_eq!(right(&|packet| packet[at + 13] |= flag), 3, "flag {flag:#x}");
        }
    }
    // Without DF the identification counts.
    let shape = udp(false);
    let mut packets = shape.packets(&payload(300), 100);
    packets.swap(0, 1);
    assert_eq!(merged(&packets, ALL).len(), 3);
    // What can't join is not overtaken by what could: here without a checksum, as fragments and empty datagrams are.
    let mut packets = udp(true).packets(&payload(300), 100);
    packets[1][46..48].fill(0);
    let frames: Vec<_> = merged(&packets, ALL).into_iter().map(|(_, frame)| frame).collect();
    assert_eq!(frames, packets);
    // A header that the kernel would refuse is not made right.
    let mut packets = tcp(false).packets(&payload(300), 100);
    packets[1][10] ^= 1;
    assert_eq!(merged(&packets, ALL).len(), 3);
    // A checksum that is absent can't be computed by the kernel as if it were there.
    let mut packets = shape.packets(&payload(300), 100);
    packets.iter_mut().for_each(|packet| packet[26..28].fill(0));
    assert_eq!(merged(&packets, ALL).len(), 3);
}

#[test]
fn groups_are_bounded() {
    let shape = tcp(false);
    let many = shape.packets(&payload(200), 1);
    let frames = merged(&many, ALL);
    assert_eq!(frames.len(), 200_usize.div_ceil(MAX_GROUP));
    let large: Vec<_> = shape.packets(&payload(100_000), 9000);
    for (_, frame) in merged(&large, ALL) {
        assert!(frame.len() <= 0xffff);
    }
}

#[test]
fn frames_that_do_not_fit_their_head_are_refused() {
    let shape = tcp(false);
    let frame = shape.unfinished(&payload(3000), 0, 0, 0x10);
    let head = shape.head(1000);
    let partial = |start, offset| Some(Partial { start, offset });
    for (frame, head) in [
        (&frame[..10], head),
        (&frame[..52], head),
        (&[][..], head),
        (&frame, Head { segments: Some((Kind::Tcp4, 0)), ..head }),
        (&frame, Head { checksum: None, ..head }),
        (&frame, Head { checksum: partial(10, 16), ..head }),
        (&frame, Head { checksum: partial(24, 16), ..head }),
        (&frame, Head { segments: Some((Kind::Tcp6, 1000)), ..head }),
        (&frame, Head { segments: Some((Kind::Udp, 1000)), ..head }),
        (&frame, Head { checksum: partial(u16::MAX, 16), ..head }),
    ] {
        assert_eq!(Segments::of(frame, &head), Err(Malformed), "{head:?}");
    }
    // Behind what look like extension headers, another one than policies saw.
    let extended = Shape { extension: true, ..tcp(true) };
    let hidden = extended.unfinished(&payload(3000), 0, 0, 0x10);
    assert!(Segments::of(&hidden, &extended.head(1000)).is_ok());
    assert_eq!(Segments::of(&hidden, &Head { checksum: partial(40, 16), ..extended.head(1000) }), Err(Malformed));
    let many = udp(false).unfinished(&payload(5000), 0, 0, 0);
    assert_eq!(Segments::of(&many, &udp(false).head(1)), Err(Malformed), "5000 packets of one octet");
    let mut packet = frame.clone();
    assert_eq!(complete(&mut packet, Partial { start: 20, offset: u16::MAX }), Err(Malformed));
    assert_eq!(complete(&mut packet, Partial { start: u16::MAX, offset: 0 }), Err(Malformed));
    assert_eq!(complete(&mut packet, Partial { start: 20, offset: 16 }), Ok(()));
    assert_eq!(packet, shape.packet(&payload(3000), 0, 0, 0x10));
}

proptest! {
    /// Whatever arrives in whatever order, nothing is lost, added or changed, and the order within each flow stays.
    #[test]
    fn nothing_is_lost_added_or_changed(
        picks in prop::collection::vec((0..4_usize, 0..12_usize), 1..100),
        size in 1..300_usize,
    ) {
        let shapes = [tcp(false), tcp(true), udp(false), udp(true)];
        let streams: Vec<_> = shapes.iter().map(|shape| shape.packets(&payload(12 * size), size)).collect();
        let packets: Vec<_> = picks.iter().map(|&(stream, n)| streams[stream][n].clone()).collect();
        let mut out = Vec::new();
        for (head, frame) in merged(&packets, ALL) {
            match head.segments {
                None => out.push(frame),
                Some(_) => out.extend(cut(&frame, &head)),
            }
        }
        let of = |all: &[Vec<u8>], first: u8, protocol: u8| -> Vec<Vec<u8>> {
            let is = |packet: &&Vec<u8>| {
                packet[0] >> 4 == first && packet[if first == 4 { 9 } else { 6 }] == protocol
            };
            all.iter().filter(is).cloned().collect()
        };
        for (first, protocol) in [(4, 6), (4, 17), (6, 6), (6, 17)] {
            prop_assert_eq!(of(&out, first, protocol), of(&packets, first, protocol));
        }
    }

    #[test]
    fn no_octets_make_it_panic(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..6),
        head: [u8; 10],
    ) {
        let _ = merged(&packets, ALL);
        if let Some(head) = Head::decode(&head) {
            for packet in &packets {
                if let Ok(Some(segments)) = Segments::of(packet, &head) {
                    for n in 0..segments.count() {
                        segments.write(packet, n, &mut vec![0; segments.len(n)]);
                    }
                }
                if let Some(partial) = head.checksum {
                    let _ = complete(&mut packet.clone(), partial);
                }
            }
        }
    }
}
