//! The in-memory twin of the TUN device: a test or a demonstration plays the inner network.

use std::io;
use std::time::Duration;

use super::{Tun, Wait};
use crate::net::frames::Frames;

/// Packets either side may leave unread.
const QUEUE: usize = 1024;
/// Largest packet that does not make a buffer grow.
const PACKET: usize = 2048;

/// A TUN device whose inner network is whoever holds it.
#[derive(Debug)]
pub struct MemoryTun {
    name: String,
    /// From the inner network to the gateway.
    outbound: Frames<()>,
    /// From the gateway to the inner network.
    inbound: Frames<()>,
}

impl MemoryTun {
    /// A device with no packets.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), outbound: Frames::new(QUEUE, PACKET), inbound: Frames::new(QUEUE, PACKET) }
    }

    /// Plays a host of the inner network that sends `packet`; `false` if the device's queue is full.
    pub fn inject(&self, packet: &[u8]) -> bool {
        self.outbound.push(packet, ())
    }

    /// Waits until `room` more packets can be injected, at most `patience`.
    pub fn wait_room(&self, room: usize, patience: Duration) -> bool {
        self.outbound.wait_room(room, patience)
    }

    /// Plays the inner network that receives a packet, waiting at most `patience` for one.
    pub fn take<R>(&self, patience: Duration, look: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.inbound.pop_within(patience, |packet, ()| look(packet))
    }
}

impl Tun for MemoryTun {
    fn wait(&self, patience: Option<Duration>) -> io::Result<Wait> {
        Ok(match patience.map_or_else(|| Some(self.outbound.wait()), |patience| self.outbound.wait_within(patience)) {
            None => Wait::Idle,
            Some(true) => Wait::Ready,
            Some(false) => Wait::Stopped,
        })
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        Ok(self.outbound.pop(|packet, ()| {
            let len = packet.len().min(buffer.len());
            buffer[..len].copy_from_slice(&packet[..len]);
            len
        }))
    }

    fn write(&self, packet: &[u8]) -> io::Result<()> {
        if self.inbound.push(packet, ()) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn stop(&self) {
        self.outbound.close();
        self.inbound.close();
    }
}
