//! Two gateways without IKE whose workers run on the caller's thread, between networks in memory that cost next to
//! nothing: any number of SA pairs, with traffic spread over them.

use std::io::{self, IoSlice};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cygnet::net::{Buffers, Net, Outgoing, PathMtus, Received, Unsent};
use cygnet::offload::{Head, Kind, Offloads, Partial};
use cygnet::tun::{Frame, Tun, Wait};
use cygnet::workers::{DataPath, InboundWorker, OutboundWorker};
use cygnet_sad::NewPair;
use cygnet_spd::{AddrRange, Policies, Selector};
use tokio::sync::mpsc;

use crate::{pair, policies};

/// Of the TUN devices, octets.
const MTU: usize = 1440;
/// Segments in a frame of [`Traffic::Trains`].
pub const TRAIN: u32 = 32;
/// Payload of each, octets.
const SEGMENT: usize = 1400;
/// Datagrams that arrive at once.
const ARRIVALS: usize = 64;

/// How packets are spread over the SAs. Each SA has one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// TCP frames of [`TRAIN`] segments with 1,400 octets of payload each, every frame through another SA.
    Trains,
    /// UDP packets of so many octets, every one through another SA.
    Singles(usize),
}

impl Traffic {
    /// A frame of the first flow, and what is left to be done with it. All flows have the same checksums.
    fn frame(self) -> (Head, Vec<u8>) {
        let (protocol, transport, payload) = match self {
            Self::Trains => {
                let tcp = [[0, 7, 0, 9], [0, 0, 0, 1], [1, 2, 3, 4], [0x50, 0x10, 4, 0], [0; 4]].concat();
                (6, tcp, SEGMENT * TRAIN as usize)
            }
            Self::Singles(octets) => {
                let len = ((octets - 20) as u16).to_be_bytes();
                (17, [[0, 7, 0, 9], [len[0], len[1], 0, 0]].concat(), octets - 28)
            }
        };
        let len = ((20 + transport.len() + payload) as u16).to_be_bytes();
        let mut frame = vec![0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
        frame.extend([source(0), destination(0)].concat());
        let checksum = !sum(&frame);
        frame[10..12].copy_from_slice(&checksum.to_be_bytes());
        frame.extend(&transport);
        frame.resize(frame.len() + payload, 0x5a);
        if self != Self::Trains {
            return (Head::default(), frame);
        }
        let pseudo = [&frame[12..20], &[0, protocol], &((transport.len() + payload) as u16).to_be_bytes()].concat();
        frame[36..38].copy_from_slice(&sum(&pseudo).to_be_bytes());
        let checksum = Some(Partial { start: 20, offset: 16 });
        (Head { checksum, segments: Some((Kind::Tcp4, SEGMENT as u16)), headers: 40 }, frame)
    }
}

/// Addresses of flow `n`, whose sum is the same for all.
fn source(n: u32) -> [u8; 4] {
    [10, 0, (!n >> 8) as u8, !n as u8]
}

fn destination(n: u32) -> [u8; 4] {
    Ipv4Addr::from(0x0b00_0000 + n).octets()
}

/// RFC 1071.
fn sum(octets: &[u8]) -> u16 {
    let all: u32 = octets.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    (all % 0xffff) as u16
}

/// The gateway that seals, the gateway that opens, and the wire between them.
pub struct Gateways {
    sas: u32,
    sender: Arc<Inner>,
    receiver: Arc<Inner>,
    wire: Arc<Outer>,
    outbound: OutboundWorker,
    inbound: InboundWorker,
    paths: [Arc<DataPath>; 2],
}

impl Gateways {
    /// With so many pairs of SAs, at most 65,536.
    pub fn new(sas: u32) -> Self {
        assert!((1..=1 << 16).contains(&sas), "each flow has an address of its own");
        let (sender, receiver, wire) = (Arc::<Inner>::default(), Arc::<Inner>::default(), Arc::new(Outer::new()));
        let gateway = |inner: &Arc<Inner>, policies| {
            DataPath::new(Arc::clone(&wire) as Arc<dyn Net>, Arc::clone(inner) as Arc<dyn Tun>, policies, MTU)
        };
        let paths = [gateway(&sender, policies(sas)), gateway(&receiver, Policies::new(Vec::new()))];
        for (path, mirrored) in paths.iter().zip([false, true]) {
            path.sad.edit(|edit| {
                for n in 0..sas {
                    let new = if mirrored { mirror(n) } else { pair(n) };
                    edit.install(Instant::now(), new).expect("names and SPIs are distinct");
                }
            });
        }
        let outbound = OutboundWorker::new(Arc::clone(&paths[0]), 0);
        // Nobody sends IKE messages.
        let inbound = InboundWorker::new(Arc::clone(&paths[1]), 0, mpsc::channel(1).0);
        Self { sas, sender, receiver, wire, outbound, inbound, paths }
    }

    /// What is sent from now on.
    pub fn plan(&mut self, traffic: Traffic) {
        *self.sender.template.lock().unwrap_or_else(PoisonError::into_inner) = traffic.frame();
    }

    /// Seals `frames` frames, onto the wire.
    #[inline(never)]
    pub fn seal(&mut self, frames: u32) {
        self.sender.left.store(frames, Ordering::Relaxed);
        self.sender.flows.store(self.sas, Ordering::Relaxed);
        while self.outbound.batch().expect("memory").more {}
    }

    /// Opens what is on the wire; how many packets that was.
    #[inline(never)]
    pub fn open(&mut self) -> u64 {
        let before = self.receiver.octets.load(Ordering::Relaxed);
        while self.wire.is_left() {
            self.inbound.batch().expect("memory");
        }
        let packets = self.wire.clear();
        assert_ne!(self.receiver.octets.load(Ordering::Relaxed), before, "nothing arrived");
        packets
    }

