//! TUN batch → `Flow::parse` → spd → sad → reserve → seal in place → UDP batch (RFC 4301 §5.1, RFC 4303 §3.3).

use std::io;
use std::sync::Arc;
use std::time::Instant;

use cygnet_esp::tunnel::{Inner, Rules};
use cygnet_esp::{NextHeader, PacketBuf};
use cygnet_sad::{OutboundDrop, OutboundSa, Path};
use cygnet_spd::{Action, Direction, Flow};

use super::counters::Outbound as Fate;
use super::{BATCH, DataPath, Signal};
use crate::net::{Channel, Outgoing};

/// Octets that go to the network together: what fits an IPv4 packet without its headers.
const MAX_TOGETHER: usize = 65_000;

/// A worker from TUN to the outer network.
#[derive(Debug)]
pub struct OutboundWorker {
    path: Arc<DataPath>,
    /// The free list: those before `filled` hold the current batch.
    slots: Vec<Slot>,
    filled: usize,
    train: Train,
}

/// A packet, and what was found out about it.
#[derive(Debug)]
struct Slot {
    packet: PacketBuf,
    /// Position in the batch: packets of an SA keep their order.
    position: usize,
    /// The pair to use; packets without one are sorted out first.
    pair: Option<u64>,
    /// What it is.
    next: NextHeader,
    /// ECN of the outer header.
    ecn: u8,
    /// Length of the inner packet.
    octets: usize,
}

impl OutboundWorker {
    /// A worker with buffers of its own.
    pub fn new(path: Arc<DataPath>) -> Self {
        let slot = |position| Slot {
            packet: PacketBuf::for_mtu(path.mtu),
            position,
            pair: None,
            next: NextHeader::NONE,
            ecn: 0,
            octets: 0,
        };
        let slots = (0..BATCH).map(slot).collect();
        Self { path, slots, filled: 0, train: Train::new() }
    }

    /// Works until the device is stopped.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn run(&mut self) -> io::Result<()> {
        while self.path.tun.wait()? {
            while self.batch()? == BATCH {}
        }
        Ok(())
    }

    /// Reads, seals and sends what is there, at most [`BATCH`] packets. Returns how many there were.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn batch(&mut self) -> io::Result<usize> {
        self.fill()?;
        self.path.counters.saw_outbound(self.filled as u64);
        self.protect();
        Ok(self.filled)
    }

    fn fill(&mut self) -> io::Result<()> {
        self.filled = 0;
        for slot in &mut self.slots {
            slot.packet.clear();
            // Leaves the room at the end that sealing needs.
            let mtu = self.path.mtu.min(slot.packet.tailroom());
            let Some(buffer) = slot.packet.spare_mut().get_mut(..mtu) else { break };
            let Some(len) = self.path.tun.read(buffer)? else { break };
            if slot.packet.append(len.min(mtu)).is_err() {
                break;
            }
            slot.position = self.filled;
            self.filled += 1;
        }
        Ok(())
    }

    /// Finds each packet's SA, then works SA by SA.
    fn protect(&mut self) {
        let path = &*self.path;
        let policies = path.policies.load();
        let tables = path.sad.snapshot();
        let batch = self.slots.get_mut(..self.filled).unwrap_or_default();
        let mut sas: [Option<&OutboundSa>; BATCH] = [None; BATCH];
        for (slot, sa) in batch.iter_mut().zip(&mut sas) {
            slot.pair = None;
            match look_up(path, slot, |policy, flow| tables.outbound(policy, flow).map(|sa| &**sa), &policies) {
                Ok(found) => {
                    slot.pair = Some(found.id().0);
                    *sa = Some(found);
                }
                Err(fate) => path.counters.outbound(fate, 1),
            }
        }
        batch.sort_unstable_by_key(|slot| (slot.pair, slot.position));
        for run in batch.chunk_by_mut(|a, b| a.pair == b.pair) {
            let sa = run.first().and_then(|slot| *sas.get(slot.position)?);
            if let Some(sa) = sa {
                seal_and_send(path, &mut self.train, sa, run);
            }
        }
    }
}

