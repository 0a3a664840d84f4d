//! On the loopback, as any user.

use std::io::IoSlice;
use std::net::Ipv6Addr;

use super::control::IcmpError;
use super::outer::{raw_v4, take_error};
use super::*;
use crate::net::MAX_SEGMENTS;
use crate::net::steering::queue_of;

/// Ports chosen by the system: 0 for both.
fn listen(address: IpAddr) -> Listen {
    Listen {
        addresses: vec![address],
        ike_port: 0,
        nat_port: 0,
        raw_esp: false,
        fwmark: 0,
        offloads: Offload::all(),
        learn_path_mtu: true,
        queues: 1,
    }
}

fn loopback(address: IpAddr) -> Sockets {
    Sockets::bind(&listen(address)).expect("loopback")
}

fn address(sockets: &Sockets, channel: Channel) -> SocketAddr {
    sockets.sockets.iter().find(|socket| socket.channel == channel).expect("bound").bound
}

fn outgoing<'a>(datagrams: &'a [IoSlice<'a>], channel: Channel, local: SocketAddr, remote: SocketAddr) -> Outgoing<'a> {
    Outgoing { datagrams, channel, local, remote, traffic_class: 0, df: false }
}

/// With and without DF, in one go and one by one: contents, addresses and all eight bits of the traffic class.
fn travels(ip: IpAddr) {
    let (a, b) = (loopback(ip), loopback(ip));
    let (from, to) = (address(&a, Channel::NatT), address(&b, Channel::NatT));
    let mut buffers = Buffers::new();
    for (segment, df, traffic_class) in [(4, false, 0xb9), (4, true, 0x02), (10, true, 0xff), (10, false, 0)] {
        let contents = b"aaaabbbbcc";
        let datagrams: Vec<_> = contents.chunks(segment).map(IoSlice::new).collect();
        let out = Outgoing { traffic_class, df, ..outgoing(&datagrams, Channel::NatT, from, to) };
        a.send(&out).expect("loopback sends");
        let mut seen: Vec<Vec<u8>> = Vec::new();
        while seen.concat().len() < contents.len() {
            let more = b.receive(0, &mut buffers, &mut |got| {
                assert_eq!((got.channel, got.remote, got.local), (Channel::NatT, from, to));
                assert_eq!(got.traffic_class, traffic_class);
                seen.push(got.bytes.to_vec());
            });
            assert!(more.expect("sockets are usable"));
        }
        assert_eq!(seen, contents.chunks(segment).collect::<Vec<_>>());
    }
    b.stop();
    assert!(!b.receive(0, &mut buffers, &mut |_| ()).expect("sockets are usable"));
}

#[test]
fn segments_travel_over_v4_with_their_addresses() {
    travels([127, 0, 0, 1].into());
}

#[test]
fn segments_travel_over_v6_with_their_addresses() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("NOT TESTED: no IPv6 on this system");
        return;
    }
    travels(Ipv6Addr::LOCALHOST.into());
}

