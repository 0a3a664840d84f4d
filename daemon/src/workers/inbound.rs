//! UDP batch → classify → sad → open in place → selector check → TUN (RFC 4301 §5.2, RFC 4303 §3.4).

use std::borrow::{Borrow, BorrowMut};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use cygnet_esp::transport::{self, Rebuilt};
use cygnet_esp::tunnel::{self, Ecn};
use cygnet_esp::udp::{Class, NON_ESP_MARKER, classify};
use cygnet_esp::{NextHeader, PacketBuf, Spi};
use cygnet_ike::Path;
use cygnet_sad::{InboundDrop, InboundSa};
use cygnet_spd::{Direction, Flow, Mode};
use tokio::sync::mpsc;

use super::audit::{AuditEvent, Reason};
use super::counters::Inbound as Fate;
use super::{BATCH, DataPath, Datagram, Signal, Start};
use crate::net::{Buffers, Channel, MAX_SEGMENTS, Received};
use crate::offload::Merger;

/// Largest ESP packet: a whole UDP datagram.
const MAX_PACKET: usize = 65_535;
/// What ESP packets measure on usual links, octets. The packets of a batch lie close together: farther apart, and at
/// equal distances, they would drive each other out of the cache.
const USUAL_PACKET: usize = 2048 - PacketBuf::INBOUND_HEADROOM;
/// TTL or hop limit of a packet that transport mode delivers: it has arrived.
const HOP_LIMIT: u8 = 64;

/// A worker from the outer network to TUN.
#[derive(Debug)]
pub struct InboundWorker {
    /// The queue of the network that it reads.
    queue: usize,
    buffers: Buffers,
    batch: Batch,
}

/// Everything but the receive buffers, which are borrowed while a batch is filled.
#[derive(Debug)]
struct Batch {
    path: Arc<DataPath>,
    queue: usize,
    ike: mpsc::Sender<Datagram>,
    /// The free list: those before `filled` hold the current batch.
    slots: Vec<Slot>,
    filled: usize,
    /// For a packet of unusual size, which is a batch by itself.
    large: Slot,
    merger: Merger,
}

/// An ESP packet.
#[derive(Debug)]
struct Slot {
    packet: PacketBuf,
    spi: Spi,
    /// Position in the batch: packets of an SA keep their order.
    position: usize,
    /// The 32 bits of its sequence number that it shows.
    sequence: u32,
    /// The address it was sent to.
    local: IpAddr,
    /// The address it says it came from.
    peer: IpAddr,
    /// DSCP and ECN of the outer header.
    traffic_class: u8,
    /// Whether it was opened, and may be delivered.
    admitted: bool,
}

impl Borrow<PacketBuf> for Slot {
    fn borrow(&self) -> &PacketBuf {
        &self.packet
    }
}

impl BorrowMut<PacketBuf> for Slot {
    fn borrow_mut(&mut self) -> &mut PacketBuf {
        &mut self.packet
    }
}

impl Slot {
    fn event(&self, fate: Fate) -> AuditEvent {
        AuditEvent { peer: Some(self.peer), spi: Some(self.spi), sequence: Some(self.sequence), ..of(fate) }
    }
}

impl InboundWorker {
    /// The worker for `queue` of the network, with buffers of its own. IKE messages go to `ike`.
    pub fn new(path: Arc<DataPath>, queue: usize, ike: mpsc::Sender<Datagram>) -> Self {
        let slot = |octets| Slot {
            packet: PacketBuf::for_receiving(octets),
            spi: Spi(0),
            position: 0,
            sequence: 0,
            local: Ipv4Addr::UNSPECIFIED.into(),
            peer: Ipv4Addr::UNSPECIFIED.into(),
            traffic_class: 0,
            admitted: false,
        };
        let usual = USUAL_PACKET.max(path.mtu + PacketBuf::HEADROOM + PacketBuf::TAILROOM).min(MAX_PACKET);
        let slots = (0..BATCH).map(|_| slot(usual)).collect();
        let merger = Merger::new(BATCH, path.tun.offloads());
        let batch = Batch { path, queue, ike, slots, filled: 0, large: slot(MAX_PACKET), merger };
        Self { queue, buffers: Buffers::new(), batch }
    }

    /// Works until the network is stopped.
    ///
    /// # Errors
    /// When the sockets are unusable.
    pub fn run(&mut self) -> io::Result<()> {
        while self.batch()? {}
        Ok(())
    }

    /// Waits for datagrams and works on those that came. `false` once the network is stopped.
    ///
    /// # Errors
    /// When the sockets are unusable.
    pub fn batch(&mut self) -> io::Result<bool> {
        let Self { queue, buffers, batch } = self;
        let net = Arc::clone(&batch.path.net);
        let more = net.receive(*queue, buffers, &mut |received| batch.take(received))?;
        batch.open();
        Ok(more)
    }
}

