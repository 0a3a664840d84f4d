//! The in-memory twin of the TUN device: a test or a demonstration plays the inner network.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Frame, Tun, Wait};
use crate::net::frames::Frames;
use crate::offload::{Head, Offloads};

/// Packets either side may leave unread.
const QUEUE: usize = 1024;
/// Largest packet that does not make a buffer grow.
const PACKET: usize = 2048;

/// A TUN device whose inner network is whoever holds it.
#[derive(Debug)]
pub struct MemoryTun {
    name: String,
    /// From the inner network to the gateway: a queue per reader.
    outbound: Box<[Frames<Head>]>,
    /// From the gateway to the inner network.
    inbound: Frames<Head>,
    offloads: Offloads,
    /// Whether it refuses what it says it takes, and how often it did.
    refuses: AtomicBool,
    refused: AtomicU64,
}

impl MemoryTun {
    /// A device with no packets.
    pub fn new(name: &str) -> Self {
        Self::with_offloads(name, Offloads::default())
    }

    /// A device with no packets that takes frames of several.
    pub fn with_offloads(name: &str, offloads: Offloads) -> Self {
        Self::with_queues(name, offloads, 1)
    }

    /// The same with several queues to read from.
    pub fn with_queues(name: &str, offloads: Offloads, queues: usize) -> Self {
        let outbound = (0..queues.max(1)).map(|_| Frames::new(QUEUE, PACKET)).collect();
        let inbound = Frames::new(QUEUE, PACKET);
        let (refuses, refused) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { name: name.to_owned(), outbound, inbound, offloads, refuses, refused }
    }

    /// From now on it refuses frames of several packets, as kernels do that know only some kinds.
    pub fn refuse_frames(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    /// How many frames it refused.
    pub fn frames_refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Plays a host of the inner network that sends `packet`; `false` if the device's queue is full.
    pub fn inject(&self, packet: &[u8]) -> bool {
        self.inject_frame(packet, Head::default())
    }

    /// Plays a host of the inner network that leaves something to be done to the device.
    pub fn inject_frame(&self, frame: &[u8], head: Head) -> bool {
        self.outbound.get(self.queue_of(frame)).is_some_and(|queue| queue.push(frame, head))
    }

    /// Waits until `room` more packets can be injected, at most `patience`.
    pub fn wait_room(&self, room: usize, patience: Duration) -> bool {
        self.outbound.iter().all(|queue| queue.wait_room(room, patience))
    }

    /// A flow has one queue: that of its addresses and, for TCP and UDP over IPv4, ports.
    fn queue_of(&self, packet: &[u8]) -> usize {
        let flow = match packet.first() {
            Some(first) if first >> 4 == 4 => packet.get(12..24),
            _ => packet.get(8..40),
        };
        let sum: usize = flow.unwrap_or_default().iter().map(|&octet| usize::from(octet)).sum();
        sum % self.outbound.len()
    }

    /// Plays the inner network that receives a packet, waiting at most `patience` for one.
    pub fn take<R>(&self, patience: Duration, look: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.take_frame(patience, |frame, _| look(frame))
    }

    /// As [`take`](Self::take), with what is still to be done with it.
    pub fn take_frame<R>(&self, patience: Duration, look: impl FnOnce(&[u8], Head) -> R) -> Option<R> {
        self.inbound.pop_within(patience, |frame, head| look(frame, head))
    }
}

impl Tun for MemoryTun {
    fn queues(&self) -> usize {
        self.outbound.len()
    }

    fn wait(&self, queue: usize, patience: Option<Duration>) -> io::Result<Wait> {
        let Some(queue) = self.outbound.get(queue) else { return Ok(Wait::Stopped) };
        Ok(match patience.map_or_else(|| Some(queue.wait()), |patience| queue.wait_within(patience)) {
            None => Wait::Idle,
            Some(true) => Wait::Ready,
            Some(false) => Wait::Stopped,
        })
    }

    fn read(&self, queue: usize, buffer: &mut [u8]) -> io::Result<Option<Frame>> {
        let Some(queue) = self.outbound.get(queue) else { return Ok(None) };
        Ok(queue.pop(|packet, head| {
            let len = packet.len().min(buffer.len());
            buffer[..len].copy_from_slice(&packet[..len]);
            Frame { at: 0..len, head }
        }))
    }

    fn write(&self, queue: usize, packet: &[u8]) -> io::Result<()> {
        self.write_frame(queue, &Head::default(), &[IoSlice::new(packet)])
    }

    fn write_frame(&self, _: usize, head: &Head, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        if head.segments.is_some() && self.refuses.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let pieces = pieces.iter().map(|piece| &**piece);
        if self.inbound.push_pieces(pieces, *head) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn stop(&self) {
        self.outbound.iter().for_each(Frames::close);
        self.inbound.close();
    }
}