    /// Octets that the inner network got, headers of frames included.
    pub fn delivered(&self) -> u64 {
        self.receiver.octets.load(Ordering::Relaxed)
    }

    /// Packets that the workers sealed, and that they delivered.
    pub fn counted(&self) -> (u64, u64) {
        let [from, to] = &self.paths;
        (
            from.counters.outbound_total(cygnet::workers::Outbound::Sealed),
            to.counters.inbound_total(cygnet::workers::Inbound::Delivered),
        )
    }
}

/// The other side of pair `n`.
fn mirror(n: u32) -> NewPair {
    let new = pair(n);
    let (local, remote) = (new.selector.remote.clone(), new.selector.local.clone());
    debug_assert_eq!(local, vec![AddrRange::host(Ipv4Addr::from(destination(n)).into()).into()]);
    NewPair { selector: Selector { local, remote }, ..new }
}

/// An inner network: it gives frames, and counts what it gets.
#[derive(Debug, Default)]
struct Inner {
    template: Mutex<(Head, Vec<u8>)>,
    left: AtomicU32,
    flows: AtomicU32,
    next: AtomicU32,
    octets: AtomicU64,
}

impl Tun for Inner {
    fn wait(&self, _: usize, _: Option<Duration>) -> io::Result<Wait> {
        Ok(Wait::Ready)
    }

    fn read(&self, _: usize, buffer: &mut [u8]) -> io::Result<Option<Frame>> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Ok(None);
        }
        self.left.store(left - 1, Ordering::Relaxed);
        let n = self.next.load(Ordering::Relaxed) % self.flows.load(Ordering::Relaxed);
        self.next.store(n + 1, Ordering::Relaxed);
        let template = self.template.lock().unwrap_or_else(PoisonError::into_inner);
        let (head, frame) = &*template;
        let buffer = &mut buffer[..frame.len()];
        buffer.copy_from_slice(frame);
        buffer[12..16].copy_from_slice(&source(n));
        buffer[16..20].copy_from_slice(&destination(n));
        Ok(Some(Frame { at: 0..frame.len(), head: *head }))
    }

    fn write(&self, queue: usize, packet: &[u8]) -> io::Result<()> {
        self.write_frame(queue, &Head::default(), &[IoSlice::new(packet)])
    }

    fn write_frame(&self, _: usize, _: &Head, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let octets: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.octets.fetch_add(octets as u64, Ordering::Relaxed);
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        Offloads { tcp: true, udp: true }
    }

    fn name(&self) -> &str {
        "bench"
    }

    fn stop(&self) {}
}

/// The wire: it keeps what is sent until it is received.
#[derive(Debug)]
struct Outer {
    kept: Mutex<Kept>,
    path_mtus: PathMtus,
}

#[derive(Debug, Default)]
struct Kept {
    octets: Vec<u8>,
    /// Of each datagram: its length, and whether it is the first of those sent together.
    datagrams: Vec<(usize, bool)>,
    /// Datagrams received, and their octets.
    received: usize,
    at: usize,
}

impl Outer {
    fn new() -> Self {
        Self { kept: Mutex::default(), path_mtus: PathMtus::new(None) }
    }

    fn is_left(&self) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.received < kept.datagrams.len()
    }

    fn clear(&self) -> u64 {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let count = kept.datagrams.len();
        (kept.received, kept.at) = (0, 0);
        kept.octets.clear();
        kept.datagrams.clear();
        count as u64
    }
}

impl Net for Outer {
    fn receive(&self, _: usize, _: &mut Buffers, each: &mut dyn FnMut(Received<'_>)) -> io::Result<bool> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { octets, datagrams, received, at } = &mut *kept;
        let address = |n| ([192, 0, 2, n], 4500).into();
        for &(len, first) in datagrams.iter().skip(*received).take(ARRIVALS) {
            let bytes = &mut octets[*at..*at + len];
            let (local, remote) = (address(2), address(1));
            each(Received { bytes, channel: cygnet::net::Channel::NatT, local, remote, traffic_class: 0, first });
            (*received, *at) = (*received + 1, *at + len);
        }
        Ok(true)
    }

    fn send(&self, outgoing: &Outgoing<'_>) -> Result<(), Unsent> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (n, datagram) in outgoing.datagrams.iter().enumerate() {
            kept.octets.extend_from_slice(datagram);
            kept.datagrams.push((datagram.len(), n == 0));
        }
        Ok(())
    }

    fn path_mtus(&self) -> &PathMtus {
        &self.path_mtus
    }

    fn stop(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every SA is used, and what is measured is what is meant.
    #[test]
    fn everything_that_is_sent_arrives() {
        for count in [1, 10, 1000] {
            let mut gateways = Gateways::new(count);
            for (traffic, each, octets) in [
                (Traffic::Trains, TRAIN, 40 + SEGMENT * TRAIN as usize),
                (Traffic::Singles(64), 1, 64),
                (Traffic::Singles(1400), 1, 1400),
            ] {
                gateways.plan(traffic);
                let (before, counted) = (gateways.delivered(), gateways.counted());
                gateways.seal(count);
                let packets = u64::from(count * each);
                assert_eq!(gateways.open(), packets, "{traffic:?}");
                // Frames come as they went.
                assert_eq!(gateways.delivered() - before, u64::from(count) * octets as u64, "{traffic:?}");
                let (sealed, delivered) = gateways.counted();
                assert_eq!((sealed - counted.0, delivered - counted.1), (packets, packets));
            }
            for path in &gateways.paths {
                let used = |status: cygnet_sad::PairStatus| status.outbound.packets + status.inbound.packets > 0;
                assert!(path.sad.statuses().into_iter().all(used));
            }
        }
    }
}