#[test]
fn the_port_of_the_sockets_is_nobody_elses() {
    let ip = IpAddr::from([127, 0, 0, 1]);
    let (a, b) = (loopback(ip), loopback(ip));
    let (from, taken) = (address(&a, Channel::NatT), address(&b, Channel::NatT));
    assert_eq!(b.sockets.iter().filter(|socket| socket.bound == taken).count(), 2);
    let third = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
    assert_eq!(third.bind(&taken.into()).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
    // One that joins the group on purpose gets nothing of it.
    third.set_reuse_port(true).expect("an option");
    third.bind(&taken.into()).expect("of the same user");
    third.set_nonblocking(true).expect("an option");
    let mut seen = 0;
    for spi in 1..=100_u32 {
        let packet = spi.to_be_bytes();
        a.send(&outgoing(&[IoSlice::new(&packet)], Channel::NatT, from, taken)).expect("loopback sends");
        b.receive(0, &mut Buffers::new(), &mut |_| seen += 1).expect("sockets are usable");
    }
    assert_eq!(seen, 100);
    let peeked = third.peek_sender().expect_err("nothing to read");
    assert_eq!(peeked.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn large_datagrams_are_fragmented_not_refused() {
    let (a, b) = (loopback([127, 0, 0, 1].into()), loopback([127, 0, 0, 1].into()));
    let (from, to) = (address(&a, Channel::Ike), address(&b, Channel::Ike));
    let contents = vec![7; 60_000];
    a.send(&outgoing(&[IoSlice::new(&contents)], Channel::Ike, from, to)).expect("loopback sends");
    let mut len = 0;
    b.receive(0, &mut Buffers::new(), &mut |got| len = got.bytes.len()).expect("sockets are usable");
    assert_eq!(len, 60_000);
}

/// Nobody listens there: the ICMP error is counted, and does not stand in the way of the next datagram.
/// One by one, what the system refuses is named, bit by bit, and the others leave in order.
#[test]
fn of_datagrams_of_which_some_cannot_be_sent_the_others_are() {
    let ip = IpAddr::from([127, 0, 0, 1]);
    let (a, b) = (loopback(ip), loopback(ip));
    let (from, to) = (address(&a, Channel::NatT), address(&b, Channel::NatT));
    let socket = a.sockets.iter().find(|socket| socket.channel == Channel::NatT).expect("bound");
    // More than a UDP datagram over IPv4 may have.
    let (too_long, mut buffers) = (vec![0; 65_508], Buffers::new());
    for lost in [0, 0b1, 0b01010, 0b10000, 0b00110, 0b11111, 1 << 63 | 1 << 40 | 0b1101] {
        let count = if lost >> 5 == 0 { 5 } else { MAX_SEGMENTS };
        let is_lost = |n: usize| lost >> n & 1 == 1_u64;
        let numbers: Vec<[u8; 1]> = (0..count).map(|n| [n as u8]).collect();
        let contents = |n: usize| if is_lost(n) { &too_long[..] } else { &numbers[n] };
        let datagrams: Vec<_> = (0..count).map(|n| IoSlice::new(contents(n))).collect();
        let result = socket.send_each(&outgoing(&datagrams, Channel::NatT, from, to));
        assert_eq!(result.map_or_else(|unsent| unsent.lost, |()| 0), lost);
        let sent: Vec<_> = (0..count).filter(|&n| !is_lost(n)).map(|n| numbers[n].to_vec()).collect();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        while seen.len() < sent.len() {
            let more = b.receive(0, &mut buffers, &mut |got| seen.push(got.bytes.to_vec()));
            assert!(more.expect("sockets are usable"));
        }
        assert_eq!(seen, sent);
    }
}

#[test]
fn an_icmp_error_is_counted_and_harms_nothing() {
    let ip = IpAddr::from([127, 0, 0, 1]);
    let (a, b) = (loopback(ip), loopback(ip));
    let (from, to) = (address(&a, Channel::NatT), address(&b, Channel::NatT));
    let nobody = {
        let gone = loopback(ip);
        address(&gone, Channel::NatT)
    };
    for df in [false, true] {
        a.send(&Outgoing { df, ..outgoing(&[IoSlice::new(b"lost")], Channel::NatT, from, nobody) })
            .expect("loopback sends");
        a.send(&Outgoing { df, ..outgoing(&[IoSlice::new(b"found")], Channel::NatT, from, to) })
            .expect("loopback sends");
        let mut seen = Vec::new();
        b.receive(0, &mut Buffers::new(), &mut |got| seen = got.bytes.to_vec()).expect("sockets are usable");
        assert_eq!(seen, b"found");
        a.receive(0, &mut Buffers::new(), &mut |_| panic!("nobody answers")).expect("sockets are usable");
    }
    assert!(a.counters().contains(&("net.icmp_unreachable", 2)), "{:?}", a.counters());
}

/// RFC 4301 §6.1.1: whether errors that anybody can send lower a path MTU is the administrator's choice.
#[test]
fn an_icmp_error_that_is_not_believed_changes_nothing() {
    let path = (IpAddr::from([0, 0, 0, 0]), IpAddr::from([192, 0, 2, 2]));
    let (path_mtus, faults) = (PathMtus::new(Some(1500)), Faults::default());
    path_mtus.watch(path);
    let error = IcmpError { errno: libc::EMSGSIZE as u32, remote: true, info: 1300 };
    let counted = || [&faults.ignored, &faults.too_big].map(|count| count.load(Ordering::Relaxed));
    take_error(error, path.1, &faults, &path_mtus, false);
    assert_eq!((path_mtus.get(path), counted()), (Some(1500), [1, 0]));
    take_error(error, path.1, &faults, &path_mtus, true);
    assert_eq!((path_mtus.get(path), counted()), (Some(1300), [1, 1]));
}

#[test]
fn a_raw_v4_packet_says_where_it_was_sent_to_and_loses_its_ip_header() {
    let mut packet = [7; 30];
    packet[..2].copy_from_slice(&[0x46, 0xb9]);
    packet[16..20].copy_from_slice(&[192, 0, 2, 1]);
    let (destination, traffic_class, esp) = raw_v4(&mut packet).expect("a whole header");
    assert_eq!((destination, traffic_class, esp.len()), ([192, 0, 2, 1].into(), 0xb9, 6));
    for cut in [0, 1, 19] {
        assert!(raw_v4(&mut packet[..cut]).is_none());
    }
    packet[0] = 0x4f;
    assert!(raw_v4(&mut packet).is_none(), "the header is longer than the packet");
}

/// With protocol 50; `None` without the privilege that it takes.
fn with_raw_esp(address: IpAddr, queues: usize) -> Option<Sockets> {
    match Sockets::bind(&Listen { raw_esp: true, queues, ..listen(address) }) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("NOT TESTED: {error}");
            None
        }
        sockets => Some(sockets.expect("loopback")),
    }
}

fn raw_esp(sockets: &Sockets, df: bool) -> &OuterSocket {
    let fits = |socket: &&OuterSocket| socket.channel == Channel::RawEsp && socket.df == df;
    sockets.sockets.iter().find(fits).expect("bound")
}

/// From one address, from all of them, and over IPv6; with and without DF: each packet once, with its addresses.
#[test]
fn raw_esp_travels_once_with_its_addresses() {
    let (v4, v6) = (|last| IpAddr::from([127, 0, 0, last]), IpAddr::from(Ipv6Addr::LOCALHOST));
    for (bound, from, to) in [(v4(2), v4(2), v4(3)), ([0; 4].into(), v4(4), v4(3)), (v6, v6, v6)] {
        if bound.is_ipv6() && std::net::UdpSocket::bind("[::1]:0").is_err() {
            eprintln!("NOT TESTED: no IPv6 on this system");
            continue;
        }
        let (Some(a), Some(b)) = (with_raw_esp(bound, 1), with_raw_esp(to, 1)) else { return };
        let [local, remote] = [from, to].map(|ip| SocketAddr::new(ip, 0));
        let mut buffers = Buffers::new();
        for (df, traffic_class) in [(false, 0), (true, 0), (false, 0xb9), (true, 0x02)] {
            let out = [IoSlice::new(b"first"), IoSlice::new(b"last")];
            let out = Outgoing { df, traffic_class, ..outgoing(&out, Channel::RawEsp, local, remote) };
            a.send(&out).expect("loopback sends");
            let mut seen = Vec::new();
            while seen.last().is_none_or(|last| last != b"last") {
                let more = b.receive(0, &mut buffers, &mut |got| {
                    assert_eq!((got.channel, got.local, got.remote), (Channel::RawEsp, remote, local));
                    assert_eq!(got.traffic_class, traffic_class);
                    seen.push(got.bytes.to_vec());
                });
                assert!(more.expect("sockets are usable"));
            }
            assert_eq!(seen, [b"first".to_vec(), b"last".to_vec()]);
        }
    }
}

/// The raw socket with DF is given nothing that arrives, and still leaves the source to the route.
#[test]
fn the_raw_socket_with_df_only_sends() {
    let one = IpAddr::from([127, 0, 0, 5]);
    let all = IpAddr::from([0, 0, 0, 0]);
    let remote = SocketAddr::from(([127, 0, 0, 1], 0));
    for (bound, local, told) in [(one, one, false), (one, all, false), (all, one, true), (all, all, true)] {
        let Some(sockets) = with_raw_esp(bound, 1) else { return };
        let deaf = raw_esp(&sockets, true);
        assert!(!deaf.hears() && raw_esp(&sockets, false).hears());
        let out = outgoing(&[], Channel::RawEsp, SocketAddr::new(local, 0), remote);
        assert_eq!(!deaf.envelope(&out).1.octets().is_empty(), told, "bound to {bound}, from {local}");
    }
}

#[test]
fn what_is_no_packet_is_not_sent_in_the_clear() {
    let sockets = loopback([127, 0, 0, 1].into());
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    for contents in [&[][..], &[0x45; 19], &[0x60; 39], &[0x05; 60]] {
        let result = sockets.send(&outgoing(&[IoSlice::new(contents)], Channel::Clear, nowhere, nowhere));
        assert_eq!(result.expect_err("no packet").error.kind(), io::ErrorKind::InvalidData);
    }
}

/// Each SPI has its queue; what is not ESP has the first.
#[test]
fn packets_of_an_sa_arrive_in_one_queue() {
    const QUEUES: usize = 3;
    for ip in [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()] {
        let listen = Listen { queues: QUEUES, ..listen(ip) };
        let (a, b) = (loopback(ip), Sockets::bind(&listen).expect("loopback"));
        let (from, to) = (address(&a, Channel::NatT), address(&b, Channel::NatT));
        let mut sent = vec![Vec::new(); QUEUES];
        // An IKE message behind its marker, something too short for an SPI, then ESP.
        let packets = [&[0; 4][..], &[0xff]].into_iter().map(<[u8]>::to_vec);
        let esp = (0..40_u32).map(|n| (0x8000_0000 + n * 7).to_be_bytes().to_vec());
        for packet in packets.chain(esp) {
            let datagrams = [IoSlice::new(&packet)];
            a.send(&outgoing(&datagrams, Channel::NatT, from, to)).expect("loopback sends");
            sent[queue_of(Channel::NatT, &packet, QUEUES)].push(packet.clone());
        }
        assert_eq!(b.queues(), QUEUES);
        for (queue, sent) in sent.iter().enumerate() {
            let mut seen: Vec<Vec<u8>> = Vec::new();
            while seen.len() < sent.len() {
                let more = b.receive(queue, &mut Buffers::new(), &mut |got| seen.push(got.bytes.to_vec()));
                assert!(more.expect("sockets are usable"));
            }
            assert_eq!(seen, *sent, "queue {queue}");
        }
    }
}
