//! The data path over in-memory networks, without IKE and without threads: what goes in comes out, every packet ends
//! in one counter, and nothing is allocated on the way.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cygnet::net::{Channel, Outgoing, Wire};
use cygnet::tun::{MemoryTun, Tun};
use cygnet::workers::{DataPath, Datagram, Inbound, InboundWorker, Outbound, OutboundWorker, Signal};
use cygnet_esp::tunnel::Rules;
use cygnet_esp::{Encr, Spi};
use cygnet_sad::{Activation, Lifetime, Limits, NewPair, Origin, PairId, Path};
use cygnet_spd::{Action, Mode, Policies, Policy, PolicyId, Selector, Terms};
use tokio::sync::mpsc;

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // Not while the thread ends and its counter is gone.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every request goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(ptr, layout, size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const POLICY: PolicyId = PolicyId(1);
const MTU: usize = 1400;

/// One gateway without IKE.
struct Host {
    path: Arc<DataPath>,
    tun: Arc<MemoryTun>,
    outbound: OutboundWorker,
    inbound: InboundWorker,
    ike: mpsc::Receiver<Datagram>,
}

fn address(side: u8) -> IpAddr {
    [192, 0, 2, side].into()
}

fn nat_t(side: u8) -> SocketAddr {
    (address(side), 4500).into()
}

/// Site `side` protects 10.`side`.0.0/16 and 2001:db8:`side`::/48 towards the other one.
fn host(wire: &Arc<Wire>, side: u8, other: u8) -> Host {
    let nets = |n: u8| -> Vec<_> {
        let text = [format!("10.{n}.0.0/16"), format!("2001:db8:{n}::/48")];
        text.iter().map(|text| text.parse().expect("a selector")).collect()
    };
    let selector = |remote: &str| Selector { local: nets(side), remote: vec![remote.parse().expect("a selector")] };
    let policy = |selector, action| Policy { name: String::new(), selector, action, terms: Terms::default() };
    let policies = Policies::new(vec![
        policy(selector(&format!("10.{other}.99.0/24")), Action::Discard),
        policy(selector(&format!("10.{other}.98.0/24")), Action::Bypass),
        policy(Selector { local: nets(side), remote: nets(other) }, Action::Protect(POLICY)),
    ]);
    let tun = Arc::new(MemoryTun::new("memory"));
    let net = Arc::new(wire.host(address(side), 500, 4500));
    let path = DataPath::new(net, Arc::clone(&tun) as Arc<dyn Tun>, policies, MTU);
    let (sender, ike) = mpsc::channel(1);
    Host {
        outbound: OutboundWorker::new(Arc::clone(&path)),
        inbound: InboundWorker::new(Arc::clone(&path), sender),
        path,
        tun,
        ike,
    }
}

/// Two gateways with a pair of SAs between them.
fn pair(encr: &'static Encr) -> (Host, Host) {
    let wire = Wire::new();
    let (a, b) = (host(&wire, 1, 2), host(&wire, 2, 1));
    install(&a, encr, 1, 2, Lifetime::default());
    install(&b, encr, 2, 1, Lifetime::default());
    (a, b)
}

fn install(host: &Host, encr: &'static Encr, side: u8, other: u8, lifetime: Lifetime) {
    let key = |from: u8| vec![from; encr.encryption_len()];
    let integrity = |from: u8| vec![from; encr.integ_key_len];
    let spi = |to: u8| Spi(1000 + u32::from(to));
    let inbound = cygnet_esp::Inbound::new(spi(side), encr, &key(other), &integrity(other), true, 1024);
    let outbound = cygnet_esp::Outbound::new(spi(other), encr, &key(side), &integrity(side), true);
    let nets =
        |n: u8| vec![format!("10.{n}.0.0/16").parse().expect("ts"), format!("2001:db8:{n}::/48").parse().expect("ts")];
    let new = NewPair {
        id: PairId(1),
        policy: POLICY,
        selector: Selector { local: nets(side), remote: nets(other) },
        mode: Mode::Tunnel,
        headers: Rules::default(),
        original: None,
        origin: Origin::Negotiated,
        inbound: inbound.expect("key lengths"),
        outbound: outbound.expect("key lengths"),
        path: Path { local: nat_t(side), remote: nat_t(other), udp_encapsulation: true },
        lifetime,
        replaces: None,
        activation: Activation::Now,
    };
    host.path.sad.install(Instant::now(), new).expect("an empty SAD");
}

/// A UDP packet of `len` octets.
fn packet(from: [u8; 4], to: [u8; 4], len: u16, fill: u8) -> Vec<u8> {
    let mut packet = vec![fill; len.into()];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[12..16].copy_from_slice(&from);
    packet[16..20].copy_from_slice(&to);
    packet
}

fn v6_packet(len: u16, fill: u8) -> Vec<u8> {
    let mut packet = vec![fill; len.into()];
    packet[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, 17, 64]);
    packet[4..6].copy_from_slice(&(len - 40).to_be_bytes());
    for (at, side) in [(8, 1), (24, 2)] {
        packet[at..at + 16].fill(0);
        packet[at..at + 6].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, side]);
    }
    packet
}

