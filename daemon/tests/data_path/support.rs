//! Gateways without IKE, packets, and an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cygnet::net::{Buffers, Channel, MemoryNet, Net, Outgoing, PathMtus, Received, Unsent, Wire};
use cygnet::offload::Offloads;
use cygnet::tun::{MemoryTun, Tun};
use cygnet::workers::{DataPath, Datagram, Inbound, InboundWorker, Outbound, OutboundWorker, Releaser, Signal};
use cygnet_esp::tunnel::Rules;
use cygnet_esp::{ENCR, Encr, NextHeader, PacketBuf, Spi};
use cygnet_sad::{Activation, Lifetime, NewPair, Origin, Pair, PairId, Path};
use cygnet_spd::{Action, Mode, Policies, Policy, PolicyId, Selector, Terms, TrafficSelector, WhileNegotiating};
use tokio::sync::mpsc;

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    pub(crate) static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
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

pub(crate) const POLICY: PolicyId = PolicyId(1);
pub(crate) const MTU: usize = 1400;

/// One gateway without IKE.
pub(crate) struct Host {
    pub(crate) path: Arc<DataPath>,
    pub(crate) tun: Arc<MemoryTun>,
    pub(crate) net: Arc<MemoryNet>,
    pub(crate) outbound: OutboundWorker,
    pub(crate) inbound: InboundWorker,
    pub(crate) releaser: Releaser,
    pub(crate) ike: mpsc::Receiver<Datagram>,
}

pub(crate) fn address(side: u8) -> IpAddr {
    [192, 0, 2, side].into()
}

pub(crate) fn nat_t(side: u8) -> SocketAddr {
    (address(side), 4500).into()
}

pub(crate) fn nets(n: u8) -> Vec<TrafficSelector> {
    [format!("10.{n}.0.0/16"), format!("2001:db8:{n}::/48")].map(|text| text.parse().expect("a selector")).into()
}

pub(crate) fn policy(selector: Selector, action: Action, terms: Terms) -> Policy {
    Policy { name: String::new(), selector, action, terms }
}

/// Site `side` protects 10.`side`.0.0/16 and 2001:db8:`side`::/48 towards the other one.
pub(crate) fn host(wire: &Arc<Wire>, side: u8, other: u8) -> Host {
    host_that(wire, side, other, Offloads::default())
}

/// The same, with a device that takes `offloads`.
pub(crate) fn host_that(wire: &Arc<Wire>, side: u8, other: u8, offloads: Offloads) -> Host {
    let selector = |remote: &str| Selector { local: nets(side), remote: vec![remote.parse().expect("a selector")] };
    let drop = Terms { negotiating: WhileNegotiating::Drop, ..Terms::default() };
    let policies = vec![
        policy(selector(&format!("10.{other}.99.0/24")), Action::Discard, drop),
        policy(selector(&format!("10.{other}.98.0/24")), Action::Bypass, drop),
        policy(Selector { local: nets(side), remote: nets(other) }, Action::Protect(POLICY), drop),
    ];
    host_on(MemoryTun::with_offloads("memory", offloads), wire.host(address(side), 500, 4500), policies)
}

/// A gateway with these policies on a network.
pub(crate) fn host_with(net: MemoryNet, policies: Vec<Policy>) -> Host {
    host_on(MemoryTun::new("memory"), net, policies)
}

fn host_on(tun: MemoryTun, net: MemoryNet, policies: Vec<Policy>) -> Host {
    let (tun, net) = (Arc::new(tun), Arc::new(net));
    let outer = Arc::clone(&net) as Arc<dyn Net>;
    let path = DataPath::new(outer, Arc::clone(&tun) as Arc<dyn Tun>, Policies::new(policies), MTU);
    let (sender, ike) = mpsc::channel(1);
    Host {
        outbound: OutboundWorker::new(Arc::clone(&path), 0),
        inbound: InboundWorker::new(Arc::clone(&path), 0, sender),
        releaser: Releaser::new(Arc::clone(&path)),
        path,
        tun,
        net,
        ike,
    }
}

/// Two gateways with a pair of SAs between them.
pub(crate) fn pair(encr: &'static Encr) -> (Host, Host) {
    let wire = Wire::new();
    let (a, b) = (host(&wire, 1, 2), host(&wire, 2, 1));
    install(&a, encr, 1, 2, Lifetime::default());
    install(&b, encr, 2, 1, Lifetime::default());
    (a, b)
}