/// Policy, then SA (RFC 4301 §5.1). Fills in what the outer header takes from the inner one.
fn look_up<'t>(
    path: &DataPath,
    slot: &mut Slot,
    sad: impl Fn(cygnet_spd::PolicyId, &Flow) -> Option<&'t OutboundSa>,
    policies: &cygnet_spd::Policies,
) -> Result<&'t OutboundSa, Fate> {
    let packet = slot.packet.data();
    let flow = Flow::parse(packet, Direction::Outbound).map_err(|_| Fate::Unreadable)?;
    let policy = match policies.outbound(&flow) {
        Action::Protect(policy) => policy,
        Action::Discard => return Err(Fate::Discarded),
        Action::Bypass => return Err(Fate::Bypass),
    };
    let inner = Inner::parse(packet).ok_or(Fate::Unreadable)?;
    slot.next = NextHeader::of_ip_packet(packet).ok_or(Fate::Unreadable)?;
    slot.ecn = Rules::default().outer(inner).ecn as u8;
    slot.packet.truncate(inner.len);
    slot.octets = inner.len;
    sad(policy, &flow).ok_or_else(|| {
        path.signals.raise(Signal::Acquire(policy, flow));
        Fate::NoSa
    })
}

/// One reservation for all packets of an SA; packets of one size leave together.
fn seal_and_send(path: &DataPath, train: &mut Train, sa: &OutboundSa, run: &mut [Slot]) {
    let count = u32::try_from(run.len()).unwrap_or(u32::MAX);
    let Ok(mut reservation) = sa.esp().reserve(count) else {
        drop_packets(path, sa, OutboundDrop::Exhausted, u64::from(count));
        // RFC 4303 §3.3.3: this SA is spent, and IKE must replace it now if a soft limit did not before.
        path.tell(sa.pair(), cygnet_sad::Usage { hard: true, ..cygnet_sad::Usage::NOTHING });
        return;
    };
    let outer = sa.path();
    let channel = if outer.udp_encapsulation { Channel::NatT } else { Channel::RawEsp };
    train.segments = path.net.max_segments(channel);
    let mut sent = Sent::default();
    for slot in run {
        match reservation.seal(slot.next, &mut slot.packet) {
            Ok(()) => {
                if !train.fits(&slot.packet, slot.ecn) {
                    train.send(path, sa, &outer, channel, &mut sent);
                }
                train.push(&slot.packet, slot.ecn, slot.octets);
            }
            Err(error) => drop_packets(path, sa, error.into(), 1),
        }
    }
    train.send(path, sa, &outer, channel, &mut sent);
    path.tell(sa.pair(), sa.count(Instant::now(), sent.packets, sent.octets));
}

fn drop_packets(path: &DataPath, sa: &OutboundSa, reason: OutboundDrop, packets: u64) {
    sa.count_drop(reason, packets);
    path.counters.outbound(reason.into(), packets);
}

/// What an SA got rid of in a batch.
#[derive(Debug, Default)]
struct Sent {
    packets: u64,
    octets: u64,
}

/// Sealed packets of one size to one peer, behind each other, for one system call (generic segmentation offload).
#[derive(Debug)]
struct Train {
    contents: Vec<u8>,
    segment: usize,
    segments: usize,
    /// The last one was smaller: nothing may follow.
    closed: bool,
    ecn: u8,
    packets: u64,
    octets: u64,
}

impl Train {
    fn new() -> Self {
        Self {
            contents: Vec::with_capacity(2 * MAX_TOGETHER),
            segment: 0,
            segments: 1,
            closed: false,
            ecn: 0,
            packets: 0,
            octets: 0,
        }
    }

    fn fits(&self, packet: &PacketBuf, ecn: u8) -> bool {
        self.packets == 0
            || !self.closed
                && self.ecn == ecn
                && packet.len() <= self.segment
                && self.packets < self.segments as u64
                && self.contents.len() + packet.len() <= MAX_TOGETHER
    }

    fn push(&mut self, packet: &PacketBuf, ecn: u8, octets: usize) {
        if self.packets == 0 {
            self.segment = packet.len();
            self.ecn = ecn;
        }
        self.closed = packet.len() < self.segment;
        self.contents.extend_from_slice(packet.data());
        self.packets += 1;
        self.octets += octets as u64;
    }

    fn send(&mut self, path: &DataPath, sa: &OutboundSa, outer: &Path, channel: Channel, sent: &mut Sent) {
        if self.packets == 0 {
            return;
        }
        let outgoing = Outgoing {
            contents: &self.contents,
            segment: self.segment,
            channel,
            local: outer.local,
            remote: outer.remote,
            traffic_class: self.ecn,
            df: false,
        };
        if path.net.send(&outgoing).is_ok() {
            path.counters.outbound(Fate::Sealed, self.packets);
            sent.packets += self.packets;
            sent.octets += self.octets;
        } else {
            drop_packets(path, sa, OutboundDrop::Send, self.packets);
        }
        self.contents.clear();
        (self.packets, self.octets, self.closed) = (0, 0, false);
    }
}