const A: [u8; 4] = [10, 1, 0, 1];
const B: [u8; 4] = [10, 2, 0, 1];

impl Host {
    fn received(&self) -> Option<Vec<u8>> {
        self.tun.take(Duration::ZERO, <[u8]>::to_vec)
    }

    /// The counters of each direction sum to the packets seen.
    fn check_counters(&self) {
        let all = self.path.counters.snapshot();
        let total = |direction: &str, seen: bool| -> u64 {
            let of = |name: &str| name.starts_with(direction) && name.ends_with(".seen") == seen;
            all.iter().filter(|(name, _)| of(name)).map(|(_, count)| count).sum()
        };
        for direction in ["outbound.", "inbound."] {
            assert_eq!(total(direction, true), total(direction, false), "{all:?}");
        }
    }
}

#[test]
fn packets_of_all_sizes_cross_with_every_cipher() {
    for encr in cygnet_esp::ENCR {
        let (mut a, mut b) = pair(encr);
        let mut sent = Vec::new();
        for len in [28, 29, 100, 576, 1000, 1000, 1000, 999, 1399, 1400] {
            sent.push(packet(A, B, len, len as u8));
            sent.push(v6_packet(len.max(48), len as u8));
        }
        for packet in &sent {
            assert!(a.tun.inject(packet));
        }
        assert_eq!(a.outbound.batch().expect("memory"), sent.len());
        assert_eq!(a.path.counters.outbound_total(Outbound::Sealed), sent.len() as u64);
        assert!(b.inbound.batch().expect("memory"));
        let received: Vec<_> = std::iter::from_fn(|| b.received()).collect();
        assert_eq!(received, sent, "{encr}");
        a.check_counters();
        b.check_counters();
    }
}

#[test]
fn every_packet_ends_in_one_counter() {
    let (mut a, mut b) = pair(&cygnet_esp::ENCR[0]);
    for (packet, fate) in [
        (packet(A, B, 100, 0), Outbound::Sealed),
        (vec![0x99; 30], Outbound::Unreadable),
        (packet(A, [10, 2, 99, 1], 100, 0), Outbound::Discarded),
        (packet(A, [10, 2, 98, 1], 100, 0), Outbound::Bypass),
        (packet(A, [10, 7, 0, 1], 100, 0), Outbound::Discarded),
        (packet([10, 7, 0, 1], B, 100, 0), Outbound::Discarded),
    ] {
        let before = a.path.counters.outbound_total(fate);
        assert!(a.tun.inject(&packet));
        assert_eq!(a.outbound.batch().expect("memory"), 1);
        assert_eq!(a.path.counters.outbound_total(fate), before + 1, "{fate:?}");
        a.check_counters();
    }
    assert!(b.inbound.batch().expect("memory"));
    assert_eq!(b.path.counters.inbound_total(Inbound::Delivered), 1);

    let send = |contents: &[u8], channel| {
        let out = Outgoing {
            contents,
            segment: contents.len(),
            channel,
            local: nat_t(1),
            remote: nat_t(2),
            traffic_class: 0,
            df: false,
        };
        a.path.net.send(&out).expect("on the wire");
    };
    for (contents, channel, fate) in [
        (&[0xff][..], Channel::NatT, Inbound::Keepalive),
        (&[1, 2, 3], Channel::NatT, Inbound::Malformed),
        (&[9; 50], Channel::NatT, Inbound::UnknownSpi),
        (&[9; 3], Channel::RawEsp, Inbound::Malformed),
        (&[0, 0, 3, 0xea, 0, 0, 0, 9, 1], Channel::RawEsp, Inbound::BadEsp),
        (&[0, 0, 0, 0, b'i'], Channel::NatT, Inbound::Ike),
        (b"no room in the queue", Channel::Ike, Inbound::IkeOverflow),
    ] {
        let before = b.path.counters.inbound_total(fate);
        send(contents, channel);
        assert!(b.inbound.batch().expect("memory"));
        assert_eq!(b.path.counters.inbound_total(fate), before + 1, "{fate:?}");
        b.check_counters();
    }
    let ike = b.ike.try_recv().expect("the IKE message");
    assert_eq!((&ike.bytes[..], ike.path.marker, ike.path.local), (&b"i"[..], true, nat_t(2)));
}