pub(crate) fn install(host: &Host, encr: &'static Encr, side: u8, other: u8, lifetime: Lifetime) {
    let new = NewPair { lifetime, ..new_pair(encr, side, other) };
    host.path.sad.install(Instant::now(), new).expect("an empty SAD");
}

/// The pair of `side` towards `other`, in tunnel mode.
pub(crate) fn new_pair(encr: &'static Encr, side: u8, other: u8) -> NewPair {
    successor(encr, side, other, 0)
}

/// The `n`th pair of its kind.
pub(crate) fn successor(encr: &'static Encr, side: u8, other: u8, n: u32) -> NewPair {
    let key = |from: u8| vec![from; encr.encryption_len()];
    let integrity = |from: u8| vec![from; encr.integ_key_len];
    let spi = |to: u8| Spi(1000 + 10 * n + u32::from(to));
    let inbound = cygnet_esp::Inbound::new(spi(side), encr, &key(other), &integrity(other), true, 1024);
    let outbound = cygnet_esp::Outbound::new(spi(other), encr, &key(side), &integrity(side), true);
    NewPair {
        id: PairId(u64::from(n) + 1),
        policy: POLICY,
        selector: Selector { local: nets(side), remote: nets(other) },
        mode: Mode::Tunnel,
        headers: Rules::default(),
        original: None,
        origin: Origin::Negotiated,
        inbound: inbound.expect("key lengths"),
        outbound: outbound.expect("key lengths"),
        path: Path { local: nat_t(side), remote: nat_t(other), udp_encapsulation: true },
        lifetime: Lifetime::default(),
        resource: None,
        replaces: (n > 0).then(|| PairId(n.into())),
        activation: Activation::Now,
    }
}

/// A UDP packet of `len` octets.
pub(crate) fn packet(from: [u8; 4], to: [u8; 4], len: u16, fill: u8) -> Vec<u8> {
    let mut packet = vec![fill; len.into()];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[12..16].copy_from_slice(&from);
    packet[16..20].copy_from_slice(&to);
    packet
}

pub(crate) fn v6_packet(len: u16, fill: u8) -> Vec<u8> {
    let mut packet = vec![fill; len.into()];
    packet[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, 17, 64]);
    packet[4..6].copy_from_slice(&(len - 40).to_be_bytes());
    for (at, side) in [(8, 1), (24, 2)] {
        packet[at..at + 16].fill(0);
        packet[at..at + 6].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, side]);
    }
    packet
}

pub(crate) const A: [u8; 4] = [10, 1, 0, 1];
pub(crate) const B: [u8; 4] = [10, 2, 0, 1];

impl Host {
    pub(crate) fn received(&self) -> Option<Vec<u8>> {
        self.tun.take(Duration::ZERO, <[u8]>::to_vec)
    }

    /// The signals that wait.
    pub(crate) fn signals(&self) -> Vec<Signal> {
        let mut signals = Vec::new();
        self.path.signals.take(&mut signals);
        signals
    }

    /// What the inner network sends, in one batch.
    pub(crate) fn sends(&mut self, packets: &[Vec<u8>]) {
        for packet in packets {
            assert!(self.tun.inject(packet));
        }
        assert_eq!(self.outbound.batch().expect("memory").packets, packets.len());
        self.check_counters();
    }

    /// What the inner network receives of what is on the wire.
    pub(crate) fn receives(&mut self) -> Vec<Vec<u8>> {
        assert!(self.inbound.batch().expect("memory"));
        self.check_counters();
        std::iter::from_fn(|| self.received()).collect()
    }