impl Batch {
    /// Tells ESP from the rest, and keeps it.
    fn take(&mut self, received: Received<'_>) {
        self.path.counters.saw_inbound(1);
        let fate = match received.channel {
            Channel::Ike => self.hand_over(&received, false),
            Channel::RawEsp => return self.keep(&received),
            // Only ever sent.
            Channel::Clear => Fate::Malformed,
            Channel::NatT => match classify(received.bytes) {
                Class::Esp => return self.keep(&received),
                Class::Ike => self.hand_over(&received, true),
                Class::Keepalive => Fate::Keepalive,
                Class::Malformed => Fate::Malformed,
            },
        };
        end(&self.path, fate, AuditEvent { peer: Some(received.remote.ip()), ..of(fate) });
    }

    /// Gives an IKE message to the driver.
    fn hand_over(&self, received: &Received<'_>, marker: bool) -> Fate {
        let skip = if marker { NON_ESP_MARKER.len() } else { 0 };
        let Some(bytes) = received.bytes.get(skip..) else { return Fate::Malformed };
        let path = Path { local: received.local, remote: received.remote, marker };
        match self.ike.try_send(Datagram { path, bytes: bytes.to_vec() }) {
            Ok(()) => Fate::Ike,
            Err(_) => Fate::IkeOverflow,
        }
    }

    fn keep(&mut self, received: &Received<'_>) {
        let room = self.slots.len() - self.filled;
        // What came in one piece is opened together, so that it can be delivered in one.
        if room == 0 || received.first && room < MAX_SEGMENTS {
            self.open();
        }
        let len = received.bytes.len();
        match self.slots.get_mut(self.filled).filter(|slot| len <= slot.packet.capacity() - PacketBuf::INBOUND_HEADROOM)
        {
            Some(slot) => {
                if take(&self.path, slot, received, self.filled) {
                    self.filled += 1;
                }
            }
            None => {
                self.open();
                let Self { path, queue, large, merger, .. } = self;
                if take(path, large, received, 0) {
                    open_all(path, *queue, merger, std::slice::from_mut(large));
                }
            }
        }
    }

    /// Opens and delivers the batch.
    fn open(&mut self) {
        let batch = self.slots.get_mut(..self.filled).unwrap_or_default();
        self.filled = 0;
        open_all(&self.path, self.queue, &mut self.merger, batch);
    }
}

/// Copies an ESP packet into a slot. Without an SPI it has found its end.
fn take(path: &DataPath, slot: &mut Slot, received: &Received<'_>, position: usize) -> bool {
    let bytes = &*received.bytes;
    slot.packet.reset(PacketBuf::INBOUND_HEADROOM);
    let kept = slot.packet.extend(bytes).is_ok();
    let Some(spi) = Spi::of_packet(bytes).filter(|_| kept) else {
        let event = AuditEvent { peer: Some(received.remote.ip()), ..of(Fate::Malformed) };
        end(path, Fate::Malformed, event);
        return false;
    };
    (slot.spi, slot.position) = (spi, position);
    slot.sequence = bytes.get(4..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_be_bytes);
    (slot.local, slot.peer) = (received.local.ip(), received.remote.ip());
    slot.traffic_class = received.traffic_class;
    true
}

/// Opens and delivers packets, SA by SA.
fn open_all(path: &DataPath, queue: usize, merger: &mut Merger, batch: &mut [Slot]) {
    let tables = path.sad.snapshot();
    batch.sort_unstable_by_key(|slot| (slot.spi, slot.position));
    for run in batch.chunk_by_mut(|a, b| a.spi == b.spi) {
        match run.first().and_then(|slot| tables.inbound(slot.spi)) {
            Some(sa) => {
                open(path, sa, run);
                deliver(path, queue, merger, sa, run);
            }
            None => run.iter().for_each(|slot| end(path, Fate::UnknownSpi, slot.event(Fate::UnknownSpi))),
        }
    }
}

/// Opens the packets of an SA.
fn open(path: &DataPath, sa: &InboundSa, run: &mut [Slot]) {
    let (pair, policy) = (Some(sa.id()), Some(sa.pair().policy()));
    sa.esp().open_batch(run, |_, slot, opened| {
        let next = opened.map_err(InboundDrop::from);
        let result = next.and_then(|next| admit(sa, slot, next));
        slot.admitted = result.is_ok();
        if let Err(reason) = result {
            sa.count_drop(reason, 1);
            // Of the others there is no packet to read.
            let readable = reason == InboundDrop::Selector;
            let flow = readable.then(|| Flow::parse(slot.packet.data(), Direction::Inbound).ok()).flatten();
            let event = AuditEvent { pair, policy, flow, ..slot.event(reason.into()) };
            end(path, reason.into(), event);
            // Once it is counted: who hears of it may look.
            if readable && path.selectors.admits(Instant::now()) {
                // RFC 4301 §5.2: the sender should hear of it. A full queue is no reason to keep it.
                path.signals.raise(Signal::Selectors(sa.id(), Start::of(slot.packet.data())));
            }
        }
    });
}