#[test]
fn forged_replayed_and_foreign_packets_are_dropped() {
    let (a, mut b) = pair(&cygnet_esp::ENCR[0]);
    // A third party has stolen the keys of `a`, and knows how to misbehave.
    let key = vec![1; cygnet_esp::ENCR[0].encryption_len()];
    let integrity = vec![1; cygnet_esp::ENCR[0].integ_key_len];
    let sealer = cygnet_esp::Outbound::new(Spi(1002), &cygnet_esp::ENCR[0], &key, &integrity, true).expect("keys");
    let mut numbers = sealer.reserve(8).expect("a fresh SA");
    let mut seal = |inner: &[u8], next| {
        let mut sealed = cygnet_esp::PacketBuf::for_mtu(MTU);
        sealed.extend(inner).expect("room");
        numbers.seal(cygnet_esp::NextHeader(next), &mut sealed).expect("room");
        sealed.data().to_vec()
    };
    let good = seal(&packet(A, B, 60, 1), 4);
    let mut forged = seal(&packet(A, B, 60, 1), 4);
    forged[30] ^= 1;
    let expectations = [
        (good.clone(), Inbound::Delivered),
        (good, Inbound::Replayed),
        (forged, Inbound::Forged),
        (seal(b"anything", 59), Inbound::Dummy),
        (seal(b"not an IP packet", 4), Inbound::BadPayload),
        (seal(&packet(A, B, 60, 1), 41), Inbound::BadPayload),
        (seal(&packet([10, 9, 0, 1], B, 60, 1), 4), Inbound::Selector),
    ];
    for (sealed, fate) in expectations {
        let out = Outgoing {
            contents: &sealed,
            segment: sealed.len(),
            channel: Channel::NatT,
            local: nat_t(1),
            remote: nat_t(2),
            traffic_class: 0,
            df: false,
        };
        a.path.net.send(&out).expect("on the wire");
        assert!(b.inbound.batch().expect("memory"));
        assert_eq!(
            b.path.counters.inbound_total(fate),
            1 + u64::from(fate == Inbound::BadPayload && b.path.counters.inbound_total(fate) == 2),
            "{fate:?}"
        );
        b.check_counters();
    }
    // RFC 6040 §4.2: congestion marked outside a packet that can't say so.
    let sealed = seal(&packet(A, B, 60, 1), 4);
    let out = Outgoing {
        contents: &sealed,
        segment: sealed.len(),
        channel: Channel::NatT,
        local: nat_t(1),
        remote: nat_t(2),
        traffic_class: 3,
        df: false,
    };
    a.path.net.send(&out).expect("on the wire");
    assert!(b.inbound.batch().expect("memory"));
    assert_eq!(b.path.counters.inbound_total(Inbound::Congestion), 1);
}

#[test]
fn congestion_marks_travel_both_ways() {
    let (mut a, mut b) = pair(&cygnet_esp::ENCR[0]);
    let mut ect = packet(A, B, 60, 1);
    ect[1] = 2;
    assert!(a.tun.inject(&ect));
    a.outbound.batch().expect("memory");
    // The outer header carries ECT(0); a router on the way would mark it, and here nobody does.
    assert!(b.inbound.batch().expect("memory"));
    assert_eq!(b.received(), Some(ect));
}

#[test]
fn missing_and_spent_sas_are_told_once() {
    let wire = Wire::new();
    let mut a = host(&wire, 1, 2);
    let _b = host(&wire, 2, 1);
    for _ in 0..3 {
        assert!(a.tun.inject(&packet(A, B, 100, 0)));
    }
    a.outbound.batch().expect("memory");
    assert_eq!(a.path.counters.outbound_total(Outbound::NoSa), 3);
    let mut signals = Vec::new();
    a.path.signals.take(&mut signals);
    assert!(matches!(signals[..], [Signal::Acquire(POLICY, _)]), "{signals:?}");

    let limits = |packets| Limits { packets: Some(packets), ..Limits::default() };
    install(&a, &cygnet_esp::ENCR[0], 1, 2, Lifetime { soft: limits(2), hard: limits(4) });
    signals.clear();
    for _ in 0..6 {
        assert!(a.tun.inject(&packet(A, B, 100, 0)));
        a.outbound.batch().expect("memory");
    }
    a.path.signals.take(&mut signals);
    assert_eq!(signals[..2], [Signal::Soft(PairId(1)), Signal::Hard(PairId(1))]);
    assert!(matches!(signals[2..], [Signal::Acquire(..)]), "{signals:?}");
    a.check_counters();
}

#[test]
fn the_steady_state_allocates_nothing() {
    let (mut a, mut b) = pair(&cygnet_esp::ENCR[0]);
    let mut packets: Vec<_> = [60, 576, 1400].map(|len| packet(A, B, len, 7)).into();
    packets.push(v6_packet(1280, 7));
    packets.push(packet(A, [10, 2, 99, 1], 100, 0));
    let mut round = || {
        for packet in packets.iter().cycle().take(60) {
            a.tun.inject(packet);
        }
        a.outbound.batch().expect("memory");
        b.inbound.batch().expect("memory");
        b.inbound.batch().expect("memory");
        let mut received = 0;
        while b.tun.take(Duration::ZERO, |_| ()).is_some() {
            received += 1;
        }
        received
    };
    for _ in 0..20 {
        assert_eq!(round(), 48);
    }
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        assert_eq!(round(), 48);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations in 4800 packets");
}