    /// What was sent in the clear.
    pub(crate) fn clear(&self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.net.take_clear(Duration::ZERO, <[u8]>::to_vec)).collect()
    }

    pub(crate) fn sent(&self, fate: Outbound) -> u64 {
        self.path.counters.outbound_total(fate)
    }

    pub(crate) fn got(&self, fate: Inbound) -> u64 {
        self.path.counters.inbound_total(fate)
    }

    /// The counters of each direction sum to the packets seen.
    pub(crate) fn check_counters(&self) {
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

/// What was sent, as the network was told.
pub(crate) struct Recorder {
    sent: Mutex<Vec<(u8, bool, usize)>>,
    /// Whether there is no room for it.
    full: AtomicBool,
    path_mtus: PathMtus,
}

impl Net for Recorder {
    fn receive(&self, _: usize, _: &mut Buffers, _: &mut dyn FnMut(Received<'_>)) -> std::io::Result<bool> {
        Ok(false)
    }
    fn send(&self, outgoing: &Outgoing<'_>) -> Result<(), Unsent> {
        let packets = outgoing.datagrams.len();
        self.sent.lock().expect("no panic").push((outgoing.traffic_class, outgoing.df, packets));
        if self.full.load(Ordering::Relaxed) {
            return Err(std::io::Error::from(std::io::ErrorKind::WouldBlock).into());
        }
        Ok(())
    }
    fn path_mtus(&self) -> &PathMtus {
        &self.path_mtus
    }
    fn stop(&self) {}
}

/// A gateway whose outer headers are looked at. Everything goes through one SA.
pub(crate) struct Recorded {
    pub(crate) path: Arc<DataPath>,
    pub(crate) tun: Arc<MemoryTun>,
    pub(crate) pair: Arc<Pair>,
    net: Arc<Recorder>,
    worker: OutboundWorker,
}

impl Recorded {
    pub(crate) fn new(headers: Rules) -> Self {
        let net =
            Arc::new(Recorder { sent: Mutex::default(), full: AtomicBool::new(false), path_mtus: PathMtus::new(None) });
        let tun = Arc::new(MemoryTun::new("memory"));
        let all = || ["0.0.0.0/0", "::/0"].map(|all| all.parse().expect("a selector")).to_vec();
        let selector = Selector { local: all(), remote: all() };
        let policies = Policies::new(vec![policy(selector.clone(), Action::Protect(POLICY), Terms::default())]);
        let path = DataPath::new(Arc::clone(&net) as Arc<dyn Net>, Arc::clone(&tun) as Arc<dyn Tun>, policies, MTU);
        let new = NewPair { headers, selector, ..new_pair(&cygnet_esp::ENCR[0], 1, 2) };
        let pair = path.sad.install(Instant::now(), new).expect("an empty SAD");
        Self { worker: OutboundWorker::new(Arc::clone(&path), 0), path, tun, pair, net }
    }

    /// From now on the outer network has room for what is sent, or not.
    pub(crate) fn has_room(&self, room: bool) {
        self.net.full.store(!room, Ordering::Relaxed);
    }

    /// What left for `packets`, or was refused: traffic class, DF and how many packets, together.
    pub(crate) fn sends(&mut self, packets: &[Vec<u8>]) -> Vec<(u8, bool, usize)> {
        for packet in packets {
            assert!(self.tun.inject(packet));
        }
        assert_eq!(self.worker.batch().expect("memory").packets, packets.len());
        std::mem::take(&mut *self.net.sent.lock().expect("no panic"))
    }

    /// What its inner network received.
    pub(crate) fn received(&self) -> Option<Vec<u8>> {
        self.tun.take(Duration::ZERO, <[u8]>::to_vec)
    }
}

/// Sends as if from the outer address of side 1, with this octet of DSCP and ECN.
pub(crate) fn inject(from: &Host, contents: &[u8], traffic_class: u8) {
    let (local, remote) = (nat_t(1), nat_t(2));
    let (datagrams, channel, df) = (&[IoSlice::new(contents)], Channel::NatT, false);
    let out = Outgoing { datagrams, channel, local, remote, traffic_class, df };
    from.path.net.send(&out).expect("on the wire");
}

/// An ESP packet of `sa` with its next sequence number.
pub(crate) fn seal(sa: &cygnet_esp::Outbound, inner: &[u8], next: u8) -> Vec<u8> {
    let mut sealed = PacketBuf::for_mtu(MTU);
    sealed.extend(inner).expect("room");
    sa.reserve(1).expect("numbers").seal(NextHeader(next), &mut sealed).expect("room");
    sealed.data().to_vec()
}

/// A peer of `b` that has the keys of `a`'s SA, and goes on where `a` is not.
pub(crate) fn thief() -> cygnet_esp::Outbound {
    let key = vec![1; ENCR[0].encryption_len()];
    let sa = cygnet_esp::Outbound::new(Spi(1002), &ENCR[0], &key, &vec![1; ENCR[0].integ_key_len], true);
    sa.expect("key lengths")
}