/// Hands the packets of an SA that may be delivered to the inner network, those of a flow together.
fn deliver(path: &DataPath, queue: usize, merger: &mut Merger, sa: &InboundSa, run: &[Slot]) {
    let (mut packets, mut octets, mut refused) = (0, 0, None);
    merger.clear();
    for (position, slot) in run.iter().enumerate().filter(|(_, slot)| slot.admitted) {
        merger.add(position, slot.packet.data(), |at| run.get(at).map_or(&[], |slot| slot.packet.data()));
        packets += 1;
        octets += slot.packet.len() as u64;
    }
    for group in merger.groups() {
        let members = || merger.members(group).filter_map(|at| run.get(at));
        if let Some(headers) = members().next().and_then(|first| group.headers(first.packet.data())) {
            let (pieces, used) = headers.pieces(members().map(|slot| slot.packet.data()));
            match path.tun.write_frame(queue, &headers.head, pieces.get(..used).unwrap_or_default()) {
                Ok(()) => {
                    path.counters.inbound(Fate::Delivered, group.count() as u64);
                    continue;
                }
                // Some kernels don't know of it, or not of all kinds.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    refused = headers.head.segments.map(|(kind, _)| kind);
                }
                Err(_) => {}
            }
        }
        members().for_each(|slot| write(path, queue, sa, slot));
    }
    if let Some(kind) = refused {
        merger.refuse(kind);
        tracing::warn!("the TUN device does not take {kind:?} packets together: from now on one by one");
    }
    path.tell(sa.pair(), sa.count(Instant::now(), packets, octets));
}

fn write(path: &DataPath, queue: usize, sa: &InboundSa, slot: &Slot) {
    match path.tun.write(queue, slot.packet.data()) {
        Ok(()) => path.counters.inbound(Fate::Delivered, 1),
        Err(_) => {
            let (pair, policy) = (Some(sa.id()), Some(sa.pair().policy()));
            end(path, Fate::Undelivered, AuditEvent { pair, policy, ..slot.event(Fate::Undelivered) });
        }
    }
}

/// A packet found its end.
#[inline]
fn end(path: &DataPath, fate: Fate, event: AuditEvent) {
    path.counters.inbound(fate, 1);
    if fate.is_discard() {
        path.audit.report(Instant::now(), event);
    }
}

fn of(fate: Fate) -> AuditEvent {
    AuditEvent::new(Reason::Inbound(fate))
}

/// What stands between an opened packet and the inner network: it is an IP packet that the SA may carry, with the
/// congestion its outer header met.
fn admit(sa: &InboundSa, slot: &mut Slot, next: NextHeader) -> Result<(), InboundDrop> {
    if next == NextHeader::NONE {
        return Err(InboundDrop::Dummy);
    }
    match sa.pair().mode() {
        Mode::Tunnel => {
            let outer = Ecn::from_traffic_class(slot.traffic_class);
            tunnel::decapsulate(&mut slot.packet, next, outer)?;
        }
        Mode::Transport => rebuild(sa, slot, next)?,
    }
    let flow = Flow::parse(slot.packet.data(), Direction::Inbound).map_err(|_| InboundDrop::Payload)?;
    let admitted =
        sa.selector().contains(&flow) || sa.selector().admits_icmp_error(slot.packet.data(), Direction::Inbound);
    if !admitted {
        return Err(InboundDrop::Selector);
    }
    sa.pair().headers().mss.apply(slot.packet.data_mut(), sa.pair().inner_mtu());
    Ok(())
}

/// Transport mode: puts the IP header back (RFC 4303 §3.1.1). The addresses are those that the SA is between, whatever
/// the outer header said: that is not authenticated.
fn rebuild(sa: &InboundSa, slot: &mut Slot, next: NextHeader) -> Result<(), InboundDrop> {
    let path = sa.pair().path();
    let local = path.local.ip();
    let header = Rebuilt {
        source: path.remote.ip(),
        destination: if local.is_unspecified() { slot.local } else { local },
        traffic_class: slot.traffic_class,
        hop_limit: HOP_LIMIT,
        original: sa.pair().original().map(|original| (original.remote, original.local)),
    };
    Ok(transport::decapsulate(&mut slot.packet, next, &header)?)
}
