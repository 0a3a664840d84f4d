//! What is odd about packets.

use super::packet::{self, Ip, Tcp, flag};
use super::plan::{Checksum, ODD, Shipment, payload};

/// IPv4 options, or IPv6 extension headers: one that every router looks at, and one for the destination.
pub(super) fn extra(v6: bool, units: usize) -> Vec<(u8, Vec<u8>)> {
    if v6 {
        // An experimental option that is skipped where it is not known (RFC 4727 §3.4).
        let header = |units: usize| {
            let len = 8 * units;
            [&[0, units as u8 - 1, 0x1e, len as u8 - 4][..], &vec![0xa5; len - 4]].concat()
        };
        return match units % 3 {
            0 => vec![(0, header(1)), (60, header(units.div_ceil(2)))],
            1 => vec![(60, header(units))],
            _ => vec![(0, header(2))],
        };
    }
    // An experimental option (RFC 4727 §3.3), then the end of the list.
    let len = 4 * units;
    let mut options = vec![0xa5; len];
    (options[0], options[1], options[len - 1]) = (0x9e, len as u8 - 1, 0);
    vec![(0, options)]
}

/// Makes a packet odd.
type Change = Box<dyn Fn(&mut Ip, &mut Tcp)>;

/// What makes a packet odd.
pub(super) fn changes(v6: bool) -> Vec<Change> {
    use flag::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};
    let mut all: Vec<Change> = vec![Box::new(|_, _| {})];
    let flags =
        [URG | ACK, PSH | ACK, FIN | ACK, FIN | PSH | ACK, SYN, SYN | ACK, RST, RST | ACK, ECE | ACK, CWR | ACK]
            .into_iter()
            .chain([ECE | CWR | ACK, ECE | CWR | SYN, CWR | PSH | ACK, 0, PSH, FIN, FIN | PSH | URG, 0xff]);
    for flags in flags {
        all.push(Box::new(move |_, tcp| {
            tcp.flags = flags;
            tcp.urgent = if flags & URG != 0 { 500 } else { 0 };
        }));
    }
    for options in [
        vec![2, 4, 5, 0xb4],
        vec![1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 5],
        vec![1, 1, 5, 10, 0, 0, 1, 0, 0, 0, 2, 0],
        vec![1; 40],
        // Unlike the ones before it, but as long.
        [&[0xfd, 38, 0x12, 0x34][..], &[7; 34], &[1, 1]].concat(),
    ] {
        all.push(Box::new(move |_, tcp| tcp.options.clone_from(&options)));
    }
    // No payload; one octet; sent again; from the future; another window; an urgent pointer without its flag.
    all.push(Box::new(|_, tcp| tcp.payload.clear()));
    all.push(Box::new(|_, tcp| tcp.payload.truncate(1)));
    all.push(Box::new(|_, tcp| tcp.payload.truncate(1999)));
    all.push(Box::new(|_, tcp| tcp.sequence = tcp.sequence.wrapping_sub(1000)));
    all.push(Box::new(|_, tcp| tcp.sequence = tcp.sequence.wrapping_add(1)));
    all.push(Box::new(|_, tcp| tcp.window = 0));
    all.push(Box::new(|_, tcp| tcp.urgent = 9));
    // DSCP; each of the ECN codepoints (RFC 3168 §5); hop limits.
    for traffic_class in [0xb8, 1, 2, 3] {
        all.push(Box::new(move |ip, _| ip.traffic_class = traffic_class));
    }
    for hop_limit in [3, 63, 255] {
        all.push(Box::new(move |ip, _| ip.hop_limit = hop_limit));
    }
    for units in 1..=10 {
        all.push(Box::new(move |ip, _| ip.extra = extra(v6, units)));
    }
    if !v6 {
        // Without DF an identification has a meaning (RFC 6864 §4.1).
        all.push(Box::new(|ip, _| ip.df = false));
        all.push(Box::new(|ip, _| (ip.df, ip.identification) = (false, 0xffff)));
    }
    all
}

/// Datagrams that the kernel does not send by itself, beside usual ones.
pub(super) fn odd_datagrams(v6: bool) -> Vec<Shipment> {
    let flow = ODD + 1;
    let usual = |n: u16| {
        let ip = Ip { identification: n, ..Ip::new(v6, flow) };
        Shipment::plain(packet::datagram(&ip, &payload(flow, n.into(), 500)))
    };
    let ip = |id| Ip { identification: id, ..Ip::new(v6, flow) };
    let mut all = vec![usual(0), usual(1), Shipment::plain(packet::datagram(&ip(2), &[])), usual(3)];
    // A checksum that comes out as zero: what stands there then means the same (RFC 768). By itself, and in a frame.
    let (at, zero) = (ip(4).len() + 6, zero_checksum(&ip(4), payload(flow, 4, 500)));
    all.extend([Shipment::plain(packet::datagram(&ip(4), &zero)), Shipment::udp(&ip(5), &zero, 500)]);
    let three = [payload(flow, 5, 500), zero, payload(flow, 6, 100)].concat();
    all.extend([Shipment::udp(&ip(6), &three, 500), usual(9)]);
    all.push(spoiled(packet::datagram(&ip(7), &payload(flow, 7, 500)), at));
    all.extend([usual(8), usual(9)]);
    if !v6 {
        let without = |octets| Shipment::with(octets, Checksum::None);
        let bare = |n: u16| without(packet::bare_datagram(&ip(n), &payload(flow, n.into(), 500)));
        all.extend([bare(10), bare(11), usual(12), bare(13), usual(14), usual(15)]);
        // In fragments, too.
        let whole = packet::bare_datagram(&ip(16), &payload(flow + 1, 16, 3000));
        all.extend(Ip::new(v6, flow + 1).fragments(&whole, 1000).into_iter().map(without));
    }
    all
}

/// `payload`, its first octets changed so that the checksum of its datagram is zero before it is written.
fn zero_checksum(ip: &Ip, mut payload: Vec<u8>) -> Vec<u8> {
    let place = ip.len() + 6;
    payload[..2].fill(0);
    let whole = packet::datagram(ip, &payload);
    payload[..2].copy_from_slice(&whole[place..place + 2]);
    debug_assert_eq!(packet::datagram(ip, &payload)[place..place + 2], [0xff, 0xff]);
    payload
}

/// A packet whose checksum at `place` is wrong: nobody on the way may make it right.
pub(super) fn spoiled(mut octets: Vec<u8>, place: usize) -> Shipment {
    octets[place] ^= 0x55;
    Shipment::with(octets, Checksum::Bad)
}
